//! One repository: the requests of the distribution specification, each a method.

use std::sync::Arc;

use bytes::Bytes;
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, LOCATION, RANGE};
use reqwest::{Method, StatusCode, Url};

use crate::content::{Descriptor, MAX_MANIFEST_SIZE, Manifest, media_type};
use crate::digest::Digest;
use crate::error::{Error, Failure, Kind};
use crate::reference::{Reference, Version};
use crate::transport::{Call, Target, Transport};
use crate::wire::{Payload, Reply, Trouble, describe};

const CONTENT_DIGEST: &str = "docker-content-digest";
const CHUNK_MINIMUM: &str = "oci-chunk-min-length";
const SUBJECT: &str = "oci-subject";
const MAX_REDIRECTS: usize = 5;

/// A repository of a registry.
///
/// Methods that look for something answer `None` where it is not there; all other refusals are errors.
#[derive(Clone)]
pub struct Repository {
    reference: Reference,
    transport: Arc<Transport>,
    actions: &'static str,
}

/// What a registry says of a manifest without sending it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// The manifest's digest.
    pub digest: Digest,
}

/// A blob on its way here.
pub struct Download {
    reply: Reply,
    reference: String,
    /// Where in the blob the first byte belongs: 0 where the registry does not send parts.
    pub offset: u64,
}

/// An upload that the registry has opened.
#[derive(Clone, Debug)]
pub(crate) struct Session {
    pub location: Url,
    /// How many bytes the registry has.
    pub offset: u64,
    /// The smallest chunk it takes, except for the last one.
    pub chunk_minimum: u64,
}

/// How a registry answers the wish to mount a blob.
pub(crate) enum Mount {
    Done,
    /// It does not, but opened an upload.
    Opened(Session),
    Declined,
}

/// Who has the list of an image's referrers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReferrersKeeper {
    /// The registry (referrers API).
    Registry,
    /// A tag that clients maintain.
    Tag,
}

impl Repository {
    pub(crate) fn new(reference: Reference, transport: Arc<Transport>) -> Repository {
        Repository {
            reference,
            transport,
            actions: "pull",
        }
    }

    /// The same repository, asking for tokens that allow to push.
    pub fn for_push(&self) -> Repository {
        Repository {
            actions: "pull,push",
            ..self.clone()
        }
    }

    /// Its name.
    pub fn reference(&self) -> &Reference {
        &self.reference
    }

    pub(crate) fn transport(&self) -> &Transport {
        &self.transport
    }

    /// The manifest's digest, by a HEAD request.
    ///
    /// # Errors
    /// When the registry refuses or cannot be reached.
    pub async fn resolve(&self, version: &Version) -> Result<Option<Resolved>, Error> {
        let call = self
            .call(Method::HEAD, &format!("manifests/{version}"), Some(version))
            .accept(&media_type::ALL);
        let reply = self.transport.send(&call).await?;
        match reply.status() {
            StatusCode::NOT_FOUND => return Ok(None),
            status if !status.is_success() => return Err(self.refusal(Some(version), reply).await),
            _ => {}
        }
        match (reply.header(CONTENT_DIGEST), version) {
            (Some(text), _) => {
                let digest = text
                    .parse()
                    .map_err(|error: Error| self.contradiction(&reply, error.to_string()))?;
                Ok(Some(Resolved { digest }))
            }
            (None, Version::Digest(digest)) => Ok(Some(Resolved {
                digest: digest.clone(),
            })),
            // The header is optional; the bytes themselves tell.
            (None, Version::Tag(_)) => Ok(self
                .manifest(version)
                .await?
                .map(|it| Resolved { digest: it.digest })),
        }
    }

