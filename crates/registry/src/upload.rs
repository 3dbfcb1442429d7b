//! Uploads one blob: in chunks, which can be resumed, or in one request if the registry takes no
//! chunks.
//!
//! See [pushing a
//! blob](https://github.com/opencontainers/distribution-spec/blob/main/spec.md#pushing-blobs).

use std::sync::atomic::Ordering;

use crateyard_oci::{Digest, Stored};
use reqwest::header::{CONTENT_RANGE, CONTENT_TYPE};
use reqwest::{Method, StatusCode};

use crate::attempts::LEAST_PROGRESS;
use crate::body::Part;
use crate::error::Error;
use crate::learned::{Begun, Learned};
use crate::progress::Event;
use crate::repository::{Repository, Session, parse_range, set_header};
use crate::transport::{Call, Target};
use crate::wire::{Payload, Reply, Trouble, server_message};

/// The smallest chunk to try, in bytes. A registry that refuses even this refuses everything.
const SMALLEST_CHUNK: u64 = 256 * 1024;

/// The result of an upload.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Uploaded {
    /// Bytes that an earlier run had already sent.
    pub resumed: u64,
}

/// The upload of one blob to a repository.
pub(crate) struct Upload<'a> {
    pub repository: &'a Repository,
    pub learned: &'a Learned,
    pub blob: Stored,
    pub digest: &'a Digest,
    /// The size of a chunk in bytes.
    pub chunk_size: u64,
}

/// The reason why an attempt failed.
enum Setback {
    /// The connection or the registry failed for now. Ask how far the upload got.
    Interrupted(Trouble),
    /// The registry lost or damaged the upload. Begin another one.
    Lost(Trouble),
    /// The registry takes no chunks. Send the blob in one request.
    ChunksRefused { request: String, status: StatusCode },
    /// The chunk is too large. Send smaller ones.
    TooLarge {
        length: u64,
        minimum: u64,
        error: Error,
    },
}

impl From<Error> for Setback {
    fn from(error: Error) -> Setback {
        Setback::Interrupted(Trouble::Fatal(error))
    }
}

