//! Requests for blobs.

use bytes::Bytes;
use crateyard_oci::Digest;
use reqwest::header::RANGE;
use reqwest::{Method, StatusCode};

use super::{MAX_REDIRECTS, Repository, header};
use crate::error::{Error, Failure, Kind};
use crate::progress::Event;
use crate::transport::{Call, Target};
use crate::wire::Reply;

/// A blob that is being received.
pub struct Download {
    reply: Reply,
    reference: String,
    /// The offset of the first byte in the blob. It is 0 if the registry does not send parts.
    pub offset: u64,
}

impl Repository {
    /// Asks with a HEAD request whether the repository has a blob. If the registry keeps answering
    /// 500, the blob counts as missing: a registry that was killed while it stored a blob may
    /// answer so until the blob is sent again.
    ///
    /// # Errors
    /// Fails if the registry refuses or cannot be reached.
    pub async fn has_blob(&self, digest: &Digest) -> Result<bool, Error> {
        let mut call = self.call(Method::HEAD, &format!("blobs/{digest}"), None);
        for _ in 0..=MAX_REDIRECTS {
            let reply = match self.transport.ask(&call).await? {
                Ok(reply) => reply,
                Err(cause) => {
                    let message = format!(
                        "{}: {cause}: assuming that the blob is missing",
                        call.describe()
                    );
                    let progress = self.transport.progress();
                    progress.event(Event::Notice { message: &message });
                    return Ok(false);
                }
            };
            match reply.status() {
                status if status.is_success() => return Ok(true),
                StatusCode::NOT_FOUND => return Ok(false),
                status if status.is_redirection() && reply.header("location").is_some() => {
                    call.target = Target::Url(self.location(&reply)?);
                }
                _ => return Err(self.refusal(None, reply).await),
            }
        }
        Err(self.contradiction_of(
            call.describe(),
            format!("more than {MAX_REDIRECTS} redirects"),
        ))
    }

    /// Opens a blob for reading from byte `offset` on. Does not verify its bytes.
    ///
    /// # Errors
    /// Fails if the registry refuses, cannot be reached, or has no such blob.
    pub async fn blob(&self, digest: &Digest, offset: u64) -> Result<Download, Error> {
        let mut call = self.call(Method::GET, &format!("blobs/{digest}"), None);
        if offset > 0 {
            call.headers
                .insert(RANGE, header(&format!("bytes={offset}-")));
        }
        self.download(call, offset).await
    }

    /// Opens `length` bytes of a blob from byte `offset` on. A registry may send the whole blob
    /// instead; see [`Download::offset`].
    ///
    /// # Errors
    /// Fails if the registry refuses, cannot be reached, or has no such blob.
    pub async fn blob_part(
        &self,
        digest: &Digest,
        offset: u64,
        length: u64,
    ) -> Result<Download, Error> {
        let mut call = self.call(Method::GET, &format!("blobs/{digest}"), None);
        let last = offset + length.max(1) - 1;
        call.headers
            .insert(RANGE, header(&format!("bytes={offset}-{last}")));
        self.download(call, offset).await
    }

    async fn download(&self, call: Call, offset: u64) -> Result<Download, Error> {
        let reply = self.follow(call).await?;
        if !reply.status().is_success() {
            return Err(self.refusal(None, reply).await);
        }
        let is_part = reply.status() == StatusCode::PARTIAL_CONTENT;
        let begins = reply.header("content-range").and_then(|range| {
            range
                .strip_prefix("bytes ")?
                .split('-')
                .next()?
                .trim()
                .parse::<u64>()
                .ok()
        });
        let offset = if is_part { begins.unwrap_or(offset) } else { 0 };
        Ok(Download {
            reply,
            reference: self.reference.to_string(),
            offset,
        })
    }
}

impl Download {
    /// Receives the next piece. Returns `None` at the end.
    ///
    /// # Errors
    /// Fails if the connection breaks or stalls. The earlier pieces are still good.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, Error> {
        let piece = self.piece().await;
        piece.map_err(|detail| broken(&self.reference, self.request(), detail))
    }

    /// Receives all of a small blob; `None` if it has more than `limit` bytes. Fails as
    /// [`Download::chunk`] does, and if the blob takes minutes.
    pub(crate) async fn bytes_within(self, limit: usize) -> Result<Option<Bytes>, Error> {
        let request = self.reply.request.clone();
        let bytes = self.reply.bytes_within(limit).await;
        bytes.map_err(|detail| broken(&self.reference, &request, detail))
    }

    pub(crate) async fn piece(&mut self) -> Result<Option<Bytes>, String> {
        self.reply.chunk().await
    }

    pub(crate) fn request(&self) -> &str {
        &self.reply.request
    }
}

/// The error for a blob that stopped on its way.
fn broken(reference: &str, request: &str, detail: String) -> Error {
    Failure {
        reference: reference.to_owned(),
        request: request.to_owned(),
        kind: Kind::Unreachable,
        detail,
        remedy: "try again".to_owned(),
    }
    .into()
}