    /// The manifest or index, with its digest verified.
    ///
    /// # Errors
    /// When the registry refuses, cannot be reached, or sends something else than was asked for.
    pub async fn manifest(&self, version: &Version) -> Result<Option<Manifest>, Error> {
        let call = self
            .call(Method::GET, &format!("manifests/{version}"), Some(version))
            .accept(&media_type::ALL);
        let (request, announced, media_type, bytes) = match self.get_small(&call).await? {
            Some(got) => got,
            None => return Ok(None),
        };
        let wrong = |detail: String| self.contradiction_of(request.clone(), detail);
        let expected = match version {
            Version::Digest(digest) => Some(digest.clone()),
            Version::Tag(_) => announced.and_then(|text| text.parse().ok()),
        };
        let digest = expected.unwrap_or_else(|| Digest::of(&bytes));
        if !digest.matches(&bytes) {
            return Err(wrong(format!(
                "sent bytes with the digest {}, not {digest}",
                Digest::of(&bytes)
            )));
        }
        Manifest::parse(bytes, digest, media_type.as_deref())
            .map(Some)
            .map_err(wrong)
    }

    /// Stores a manifest under `version`, and says whether the registry lists it as a referrer of its subject.
    ///
    /// # Errors
    /// When the registry refuses, cannot be reached, or stores it under another digest.
    pub async fn put_manifest(
        &self,
        version: &Version,
        manifest: &Manifest,
    ) -> Result<bool, Error> {
        let mut call = self.call(Method::PUT, &format!("manifests/{version}"), Some(version));
        call.headers
            .insert(CONTENT_TYPE, header(&manifest.media_type));
        call.payload = Payload::Bytes(manifest.bytes.clone());
        let reply = self.transport.send(&call).await?;
        if !reply.status().is_success() {
            return Err(self.refusal(Some(version), reply).await);
        }
        self.check_digest(&reply, &manifest.digest)?;
        Ok(reply.header(SUBJECT).is_some())
    }

