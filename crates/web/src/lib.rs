//! HTTPS: one setup of TLS, and downloads within limits from servers besides registries.
//!
//! Registries have their own client (`registry`), with credentials and retries.
//!
//! ```
//! use std::io::{Read, Write};
//! use std::time::Duration;
//!
//! let server = std::net::TcpListener::bind("127.0.0.1:0")?;
//! let url = format!("http://{}/advisories", server.local_addr()?);
//! let serving = std::thread::spawn(move || -> std::io::Result<()> {
//!     let (mut connection, _) = server.accept()?;
//!     connection.read(&mut [0; 4096])?;
//!     connection.write_all(b"HTTP/1.1 200 OK\r\nETag: \"7\"\r\nContent-Length: 5\r\n\r\nhello")
//! });
//!
//! let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
//! let client = crateyard_web::client(Duration::from_secs(10))?;
//! let mut content = Vec::new();
//! let limit = 1 << 20;
//! let download = crateyard_web::download(&client, &url, None, limit, &mut content);
//! let reply = runtime.block_on(download)?;
//!
//! let tag = Some("\"7\"".to_owned());
//! assert_eq!(reply, crateyard_web::Reply::Content { tag });
//! assert_eq!(content, b"hello");
//! # serving.join().unwrap()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![forbid(unsafe_code)]

pub mod tls;

use std::io::Write;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use reqwest::header::{ETAG, IF_NONE_MATCH};
use reqwest::redirect::Policy;
use reqwest::{Client, StatusCode, Url};

/// The reason why a download failed.
#[derive(Debug, thiserror::Error)]
#[error("cannot fetch {url}: {reason}")]
pub struct Error {
    /// The address.
    pub url: String,
    /// The reason.
    pub reason: String,
}

/// A server's answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// The whole content, and the server's tag for this version of it.
    Content {
        /// The tag to send next time.
        tag: Option<String>,
    },
    /// The caller's version is still the current one.
    Unchanged,
}

/// The options of a client.
#[derive(Debug, Clone)]
pub struct Options<'a> {
    /// The time to wait for a connection, and for the next byte.
    pub patience: Duration,
    /// Certificate authorities (PEM files) to trust besides the system's.
    pub ca_files: &'a [PathBuf],
    /// Whether to follow redirects. A request that carries a secret must not follow them.
    pub follows_redirects: bool,
    /// Whether to use the proxies of `HTTPS_PROXY` and its like. A proxy reaches neither this
    /// machine nor its neighbours.
    pub uses_proxy: bool,
}

/// Makes a client for downloads. It trusts the system's authorities, follows redirects, and gives
/// up after `patience` without a connection or without a byte.
///
/// # Errors
/// Fails if TLS can't be set up.
pub fn client(patience: Duration) -> Result<Client, String> {
    client_with(&Options {
        patience,
        ca_files: &[],
        follows_redirects: true,
        uses_proxy: true,
    })
}

/// Makes a client with these options.
///
/// # Errors
/// Fails if TLS can't be set up, or a file of certificates can't be read. The error names the file.
pub fn client_with(options: &Options<'_>) -> Result<Client, String> {
    let roots = tls::roots(options.ca_files).map_err(|error| error.to_string())?;
    let tls = tls::trusting(roots)?.with_no_client_auth();
    let redirects = match options.follows_redirects {
        true => Policy::default(),
        false => Policy::none(),
    };
    let builder = Client::builder()
        .tls_backend_preconfigured(tls)
        .redirect(redirects)
        .user_agent(concat!("crateyard/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(options.patience)
        .read_timeout(options.patience);
    let builder = match options.uses_proxy {
        true => builder,
        false => builder.no_proxy(),
    };
    builder.build().map_err(|error| innermost(&error))
}

/// Whether nobody on the way to `url` can read or change the traffic: HTTPS, or HTTP to this
/// machine.
pub fn is_private(url: &str) -> bool {
    let Ok(url) = Url::parse(url) else {
        return false;
    };
    let host = url.host_str().unwrap_or_default();
    let address: Result<IpAddr, _> = host.trim_matches(['[', ']']).parse();
    let is_here = host == "localhost" || address.is_ok_and(|address| address.is_loopback());
    url.scheme() == "https" || url.scheme() == "http" && is_here
}

/// Fetches the content at `url` into `out`: at most `limit` bytes, and nothing if the server still
/// has the version with `tag`. Follows redirects if the client does.
///
/// # Errors
/// Fails if the server can't be reached, refuses, sends more, or breaks off. `out` may then hold a
/// part of the content.
pub async fn download(
    client: &Client,
    url: &str,
    tag: Option<&str>,
    limit: u64,
    out: &mut (dyn Write + Send),
) -> Result<Reply, Error> {
    let failed = |reason: String| Error {
        url: url.to_owned(),
        reason,
    };
    let broken = |error: reqwest::Error| failed(innermost(&error));
    let mut request = client.get(url);
    if let Some(tag) = tag {
        request = request.header(IF_NONE_MATCH, tag);
    }
    let mut reply = request.send().await.map_err(broken)?;
    match reply.status() {
        StatusCode::OK => {}
        StatusCode::NOT_MODIFIED if tag.is_some() => return Ok(Reply::Unchanged),
        status => return Err(failed(format!("the server answers {status}"))),
    }
    let tag = reply.headers().get(ETAG).and_then(|it| it.to_str().ok());
    let tag = tag.map(str::to_owned);
    let mut received = 0;
    while let Some(piece) = reply.chunk().await.map_err(broken)? {
        received += piece.len() as u64;
        if received > limit {
            return Err(failed(format!("it has more than {limit} bytes")));
        }
        out.write_all(&piece)
            .map_err(|error| failed(format!("cannot write it: {error}")))?;
    }
    Ok(Reply::Content { tag })
}

/// Returns the innermost cause of an error that says anything: "connection reset by peer" rather
/// than "error sending request". The outer causes only repeat the address.
pub fn innermost(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    let said = causes.map(ToString::to_string);
    said.filter(|text| !text.is_empty())
        .last()
        .unwrap_or_else(|| "unknown".to_owned())
}

#[cfg(test)]
mod tests {
    use super::is_private;

    #[test]
    fn plain_http_stays_on_this_machine() {
        for url in [
            "https://example.org/a",
            "http://127.0.0.1:80/a",
            "http://[::1]/",
            "http://localhost:1",
        ] {
            assert!(is_private(url), "{url}");
        }
        for url in [
            "http://example.org",
            "http://127.0.0.1:80@example.org/",
            "http://localhost.example.org",
            "ftp://localhost",
            "a",
        ] {
            assert!(!is_private(url), "{url}");
        }
    }
}
