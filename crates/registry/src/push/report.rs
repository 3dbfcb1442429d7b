//! The report of a push.

use std::sync::atomic::Ordering;

use crateyard_oci::Digest;
use serde::Serialize;

use super::Push;
use crate::repository::Repository;

/// The report of a push.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The repository.
    pub repository: String,
    /// The tags that name the image now.
    pub tags: Vec<String>,
    /// The image's digest.
    pub digest: Digest,
    /// Its media type.
    pub media_type: String,
    /// Whether this was a dry run, which sends nothing.
    pub dry_run: bool,
    /// Whether the registry already had everything.
    pub unchanged: bool,
    /// The numbers of blobs.
    pub blobs: BlobCounts,
    /// The numbers of manifests and indexes, referrers included.
    pub manifests: Manifests,
    /// The blobs that were mounted or uploaded.
    pub transfers: Vec<Transfer>,
    /// Bytes of all request bodies, failed attempts included.
    pub bytes_sent: u64,
    /// Bytes of blobs that did not have to be sent.
    pub bytes_saved: u64,
    /// Requests to the registry, but not to token servers.
    pub requests: u64,
    /// Requests to token servers.
    pub authentications: u64,
    /// Requests that were sent again.
    pub retries: u64,
}

/// The blobs of an image, counted by how they got to the registry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct BlobCounts {
    /// How many the repository had.
    pub existing: u64,
    /// How many the registry mounted from another repository.
    pub mounted: u64,
    /// How many were sent.
    pub uploaded: u64,
    /// The number of foreign blobs, which are not pushed.
    pub foreign: u64,
}

/// The manifests of an image, counted by how they got to the registry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Manifests {
    /// How many the repository had.
    pub existing: u64,
    /// How many were sent.
    pub uploaded: u64,
}

/// A blob that the repository lacked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Transfer {
    /// The blob's digest.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
    /// How it got to the registry.
    pub how: How,
    /// Bytes that an earlier run had already sent.
    pub resumed: u64,
}

/// How a blob got, or would get, to the registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum How {
    /// The registry mounted it from another of its repositories.
    Mounted,
    /// This client sent it.
    Uploaded,
    /// A mount, or an upload if the registry declines. A dry run does not find out.
    MountOrUpload,
}

/// The counters of a repository's connection.
#[derive(Clone, Copy)]
pub(super) struct Count {
    requests: u64,
    authentications: u64,
    retries: u64,
    bytes_sent: u64,
}

impl Count {
    /// Reads the counters.
    pub(super) fn now(repository: &Repository) -> Count {
        let counters = repository.transport().counters();
        let read = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
        Count {
            requests: read(&counters.requests),
            authentications: read(&counters.authentications),
            retries: read(&counters.retries),
            bytes_sent: read(&counters.bytes_sent),
        }
    }

    /// Adds the difference since then to `report`.
    pub(super) fn measure(self, repository: &Repository, report: &mut Report) {
        let now = Count::now(repository);
        report.requests = now.requests - self.requests;
        report.authentications = now.authentications - self.authentications;
        report.retries = now.retries - self.retries;
        if !report.dry_run {
            report.bytes_sent = now.bytes_sent - self.bytes_sent;
        }
    }
}

impl Push<'_> {
    pub(super) fn empty_report(&self, tags: &[String]) -> Report {
        Report {
            repository: self.repository.reference().to_string(),
            tags: tags.to_vec(),
            digest: self.tree.root.digest.clone(),
            media_type: self.tree.root.media_type.clone(),
            dry_run: self.options.dry_run,
            unchanged: false,
            blobs: BlobCounts::default(),
            manifests: Manifests::default(),
            transfers: Vec::new(),
            bytes_sent: 0,
            bytes_saved: 0,
            requests: 0,
            authentications: 0,
            retries: 0,
        }
    }
}
