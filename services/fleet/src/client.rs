//! A client for the gateway.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::{Certificate, RequestBuilder, Response, StatusCode, Url};
use uuid::Uuid;

use crate::api::{self, Lease, Problem, Registration, Report, Supervisor, SupervisorList};

/// The time within which a gateway must answer. A slower one is treated as away.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The reason why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The address can't be used.
    #[error(
        "{url:?} is not the address of a gateway: {reason}; write http://HOST:PORT or \
         https://HOST:PORT"
    )]
    Address {
        /// The address as given.
        url: String,
        /// The problem of the address.
        reason: String,
    },
    /// The trusted certificates can't be used.
    #[error("can't use the certificates in {}: {reason}", path.display())]
    Certificates {
        /// The file.
        path: PathBuf,
        /// The problem of the file.
        reason: String,
    },
    /// There was no answer, or not one of a gateway.
    #[error("{url}: no answer: {}", causes(source))]
    Unreachable {
        /// The requested address.
        url: String,
        /// The reason why there was no answer.
        source: reqwest::Error,
    },
    /// The gateway does not know the supervisor, or no longer: register again.
    #[error("the gateway does not know supervisor {0}")]
    Unknown(Uuid),
    /// The gateway refused the request.
    #[error("{url}: {status}: {reason}")]
    Refused {
        /// The requested address.
        url: String,
        /// The HTTP status.
        status: u16,
        /// The gateway's reason.
        reason: String,
    },
}

/// A client of one gateway. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Client {
    http: reqwest::Client,
    base: Url,
}

impl Client {
    /// Makes a client for the gateway at `url`, such as `http://gateway:8080`. With `trust`, a PEM
    /// file, the client trusts only the certificates in it, otherwise those of the system.
    ///
    /// # Errors
    /// When the address or the certificates can't be used. Nothing is sent yet.
    pub fn new(url: &str, trust: Option<&Path>) -> Result<Self, ClientError> {
        let base = gateway_url(url)?;
        let mut builder =
            http_builder().tls_built_in_root_certs(base.scheme() == "https" && trust.is_none());
        if let Some(path) = trust {
            for certificate in read_certificates(path)? {
                builder = builder.add_root_certificate(certificate);
            }
        }
        Self::build(builder, base)
    }

    /// Makes a client that accepts any certificate. It is meant only for asking this machine's own
    /// gateway whether it is well: nothing secret is sent, and no certificate contains the name
    /// `127.0.0.1`.
    ///
    /// # Errors
    /// When the address can't be used.
    pub fn without_verification(url: &str) -> Result<Self, ClientError> {
        let builder = http_builder()
            .tls_built_in_root_certs(false)
            .danger_accept_invalid_certs(true);
        Self::build(builder, gateway_url(url)?)
    }

    fn build(builder: reqwest::ClientBuilder, base: Url) -> Result<Self, ClientError> {
        let http = builder.build().map_err(|source| ClientError::Unreachable {
            url: base.to_string(),
            source,
        })?;
        Ok(Client { http, base })
    }

    /// Enters the supervisor into the gateway's list. Does no harm if the supervisor is there
    /// already.
    pub async fn register(
        &self,
        id: Uuid,
        registration: &Registration,
    ) -> Result<Lease, ClientError> {
        let url = self.url(&api::supervisor_path(id));
        let answer = send(self.http.put(url).json(registration), None).await?;
        read_json(answer).await
    }

    /// Sends the supervisor's state to the gateway.
    ///
    /// # Errors
    /// [`ClientError::Unknown`] when the gateway does not know the supervisor any more.
    pub async fn report(&self, id: Uuid, report: &Report) -> Result<(), ClientError> {
        let url = self.url(&api::report_path(id));
        send(self.http.post(url).json(report), Some(id)).await?;
        Ok(())
    }

    /// Returns all supervisors that the gateway knows.
    pub async fn list(&self) -> Result<Vec<Supervisor>, ClientError> {
        let answer = send(self.http.get(self.url(api::SUPERVISORS)), None).await?;
        Ok(read_json::<SupervisorList>(answer).await?.supervisors)
    }

    /// Succeeds while the gateway serves requests.
    pub async fn healthy(&self) -> Result<(), ClientError> {
        send(self.http.get(self.url(api::HEALTHZ)), None)
            .await
            .map(drop)
    }

    /// Succeeds while the gateway takes new work.
    pub async fn ready(&self) -> Result<(), ClientError> {
        send(self.http.get(self.url(api::READYZ)), None)
            .await
            .map(drop)
    }

