//! Sends requests to one registry: authenticates them, counts them, and tries again after failures.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use crateyard_oci::{ParseReferenceError, Reference};
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue, USER_AGENT};
use reqwest::{Method, StatusCode, Url};
use tokio::time::Instant;

use crate::attempts::Attempts;
use crate::auth::Auth;
use crate::client::Options;
use crate::error::{Error, Failure, Kind};
use crate::locations::{LocationPolicy, Purpose};
use crate::progress::Progress;
use crate::refusal::Refusal;
use crate::retry::{Retry, asked_wait, is_transient};
use crate::tls::Certificates;
use crate::wire::{Counters, Outgoing, Payload, Reply, Trouble, Wire, server_message};

const AGENT: &str = concat!("crateyard/", env!("CARGO_PKG_VERSION"));
/// The number of bytes that are read of an error's body.
pub(crate) const MAX_ERROR_BODY: usize = 64 * 1024;
/// The number of times that one request may be sent again after 401, with a better header.
const MAX_CHALLENGES: usize = 2;
/// The number of times that a registry may answer 500 before [`Transport::ask`] stops asking.
const MAX_FAILED_QUESTIONS: u32 = 3;

/// A request to a registry.
#[derive(Clone)]
pub(crate) struct Call {
    pub method: Method,
    pub target: Target,
    pub headers: HeaderMap,
    pub payload: Payload,
    /// The number of bytes that the registry may read before it answers.
    pub weight: u64,
    /// The scopes that the token must have.
    pub scopes: Vec<String>,
    /// The repository whose credentials authenticate the request.
    pub repository: Reference,
    /// The image or repository that errors name.
    pub reference: String,
}

/// The target of a request.
#[derive(Clone)]
pub(crate) enum Target {
    /// A path below the registry's root.
    Path(String),
    /// A URL that the registry named.
    Url(Url),
}

/// The scheme of a registry.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Scheme {
    Https = 0,
    Http = 1,
    /// Plain HTTP, until a registry on this machine shows that it speaks TLS.
    Undecided = 2,
}

/// The connection to one registry.
pub(crate) struct Transport {
    target: Reference,
    wire: Wire,
    auth: Auth,
    retry: Retry,
    policy: LocationPolicy,
    scheme: AtomicU8,
    /// When requests may go out again. A `Retry-After` concerns all requests, not just one.
    gate: Mutex<Option<Instant>>,
    /// The limits of this registry, as far as known.
    pub limits: Limits,
}

/// The limits of a registry, learned from its refusals. Remembering them saves a refusal with each
/// blob.
pub(crate) struct Limits {
    /// Whether it refuses uploads in chunks.
    pub refuses_chunks: AtomicBool,
    /// Whether it refuses HEAD for manifests.
    pub refuses_head: AtomicBool,
    /// The largest chunk that it takes, in bytes.
    pub largest_chunk: AtomicU64,
}

impl Transport {
    pub(crate) fn new(
        target: &Reference,
        options: &Options,
        progress: Arc<dyn Progress>,
    ) -> Result<Transport, Error> {
        let certificates = Certificates::find(options, target)?;
        let scheme = match (options.plain_http, target.is_loopback()) {
            (true, _) => Scheme::Http,
            (false, true) if certificates.is_empty() => Scheme::Undecided,
            (false, _) => Scheme::Https,
        };
        let wire = Wire::new(target, options, certificates, progress)?;
        let policy = LocationPolicy::new(target, options);
        Ok(Transport {
            target: target.without_version(),
            wire,
            auth: Auth::new(options, policy),
            retry: options.retry.clone(),
            policy,
            scheme: AtomicU8::new(scheme as u8),
            gate: Mutex::new(None),
            limits: Limits {
                refuses_chunks: AtomicBool::new(false),
                refuses_head: AtomicBool::new(false),
                largest_chunk: AtomicU64::new(u64::MAX),
            },
        })
    }

    pub(crate) fn counters(&self) -> &Counters {
        &self.wire.counters
    }

    pub(crate) fn progress(&self) -> &dyn Progress {
        self.wire.progress()
    }

