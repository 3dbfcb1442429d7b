//! Progress: the events of a transfer.

use std::time::Duration;

use crateyard_oci::Digest;

/// Receives events, from several threads. By default it ignores them.
pub trait Progress: Send + Sync {
    /// Receives an event.
    fn event(&self, event: Event<'_>) {
        let _ = event;
    }
}

/// Ignores all events.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Progress for Silent {}

/// An event.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A transfer begins.
    Start {
        /// The number of its blobs.
        blobs: usize,
        /// The total size of the blobs.
        bytes: u64,
    },
    /// The transfer of a blob begins, or begins again.
    Blob {
        /// The blob's digest.
        digest: &'a Digest,
        /// The number of bytes that are already there.
        offset: u64,
        /// The size of the blob in bytes.
        size: u64,
    },
    /// The connection took or delivered the next bytes of a blob.
    Bytes {
        /// The blob's digest.
        digest: &'a Digest,
        /// The number of bytes.
        bytes: u64,
    },
    /// A blob has arrived.
    Done {
        /// The blob's digest.
        digest: &'a Digest,
        /// How it got there.
        how: Arrival,
    },
    /// A request failed and will be sent again.
    Retry(RetryNotice<'a>),
    /// The registry's behaviour changes how the transfer goes on.
    Notice {
        /// A sentence for the user.
        message: &'a str,
    },
}

/// How a blob arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// The blob was there before.
    Existing,
    /// The registry mounted it from another of its repositories.
    Mounted,
    /// The blob was transferred.
    Transferred,
}

/// A request that failed and will be sent again.
#[derive(Clone, Debug)]
pub struct RetryNotice<'a> {
    /// Method and URL.
    pub request: &'a str,
    /// The cause of the failure.
    pub cause: &'a str,
    /// The client's wait before it tries again.
    pub wait: Duration,
    /// Whether the registry asked for this wait.
    pub asked: bool,
    /// The number of the failed attempt, counted from 1.
    pub attempt: u32,
    /// The highest number of attempts.
    pub attempts: u32,
}