impl Upload<'_> {
    /// Sends the blob. Uses `session` if the registry has already opened one.
    pub(crate) async fn run(&self, session: Option<Session>) -> Result<Uploaded, Error> {
        let mut session = match self.remembered().await? {
            Some(remembered) => Some(remembered),
            None => session,
        };
        let mut uploaded = Uploaded {
            resumed: session.as_ref().map_or(0, |session| session.offset),
        };
        let reference = self.repository.reference().to_string();
        let mut attempts = self.repository.transport().attempts(&reference);
        attempts.reach(uploaded.resumed);
        loop {
            let offset = session.as_ref().map_or(0, |session| session.offset);
            self.tell(Event::Blob {
                digest: self.digest,
                offset,
                size: self.blob.size(),
            });
            uploaded.resumed = uploaded.resumed.min(offset);
            let Err(setback) = self.attempt(&mut session).await else {
                break;
            };
            attempts.reach(session.as_ref().map_or(0, |session| session.offset));
            match setback {
                Setback::Interrupted(trouble) => {
                    attempts.pause(trouble).await?;
                    // The registry may have the blob, and only its answer was lost.
                    if self.repository.has_blob(self.digest).await? {
                        break;
                    }
                    session = self.locate(session).await?;
                }
                Setback::Lost(trouble) => {
                    session = None;
                    self.forget();
                    attempts.pause(trouble).await?;
                }
                Setback::ChunksRefused { request, status } => {
                    self.refuse_chunks(&request, status);
                    if let Some(session) = session.take() {
                        self.repository.cancel_upload(&session).await;
                    }
                    self.forget();
                }
                Setback::TooLarge {
                    length,
                    minimum,
                    error,
                } => self.shrink_chunks(length, minimum, error)?,
            }
        }
        self.forget();
        Ok(uploaded)
    }

    /// Makes one attempt: opens an upload if there is none, sends the missing bytes, and closes it.
    async fn attempt(&self, session: &mut Option<Session>) -> Result<(), Setback> {
        let current = match session {
            Some(current) => current,
            None => session.insert(self.repository.begin_upload().await?),
        };
        let chunk = self.chunk_length(current);
        if current.offset == 0 && self.blob.size() <= chunk {
            return self.put_whole(current).await;
        }
        while current.offset < self.blob.size() {
            let length = self
                .chunk_length(current)
                .min(self.blob.size() - current.offset);
            self.send_chunk(current, length).await?;
            self.learned.set_begun(
                self.repository.reference(),
                self.digest,
                &Begun {
                    location: current.location.to_string(),
                },
            );
        }
        self.close(current).await
    }

    /// Returns how many bytes the next request carries: all, if the registry takes no chunks.
    fn chunk_length(&self, session: &Session) -> u64 {
        let limits = &self.repository.transport().limits;
        if limits.refuses_chunks.load(Ordering::Relaxed) {
            return u64::MAX;
        }
        let wanted = self
            .chunk_size
            .min(limits.largest_chunk.load(Ordering::Relaxed));
        wanted.max(session.chunk_minimum).max(1)
    }

    /// Sends the whole blob with PUT, after the POST that opened the upload.
    async fn put_whole(&self, session: &Session) -> Result<(), Setback> {
        let mut call = self.call(Method::PUT, session);
        self.name_digest(&mut call);
        call.payload = self.part(0, self.blob.size());
        let reply = self.send(&call).await?;
        match reply.status() {
            _ if reply.is_stored() => Ok(self.repository.check_digest(&reply, self.digest)?),
            StatusCode::PAYLOAD_TOO_LARGE => {
                Err(self.too_large(session, self.blob.size(), reply).await)
            }
            _ => Err(self.judge_close(reply).await),
        }
    }

    /// Sends the next `length` bytes with PATCH.
    async fn send_chunk(&self, session: &mut Session, length: u64) -> Result<(), Setback> {
        let (begin, end) = (session.offset, session.offset + length);
        let mut call = self.call(Method::PATCH, session);
        set_header(&mut call, CONTENT_RANGE, &format!("{begin}-{}", end - 1));
        call.payload = self.part(begin, length);
        let reply = self.send(&call).await?;
        let status = reply.status();
        let request = reply.request.clone();
        match status.as_u16() {
            // The specification says 202; some registries answer 201 or 204 and mean the same.
            200..=299 => self.advance(session, end, &reply),
            413 => Err(self.too_large(session, length, reply).await),
            // The first chunk was refused, so this registry takes none. Registries say so in
            // different ways.
            400 | 404 | 405 | 411 | 415 | 416 | 501 if begin == 0 => {
                Err(Setback::ChunksRefused { request, status })
            }
            // A later chunk was refused: the upload was lost, or has another length than expected.
            404 => Err(self.lost(reply).await),
            416 => {
                let trouble = Trouble::transient(&request, status.to_string());
                match self.repository.upload_status(session).await? {
                    Some(located)
                        if located.offset != begin && located.offset <= self.blob.size() =>
                    {
                        *session = located;
                        Err(Setback::Interrupted(trouble))
                    }
                    _ => Err(Setback::Lost(trouble)),
                }
            }
            // This registry takes only one chunk.
            400 | 405 | 501 => Err(Setback::ChunksRefused { request, status }),
            _ => Err(self.repository.refusal(None, reply).await.into()),
        }
    }

    /// Updates the session from the registry's answer to a chunk.
    fn advance(&self, session: &mut Session, end: u64, reply: &Reply) -> Result<(), Setback> {
        // Some registries name the finished blob here, or nothing. Then send the next chunk to the
        // same URL.
        if let Some(text) = reply.header("location") {
            let is_upload = text.contains("/uploads/") || !text.contains("/blobs/sha");
            if is_upload {
                session.location = self.repository.location(reply)?;
            }
        }
        // If the registry does not say how far it got, it has everything.
        let reached = reply.header("range").and_then(parse_range).unwrap_or(end);
        let begin = session.offset;
        if reached > end {
            let detail =
                format!("the registry has {reached} bytes of a blob, but only {end} were sent");
            return Err(Setback::Lost(Trouble::transient(&reply.request, detail)));
        }
        session.offset = if reached <= 1 { 0 } else { reached };
        if session.offset < end && session.offset < begin.saturating_add(LEAST_PROGRESS) {
            let detail = format!(
                "the registry took almost nothing of a chunk and is at byte {}",
                session.offset
            );
            return Err(Setback::Interrupted(Trouble::transient(
                &reply.request,
                detail,
            )));
        }
        Ok(())
    }

    /// Closes the upload with a PUT without a body, after the last chunk.
    async fn close(&self, session: &Session) -> Result<(), Setback> {
        let mut call = self.call(Method::PUT, session);
        self.name_digest(&mut call);
        let reply = self.send(&call).await?;
        if reply.is_stored() {
            return Ok(self.repository.check_digest(&reply, self.digest)?);
        }
        Err(self.judge_close(reply).await)
    }

    /// Interprets a refused PUT.
    async fn judge_close(&self, reply: Reply) -> Setback {
        match reply.status() {
            StatusCode::NOT_FOUND | StatusCode::RANGE_NOT_SATISFIABLE => self.lost(reply).await,
            // The registry computed another digest. Either it received wrong bytes, or the local
            // file is wrong.
            StatusCode::BAD_REQUEST => match self.check_local().await {
                Err(error) => {
                    self.forget();
                    error.into()
                }
                Ok(()) => self.lost(reply).await,
            },
            _ => self.repository.refusal(None, reply).await.into(),
        }
    }

    async fn lost(&self, reply: Reply) -> Setback {
        let request = reply.request.clone();
        let status = reply.status();
        let said = reply.response_bytes(64 * 1024).await.unwrap_or_default();
        let cause = format!("{status}{}", server_message(&said));
        Setback::Lost(Trouble::transient(&request, cause))
    }

    async fn too_large(&self, session: &Session, length: u64, reply: Reply) -> Setback {
        let error = self.repository.refusal(None, reply).await;
        Setback::TooLarge {
            length,
            minimum: session.chunk_minimum,
            error,
        }
    }

    /// Whether the file has the digest that its name claims.
    async fn check_local(&self) -> Result<(), Error> {
        let (blob, digest) = (self.blob.clone(), self.digest.clone());
        let computed = tokio::task::spawn_blocking(move || blob.digest(&digest)).await;
        let reason = match computed {
            Ok(Ok(computed)) if computed == *self.digest => return Ok(()),
            Ok(Ok(computed)) => format!("its bytes have the digest {computed}"),
            Ok(Err(error)) => format!("cannot be read: {error}"),
            Err(error) => error.to_string(),
        };
        let place = format!("blob {}", self.digest);
        Err(Error::Source {
            place,
            reason,
            remedy: "write the layout again; it is damaged".to_owned(),
        })
    }

    /// Asks how far an interrupted upload got.
    async fn locate(&self, session: Option<Session>) -> Result<Option<Session>, Error> {
        let Some(session) = session else {
            return Ok(None);
        };
        // An upload in one request cannot be resumed.
        if self.blob.size() <= self.chunk_length(&session) {
            return Ok(None);
        }
        let located = self.repository.upload_status(&session).await?;
        Ok(located.filter(|located| located.offset <= self.blob.size()))
    }

    /// Returns the upload of an earlier run, if the registry still has it.
    async fn remembered(&self) -> Result<Option<Session>, Error> {
        let Some(begun) = self.learned.begun(self.repository.reference(), self.digest) else {
            return Ok(None);
        };
        let session = self.repository.remembered_session(&begun.location);
        let located = self.locate(session).await?;
        if located.is_none() {
            self.forget();
        }
        Ok(located)
    }

    fn forget(&self) {
        self.learned.end(self.repository.reference(), self.digest);
    }

    fn refuse_chunks(&self, request: &str, status: StatusCode) {
        let limits = &self.repository.transport().limits;
        if !limits.refuses_chunks.swap(true, Ordering::Relaxed) {
            let message = format!(
                "{request}: {status}: the registry takes no chunks; sending each blob in one \
                 request"
            );
            self.tell(Event::Notice { message: &message });
        }
    }

    /// Halves the size of chunks. Fails if the registry takes no chunks or no smaller ones.
    fn shrink_chunks(&self, length: u64, minimum: u64, error: Error) -> Result<(), Error> {
        let limits = &self.repository.transport().limits;
        if limits.refuses_chunks.load(Ordering::Relaxed) || length <= minimum {
            return Err(error);
        }
        if length > limits.largest_chunk.load(Ordering::Relaxed) {
            // Another upload has already reduced the size.
            return Ok(());
        }
        let smaller = length.min(self.chunk_size) / 2;
        if smaller < SMALLEST_CHUNK {
            return Err(error);
        }
        limits.largest_chunk.fetch_min(smaller, Ordering::Relaxed);
        let message = format!(
            "the registry refuses requests of {length} bytes; sending chunks of {smaller} bytes now"
        );
        self.tell(Event::Notice { message: &message });
        Ok(())
    }

    async fn send(&self, call: &Call) -> Result<Reply, Setback> {
        self.repository
            .transport()
            .send_once(call)
            .await
            .map_err(Setback::Interrupted)
    }

    fn call(&self, method: Method, session: &Session) -> Call {
        let mut call = self.repository.call(method, "", None);
        call.target = Target::Url(session.location.clone());
        set_header(&mut call, CONTENT_TYPE, "application/octet-stream");
        call
    }

    /// Names the digest, so that the registry checks and keeps the blob.
    fn name_digest(&self, call: &mut Call) {
        call.weight = self.blob.size();
        if let Target::Url(url) = &mut call.target {
            url.query_pairs_mut()
                .append_pair("digest", self.digest.as_str());
        }
    }

    fn part(&self, offset: u64, length: u64) -> Payload {
        if length == 0 {
            return Payload::Empty;
        }
        Payload::Part(Part {
            blob: self.blob.clone(),
            digest: self.digest.clone(),
            offset,
            length,
        })
    }

    fn tell(&self, event: Event<'_>) {
        self.repository.transport().progress().event(event);
    }
}

/// Returns the error for a blob that the image needs but the source lacks.
pub(crate) fn missing_blob(place: &str, digest: &Digest) -> Error {
    Error::Source {
        place: format!("{place}: blob {digest}"),
        reason: "missing".to_owned(),
        remedy: "write the layout again, or push to a registry that has the blob".to_owned(),
    }
}