    /// Sends a request, and tries again after transient failures. Returns any other answer.
    pub(crate) async fn send(&self, call: &Call) -> Result<Reply, Error> {
        let mut attempts = self.attempts(&call.reference);
        loop {
            match self.send_once(call).await {
                Ok(reply) => return Ok(reply),
                Err(trouble) => attempts.pause(trouble).await?,
            }
        }
    }

    /// Sends a request that the caller can do without. If the registry answers 500 a few times, the
    /// inner `Err` holds its message.
    pub(crate) async fn ask(&self, call: &Call) -> Result<Result<Reply, String>, Error> {
        let mut attempts = self.attempts(&call.reference);
        let patience = MAX_FAILED_QUESTIONS.min(self.retry.attempts);
        let mut failed = 0;
        loop {
            let trouble = match self.send_once(call).await {
                Ok(reply) => return Ok(Ok(reply)),
                Err(trouble) => trouble,
            };
            if let Trouble::Transient {
                cause,
                status: Some(StatusCode::INTERNAL_SERVER_ERROR),
                ..
            } = &trouble
            {
                failed += 1;
                if failed >= patience {
                    return Ok(Err(cause.clone()));
                }
            }
            attempts.pause(trouble).await?;
        }
    }

    /// Sends a request once. Only authentication may repeat it.
    pub(crate) async fn send_once(&self, call: &Call) -> Result<Reply, Trouble> {
        self.pass_gate().await;
        let reply = match self.send_authenticated(call).await {
            Ok(reply) if self.is_other_scheme(reply.status()) => {
                self.set_scheme(Scheme::Https);
                self.send_authenticated(call).await?
            }
            Ok(reply) => {
                self.settle_scheme();
                reply
            }
            Err(trouble) => return Err(trouble),
        };
        if !is_transient(reply.status()) {
            return Ok(reply);
        }
        let asked = asked_wait(reply.headers());
        let request = reply.request.clone();
        let status = reply.status();
        // Read the body to its end, so that the connection can be used again.
        let said = reply
            .response_bytes(MAX_ERROR_BODY)
            .await
            .unwrap_or_default();
        let cause = format!("{status}{}", server_message(&said));
        Err(Trouble::Transient {
            request,
            cause,
            asked,
            status: Some(status),
        })
    }

    async fn send_authenticated(&self, call: &Call) -> Result<Reply, Trouble> {
        let mut challenges = 0;
        loop {
            let url = self.url(&call.target, &call.reference)?;
            let mut headers = call.headers.clone();
            headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
            // Do not send the registry's credentials to other hosts, such as a storage behind a
            // redirect.
            let is_own = self.is_own(&url);
            let authorization = if is_own {
                self.authorization(call).await?
            } else {
                None
            };
            if let Some(value) = &authorization {
                headers.insert(AUTHORIZATION, value.clone());
            }
            self.wire.counters.requests.fetch_add(1, Ordering::Relaxed);
            let outgoing = Outgoing {
                method: call.method.clone(),
                url,
                headers,
                payload: call.payload.clone(),
                weight: call.weight,
            };
            let reply = self.wire.send(&call.reference, outgoing).await?;
            if reply.status() != StatusCode::UNAUTHORIZED || !is_own || challenges == MAX_CHALLENGES
            {
                return Ok(reply);
            }
            let learned = self.auth.learn(
                &reply,
                &call.repository,
                &call.scopes,
                authorization.as_ref(),
            );
            match learned.await {
                Ok(true) => {}
                Ok(false) => return Ok(reply),
                Err(reason) => return Err(untrusted(call, &reply, &reason)),
            }
            // Without credentials, the answer would be the same again.
            if self.authorization(call).await?.is_none() {
                return Ok(reply);
            }
            let _ = reply.response_bytes(MAX_ERROR_BODY).await;
            challenges += 1;
        }
    }

    async fn authorization(&self, call: &Call) -> Result<Option<HeaderValue>, Trouble> {
        let header = self.auth.header(&self.wire, &call.repository, &call.scopes);
        header.await
    }

    /// Whether the registry expects TLS. It then answers 400 to plain HTTP. The first request only
    /// asks whether something exists and carries no secret, so 400 has no other reason.
    fn is_other_scheme(&self, status: StatusCode) -> bool {
        self.scheme.load(Ordering::Relaxed) == Scheme::Undecided as u8
            && status == StatusCode::BAD_REQUEST
    }

