//! Requests for manifests, indexes and tags.

use std::sync::atomic::Ordering;

use crateyard_oci::{Digest, Document, ParseDigestError, TagOrDigest, media_type};
use reqwest::header::CONTENT_TYPE;
use reqwest::{Method, StatusCode};

use super::{CONTENT_DIGEST, Repository, header};
use crate::error::Error;
use crate::refusal::lacks_blobs;
use crate::transport::{Call, MAX_ERROR_BODY};
use crate::wire::{Payload, Reply, Trouble, server_message};

const SUBJECT: &str = "oci-subject";

/// The answer of a registry about a manifest that it does not send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// The manifest's digest.
    pub digest: Digest,
}

/// The answer of a registry to a manifest that was sent.
pub(crate) enum Put {
    /// The registry stored the manifest, and may list it as a referrer of its subject.
    Stored { is_listed: bool },
    /// The registry lacks, or does not see yet, a blob or manifest that this one names.
    Lacks(Trouble),
}

impl Repository {
    /// Finds a manifest's digest with a HEAD request, or with GET if the registry refuses HEAD.
    ///
    /// # Errors
    /// Fails if the registry refuses or cannot be reached.
    pub async fn resolve(&self, version: &TagOrDigest) -> Result<Option<Resolved>, Error> {
        let refuses_head = &self.transport.limits.refuses_head;
        if refuses_head.load(Ordering::Relaxed) {
            return self.resolve_by_get(version).await;
        }
        let call = self.manifest_call(Method::HEAD, version);
        let reply = self.transport.send(&call).await?;
        match reply.status() {
            StatusCode::NOT_FOUND => Ok(None),
            // Some registries and mirrors forbid HEAD, or answer so for a missing manifest. GET is
            // reliable.
            StatusCode::FORBIDDEN
            | StatusCode::METHOD_NOT_ALLOWED
            | StatusCode::NOT_IMPLEMENTED => {
                let resolved = self.resolve_by_get(version).await?;
                refuses_head.store(true, Ordering::Relaxed);
                Ok(resolved)
            }
            status if !status.is_success() => Err(self.refusal(Some(version), reply).await),
            _ => self.resolve_by_header(version, reply).await,
        }
    }

    async fn resolve_by_header(
        &self,
        version: &TagOrDigest,
        reply: Reply,
    ) -> Result<Option<Resolved>, Error> {
        match (reply.header(CONTENT_DIGEST), version) {
            (Some(text), _) => {
                let digest = text.parse().map_err(|error: ParseDigestError| {
                    self.contradiction(&reply, error.to_string())
                })?;
                Ok(Some(Resolved { digest }))
            }
            (None, TagOrDigest::Digest(digest)) => Ok(Some(Resolved {
                digest: digest.clone(),
            })),
            // The header is optional, so fetch the manifest and hash it.
            (None, TagOrDigest::Tag(_)) => self.resolve_by_get(version).await,
        }
    }

    async fn resolve_by_get(&self, version: &TagOrDigest) -> Result<Option<Resolved>, Error> {
        let manifest = self.manifest(version).await?;
        Ok(manifest.map(|it| Resolved { digest: it.digest }))
    }

    /// Fetches a manifest or index, and verifies its digest.
    ///
    /// # Errors
    /// Fails if the registry refuses, cannot be reached, or sends something else.
    pub async fn manifest(&self, version: &TagOrDigest) -> Result<Option<Document>, Error> {
        let call = self.manifest_call(Method::GET, version);
        let Some(small) = self.get_small(&call).await? else {
            return Ok(None);
        };
        let wrong = |detail: String| self.contradiction_of(small.request.clone(), detail);
        let expected = match version {
            TagOrDigest::Digest(digest) => Some(digest.clone()),
            TagOrDigest::Tag(_) => small
                .announced
                .as_deref()
                .and_then(|text| text.parse().ok()),
        };
        let bytes = small.bytes.clone();
        let digest = expected.unwrap_or_else(|| Digest::of(&bytes));
        if !digest.matches(&bytes) {
            let actual = Digest::of(&bytes);
            return Err(wrong(format!(
                "sent bytes with the digest {actual}, not {digest}"
            )));
        }
        let manifest = Document::parse(bytes, digest, small.media_type.as_deref());
        manifest.map(Some).map_err(wrong)
    }

    /// Stores a manifest under `version`, and returns whether the registry lists it as a referrer
    /// of its subject.
    ///
    /// # Errors
    /// Fails if the registry refuses, cannot be reached, or stores it under another digest.
    pub(crate) async fn put_manifest(
        &self,
        version: &TagOrDigest,
        manifest: &Document,
    ) -> Result<Put, Error> {
        let mut call = self.manifest_call(Method::PUT, version);
        call.headers
            .insert(CONTENT_TYPE, header(&manifest.media_type));
        call.payload = Payload::Bytes(manifest.bytes.clone());
        let reply = self.transport.send(&call).await?;
        if reply.is_stored() {
            self.check_digest(&reply, &manifest.digest)?;
            let is_listed = reply.header(SUBJECT).is_some();
            return Ok(Put::Stored { is_listed });
        }
        let (status, request, url) = (reply.status(), reply.request.clone(), reply.url.clone());
        let body = reply
            .response_bytes(MAX_ERROR_BODY)
            .await
            .unwrap_or_default();
        if lacks_blobs(status, &body) {
            let cause = format!("{status}{}", server_message(&body));
            return Ok(Put::Lacks(Trouble::transient(&request, cause)));
        }
        let name = self.name(Some(version));
        let refusal =
            self.transport
                .refusal_of(&self.reference, &name, request, &url, status, &body);
        Err(refusal.await)
    }

    fn manifest_call(&self, method: Method, version: &TagOrDigest) -> Call {
        let is_put = method == Method::PUT;
        let call = self.call(method, &format!("manifests/{version}"), Some(version));
        match is_put {
            true => call,
            false => call.accept(&media_type::MANIFESTS),
        }
    }
}
