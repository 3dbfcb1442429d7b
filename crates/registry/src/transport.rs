//! Requests to one registry: authenticated, watched, counted, and sent again where that may help.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use reqwest::header::{AUTHORIZATION, CONTENT_LENGTH, HeaderMap, HeaderValue, USER_AGENT};
use reqwest::{Method, StatusCode, Url};
use tokio::time::Instant;

use crate::auth::Auth;
use crate::body::{Activity, Part, PartBody};
use crate::client::{Options, Timeouts};
use crate::error::{Error, Failure, Kind};
use crate::progress::{Event, Progress, RetryNotice};
use crate::reference::{Reference, host_without_port, is_loopback};
use crate::retry::{Retry, asked_wait, is_transient};
use crate::tls::{self, Certificates};

const AGENT: &str = concat!("crateyard/", env!("CARGO_PKG_VERSION"));
/// How much of an error's body is read, in bytes.
const MAX_ERROR_BODY: usize = 64 * 1024;
/// How often one request may be answered by 401 and be sent again with something better.
const MAX_CHALLENGES: usize = 2;

/// What a request carries.
#[derive(Clone)]
pub(crate) enum Payload {
    Empty,
    Bytes(Bytes),
    Part(Part),
}

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

/// A request as it goes over the wire.
pub(crate) struct Outgoing {
    pub method: Method,
    pub url: Url,
    pub headers: HeaderMap,
    pub payload: Payload,
    /// See [`Call::weight`].
    pub weight: u64,
}

/// Where a request goes.
#[derive(Clone)]
pub(crate) enum Target {
    /// A path below the registry's root.
    Path(String),
    /// A place that the registry named.
    Url(Url),
}

/// Why a request has no answer that can be used.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// Sending it again may help.
    Transient {
        request: String,
        cause: String,
        asked: Option<Duration>,
    },
    /// It may not.
    Fatal(Error),
}

impl Trouble {
    pub fn transient(request: &str, cause: String) -> Trouble {
        Trouble::Transient {
            request: request.to_owned(),
            cause,
            asked: None,
        }
    }
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Trouble {
        Trouble::Fatal(error)
    }
}

/// An answer, with the request that it belongs to.
pub(crate) struct Reply {
    /// Method and URL without its query.
    pub request: String,
    /// The URL that answered.
    pub url: Url,
    response: reqwest::Response,
    stall: Duration,
}

impl Reply {
    pub fn status(&self) -> StatusCode {
        self.response.status()
    }

    pub fn headers(&self) -> &HeaderMap {
        self.response.headers()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.response.headers().get(name)?.to_str().ok()
    }

