//! What a transfer tells while it runs.

use std::time::Duration;

use crateyard_oci::Digest;

/// Is told what happens, from several threads. All methods do nothing by default.
pub trait Progress: Send + Sync {
    /// Something happened.
    fn event(&self, event: Event<'_>) {
        let _ = event;
    }
}

/// Tells nobody.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Progress for Silent {}

/// Something that happened.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A transfer of `blobs` blobs with `bytes` bytes in all begins.
    Start {
        /// How many blobs have to be transferred.
        blobs: usize,
        /// Their sizes together.
        bytes: u64,
    },
    /// A blob's transfer begins, or begins again, with `offset` of `size` bytes already there.
    Blob {
        /// Which blob.
        digest: &'a Digest,
        /// Bytes that need not be transferred (again).
        offset: u64,
        /// The size of the blob.
        size: u64,
    },
    /// The next `bytes` bytes of a blob were handed to the connection, or came from it.
    Bytes {
        /// Which blob.
        digest: &'a Digest,
        /// How many.
        bytes: u64,
    },
    /// A blob is where it should be.
    Done {
        /// Which blob.
        digest: &'a Digest,
        /// How it got there.
        how: Arrival,
    },
    /// A request failed and will be sent again.
    Retry(RetryNotice<'a>),
    /// The registry behaves in a way that changes what is done from here on.
    Notice {
        /// What, as a sentence.
        message: &'a str,
    },
}

/// How a blob got to where it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// It was there.
    Existing,
    /// The registry took it over from another of its repositories.
    Mounted,
    /// It was transferred.
    Transferred,
}

/// A request that failed and will be sent again.
#[derive(Clone, Debug)]
pub struct RetryNotice<'a> {
    /// Method and URL.
    pub request: &'a str,
    /// What happened.
    pub cause: &'a str,
    /// How long to wait before.
    pub wait: Duration,
    /// Whether the registry asked for this wait.
    pub asked: bool,
    /// Which attempt failed, counted from 1.
    pub attempt: u32,
    /// How many attempts there are at most.
    pub attempts: u32,
}
