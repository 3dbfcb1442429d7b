//! Sends requests to the services that take part in signing.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::header::LOCATION;
use reqwest::{Client, Url};
use serde_json::Value;

use crate::Error;

/// The time to wait for a connection, and for the next byte. Logs take some seconds for an entry.
const PATIENCE: Duration = Duration::from_secs(30);
/// The same for a service of the machine's own network, which may not exist.
const PATIENCE_NEARBY: Duration = Duration::from_secs(5);
/// The number of attempts to send a request before the service counts as unreachable, and the wait
/// between attempts.
const ATTEMPTS: u32 = 3;
const PAUSE: Duration = Duration::from_secs(1);
/// The largest answer, in bytes.
const MAX_ANSWER: usize = 4 << 20;
/// The longest quote of a refusal, in characters.
const QUOTED: usize = 300;

/// A client of these services. Its requests contain secrets, so it uses plain HTTP only to this
/// machine.
#[derive(Debug, Clone, Default)]
pub struct Web {
    /// Certificate authorities (PEM files) to trust besides the system's.
    pub ca_files: Vec<PathBuf>,
}

/// A request: POST if it has a body, else GET.
pub(crate) struct Request<'a> {
    url: &'a str,
    headers: Vec<(&'a str, &'a str)>,
    body: Option<String>,
    secrets: Vec<&'a str>,
    is_nearby: bool,
}

impl<'a> Request<'a> {
    pub(crate) fn to(url: &'a str) -> Request<'a> {
        Request {
            url,
            headers: Vec::new(),
            body: None,
            secrets: Vec::new(),
            is_nearby: false,
        }
    }

    /// Allows plain HTTP to a link-local address, where the metadata servers of clouds are, and
    /// gives up early if nothing is there.
    pub(crate) fn nearby(mut self) -> Request<'a> {
        self.is_nearby = true;
        self
    }

    /// Names a secret in the request, which no message quotes even if the service does.
    pub(crate) fn secret(mut self, text: &'a str) -> Request<'a> {
        self.secrets.push(text);
        self
    }

    pub(crate) fn header(mut self, name: &'a str, value: &'a str) -> Request<'a> {
        self.headers.push((name, value));
        self
    }

    pub(crate) fn body(mut self, body: String) -> Request<'a> {
        self.body = Some(body);
        self
    }

    pub(crate) fn json(self, body: &Value) -> Request<'a> {
        self.header("content-type", "application/json")
            .body(body.to_string())
    }

    pub(crate) fn form(self, fields: &[(&str, &str)]) -> Request<'a> {
        let fields: Vec<String> = fields
            .iter()
            .map(|(name, value)| format!("{name}={}", encode(value)))
            .collect();
        self.header("content-type", "application/x-www-form-urlencoded")
            .body(fields.join("&"))
    }

    /// Whether nobody on the way to the service can read the request.
    fn is_private(&self, url: &Url) -> bool {
        let host = url.host_str().unwrap_or_default();
        let is_local = match host.trim_matches(['[', ']']).parse() {
            Ok(IpAddr::V4(address)) => address.is_link_local(),
            _ => false,
        };
        crateyard_web::is_private(self.url) || self.is_nearby && url.scheme() == "http" && is_local
    }
}

/// Encodes a value for a query or a form.
pub(crate) fn encode(value: &str) -> String {
    utf8_percent_encode(value, NON_ALPHANUMERIC).to_string()
}

/// An answer.
pub(crate) struct Answer {
    pub status: u16,
    pub location: Option<String>,
    pub body: Vec<u8>,
    /// The secrets of the request.
    secrets: Vec<String>,
}

impl Answer {
    /// Returns the body, if the service accepted the request.
    pub(crate) fn success(self, url: &str) -> Result<Vec<u8>, Error> {
        if (200..300).contains(&self.status) {
            return Ok(self.body);
        }
        let mut said = String::from_utf8_lossy(&self.body).into_owned();
        for secret in self.secrets.iter().filter(|it| !it.is_empty()) {
            said = said.replace(secret.as_str(), "…");
        }
        let said: String = said.chars().take(QUOTED).collect();
        Err(Error::Service {
            url: url.to_owned(),
            reason: format!("answers {}: {}", self.status, said.trim()),
        })
    }
}

