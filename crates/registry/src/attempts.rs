//! Retries: counts the failures of a piece of work, and waits between attempts.

use std::sync::atomic::Ordering;

use tokio::time::Instant;

use crate::error::{Error, Failure, Kind};
use crate::progress::{Event, RetryNotice};
use crate::retry::Retry;
use crate::transport::{Transport, is_write};
use crate::wire::Trouble;

/// The least number of bytes after which earlier failures are forgotten. With fewer, a server could
/// end each answer after one byte and keep a transfer going for days.
pub(crate) const LEAST_PROGRESS: u64 = 64 * 1024;

/// Counts the failures of one piece of work, and waits between attempts.
pub(crate) struct Attempts<'a> {
    transport: &'a Transport,
    retry: &'a Retry,
    reference: &'a str,
    failed: u32,
    /// The offset at which earlier failures were forgotten.
    reached: u64,
}

impl<'a> Attempts<'a> {
    pub(crate) fn new(
        transport: &'a Transport,
        retry: &'a Retry,
        reference: &'a str,
    ) -> Attempts<'a> {
        Attempts {
            transport,
            retry,
            reference,
            failed: 0,
            reached: 0,
        }
    }

    /// Reports the failure and waits until the next attempt. Fails if another attempt cannot help,
    /// or if all attempts are used up.
    pub(crate) async fn pause(&mut self, trouble: Trouble) -> Result<(), Error> {
        let (request, cause, asked) = match trouble {
            Trouble::Fatal(error) => return Err(error),
            Trouble::Transient {
                request,
                cause,
                asked,
                ..
            } => (request, cause, asked),
        };
        self.failed += 1;
        let retry = self.retry;
        let wait = match asked {
            Some(asked) if asked > retry.longest_asked => {
                let detail = format!("{cause}; the registry asks to wait {} s", asked.as_secs());
                return Err(self.failure(request, detail, "try again then"));
            }
            // Add jitter, so that clients do not all come back at the same moment.
            Some(asked) => asked + retry.wait(1).mul_f64(fastrand::f64() / 2.0),
            None => retry.wait(self.failed),
        };
        if self.failed >= retry.attempts {
            let detail = format!("{cause} (gave up after {} attempts)", self.failed);
            return Err(self.failure(request, detail, "try again later"));
        }
        if asked.is_some() {
            self.transport.close_gate(Instant::now() + wait);
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

    /// Forgets earlier failures if a transfer has come to an offset that is far enough behind all
    /// earlier ones. Bytes that are sent again are no progress.
    pub(crate) fn reach(&mut self, offset: u64) {
        if offset >= self.reached.saturating_add(LEAST_PROGRESS) {
            self.reached = offset;
            self.failed = 0;
        }
    }

    /// Returns the error for a failure that is not retried.
    pub(crate) fn give_up(&self, trouble: Trouble) -> Error {
        match trouble {
            Trouble::Fatal(error) => error,
            Trouble::Transient { request, cause, .. } => {
                self.failure(request, cause, "try again later")
            }
        }
    }

    fn failure(&self, request: String, detail: String, remedy: &str) -> Error {
        let kept = if is_write(&request) {
            "sent"
        } else {
            "fetched"
        };
        let reference = self.reference.to_owned();
        let remedy = format!("{remedy}; what was {kept} is kept");
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