    /// The next piece of the body, `None` at its end.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, String> {
        match tokio::time::timeout(self.stall, self.response.chunk()).await {
            Ok(Ok(chunk)) => Ok(chunk),
            Ok(Err(error)) => Err(format!("the answer broke off: {}", innermost(&error))),
            Err(_) => Err(format!(
                "the answer stopped for {} s",
                self.stall.as_secs_f32()
            )),
        }
    }

    /// The whole body, which may have `limit` bytes at most.
    pub async fn response_bytes(mut self, limit: usize) -> Result<Bytes, String> {
        let mut bytes = BytesMut::new();
        while let Some(chunk) = self.chunk().await? {
            if bytes.len() + chunk.len() > limit {
                return Err(format!("the answer is larger than {limit} bytes"));
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(bytes.freeze())
    }
}

/// What was sent, for reports.
#[derive(Default)]
pub(crate) struct Counters {
    pub requests: AtomicU64,
    pub authentications: AtomicU64,
    pub retries: AtomicU64,
    pub bytes_sent: AtomicU64,
}

/// The connection pool: sends a request once, watches it, and says what became of it.
pub(crate) struct Wire {
    plain: reqwest::Client,
    /// Made when it is needed: reading the system's certificates takes longer than an unchanged push.
    secure: OnceLock<reqwest::Client>,
    certificates: Certificates,
    bypasses_proxy: bool,
    timeouts: Timeouts,
    progress: Arc<dyn Progress>,
    pub counters: Counters,
    /// Whether any answer has come: before, a refused connection is a wrong address rather than a restart.
    reached: AtomicBool,
}

impl Wire {
    /// A request for a token.
    pub async fn authenticate(
        &self,
        reference: &str,
        outgoing: Outgoing,
    ) -> Result<Reply, Trouble> {
        self.counters
            .authentications
            .fetch_add(1, Ordering::Relaxed);
        let reply = self.send(reference, outgoing).await?;
        if is_transient(reply.status()) {
            let (request, asked) = (reply.request.clone(), asked_wait(reply.headers()));
            return Err(Trouble::Transient {
                request,
                cause: reply.status().to_string(),
                asked,
            });
        }
        Ok(reply)
    }

    async fn send(&self, reference: &str, outgoing: Outgoing) -> Result<Reply, Trouble> {
        let Outgoing {
            method,
            url,
            mut headers,
            payload,
            weight,
        } = outgoing;
        let request = describe(&method, &url);
        let activity = Arc::new(Activity::default());
        // Some servers answer 411 to a body-less POST or PUT that does not say so.
        if matches!(payload, Payload::Empty) && method != Method::GET && method != Method::HEAD {
            headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
        }
        let mut builder = self.http(&url)?.request(method, url).headers(headers);
        let mut place = None;
        match payload {
            Payload::Empty => activity.complete(),
            Payload::Bytes(bytes) => {
                activity.complete();
                self.counters
                    .bytes_sent
                    .fetch_add(bytes.len() as u64, Ordering::Relaxed);
                builder = builder.body(bytes);
            }
            Payload::Part(part) => {
                place = Some(part.digest.clone());
                let body = PartBody::new(part, activity.clone(), self.progress.clone());
                builder = builder.body(reqwest::Body::wrap(body));
            }
        }
        let result = self.watch(builder.send(), &activity, weight).await;
        self.counters
            .bytes_sent
            .fetch_add(activity.moved(), Ordering::Relaxed);
        match result {
            Ok(response) => {
                self.reached.store(true, Ordering::Relaxed);
                let url = response.url().clone();
                Ok(Reply {
                    request,
                    url,
                    response,
                    stall: self.timeouts.stall,
                })
            }
            Err(cause) => match (activity.failure(), place) {
                (Some(failure), Some(digest)) => Err(Trouble::Fatal(Error::Source {
                    place: format!("blob {digest}"),
                    reason: format!("cannot be read any more: {failure}"),
                    remedy: "leave the layout alone while it is pushed".to_owned(),
                })),
                _ => Err(self.judge(reference, request, cause)),
            },
        }
    }

    /// The connection pool for `url`.
    fn http(&self, url: &Url) -> Result<&reqwest::Client, Error> {
        if url.scheme() != "https" {
            return Ok(&self.plain);
        }
        if let Some(secure) = self.secure.get() {
            return Ok(secure);
        }
        let new = pool(
            tls::config(&self.certificates)?,
            &self.timeouts,
            self.bypasses_proxy,
        )?;
        Ok(self.secure.get_or_init(|| new))
    }

    /// Waits for the answer as long as bytes move, and once all are sent as long as a registry may need to store them.
    async fn watch<F>(
        &self,
        answer: F,
        activity: &Activity,
        weight: u64,
    ) -> Result<reqwest::Response, Cause>
    where
        F: Future<Output = Result<reqwest::Response, reqwest::Error>>,
    {
        tokio::pin!(answer);
        let digestion = Duration::from_secs(weight / self.timeouts.digestion_rate.max(1));
        loop {
            let (moved, is_sent) = (activity.moved(), activity.is_complete());
            let patience = self.timeouts.stall + if is_sent { digestion } else { Duration::ZERO };
            match tokio::time::timeout(patience, &mut answer).await {
                Ok(result) => return result.map_err(Cause::Http),
                Err(_) if activity.moved() > moved || activity.is_complete() != is_sent => {}
                Err(_) => return Err(Cause::Stalled(patience)),
            }
        }
    }

    /// Whether a request that got no answer may get one later.
    fn judge(&self, reference: &str, request: String, cause: Cause) -> Trouble {
        let (detail, is_fatal, remedy) = match &cause {
            Cause::Stalled(patience) => (
                format!("nothing moved for {} s", patience.as_secs_f32()),
                false,
                String::new(),
            ),
            Cause::Http(error) => {
                let text = innermost(error);
                let is_tls = is_tls_problem(error);
                let is_first = !self.reached.load(Ordering::Relaxed);
                let never_reached = error.is_connect() && is_first && !is_reset(error);
                let remedy = if is_tls {
                    "name the authority that signed the registry's certificate by --ca-file, the certificate it wants \
                     from you by --cert and --key; or --plain-http where it speaks no TLS"
                } else {
                    "check the registry's name and port, and that it runs and can be reached from here"
                };
                (text, is_tls || never_reached, remedy.to_owned())
            }
        };
        if !is_fatal {
            return Trouble::Transient {
                request,
                cause: detail,
                asked: None,
            };
        }
        let reference = reference.to_owned();
        Trouble::Fatal(
            Failure {
                reference,
                request,
                kind: Kind::Unreachable,
                detail,
                remedy,
            }
            .into(),
        )
    }
}

enum Cause {
    Http(reqwest::Error),
    Stalled(Duration),
}

/// The error that started it all: "connection reset by peer" rather than "error sending request".
fn innermost(error: &dyn std::error::Error) -> String {
    let mut texts = vec![error.to_string()];
    let mut source = error.source();
    while let Some(error) = source {
        texts.push(error.to_string());
        source = error.source();
    }
    // hyper's own last words say less than what it wraps.
    texts.reverse();
    texts
        .into_iter()
        .find(|text| !text.is_empty())
        .unwrap_or_else(|| "unknown".to_owned())
}

/// Whether TLS itself failed. I/O errors hide what they wrap from their `source`, so each is looked into.
fn is_tls_problem(error: &(dyn std::error::Error + 'static)) -> bool {
    let wrapped = error
        .downcast_ref::<std::io::Error>()
        .and_then(std::io::Error::get_ref);
    error.downcast_ref::<rustls::Error>().is_some()
        || wrapped.is_some_and(|inner| is_tls_problem(inner))
        || error.source().is_some_and(is_tls_problem)
}

/// Whether the other side cut a connection that it had accepted.
fn is_reset(error: &(dyn std::error::Error + 'static)) -> bool {
    let own = error.downcast_ref::<std::io::Error>();
    let wrapped = own.and_then(std::io::Error::get_ref);
    own.is_some_and(|own| {
        use std::io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
        matches!(
            own.kind(),
            BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof
        )
    }) || wrapped.is_some_and(|inner| is_reset(inner))
        || error.source().is_some_and(is_reset)
}

/// Method and URL for messages: the query may hold secrets and says nothing to people.
pub(crate) fn describe(method: &Method, url: &Url) -> String {
    let mut url = url.clone();
    url.set_query(None);
    let _ = (url.set_username(""), url.set_password(None));
    format!("{method} {url}")
}

/// A connection pool. HTTP/1.1 only: parallel uploads get a connection each, and with it a window each.
fn pool(
    config: rustls::ClientConfig,
    timeouts: &Timeouts,
    bypasses_proxy: bool,
) -> Result<reqwest::Client, Error> {
    let builder = reqwest::Client::builder()
        .http1_only()
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .connect_timeout(timeouts.connect)
        .tls_backend_preconfigured(config);
    let builder = if bypasses_proxy {
        builder.no_proxy()
    } else {
        builder
    };
    builder.build().map_err(|error| Error::Configuration {
        place: "HTTP client".to_owned(),
        reason: innermost(&error),
    })
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
        let bypasses_proxy = target.is_loopback();
        let wire = Wire {
            plain: pool(tls::empty_config()?, &options.timeouts, bypasses_proxy)?,
            secure: OnceLock::new(),
            certificates,
            bypasses_proxy,
            timeouts: options.timeouts.clone(),
            progress,
            counters: Counters::default(),
            reached: AtomicBool::new(false),
        };
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
        &*self.wire.progress
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

/// What a registry says about an error, as ": CODE: message", without anything a terminal would obey.
pub(crate) fn server_message(body: &[u8]) -> String {
    let from_json = serde_json::from_slice::<serde_json::Value>(body)
        .ok()
        .and_then(|value| {
            let errors = value["errors"].as_array()?;
            let text = |error: &serde_json::Value| {
                let code = error["code"].as_str().unwrap_or("unknown");
                let message = error["message"].as_str().unwrap_or_default();
                let detail = match &error["detail"] {
                    serde_json::Value::Null => String::new(),
                    serde_json::Value::String(text) => format!(" ({text})"),
                    other => format!(" ({other})"),
                };
                format!("{code}: {message}{detail}")
            };
            Some(errors.iter().map(text).collect::<Vec<_>>().join("; "))
        });
    let text = from_json.unwrap_or_else(|| String::from_utf8_lossy(body).into_owned());
    let text: String = text
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(400)
        .collect();
    let text = text.trim();
    if text.is_empty() || text.starts_with('<') {
        String::new()
    } else {
        format!(": {text}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn server_messages_are_short_and_harmless() {
        let body =
            br#"{"errors":[{"code":"DENIED","message":"no \u001b[31mway","detail":{"a":1}}]}"#;
        assert_eq!(server_message(body), r#": DENIED: no  [31mway ({"a":1})"#);
        assert_eq!(server_message(b"<html>"), "");
        assert_eq!(server_message(b" \n"), "");
        assert!(server_message(&[b'x'; 100_000]).len() < 500);
    }
}
