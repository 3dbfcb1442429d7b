//! One repository. Each request of the distribution specification is a method.

mod blobs;
mod links;
mod manifests;
mod referrers;
mod uploads;

use std::sync::Arc;

use bytes::Bytes;
use crateyard_oci::{Digest, Limits, Reference, TagOrDigest};
use reqwest::header::{ACCEPT, HeaderMap, HeaderName, HeaderValue, LINK, LOCATION};
use reqwest::{Method, StatusCode, Url};

use crate::error::{Error, Failure, Kind};
use crate::transport::{Call, Target, Transport};
use crate::wire::{Payload, Reply, Trouble, describe};

pub use blobs::Download;
pub(crate) use manifests::Put;
pub(crate) use referrers::ReferrersKeeper;
pub(crate) use uploads::{Mount, Session, parse_range};

const CONTENT_DIGEST: &str = "docker-content-digest";
const MAX_REDIRECTS: usize = 5;

/// A small answer.
struct Small {
    request: String,
    /// The URL that answered.
    url: Url,
    /// The digest in the header `Docker-Content-Digest`.
    announced: Option<String>,
    media_type: Option<String>,
    /// The headers `Link`, which may name a next page.
    link: Option<String>,
    bytes: Bytes,
}

/// A repository of a registry.
///
/// Methods that look something up return `None` if it does not exist. All other refusals are
/// errors.
///
/// ```no_run
/// use crateyard_oci::{Reference, TagOrDigest};
/// use crateyard_registry::{Client, Options};
///
/// let client = Client::new(Options::from_environment());
/// let reference: Reference = "registry.example/team/gateway".parse()?;
/// let repository = client.repository(&reference)?;
/// match crateyard_registry::run(repository.resolve(&TagOrDigest::Tag("v1".to_owned())))? {
///     Some(resolved) => println!("v1 is {}", resolved.digest),
///     None => println!("there is no tag v1"),
/// }
/// # Ok::<(), crateyard_registry::Error>(())
/// ```
#[derive(Clone)]
pub struct Repository {
    reference: Reference,
    transport: Arc<Transport>,
    actions: &'static str,
}

impl Repository {
    pub(crate) fn new(reference: Reference, transport: Arc<Transport>) -> Repository {
        Repository {
            reference,
            transport,
            actions: "pull",
        }
    }

    /// Returns the same repository, with tokens that allow pushing.
    pub fn for_push(&self) -> Repository {
        Repository {
            actions: "pull,push",
            ..self.clone()
        }
    }

    /// Returns the reference of the repository.
    pub fn reference(&self) -> &Reference {
        &self.reference
    }

    pub(crate) fn transport(&self) -> &Transport {
        &self.transport
    }

    /// Returns the URL in an answer's `Location`.
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

    /// Fails if an answer names another digest, because the registry then stored something else.
    pub(crate) fn check_digest(&self, reply: &Reply, digest: &Digest) -> Result<(), Error> {
        match reply.header(CONTENT_DIGEST) {
            Some(other) if other != digest.as_str() => {
                Err(self.contradiction(reply, format!("stored {other}, not {digest}")))
            }
            _ => Ok(()),
        }
    }

    pub(crate) fn call(&self, method: Method, path: &str, version: Option<&TagOrDigest>) -> Call {
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

    /// Sends a GET request and follows redirects.
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

    /// Fetches something small, or `None` if it does not exist. Asks again if the answer breaks
    /// off.
    async fn get_small(&self, call: &Call) -> Result<Option<Small>, Error> {
        match self
            .get_small_unless(call, &[StatusCode::NOT_FOUND])
            .await?
        {
            Ok(small) => Ok(Some(small)),
            Err(_) => Ok(None),
        }
    }

    /// Like [`Repository::get_small`], but returns the status of an answer that is one of these.
    async fn get_small_unless(
        &self,
        call: &Call,
        absent: &[StatusCode],
    ) -> Result<Result<Small, StatusCode>, Error> {
        let mut attempts = self.transport.attempts(&call.reference);
        loop {
            let reply = self.follow(call.clone()).await?;
            let status = reply.status();
            if absent.contains(&status) {
                return Ok(Err(status));
            }
            if !status.is_success() {
                let refusal = self
                    .transport
                    .refusal(&self.reference, &call.reference, reply);
                return Err(refusal.await);
            }
            let header = |name: &str| reply.header(name).map(str::to_owned);
            let media_type = header("content-type");
            let mut small = Small {
                request: reply.request.clone(),
                url: reply.url.clone(),
                announced: header(CONTENT_DIGEST),
                media_type: media_type
                    .map(|text| text.split(';').next().unwrap_or_default().trim().to_owned()),
                link: links(&reply),
                bytes: Bytes::new(),
            };
            match reply
                .response_bytes(Limits::default().document as usize)
                .await
            {
                Ok(bytes) => {
                    small.bytes = bytes;
                    return Ok(Ok(small));
                }
                Err(cause) => {
                    let trouble = Trouble::transient(&small.request, cause);
                    attempts.pause(trouble).await?;
                }
            }
        }
    }

    pub(crate) async fn refusal(&self, version: Option<&TagOrDigest>, reply: Reply) -> Error {
        let name = self.name(version);
        self.transport.refusal(&self.reference, &name, reply).await
    }

    pub(crate) fn contradiction(&self, reply: &Reply, detail: String) -> Error {
        self.contradiction_of(reply.request.clone(), detail)
    }

    pub(crate) fn contradiction_of(&self, request: String, detail: String) -> Error {
        let remedy =
            "try again; if it happens again, the registry or a proxy in front of it is at fault"
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

    /// Returns the name of the repository or image for messages.
    fn name(&self, version: Option<&TagOrDigest>) -> String {
        match version {
            None => self.reference.to_string(),
            Some(TagOrDigest::Tag(tag)) => format!("{}:{tag}", self.reference),
            Some(TagOrDigest::Digest(digest)) => format!("{}@{digest}", self.reference),
        }
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

/// Returns all headers `Link` of an answer as one.
fn links(reply: &Reply) -> Option<String> {
    let all = reply.headers().get_all(LINK).iter();
    let all = all.map(|link| String::from_utf8_lossy(link.as_bytes()));
    let links = all.collect::<Vec<_>>().join(", ");
    (!links.is_empty()).then_some(links)
}

/// Makes a header value. The callers' text has no control characters by construction.
fn header(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static(""))
}

/// Sets a header of a request.
pub(crate) fn set_header(call: &mut Call, name: HeaderName, value: &str) {
    call.headers.insert(name, header(value));
}
