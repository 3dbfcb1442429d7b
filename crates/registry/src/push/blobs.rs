//! Gets blobs into a repository: finds them there, mounts them, or sends them.

use std::collections::BTreeSet;
use std::time::Duration;

use crateyard_oci::{Descriptor, Digest};
use futures_util::future::try_join;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use tokio::sync::{Semaphore, watch};
use tokio::time::timeout;

use super::{How, Push, QUESTIONS, Report, Transfer};
use crate::error::Error;
use crate::progress::{Arrival, Event};
use crate::repository::{Mount, Session};
use crate::tree::Tree;
use crate::upload::{Upload, missing_blob};

/// How long all other requests wait for the registry to open the upload of the largest new blob.
/// This keeps a nearby registry free of other work, and hardly matters with a distant one.
const HEAD_START: Duration = Duration::from_millis(5);
/// The number of repositories to try when mounting a blob.
const MAX_MOUNT_SOURCES: usize = 3;

/// Lets the requests for the largest new blob go first, because the push will wait longest for its
/// upload.
pub(super) struct HeadStart {
    is_over: watch::Sender<bool>,
}

impl HeadStart {
    pub(super) fn new() -> HeadStart {
        HeadStart {
            is_over: watch::Sender::new(false),
        }
    }

    /// Lets the other requests go.
    pub(super) fn end(&self) {
        self.is_over.send_replace(true);
    }

    /// Waits until the other requests may go, at most [`HEAD_START`].
    pub(super) async fn wait(&self) {
        let mut watcher = self.is_over.subscribe();
        let _ = timeout(HEAD_START, watcher.wait_for(|is_over| *is_over)).await;
    }
}

/// The result of [`Push::bring`].
#[derive(Default)]
pub(super) struct Brought {
    /// The blobs that the repository lacked.
    transfers: Vec<Transfer>,
    /// The number of foreign blobs, which are not pushed.
    foreign: u64,
}

impl Brought {
    /// Adds `other`. Counts each blob once, because an image and its referrers may share some.
    pub(super) fn append(&mut self, other: Brought) {
        for transfer in other.transfers {
            if !self.transfers.iter().any(|it| it.digest == transfer.digest) {
                self.transfers.push(transfer);
            }
        }
        self.foreign += other.foreign;
    }

    /// Counts the image's blobs. All that were neither sent nor foreign were there before.
    pub(super) fn count(self, report: &mut Report, tree: &Tree, dry_run: bool) {
        let mut transfers = self.transfers;
        transfers.sort_by(|one, other| one.digest.cmp(&other.digest));
        let sent: BTreeSet<&Digest> = transfers.iter().map(|it| &it.digest).collect();
        let all = Tree::blobs(tree.manifests.iter().chain(&tree.attached));
        let existing = all
            .iter()
            .filter(|blob| !sent.contains(&blob.digest) && !blob.is_foreign());
        for blob in existing {
            report.blobs.existing += 1;
            report.bytes_saved = report.bytes_saved.saturating_add(blob.size);
        }
        for transfer in &transfers {
            report.bytes_saved = report.bytes_saved.saturating_add(transfer.resumed);
            match transfer.how {
                How::Mounted => {
                    report.blobs.mounted += 1;
                    report.bytes_saved = report.bytes_saved.saturating_add(transfer.size);
                }
                _ => report.blobs.uploaded += 1,
            }
            if dry_run {
                report.bytes_sent = report.bytes_sent.saturating_add(transfer.size);
            }
        }
        report.blobs.foreign = self.foreign;
        report.transfers = transfers;
    }
}

