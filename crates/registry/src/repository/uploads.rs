//! Requests for uploads and mounts. [`crate::upload`] combines them to send a blob.

use crateyard_oci::Digest;
use reqwest::{Method, StatusCode, Url};

use super::Repository;
use crate::error::{Error, Kind};
use crate::transport::Target;
use crate::wire::Reply;

const CHUNK_MINIMUM: &str = "oci-chunk-min-length";

/// An upload that the registry has opened.
#[derive(Clone, Debug)]
pub(crate) struct Session {
    pub location: Url,
    /// The number of bytes that the registry has received.
    pub offset: u64,
    /// The smallest chunk that the registry takes, except for the last one.
    pub chunk_minimum: u64,
}

/// The answer of a registry to a mount request.
pub(crate) enum Mount {
    Done,
    /// The registry did not mount the blob, but opened an upload.
    Opened(Session),
    Declined,
}

impl Repository {
    /// Opens an upload.
    pub(crate) async fn begin_upload(&self) -> Result<Session, Error> {
        let call = self.call(Method::POST, "blobs/uploads/", None);
        let reply = self.transport.send(&call).await?;
        if reply.status() != StatusCode::ACCEPTED {
            return Err(self.refusal(None, reply).await);
        }
        self.session(&reply)
    }

    /// Asks the registry to mount the blob `digest` from `from`, another of its repositories.
    pub(crate) async fn mount(&self, digest: &Digest, from: &str) -> Result<Mount, Error> {
        let mut call = self.call(
            Method::POST,
            &format!("blobs/uploads/?mount={digest}&from={from}"),
            None,
        );
        // The token must also allow reading there.
        call.scopes.push(format!("repository:{from}:pull"));
        let reply = match self.transport.ask(&call).await {
            Ok(Ok(reply)) => reply,
            // The registry can't read the blob there.
            Ok(Err(_)) => return Ok(Mount::Declined),
            // The user may not read there, but may still upload here.
            Err(Error::Request(failure)) if failure.kind == Kind::Denied => {
                return Ok(Mount::Declined);
            }
            Err(error) => return Err(error),
        };
        match reply.status() {
            StatusCode::CREATED => {
                self.check_digest(&reply, digest)?;
                Ok(Mount::Done)
            }
            StatusCode::ACCEPTED => Ok(Mount::Opened(self.session(&reply)?)),
            _ => Ok(Mount::Declined),
        }
    }

    /// Cancels an upload. It does not matter if the registry refuses.
    pub(crate) async fn cancel_upload(&self, session: &Session) {
        let mut call = self.call(Method::DELETE, "", None);
        call.target = Target::Url(session.location.clone());
        let _ = self.transport.send_once(&call).await;
    }

    /// Asks how far an upload got. `None` if the registry does not know it.
    pub(crate) async fn upload_status(&self, session: &Session) -> Result<Option<Session>, Error> {
        let mut call = self.call(Method::GET, "", None);
        call.target = Target::Url(session.location.clone());
        let reply = self.transport.send(&call).await?;
        if !reply.status().is_success() {
            return Ok(None);
        }
        let Some(end) = reply.header("range").and_then(parse_range) else {
            return Ok(None);
        };
        // Registries write "0-0" for nothing and for one byte. No chunk has one byte, so it means
        // nothing.
        let offset = if end <= 1 { 0 } else { end };
        let location = match reply.header("location") {
            Some(_) => self.location(&reply)?,
            None => session.location.clone(),
        };
        Ok(Some(Session {
            location,
            offset,
            chunk_minimum: session.chunk_minimum,
        }))
    }

    /// Returns the session of an upload's URL from an earlier run, or `None` if the registry may
    /// not name that URL.
    pub(crate) fn remembered_session(&self, location: &str) -> Option<Session> {
        let url = Url::parse(location).ok()?;
        Some(Session {
            location: self.transport.resolve(&url, location).ok()?,
            offset: 0,
            chunk_minimum: 0,
        })
    }

    fn session(&self, reply: &Reply) -> Result<Session, Error> {
        let chunk_minimum = reply
            .header(CHUNK_MINIMUM)
            .and_then(|text| text.trim().parse().ok())
            .unwrap_or(0);
        Ok(Session {
            location: self.location(reply)?,
            offset: 0,
            chunk_minimum,
        })
    }
}

/// Returns the number of bytes in a range such as `0-99`, or the older `bytes=0-99`.
pub(crate) fn parse_range(text: &str) -> Option<u64> {
    let (first, last) = text.trim().trim_start_matches("bytes=").split_once('-')?;
    if first.trim() != "0" {
        return None;
    }
    last.trim().parse::<u64>().ok()?.checked_add(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_count_from_zero() {
        assert_eq!(parse_range("0-0"), Some(1));
        assert_eq!(parse_range("0-99"), Some(100));
        assert_eq!(parse_range("bytes=0-99"), Some(100));
        for odd in ["", "-", "5-9", "0-", "0-x", "0-18446744073709551615"] {
            assert_eq!(parse_range(odd), None, "{odd}");
        }
    }
}
