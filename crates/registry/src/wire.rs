//! Sends one request once, watches it, and classifies its failure.

mod failure;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use crateyard_oci::Reference;
use crateyard_web::innermost;
use reqwest::header::{CONTENT_LENGTH, HeaderMap, HeaderValue};
use reqwest::{Method, StatusCode, Url};

use crate::body::{Activity, Part, PartBody};
use crate::client::{Options, Timeouts};
use crate::error::Error;
use crate::progress::Progress;
use crate::retry::{asked_wait, is_transient};
use crate::tls::{self, Certificates};
use failure::Cause;

pub(crate) use failure::server_message;

/// The body of a request.
#[derive(Clone)]
pub(crate) enum Payload {
    Empty,
    Bytes(Bytes),
    Part(Part),
}

/// A request, ready to be sent.
pub(crate) struct Outgoing {
    pub method: Method,
    pub url: Url,
    pub headers: HeaderMap,
    pub payload: Payload,
    /// See [`crate::transport::Call`].
    pub weight: u64,
}

/// The reason why a request has no usable answer.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// The request may succeed later.
    Transient {
        request: String,
        cause: String,
        asked: Option<Duration>,
        /// The status of the answer, if there was one.
        status: Option<StatusCode>,
    },
    /// The request will not succeed later either.
    Fatal(Error),
}

impl Trouble {
    pub(crate) fn transient(request: &str, cause: String) -> Trouble {
        Trouble::Transient {
            request: request.to_owned(),
            cause,
            asked: None,
            status: None,
        }
    }
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Trouble {
        Trouble::Fatal(error)
    }
}

/// The least rate at which an answer must arrive, in bytes a second. It is checked each time that
/// the answer has been awaited for as long as it may stall: with 60 s, it must have brought 60 kB.
/// A server that sends a byte now and then would never end.
const SLOWEST: u64 = 1_000;
/// How often a small answer may take the time that it may stall: with 60 s, five minutes.
const SMALL_ANSWER: u32 = 5;

/// An answer, with the request that it belongs to.
pub(crate) struct Reply {
    /// Method and URL without its query.
    pub request: String,
    /// The URL that answered.
    pub url: Url,
    response: reqwest::Response,
    stall: Duration,
    /// The time that pieces were awaited, and the bytes that came, since the rate was last checked.
    awaited: Duration,
    arrived: u64,
}

impl Reply {
    pub(crate) fn status(&self) -> StatusCode {
        self.response.status()
    }

    /// Whether the registry says that it stored what a PUT sent: with 201, as in the
    /// [specification], or as some registries do with 200 or 204. With 202 it stored nothing yet.
    ///
    /// [specification]: https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md
    pub(crate) fn is_stored(&self) -> bool {
        matches!(
            self.status(),
            StatusCode::OK | StatusCode::CREATED | StatusCode::NO_CONTENT
        )
    }

    pub(crate) fn headers(&self) -> &HeaderMap {
        self.response.headers()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.response.headers().get(name)?.to_str().ok()
    }

    /// Receives the next piece of the body. Returns `None` at the end. Fails if too little comes,
    /// unless the answer has ended.
    pub(crate) async fn chunk(&mut self) -> Result<Option<Bytes>, String> {
        let begin = Instant::now();
        let chunk = match tokio::time::timeout(self.stall, self.response.chunk()).await {
            Ok(Ok(chunk)) => chunk,
            Ok(Err(error)) => return Err(format!("the answer broke off: {}", innermost(&error))),
            Err(_) => {
                let seconds = self.stall.as_secs_f32();
                return Err(format!("the answer stopped for {seconds} s"));
            }
        };
        let Some(chunk) = chunk else {
            return Ok(None);
        };
        self.awaited += begin.elapsed();
        self.arrived += chunk.len() as u64;
        // This is the length that remains, if the server has named one.
        let has_ended = self.response.content_length() == Some(0);
        if !has_ended {
            self.check_rate()?;
        }
        Ok(Some(chunk))
    }

    /// Fails if too little has come in the time in which an answer may stall.
    fn check_rate(&mut self) -> Result<(), String> {
        if self.awaited < self.stall {
            return Ok(());
        }
        let (seconds, bytes) = (self.awaited.as_secs_f32(), self.arrived);
        let least = self.awaited.as_millis() * u128::from(SLOWEST) / 1_000;
        if u128::from(bytes) < least {
            return Err(format!(
                "only {bytes} bytes of the answer came in {seconds:.0} s"
            ));
        }
        (self.awaited, self.arrived) = (Duration::ZERO, 0);
        Ok(())
    }