    /// Whether the repository has a blob, by a HEAD request.
    ///
    /// # Errors
    /// When the registry refuses or cannot be reached.
    pub async fn has_blob(&self, digest: &Digest) -> Result<bool, Error> {
        let mut call = self.call(Method::HEAD, &format!("blobs/{digest}"), None);
        for _ in 0..=MAX_REDIRECTS {
            let reply = self.transport.send(&call).await?;
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

    /// Opens a blob for reading from byte `offset` on. Its bytes are not verified here.
    ///
    /// # Errors
    /// When the registry refuses, cannot be reached, or has no such blob.
    pub async fn blob(&self, digest: &Digest, offset: u64) -> Result<Download, Error> {
        let mut call = self.call(Method::GET, &format!("blobs/{digest}"), None);
        if offset > 0 {
            call.headers
                .insert(RANGE, header(&format!("bytes={offset}-")));
        }
        self.download(call, offset).await
    }

    /// Opens `length` bytes of a blob from byte `offset` on. A registry that sends no parts sends the whole blob:
    /// [`Download::offset`] says so.
    ///
    /// # Errors
    /// When the registry refuses, cannot be reached, or has no such blob.
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

    /// The referrers of `subject` and who keeps the list. `skip_api` saves a request where the registry is known to
    /// lack the API.
    ///
    /// # Errors
    /// When the registry refuses or cannot be reached.
    pub async fn referrers(
        &self,
        subject: &Digest,
        skip_api: bool,
    ) -> Result<(Vec<Descriptor>, ReferrersKeeper), Error> {
        if !skip_api {
            let call = self
                .call(Method::GET, &format!("referrers/{subject}"), None)
                .accept(&[media_type::INDEX]);
            if let Some((request, _, _, bytes)) = self.get_small(&call).await? {
                let index =
                    Manifest::parse(bytes.clone(), Digest::of(&bytes), Some(media_type::INDEX))
                        .map_err(|reason| self.contradiction_of(request, reason))?;
                return Ok((index.manifests, ReferrersKeeper::Registry));
            }
        }
        let index = self.manifest(&Version::Tag(referrers_tag(subject))).await?;
        Ok((
            index.map(|index| index.manifests).unwrap_or_default(),
            ReferrersKeeper::Tag,
        ))
    }

    /// Adds `referrer` to the list that clients maintain under a tag, for registries without the referrers API.
    ///
    /// # Errors
    /// When the registry refuses or cannot be reached.
    pub async fn add_referrer(&self, subject: &Digest, referrer: &Descriptor) -> Result<(), Error> {
        let (mut listed, _) = self.referrers(subject, true).await?;
        if listed.iter().any(|known| known.digest == referrer.digest) {
            return Ok(());
        }
        listed.push(referrer.clone());
        let index = serde_json::json!({
            "schemaVersion": 2,
            "mediaType": media_type::INDEX,
            "manifests": listed,
        });
        let bytes = Bytes::from(index.to_string());
        let digest = Digest::of(&bytes);
        let index = Manifest::parse(bytes, digest, Some(media_type::INDEX))
            .map_err(|reason| self.contradiction_of("referrers index".to_owned(), reason))?;
        self.put_manifest(&Version::Tag(referrers_tag(subject)), &index)
            .await?;
        Ok(())
    }

    /// Opens an upload.
    pub(crate) async fn begin_upload(&self) -> Result<Session, Error> {
        let call = self.call(Method::POST, "blobs/uploads/", None);
        let reply = self.transport.send(&call).await?;
        if reply.status() != StatusCode::ACCEPTED {
            return Err(self.refusal(None, reply).await);
        }
        self.session(&reply)
    }

    /// Asks the registry to take `digest` over from `from`, another of its repositories.
    pub(crate) async fn mount(&self, digest: &Digest, from: &str) -> Result<Mount, Error> {
        let mut call = self.call(
            Method::POST,
            &format!("blobs/uploads/?mount={digest}&from={from}"),
            None,
        );
        // A token has to allow reading there too.
        call.scopes.push(format!("repository:{from}:pull"));
        let reply = match self.transport.send(&call).await {
            Ok(reply) => reply,
            // Whoever may not read there may still upload here.
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

    /// Closes an upload that is not wanted any more. Whether the registry agrees does not matter.
    pub(crate) async fn cancel_upload(&self, session: &Session) {
        let mut call = self.call(Method::DELETE, "", None);
        call.target = Target::Url(session.location.clone());
        let _ = self.transport.send_once(&call).await;
    }

    /// How far an upload got; `None` where the registry does not know it (any more).
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
        // Registries write "0-0" for nothing as well as for one byte; no chunk is as short as that.
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

    /// An upload's address that was remembered; none where it is not one that the registry may name.
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

    /// The place that an answer names.
    pub(crate) fn location(&self, reply: &Reply) -> Result<Url, Error> {
        let location = reply
            .headers()
            .get(LOCATION)
            .and_then(|value| value.to_str().ok())
            .ok_or_else(|| self.contradiction(reply, "the answer names no Location".to_owned()))?;
        self.transport
            .resolve(&reply.url, location)
            .map_err(|reason| self.contradiction(reply, reason))
    }

    /// An answer that names another digest than the one that was sent is a registry that stored something else.
    pub(crate) fn check_digest(&self, reply: &Reply, digest: &Digest) -> Result<(), Error> {
        match reply.header(CONTENT_DIGEST) {
            Some(other) if other != digest.as_str() => {
                Err(self.contradiction(reply, format!("stored {other}, not {digest}")))
            }
            _ => Ok(()),
        }
    }

    pub(crate) fn call(&self, method: Method, path: &str, version: Option<&Version>) -> Call {
        Call {
            method,
            target: Target::Path(format!("/v2/{}/{path}", self.reference.repository())),
            headers: HeaderMap::new(),
            payload: Payload::Empty,
            weight: 0,
            scopes: vec![format!(
                "repository:{}:{}",
                self.reference.repository(),
                self.actions
            )],
            repository: self.reference.clone(),
            reference: self.name(version),
        }
    }

    /// Sends a GET request and follows where its answer leads.
    async fn follow(&self, mut call: Call) -> Result<Reply, Error> {
        for _ in 0..=MAX_REDIRECTS {
            let reply = self.transport.send(&call).await?;
            if !reply.status().is_redirection() || reply.header("location").is_none() {
                return Ok(reply);
            }
            call.target = Target::Url(self.location(&reply)?);
        }
        Err(self.contradiction_of(
            call.describe(),
            format!("more than {MAX_REDIRECTS} redirects"),
        ))
    }

    /// Fetches something small: the request, the digest and the type that were announced, and the bytes. An answer
    /// that breaks off is asked for again.
    async fn get_small(
        &self,
        call: &Call,
    ) -> Result<Option<(String, Option<String>, Option<String>, Bytes)>, Error> {
        let mut attempts = self.transport.attempts(&call.reference);
        loop {
            let reply = self.follow(call.clone()).await?;
            match reply.status() {
                StatusCode::NOT_FOUND => return Ok(None),
                status if !status.is_success() => {
                    return Err(self
                        .transport
                        .refusal(&self.reference, &call.reference, reply)
                        .await);
                }
                _ => {}
            }
            let request = reply.request.clone();
            let announced = reply.header(CONTENT_DIGEST).map(str::to_owned);
            let media_type = reply
                .header("content-type")
                .map(|text| text.split(';').next().unwrap_or_default().trim().to_owned());
            match reply.response_bytes(MAX_MANIFEST_SIZE as usize).await {
                Ok(bytes) => return Ok(Some((request, announced, media_type, bytes))),
                Err(cause) => attempts.pause(Trouble::transient(&request, cause)).await?,
            }
        }
    }

    pub(crate) async fn refusal(&self, version: Option<&Version>, reply: Reply) -> Error {
        let name = self.name(version);
        self.transport.refusal(&self.reference, &name, reply).await
    }

    pub(crate) fn contradiction(&self, reply: &Reply, detail: String) -> Error {
        self.contradiction_of(reply.request.clone(), detail)
    }

    pub(crate) fn contradiction_of(&self, request: String, detail: String) -> Error {
        let remedy = "try again; where it stays so, the registry or a proxy before it is at fault"
            .to_owned();
        let reference = self.reference.to_string();
        Failure {
            reference,
            request,
            kind: Kind::Contradiction,
            detail,
            remedy,
        }
        .into()
    }

    /// The name for messages.
    fn name(&self, version: Option<&Version>) -> String {
        match version {
            None => self.reference.to_string(),
            Some(Version::Tag(tag)) => format!("{}:{tag}", self.reference),
            Some(Version::Digest(digest)) => format!("{}@{digest}", self.reference),
        }
    }
}

impl Download {
    /// The next piece, `None` at the end.
    ///
    /// # Errors
    /// When the connection breaks or stalls; what came before is good.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, Error> {
        self.piece().await.map_err(|detail| {
            let (reference, request) = (self.reference.clone(), self.reply.request.clone());
            Failure {
                reference,
                request,
                kind: Kind::Unreachable,
                detail,
                remedy: "try again".to_owned(),
            }
            .into()
        })
    }

    pub(crate) async fn piece(&mut self) -> Result<Option<Bytes>, String> {
        self.reply.chunk().await
    }

    pub(crate) fn request(&self) -> &str {
        &self.reply.request
    }
}

impl Call {
    fn accept(mut self, types: &[&str]) -> Call {
        self.headers.insert(ACCEPT, header(&types.join(", ")));
        self
    }

    fn describe(&self) -> String {
        match &self.target {
            Target::Path(path) => format!("{} {path}", self.method),
            Target::Url(url) => describe(&self.method, url),
        }
    }
}

/// The tag under which clients list the referrers of `subject`.
///
/// See [the specification](https://github.com/opencontainers/distribution-spec/blob/main/spec.md#referrers-tag-schema).
fn referrers_tag(subject: &Digest) -> String {
    let hex = subject.hex();
    format!("{}-{}", subject.algorithm(), &hex[..hex.len().min(64)])
}

/// The number of bytes that `0-99`, or the older `bytes=0-99`, stands for.
pub(crate) fn parse_range(text: &str) -> Option<u64> {
    let (first, last) = text.trim().trim_start_matches("bytes=").split_once('-')?;
    if first.trim() != "0" {
        return None;
    }
    last.trim().parse::<u64>().ok()?.checked_add(1)
}

/// A header value of text that has no control characters by construction.
fn header(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static(""))
}

/// A header of a request.
pub(crate) fn set_header(call: &mut Call, name: HeaderName, value: &str) {
    call.headers.insert(name, header(value));
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
