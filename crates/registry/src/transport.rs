//! Requests to one registry: authenticated, counted, and sent again where that may help.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue, USER_AGENT};
use reqwest::{Method, StatusCode, Url};
use tokio::time::Instant;

use crate::auth::Auth;
use crate::client::Options;
use crate::error::{Error, Failure, Kind};
use crate::progress::{Event, Progress, RetryNotice};
use crate::reference::{Reference, host_without_port, is_loopback};
use crate::retry::{Retry, asked_wait, is_transient};
use crate::tls::Certificates;
use crate::wire::{Counters, Outgoing, Payload, Reply, Trouble, Wire, server_message};

const AGENT: &str = concat!("crateyard/", env!("CARGO_PKG_VERSION"));
/// How much of an error's body is read, in bytes.
const MAX_ERROR_BODY: usize = 64 * 1024;
/// How often one request may be answered by 401 and be sent again with something better.
const MAX_CHALLENGES: usize = 2;

/// A request to a registry.
#[derive(Clone)]
pub(crate) struct Call {
    pub method: Method,
    pub target: Target,
    pub headers: HeaderMap,
    pub payload: Payload,
    /// How many bytes the registry may have to read before it answers.
    pub weight: u64,
    /// What the token has to allow.
    pub scopes: Vec<String>,
    /// The image or repository that errors name.
    pub reference: String,
}

/// Where a request goes.
#[derive(Clone)]
pub(crate) enum Target {
    /// A path below the registry's root.
    Path(String),
    /// A place that the registry named.
    Url(Url),
}

/// How a registry is spoken to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Scheme {
    Https = 0,
    Http = 1,
    /// Plain HTTP as long as the registry, which is on this machine, does not say otherwise.
    Undecided = 2,
}

/// One registry.
pub(crate) struct Transport {
    target: Reference,
    wire: Wire,
    auth: Auth,
    retry: Retry,
    plain_http: bool,
    scheme: AtomicU8,
    /// When the registry wants to hear from us again: a `Retry-After` concerns all requests, not just one.
    gate: Mutex<Option<Instant>>,
    /// Limits that this registry has shown.
    pub limits: Limits,
}

/// Limits that a registry has shown, so that they are run into once and not with each blob.
pub(crate) struct Limits {
    /// Whether it refuses uploads in chunks.
    pub refuses_chunks: AtomicBool,
    /// The largest chunk it takes, in bytes.
    pub largest_chunk: AtomicU64,
}

impl Transport {
    pub fn new(
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
        Ok(Transport {
            target: target.without_version(),
            wire,
            auth: Auth::new(target, options),
            retry: options.retry.clone(),
            plain_http: options.plain_http || target.is_loopback(),
            scheme: AtomicU8::new(scheme as u8),
            gate: Mutex::new(None),
            limits: Limits {
                refuses_chunks: AtomicBool::new(false),
                largest_chunk: AtomicU64::new(u64::MAX),
            },
        })
    }

    pub fn counters(&self) -> &Counters {
        &self.wire.counters
    }

    pub fn progress(&self) -> &dyn Progress {
        self.wire.progress()
    }

    /// Sends a request, again where that may help, and hands back any answer that is not a passing failure.
    pub async fn send(&self, call: &Call) -> Result<Reply, Error> {
        let mut attempts = self.attempts(&call.reference);
        loop {
            match self.send_once(call).await {
                Ok(reply) => return Ok(reply),
                Err(trouble) => attempts.pause(trouble).await?,
            }
        }
    }

    /// Sends a request once, not counting authentication.
    pub async fn send_once(&self, call: &Call) -> Result<Reply, Trouble> {
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
        // Read to the end, so that the connection can be used again.
        let said = reply
            .response_bytes(MAX_ERROR_BODY)
            .await
            .unwrap_or_default();
        let cause = format!("{status}{}", server_message(&said));
        Err(Trouble::Transient {
            request,
            cause,
            asked,
        })
    }