    fn url(&self, path: &str) -> Url {
        let mut url = self.base.clone();
        url.set_path(&format!("{}{path}", self.base.path().trim_end_matches('/')));
        url
    }
}

/// Returns the address of this machine's own gateway, which listens on `listen`. If it listens on
/// every address, it is asked through the loopback device.
pub fn local_url(listen: SocketAddr, tls: bool) -> String {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    let scheme = if tls { "https" } else { "http" };
    format!("{scheme}://{}", SocketAddr::new(ip, listen.port()))
}

/// Begins a client without a proxy: the gateway is in the services' own network, and a health check
/// must not leave the machine.
fn http_builder() -> reqwest::ClientBuilder {
    reqwest::Client::builder()
        .user_agent(concat!("crateyard/", env!("CARGO_PKG_VERSION")))
        .timeout(TIMEOUT)
        .no_proxy()
}

fn gateway_url(text: &str) -> Result<Url, ClientError> {
    let error = |reason: String| ClientError::Address {
        url: text.to_owned(),
        reason,
    };
    let url = Url::parse(text).map_err(|parse| error(parse.to_string()))?;
    match url.scheme() {
        "http" | "https" => Ok(url),
        other => Err(error(format!("scheme {other:?}"))),
    }
}

fn read_certificates(path: &Path) -> Result<Vec<Certificate>, ClientError> {
    let error = |reason: String| ClientError::Certificates {
        path: path.to_owned(),
        reason,
    };
    let pem = std::fs::read(path).map_err(|io| error(io.to_string()))?;
    match Certificate::from_pem_bundle(&pem) {
        Ok(found) if found.is_empty() => Err(error("there is no PEM certificate in it".into())),
        Ok(found) => Ok(found),
        Err(parse) => Err(error(causes(&parse))),
    }
}

/// Sends a request, and turns an unsuccessful answer into an error. A 404 means that `subject`, if
/// given, is unknown.
async fn send(request: RequestBuilder, subject: Option<Uuid>) -> Result<Response, ClientError> {
    let answer = request.send().await.map_err(unreachable)?;
    let status = answer.status();
    if status.is_success() {
        return Ok(answer);
    }
    match subject {
        Some(id) if status == StatusCode::NOT_FOUND => Err(ClientError::Unknown(id)),
        _ => Err(ClientError::Refused {
            url: answer.url().to_string(),
            status: status.as_u16(),
            reason: match answer.json::<Problem>().await {
                Ok(problem) => problem.error,
                Err(_) => "no reason given".to_owned(),
            },
        }),
    }
}

async fn read_json<T: serde::de::DeserializeOwned>(answer: Response) -> Result<T, ClientError> {
    answer.json().await.map_err(unreachable)
}

fn unreachable(error: reqwest::Error) -> ClientError {
    ClientError::Unreachable {
        url: error.url().map(Url::to_string).unwrap_or_default(),
        source: error.without_url(),
    }
}

/// Formats an error with its causes: reqwest's own message stops at "error sending request".
fn causes(error: &(dyn std::error::Error + 'static)) -> String {
    let chain = std::iter::successors(Some(error), |error| error.source());
    let words: Vec<String> = chain.map(ToString::to_string).collect();
    words.join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_are_none() {
        for bad in ["gateway", "ftp://gateway", "", "http://"] {
            let error = Client::new(bad, None).unwrap_err().to_string();
            assert!(error.contains(&format!("{bad:?}")), "{error}");
        }
    }

    #[test]
    fn a_base_path_is_kept() {
        let client = Client::new("http://h:1/fleet/", None).unwrap();
        assert_eq!(
            client.url(api::HEALTHZ).as_str(),
            "http://h:1/fleet/healthz"
        );
    }

    #[test]
    fn certificates_that_are_none() {
        let missing = Client::new("https://h", Some(Path::new("/does/not/exist.pem")));
        assert!(
            missing
                .unwrap_err()
                .to_string()
                .contains("/does/not/exist.pem")
        );
        let file = Client::new("https://h", Some(Path::new("/dev/null")));
        assert!(file.unwrap_err().to_string().contains("no PEM certificate"));
    }

    #[tokio::test]
    async fn nobody_there() {
        // Port 1 of the loopback device: reserved, and nothing listens on it.
        let client = Client::new("http://127.0.0.1:1", None).unwrap();
        let error = client.healthy().await.unwrap_err().to_string();
        assert!(error.contains("http://127.0.0.1:1/healthz"), "{error}");
        assert!(error.contains("refused"), "{error}");
    }
}
