//! A binary cache behind a web server.

use std::time::Duration;

use crateyard_web::innermost;
use reqwest::{Client, StatusCode};

use crate::error::{Error, Result};
use crateyard_nix::{MAX_NARINFO, NarInfo};

/// The longest wait for a connection, or for the next byte.
const PATIENCE: Duration = Duration::from_secs(10);

/// A binary cache behind a web server.
#[derive(Clone, Debug)]
pub struct Http {
    url: String,
    client: Client,
}

impl Http {
    /// Creates a client for the cache at `url`.
    ///
    /// # Errors
    /// Fails if TLS can't be set up.
    pub fn new(url: &str) -> Result<Http> {
        let failed = |reason: String| Error::Unreachable {
            url: url.to_owned(),
            reason,
        };
        let client = crateyard_web::client(PATIENCE).map_err(failed)?;
        Ok(Http {
            url: url.trim_end_matches('/').to_owned(),
            client,
        })
    }

    /// Fetches the narinfo of the path with this hash.
    ///
    /// # Errors
    /// Fails if the server can't be reached, or if it sends something else.
    pub async fn narinfo(&self, hash: &str) -> Result<Option<NarInfo>> {
        let url = format!("{}/{hash}.narinfo", self.url);
        let failed = |reason: String| Error::Unreachable {
            url: url.clone(),
            reason,
        };
        let broken = |error: reqwest::Error| failed(innermost(&error));
        let mut reply = self.client.get(&url).send().await.map_err(broken)?;
        match reply.status() {
            // Object stores answer "forbidden" for missing objects.
            StatusCode::NOT_FOUND | StatusCode::FORBIDDEN | StatusCode::GONE => return Ok(None),
            StatusCode::OK => {}
            status => return Err(failed(format!("answers {status}"))),
        }
        let mut bytes = Vec::new();
        while let Some(piece) = reply.chunk().await.map_err(broken)? {
            bytes.extend_from_slice(&piece);
            if bytes.len() as u64 > MAX_NARINFO {
                return Err(failed("the answer is too large for a narinfo".to_owned()));
            }
        }
        let info = NarInfo::parse(&String::from_utf8_lossy(&bytes), &url)?;
        Ok(Some(info))
    }
}