    async fn send_authenticated(&self, call: &Call) -> Result<Reply, Trouble> {
        let mut challenges = 0;
        loop {
            let url = self.url(&call.target, &call.reference)?;
            let mut headers = call.headers.clone();
            headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
            // Other hosts (storage behind a redirect) are not shown what was meant for this one.
            let is_own = self.is_own(&url);
            let authorization = if is_own {
                self.auth.header(&self.wire, &call.scopes).await?
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
            if !self
                .auth
                .learn(reply.headers(), &call.scopes, authorization.as_ref())
                .await
            {
                return Ok(reply);
            }
            // Nothing to show: asking again would get the same answer.
            if self.auth.header(&self.wire, &call.scopes).await?.is_none() {
                return Ok(reply);
            }
            let _ = reply.response_bytes(MAX_ERROR_BODY).await;
            challenges += 1;
        }
    }

    /// A server that expects TLS answers 400 to plain HTTP. Nothing else answers so to the first request, which only
    /// asks whether something is there and carries no secret.
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
                Url::parse(&text).map_err(|error| Error::Reference {
                    text: reference.to_owned(),
                    reason: error.to_string(),
                })
            }
        }
    }

    fn is_own(&self, url: &Url) -> bool {
        let root = self.url(&Target::Path("/".to_owned()), "");
        root.is_ok_and(|root| root.origin() == url.origin())
    }

    /// The URL that `location`, of an answer from `base`, means.
    pub fn resolve(&self, base: &Url, location: &str) -> Result<Url, String> {
        let mut url = base
            .join(location)
            .map_err(|error| format!("Location {location:?}: {error}"))?;
        // Registries behind a proxy that ends TLS often do not know it, and name themselves in plain HTTP.
        let is_same_host = url.host_str() == base.host_str();
        if is_same_host && base.scheme() == "https" && url.scheme() == "http" {
            let port = if url.port() == Some(80) {
                None
            } else {
                url.port()
            };
            let _ = (url.set_scheme("https"), url.set_port(port.or(base.port())));
        }
        let host = host_without_port(url.host_str().unwrap_or_default()).to_owned();
        let may_use = url.scheme() == "https"
            || url.scheme() == "http" && (self.plain_http || is_loopback(&host));
        if may_use {
            Ok(url)
        } else {
            Err(format!(
                "Location {location:?} leads to {}: not followed",
                url.scheme()
            ))
        }
    }

    async fn pass_gate(&self) {
        let until = self.gate.lock().ok().and_then(|gate| *gate);
        if let Some(until) = until {
            tokio::time::sleep_until(until).await;
        }
    }

    /// Begins to count failures of a piece of work on `reference`.
    pub fn attempts<'a>(&'a self, reference: &'a str) -> Attempts<'a> {
        Attempts {
            transport: self,
            reference,
            failed: 0,
        }
    }

    /// The error for an answer that says no.
    pub async fn refusal(&self, reference: &str, reply: Reply) -> Error {
        let (status, request) = (reply.status(), reply.request.clone());
        let said = reply
            .response_bytes(MAX_ERROR_BODY)
            .await
            .unwrap_or_default();
        let host = self.target.registry();
        let (kind, remedy) = match status.as_u16() {
            401 | 403 if self.auth.has_credentials().await => (
                Kind::Denied,
                format!(
                    "check that the account may do this; docker login {host} to use another one"
                ),
            ),
            401 | 403 => (
                Kind::Denied,
                format!("docker login {host}, or --username with --password-stdin"),
            ),
            404 => (
                Kind::NotFound,
                "check the name; some registries want a repository to be created first".to_owned(),
            ),
            413 => (
                Kind::Refused,
                "raise the size limit of the registry or the proxy in front of it".to_owned(),
            ),
            300..=399 => (
                Kind::Contradiction,
                "name the registry by the address that it redirects to".to_owned(),
            ),
            _ => (
                Kind::Refused,
                "read what the registry says; its log may say more".to_owned(),
            ),
        };
        let detail = format!("{status}{}", server_message(&said));
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

/// Counts the failures of one piece of work, and waits between them.
pub(crate) struct Attempts<'a> {
    transport: &'a Transport,
    reference: &'a str,
    failed: u32,
}

impl Attempts<'_> {
    /// Waits until it is worth to try again, and says so; fails where it is not, or was tried often enough.
    pub async fn pause(&mut self, trouble: Trouble) -> Result<(), Error> {
        let (request, cause, asked) = match trouble {
            Trouble::Fatal(error) => return Err(error),
            Trouble::Transient {
                request,
                cause,
                asked,
            } => (request, cause, asked),
        };
        self.failed += 1;
        let retry = &self.transport.retry;
        let wait = match asked {
            Some(asked) if asked > retry.longest_asked => {
                let detail = format!("{cause}; asks to come back in {} s", asked.as_secs());
                return Err(self.give_up(
                    request,
                    detail,
                    "push again then; what was sent is kept",
                ));
            }
            // Some jitter after it, lest all come at the same moment.
            Some(asked) => asked + retry.wait(1).mul_f64(fastrand::f64() / 2.0),
            None => retry.wait(self.failed),
        };
        if self.failed >= retry.attempts {
            let detail = format!("{cause} (gave up after {} attempts)", self.failed);
            return Err(self.give_up(request, detail, "try again later; what was sent is kept"));
        }
        if asked.is_some() {
            if let Ok(mut gate) = self.transport.gate.lock() {
                let until = Instant::now() + wait;
                *gate = Some(gate.map_or(until, |gate| gate.max(until)));
            }
        }
        self.transport
            .counters()
            .retries
            .fetch_add(1, Ordering::Relaxed);
        self.transport.progress().event(Event::Retry(RetryNotice {
            request: &request,
            cause: &cause,
            wait,
            asked: asked.is_some(),
            attempt: self.failed,
            attempts: retry.attempts,
        }));
        tokio::time::sleep(wait).await;
        Ok(())
    }

    /// Progress was made: earlier failures do not count any more.
    pub fn succeed(&mut self) {
        self.failed = 0;
    }

    fn give_up(&self, request: String, detail: String, remedy: &str) -> Error {
        let (reference, remedy) = (self.reference.to_owned(), remedy.to_owned());
        Failure {
            reference,
            request,
            kind: Kind::Unreachable,
            detail,
            remedy,
        }
        .into()
    }
}