    fn set_scheme(&self, scheme: Scheme) {
        self.scheme.store(scheme as u8, Ordering::Relaxed);
    }

    fn settle_scheme(&self) {
        if self.scheme.load(Ordering::Relaxed) == Scheme::Undecided as u8 {
            self.set_scheme(Scheme::Http);
        }
    }

    fn url(&self, target: &Target, reference: &str) -> Result<Url, Error> {
        match target {
            Target::Url(url) => Ok(url.clone()),
            Target::Path(path) => {
                let is_https = self.scheme.load(Ordering::Relaxed) == Scheme::Https as u8;
                let scheme = if is_https { "https" } else { "http" };
                let text = format!("{scheme}://{}{path}", self.target.endpoint());
                Url::parse(&text).map_err(|error| {
                    Error::from(ParseReferenceError::new(reference, error.to_string()))
                })
            }
        }
    }

    fn is_own(&self, url: &Url) -> bool {
        let root = self.url(&Target::Path("/".to_owned()), "");
        root.is_ok_and(|root| root.origin() == url.origin())
    }

    /// Resolves the URL `location` of an answer from `base`.
    ///
    /// # Errors
    /// Fails with the reason why this client does not follow it.
    pub(crate) fn resolve(&self, base: &Url, location: &str) -> Result<Url, String> {
        self.policy.follow(Purpose::Location, base, location)
    }

    async fn pass_gate(&self) {
        let until = self.gate.lock().ok().and_then(|gate| *gate);
        if let Some(until) = until {
            tokio::time::sleep_until(until).await;
        }
    }

    /// Makes all requests wait until then.
    pub(crate) fn close_gate(&self, until: Instant) {
        if let Ok(mut gate) = self.gate.lock() {
            *gate = Some(gate.map_or(until, |gate| gate.max(until)));
        }
    }

    /// Begins a new count of failures, for a piece of work on `reference`.
    pub(crate) fn attempts<'a>(&'a self, reference: &'a str) -> Attempts<'a> {
        Attempts::new(self, &self.retry, reference)
    }

    /// Makes the error for an error answer of `repository`.
    pub(crate) async fn refusal(
        &self,
        repository: &Reference,
        reference: &str,
        reply: Reply,
    ) -> Error {
        let (status, request, url) = (reply.status(), reply.request.clone(), reply.url.clone());
        let said = reply.response_bytes(MAX_ERROR_BODY).await;
        let said = said.unwrap_or_default();
        self.refusal_of(repository, reference, request, &url, status, &said)
            .await
    }

    /// Makes the error for an error answer whose body was read.
    pub(crate) async fn refusal_of(
        &self,
        repository: &Reference,
        reference: &str,
        request: String,
        url: &Url,
        status: StatusCode,
        said: &[u8],
    ) -> Error {
        let is_own = self.is_own(url);
        let standing = self.auth.standing(repository).await;
        let refusal = Refusal {
            repository,
            status,
            body: said,
            is_write: is_write(&request),
            is_own,
            standing: &standing,
        };
        let (kind, remedy) = refusal.judge();
        // A failed search for credentials is the likelier reason.
        match standing.found.complaint {
            Some(complaint) if kind == Kind::Denied && is_own => return complaint.into(),
            _ => {}
        }
        let detail = format!("{status}{}", server_message(said));
        Failure {
            reference: reference.to_owned(),
            request,
            kind,
            detail,
            remedy,
        }
        .into()
    }
}

/// Whether a request, by its description, writes.
pub(crate) fn is_write(request: &str) -> bool {
    !request.starts_with("GET ") && !request.starts_with("HEAD ")
}

/// Returns the error for an answer that names a forbidden URL.
fn untrusted(call: &Call, reply: &Reply, reason: &str) -> Trouble {
    let failure = Failure {
        reference: call.reference.clone(),
        request: reply.request.clone(),
        kind: Kind::Contradiction,
        detail: format!("{}: {reason}", reply.status()),
        remedy: "tell the registry's operator; no credentials were sent".to_owned(),
    };
    Trouble::Fatal(failure.into())
}