impl Push<'_> {
    /// Asks for blobs, and sends each missing one as soon as the answer is there.
    pub(super) async fn bring(&self, blobs: Vec<Descriptor>) -> Result<Brought, Error> {
        let mut brought = Brought::default();
        let mut wanted = Vec::new();
        for blob in blobs {
            if blob.is_foreign() && self.source.blob(&blob.digest)?.is_none() {
                brought.foreign += 1;
            } else {
                self.check_size(&blob)?;
                wanted.push(blob);
            }
        }
        // Start with the blobs that the registry most likely lacks, so that they are under way
        // while it answers about the others. The largest go first, so that the last one to finish
        // is short.
        wanted.sort_by_cached_key(|blob| {
            let is_known = !self.is_new(&blob.digest);
            (is_known, u64::MAX - blob.size, blob.digest.clone())
        });
        if !wanted.is_empty() && !self.options.dry_run {
            let bytes = Tree::total_size(&wanted);
            self.client.progress().event(Event::Start {
                blobs: wanted.len(),
                bytes,
            });
        }
        if wanted
            .first()
            .is_none_or(|first| !self.is_new(&first.digest))
        {
            self.head_start.end();
        }
        let senders = &Semaphore::new(self.options.jobs.max(1));
        let mut transfers = stream::iter(wanted.into_iter().enumerate())
            .map(|(place, blob)| async move {
                if place > 0 {
                    self.head_start.wait().await;
                }
                self.bring_one(blob, senders).await
            })
            .buffer_unordered(QUESTIONS.max(self.options.jobs))
            .try_filter_map(|transfer| async move { Ok(transfer) })
            .try_collect::<Vec<Transfer>>()
            .await?;
        brought.transfers.append(&mut transfers);
        Ok(brought)
    }

    /// Sends a blob unless the repository has it. `None` if it does.
    async fn bring_one(
        &self,
        blob: Descriptor,
        senders: &Semaphore,
    ) -> Result<Option<Transfer>, Error> {
        let session = if self.is_new(&blob.digest) {
            // The repository most likely lacks it, so open an upload while asking.
            let ask = self.repository.has_blob(&blob.digest);
            let (session, is_there) = try_join(self.repository.begin_upload(), ask).await?;
            self.head_start.end();
            if is_there {
                self.repository.cancel_upload(&session).await;
                self.tell_existing(&blob);
                return Ok(None);
            }
            Some(session)
        } else {
            if self.repository.has_blob(&blob.digest).await? {
                self.tell_existing(&blob);
                return Ok(None);
            }
            None
        };
        if self.options.dry_run {
            return Ok(Some(self.foresee(&blob)));
        }
        let _turn = senders.acquire().await;
        self.send_blob(&blob, session).await.map(Some)
    }

    /// Whether this machine has pushed to the repository before, but never this blob to its
    /// registry.
    fn is_new(&self, digest: &Digest) -> bool {
        let own = self.repository.reference().repository();
        let may_resume = || {
            self.client
                .learned()
                .begun(self.repository.reference(), digest)
        };
        !self.options.dry_run
            && self.options.mount_from.is_empty()
            && self.known.has_repository(own)
            && !self.known.has_blob(digest)
            && may_resume().is_none()
    }

    fn tell_existing(&self, blob: &Descriptor) {
        let (progress, digest, size) = (self.client.progress(), &blob.digest, blob.size);
        if !self.options.dry_run {
            progress.event(Event::Blob {
                digest,
                offset: size,
                size,
            });
        }
        let how = Arrival::Existing;
        progress.event(Event::Done { digest, how });
    }

    /// Checks a blob's size before anything is sent. A file of another size cannot have the right
    /// digest.
    fn check_size(&self, blob: &Descriptor) -> Result<(), Error> {
        match self.source.blob(&blob.digest)? {
            Some(local) if local.size() != blob.size => Err(Error::Source {
                place: format!("{}: blob {}", self.source.place(), blob.digest),
                reason: format!(
                    "it has {} bytes, but its descriptor says {}",
                    local.size(),
                    blob.size
                ),
                remedy: "write the layout again; it is damaged".to_owned(),
            }),
            _ => Ok(()),
        }
    }

    /// Makes the report of a dry run about a missing blob.
    fn foresee(&self, blob: &Descriptor) -> Transfer {
        let may_mount = !self.mount_sources(&blob.digest).is_empty();
        Transfer {
            digest: blob.digest.clone(),
            size: blob.size,
            how: if may_mount {
                How::MountOrUpload
            } else {
                How::Uploaded
            },
            resumed: 0,
        }
    }

    pub(super) async fn send_blob(
        &self,
        descriptor: &Descriptor,
        opened: Option<Session>,
    ) -> Result<Transfer, Error> {
        let (digest, size) = (descriptor.digest.clone(), descriptor.size);
        let progress = self.client.progress();
        let mounted = match opened {
            Some(session) => Some(Some(session)),
            None => self.mount(&digest).await?,
        };
        let Some(session) = mounted else {
            progress.event(Event::Blob {
                digest: &digest,
                offset: size,
                size,
            });
            progress.event(Event::Done {
                digest: &digest,
                how: Arrival::Mounted,
            });
            return Ok(Transfer {
                digest,
                size,
                how: How::Mounted,
                resumed: 0,
            });
        };
        self.upload(descriptor, session).await
    }

    /// Sends a blob, with an open upload or a new one.
    pub(super) async fn upload(
        &self,
        descriptor: &Descriptor,
        session: Option<Session>,
    ) -> Result<Transfer, Error> {
        let (digest, size) = (descriptor.digest.clone(), descriptor.size);
        let blob = self
            .source
            .blob(&digest)?
            .ok_or_else(|| missing_blob(&self.source.place(), &digest))?;
        let (repository, learned) = (self.repository, self.client.learned());
        let upload = Upload {
            repository,
            learned,
            blob,
            digest: &digest,
            chunk_size: self.options.chunk_size,
        };
        let uploaded = upload.run(session).await?;
        self.client.progress().event(Event::Done {
            digest: &digest,
            how: Arrival::Transferred,
        });
        Ok(Transfer {
            digest,
            size,
            how: How::Uploaded,
            resumed: uploaded.resumed,
        })
    }

    /// Tries to mount a blob. `None` if that worked. Otherwise the blob must be sent, with the
    /// upload that the registry may have opened.
    async fn mount(&self, digest: &Digest) -> Result<Option<Option<Session>>, Error> {
        let mut opened = None;
        for from in self.mount_sources(digest) {
            match self.repository.mount(digest, &from).await? {
                Mount::Done => {
                    if let Some(session) = &opened {
                        self.repository.cancel_upload(session).await;
                    }
                    return Ok(None);
                }
                Mount::Opened(session) => {
                    if let Some(previous) = opened.replace(session) {
                        self.repository.cancel_upload(&previous).await;
                    }
                }
                Mount::Declined => {}
            }
        }
        Ok(Some(opened))
    }

    /// Returns other repositories that may have a blob: those of the options, then those
    /// that earlier runs learned.
    fn mount_sources(&self, digest: &Digest) -> Vec<String> {
        let own = self.repository.reference().repository();
        let mut sources: Vec<String> = Vec::new();
        for source in self
            .options
            .mount_from
            .iter()
            .cloned()
            .chain(self.known.elsewhere(digest, own))
        {
            if source != own && !sources.contains(&source) && sources.len() < MAX_MOUNT_SOURCES {
                sources.push(source);
            }
        }
        sources
    }
}