    /// Receives the whole body. Fails if it has more than `limit` bytes, or takes minutes.
    pub(crate) async fn response_bytes(self, limit: usize) -> Result<Bytes, String> {
        let bytes = self.bytes_within(limit).await?;
        bytes.ok_or_else(|| format!("the answer is larger than {limit} bytes"))
    }

    /// Receives the whole body; `None` if it has more than `limit` bytes. Fails if it takes
    /// minutes.
    pub(crate) async fn bytes_within(mut self, limit: usize) -> Result<Option<Bytes>, String> {
        let patience = self.stall * SMALL_ANSWER;
        let mut bytes = BytesMut::new();
        let receive = async {
            while let Some(chunk) = self.chunk().await? {
                if bytes.len() + chunk.len() > limit {
                    return Ok(false);
                }
                bytes.extend_from_slice(&chunk);
            }
            Ok(true)
        };
        let received = tokio::time::timeout(patience, receive).await;
        match received {
            Ok(received) => received.map(|fits| fits.then(|| bytes.freeze())),
            Err(_) => Err(format!(
                "the answer has no end after {} s",
                patience.as_secs_f32()
            )),
        }
    }
}

/// Counters for reports.
#[derive(Default)]
pub(crate) struct Counters {
    pub requests: AtomicU64,
    pub authentications: AtomicU64,
    pub retries: AtomicU64,
    pub bytes_sent: AtomicU64,
}

/// The connection pools of one registry.
pub(crate) struct Wire {
    plain: reqwest::Client,
    /// Created when it is needed, because reading the system's certificates takes longer than an
    /// unchanged push.
    secure: OnceLock<reqwest::Client>,
    certificates: Certificates,
    bypasses_proxy: bool,
    timeouts: Timeouts,
    progress: Arc<dyn Progress>,
    pub counters: Counters,
    /// Whether any answer has arrived. Before that, a refused connection means a wrong address
    /// rather than a restart.
    reached: AtomicBool,
}

impl Wire {
    pub(crate) fn new(
        target: &Reference,
        options: &Options,
        certificates: Certificates,
        progress: Arc<dyn Progress>,
    ) -> Result<Wire, Error> {
        let bypasses_proxy = target.is_loopback();
        Ok(Wire {
            plain: pool(tls::empty_config()?, &options.timeouts, bypasses_proxy)?,
            secure: OnceLock::new(),
            certificates,
            bypasses_proxy,
            timeouts: options.timeouts.clone(),
            progress,
            counters: Counters::default(),
            reached: AtomicBool::new(false),
        })
    }

    pub(crate) fn progress(&self) -> &dyn Progress {
        &*self.progress
    }

    /// Sends a request for a token.
    pub(crate) async fn authenticate(
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
                status: None,
            });
        }
        Ok(reply)
    }

    /// Sends a request, and waits for the head of its answer.
    pub(crate) async fn send(&self, reference: &str, outgoing: Outgoing) -> Result<Reply, Trouble> {
        let Outgoing {
            method,
            url,
            mut headers,
            payload,
            weight,
        } = outgoing;
        let request = describe(&method, &url);
        let activity = Arc::new(Activity::default());
        // Some servers answer 411 to a POST or PUT without a body and without a length.
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
                    awaited: Duration::ZERO,
                    arrived: 0,
                })
            }
            Err(cause) => match (activity.failure(), place) {
                (Some(failure), Some(digest)) => Err(Trouble::Fatal(Error::Source {
                    place: format!("blob {digest}"),
                    reason: format!("the file became unreadable: {failure}"),
                    remedy: "do not change the layout while it is being pushed".to_owned(),
                })),
                _ => Err(self.judge(reference, request, cause)),
            },
        }
    }

    /// Returns the connection pool for `url`.
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

    /// Waits for the answer while bytes move. Once all are sent, waits as long as a registry may
    /// need to store them.
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
}

/// Returns method and URL for messages. Leaves out the query, which may hold secrets.
pub(crate) fn describe(method: &Method, url: &Url) -> String {
    let mut url = url.clone();
    url.set_query(None);
    let _ = (url.set_username(""), url.set_password(None));
    format!("{method} {url}")
}

/// Makes a connection pool. It uses only HTTP/1.1, so that parallel uploads each get a connection
/// with its own window.
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
