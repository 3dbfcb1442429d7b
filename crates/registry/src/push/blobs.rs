//! Getting blobs into a repository: asked for, mounted, or sent.

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

/// How long all other requests wait for the upload of the largest new blob to be opened: a registry nearby is then
/// busy with nothing else, and for one far away this is no time.
const HEAD_START: Duration = Duration::from_millis(5);
/// How many repositories are tried as the source of one blob's mount.
const MAX_MOUNT_SOURCES: usize = 3;

/// Lets the requests for one blob go before all others: its upload is what a push waits for in the end.
pub(super) struct HeadStart {
    is_over: watch::Sender<bool>,
}

impl HeadStart {
    pub fn new() -> HeadStart {
        HeadStart {
            is_over: watch::Sender::new(false),
        }
    }

    /// Lets the others go.
    pub fn end(&self) {
        self.is_over.send_replace(true);
    }

    /// Waits until the others may go, or long enough.
    pub async fn wait(&self) {
        let mut watcher = self.is_over.subscribe();
        let _ = timeout(HEAD_START, watcher.wait_for(|is_over| *is_over)).await;
    }
}

/// What became of blobs that were asked for.
#[derive(Default)]
pub(super) struct Brought {
    /// Those that were not there.
    transfers: Vec<Transfer>,
    /// How many are not to be pushed.
    foreign: u64,
}

impl Brought {
    /// Each blob counts once: an image and what refers to it may share one.
    pub fn append(&mut self, other: Brought) {
        for transfer in other.transfers {
            if !self.transfers.iter().any(|it| it.digest == transfer.digest) {
                self.transfers.push(transfer);
            }
        }
        self.foreign += other.foreign;
    }

    /// Everything of the image that was neither sent nor left out was there.
    pub fn count(self, report: &mut Report, tree: &Tree, dry_run: bool) {
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
    /// Asks for blobs and sends those that are not there, each as soon as that is known.
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
        // What is most likely to be sent comes first, so that the answers about all else come while it is under
        // way; of that the largest, so that the last one to finish is short.
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

    /// `None` where the registry has the blob.
    async fn bring_one(
        &self,
        blob: Descriptor,
        senders: &Semaphore,
    ) -> Result<Option<Transfer>, Error> {
        let session = if self.is_new(&blob.digest) {
            // Most likely it is not there: an upload is opened while the registry looks.
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

    /// Whether this machine has sent to the repository before, and never this blob to its registry.
    fn is_new(&self, digest: &Digest) -> bool {
        let own = self.repository.reference().repository();
        let may_resume = || {
            self.client
                .memory()
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

    /// Before anything is sent: a file that has another size than its descriptor says cannot have its digest.
    fn check_size(&self, blob: &Descriptor) -> Result<(), Error> {
        match self.source.blob(&blob.digest)? {
            Some(local) if local.size() != blob.size => Err(Error::Source {
                place: format!("{}: blob {}", self.source.place(), blob.digest),
                reason: format!(
                    "{} bytes long, its descriptor says {}",
                    local.size(),
                    blob.size
                ),
                remedy: "write the layout again; it is damaged".to_owned(),
            }),
            _ => Ok(()),
        }
    }

    /// What a dry run says of a blob that is absent.
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

    /// Sends a blob, to an upload that was opened or to a new one.
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
        let (repository, memory) = (self.repository, self.client.memory());
        let upload = Upload {
            repository,
            memory,
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

    /// Asks for a mount. `None`: done. Otherwise the blob has to be sent, perhaps to an upload that was opened.
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

    /// Other repositories that may have a blob: those that were named, then those that are remembered.
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
