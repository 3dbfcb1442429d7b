//! Sends requests to the services that take part in signing.

use std::path::PathBuf;
use std::time::Duration;

use reqwest::header::LOCATION;
use reqwest::{Client, Url};
use serde_json::Value;

use crate::Error;

/// The time to wait for a connection, and for the next byte. Logs take some seconds for an entry.
const PATIENCE: Duration = Duration::from_secs(30);
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
}

impl<'a> Request<'a> {
    pub(crate) fn to(url: &'a str) -> Request<'a> {
        Request {
            url,
            headers: Vec::new(),
            body: None,
        }
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
}

/// An answer.
pub(crate) struct Answer {
    pub status: u16,
    pub location: Option<String>,
    pub body: Vec<u8>,
}

impl Answer {
    /// Returns the body, if the service accepted the request.
    pub(crate) fn success(self, url: &str) -> Result<Vec<u8>, Error> {
        if (200..300).contains(&self.status) {
            return Ok(self.body);
        }
        let said: String = String::from_utf8_lossy(&self.body)
            .chars()
            .take(QUOTED)
            .collect();
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
        let parsed = Url::parse(url).map_err(|error| failed(format!("is no address: {error}")))?;
        if !crateyard_web::is_private(url) {
            return Err(failed(
                "must be https:// (http:// only on this machine)".to_owned(),
            ));
        }
        let client = self.client().map_err(failed)?;
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
            runtime.block_on(persist(request))
        };
        let answered = std::thread::scope(|scope| scope.spawn(ask).join());
        answered
            .unwrap_or_else(|_| Err("the request failed".to_owned()))
            .map_err(failed)
    }

    fn client(&self) -> Result<Client, String> {
        crateyard_web::client_with(&crateyard_web::Options {
            patience: PATIENCE,
            ca_files: &self.ca_files,
            follows_redirects: false,
        })
    }
}

/// Sends a request until a service that is not overloaded answers.
async fn persist(request: impl Fn() -> reqwest::RequestBuilder) -> Result<Answer, String> {
    let mut attempt = 1;
    loop {
        let answer = once(request()).await;
        let is_passing = match &answer {
            Ok(answer) => answer.status == 429 || answer.status >= 500,
            Err(_) => true,
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
    })
}