impl Web {
    /// Sends a request, and sends it again if the service is overloaded.
    pub(crate) fn ask(&self, asked: &Request<'_>) -> Result<Answer, Error> {
        let url = asked.url;
        let failed = |reason: String| Error::Service {
            url: url.to_owned(),
            reason,
        };
        let parsed =
            Url::parse(url).map_err(|error| failed(format!("is not an address: {error}")))?;
        if !asked.is_private(&parsed) {
            return Err(failed(
                "must be https:// (http:// only on this machine)".to_owned(),
            ));
        }
        let client = self.client(asked.is_nearby).map_err(failed)?;
        let request = || {
            let request = match &asked.body {
                Some(body) => client.post(parsed.clone()).body(body.clone()),
                None => client.get(parsed.clone()),
            };
            let headers = asked.headers.iter();
            headers.fold(
                request.header("accept", "application/json"),
                |request, (name, value)| request.header(*name, *value),
            )
        };
        // The caller may have its own runtime, which must not be blocked from within.
        let ask = || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            let runtime = runtime.map_err(|error| error.to_string())?;
            runtime.block_on(persist(request, asked.is_nearby))
        };
        let answered = std::thread::scope(|scope| scope.spawn(ask).join());
        let answered = answered.unwrap_or_else(|_| Err("the request failed".to_owned()));
        let mut answer = answered.map_err(failed)?;
        answer.secrets = asked.secrets.iter().map(|it| (*it).to_owned()).collect();
        Ok(answer)
    }

    fn client(&self, is_nearby: bool) -> Result<Client, String> {
        crateyard_web::client_with(&crateyard_web::Options {
            patience: match is_nearby {
                true => PATIENCE_NEARBY,
                false => PATIENCE,
            },
            ca_files: &self.ca_files,
            follows_redirects: false,
            uses_proxy: !is_nearby,
        })
    }
}

/// Sends a request until a service that is not overloaded answers. A service nearby that can't be
/// reached does not exist.
async fn persist(
    request: impl Fn() -> reqwest::RequestBuilder,
    is_nearby: bool,
) -> Result<Answer, String> {
    let mut attempt = 1;
    loop {
        let answer = once(request()).await;
        let is_passing = match &answer {
            Ok(answer) => answer.status == 429 || answer.status >= 500,
            Err(_) => !is_nearby,
        };
        if !is_passing || attempt == ATTEMPTS {
            return answer;
        }
        tokio::time::sleep(PAUSE * attempt).await;
        attempt += 1;
    }
}

async fn once(request: reqwest::RequestBuilder) -> Result<Answer, String> {
    let broken = |error: reqwest::Error| crateyard_web::innermost(&error);
    let mut reply = request.send().await.map_err(broken)?;
    let location = reply.headers().get(LOCATION);
    let location = location.and_then(|it| it.to_str().ok()).map(str::to_owned);
    let mut body = Vec::new();
    while let Some(piece) = reply.chunk().await.map_err(broken)? {
        body.extend_from_slice(&piece);
        if body.len() > MAX_ANSWER {
            return Err(format!("the answer is larger than {MAX_ANSWER} bytes"));
        }
    }
    Ok(Answer {
        status: reply.status().as_u16(),
        location,
        body,
        secrets: Vec::new(),
    })
}

#[cfg(test)]
mod tests {
    use reqwest::Url;

    use super::{Answer, Request};

    #[test]
    fn only_nearby_services_are_asked_over_plain_http() {
        for (url, nearby, other) in [
            ("http://169.254.169.254/token", true, false),
            ("http://169.254.169.254.example/token", false, false),
            ("http://192.0.2.1/token", false, false),
            ("ftp://169.254.169.254/token", false, false),
            ("http://127.0.0.1:1/token", true, true),
            ("https://192.0.2.1/token", true, true),
        ] {
            let parsed = Url::parse(url).unwrap();
            let request = Request::to(url);
            assert_eq!(request.is_private(&parsed), other, "{url}");
            assert_eq!(request.nearby().is_private(&parsed), nearby, "{url}");
        }
    }

    #[test]
    fn a_refusal_that_quotes_the_secret_is_quoted_without_it() {
        let answer = Answer {
            status: 400,
            location: None,
            body: b"no such token: s3cret".to_vec(),
            secrets: vec![String::new(), "s3cret".to_owned()],
        };
        let said = answer.success("https://a.example").unwrap_err().to_string();
        assert!(said.ends_with("answers 400: no such token: …"), "{said}");
    }

    #[test]
    fn forms_are_encoded() {
        let request = Request::to("").form(&[("a", "b c&d=é"), ("e", "f")]);
        assert_eq!(request.body.unwrap(), "a=b%20c%26d%3D%C3%A9&e=f");
    }
}
