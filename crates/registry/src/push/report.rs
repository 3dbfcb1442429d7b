//! What a push came to.

use std::sync::atomic::Ordering;

use crateyard_oci::Digest;
use serde::Serialize;

use super::Push;
use crate::repository::Repository;

/// What a push came to.
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
    /// Whether this only says what would be sent.
    pub dry_run: bool,
    /// Whether everything was there already.
    pub unchanged: bool,
    /// Its blobs, by how they got to the registry.
    pub blobs: Blobs,
    /// Its manifests and indexes, and those that refer to it.
    pub manifests: Manifests,
    /// The blobs that were mounted or uploaded.
    pub transfers: Vec<Transfer>,
    /// Bytes of request bodies that were sent, those of attempts that failed included.
    pub bytes_sent: u64,
    /// Bytes of blobs that did not have to be sent.
    pub bytes_saved: u64,
    /// Requests to the registry, without those to token servers.
    pub requests: u64,
    /// Requests to token servers.
    pub authentications: u64,
    /// Requests that were sent again.
    pub retries: u64,
}

/// Numbers of blobs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Blobs {
    /// Which the repository had.
    pub existing: u64,
    /// Which the registry took over from another repository.
    pub mounted: u64,
    /// Which were sent.
    pub uploaded: u64,
    /// Which are by their type not to be pushed, and stay where they are.
    pub foreign: u64,
}

/// Numbers of manifests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Manifests {
    /// Which the repository had.
    pub existing: u64,
    /// Which were sent.
    pub uploaded: u64,
}

/// A blob that was not there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Transfer {
    /// Which.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
    /// How it got to the registry.
    pub how: How,
    /// Bytes that an earlier run had sent, and this one did not send again.
    pub resumed: u64,
}

/// How a blob got, or would get, to the registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum How {
    /// From another of its repositories.
    Mounted,
    /// From here.
    Uploaded,
    /// From another of its repositories if the registry agrees, else from here: dry runs do not ask.
    MountOrUpload,
}

/// What a registry's counters say.
#[derive(Clone, Copy)]
pub(super) struct Count {
    requests: u64,
    authentications: u64,
    retries: u64,
    bytes_sent: u64,
}

impl Count {
    /// What they say now.
    pub fn now(repository: &Repository) -> Count {
        let counters = repository.transport().counters();
        let read = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
        Count {
            requests: read(&counters.requests),
            authentications: read(&counters.authentications),
            retries: read(&counters.retries),
            bytes_sent: read(&counters.bytes_sent),
        }
    }

    /// Reports what was added since.
    pub fn measure(self, repository: &Repository, report: &mut Report) {
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
            blobs: Blobs::default(),
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
