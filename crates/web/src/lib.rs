//! Downloads over HTTPS, within limits, from web servers that are no registries.
//!
//! Registries have a client of their own (`registry`), with credentials and retries.
#![forbid(unsafe_code)]

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{ETAG, IF_NONE_MATCH};
use reqwest::{Client, StatusCode};
use rustls::{ClientConfig, RootCertStore};

/// Why there is no download.
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
    /// The content, whole, with the tag that the server gives to this version of it.
    Content {
        /// The tag, to be sent the next time.
        tag: Option<String>,
    },
    /// The version that was named is still the current one.
    Unchanged,
}

/// A client that trusts the system's authorities and gives up after `patience` without a connection
/// or without a byte.
///
/// # Errors
/// When TLS can't be set up.
pub fn client(patience: Duration) -> Result<Client, String> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Client::builder()
        .tls_backend_preconfigured(tls)
        .user_agent(concat!("crateyard/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(patience)
        .read_timeout(patience)
        .build()
        .map_err(|error| innermost(&error))
}

/// Fetches what is at `url` into `out`: at most `limit` bytes, and nothing if the server still has
/// the version with `tag`. Redirects are followed.
///
/// # Errors
/// When the server can't be reached, answers something else, sends more, or breaks off; `out` may
/// hold a part of it then.
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

/// The innermost cause, because the outer ones only repeat the address.
pub fn innermost(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}
