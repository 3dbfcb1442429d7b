//! Pushing an image: what the registry lacks, blobs first, tags last.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::future::try_join;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use serde::Serialize;
use tokio::sync::{Semaphore, watch};
use tokio::time::timeout;

use crate::client::Client;
use crate::content::{Descriptor, Manifest};
use crate::digest::Digest;
use crate::error::Error;
use crate::memory::Known;
use crate::progress::{Arrival, Event};
use crate::reference::{Reference, Version};
use crate::repository::{Mount, ReferrersKeeper, Repository, Session};
use crate::source::Source;
use crate::tree::Tree;
use crate::upload::{Upload, missing_blob};
use crate::wire::Counters;

/// How many questions (HEAD requests) are asked at the same time.
const QUESTIONS: usize = 8;
/// How long all other requests wait for the upload of the largest new blob to be opened: a registry nearby is then
/// busy with nothing else, and for one far away this is no time.
const HEAD_START: Duration = Duration::from_millis(5);
/// How many repositories are tried as the source of one blob's mount.
const MAX_MOUNT_SOURCES: usize = 3;

/// How an image is pushed.
#[derive(Clone, Debug)]
pub struct Options {
    /// Tags that the image gets beside the target's own. Without any the target gets docker's `latest`.
    pub tags: Vec<String>,
    /// Which image of the source: its `org.opencontainers.image.ref.name`, or its digest. Not needed for an only one.
    pub name: Option<String>,
    /// How many blobs are sent at the same time.
    pub jobs: usize,
    /// How much of a blob goes into one request, in bytes; smaller blobs go as a whole.
    pub chunk_size: u64,
    /// Repositories of the same registry that are likely to have some of the blobs.
    pub mount_from: Vec<String>,
    /// Find out what would be sent, and send nothing.
    pub dry_run: bool,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            tags: Vec::new(),
            name: None,
            jobs: 4,
            chunk_size: 32 * 1024 * 1024,
            mount_from: Vec::new(),
            dry_run: false,
        }
    }
}

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

/// Pushes an image of `source` to the repository of `target`.
///
/// Tags move only when everything they name is there, so that whatever stops a push, each tag names the old image or
/// the new one, whole. Where `target` has a digest, the image must have it and no tag is moved.
///
/// # Errors
/// When the source is damaged, the registry refuses, or it stays unreachable after all retries.
pub async fn push(
    client: &Client,
    source: Arc<dyn Source>,
    target: &Reference,
    options: &Options,
) -> Result<Report, Error> {
    let tree = Tree::read(&*source, options.name.as_deref())?;
    let tags = tags(target, options)?;
    check_target(&*source, &tree, target)?;
    let repository = client.repository(target)?.for_push();
    let known = client.memory().known(target);
    let begin = Count::of(repository.transport().counters());
    let mut push = Push {
        client,
        source: &*source,
        repository: &repository,
        options,
        tree: &tree,
        known,
        head_start: HeadStart::new(),
    };
    let mut report = push.run(tags).await?;
    let count = Count::of(repository.transport().counters());
    report.requests = count.requests - begin.requests;
    report.authentications = count.authentications - begin.authentications;
    report.retries = count.retries - begin.retries;
    if !options.dry_run {
        report.bytes_sent = count.bytes_sent - begin.bytes_sent;
    }
    Ok(report)
}

/// The target's tag and those of the options, each once; none where a digest is pushed.
fn tags(target: &Reference, options: &Options) -> Result<Vec<String>, Error> {
    let mut tags: Vec<String> = Vec::new();
    for tag in target
        .tag()
        .into_iter()
        .chain(options.tags.iter().map(String::as_str))
    {
        target.with_tag(tag)?;
        if !tags.iter().any(|known| known == tag) {
            tags.push(tag.to_owned());
        }
    }
    if tags.is_empty() && target.digest().is_none() {
        tags.push("latest".to_owned());
    }
    Ok(tags)
}

fn check_target(source: &dyn Source, tree: &Tree, target: &Reference) -> Result<(), Error> {
    match target.digest() {
        Some(digest) if *digest != tree.root.digest => Err(Error::Source {
            place: source.place(),
            reason: format!(
                "the image has the digest {}, the target {target} another one",
                tree.root.digest
            ),
            remedy: "leave the digest out, or push the image that has it".to_owned(),
        }),
        _ => Ok(()),
    }
}

#[derive(Clone, Copy)]
struct Count {
    requests: u64,
    authentications: u64,
    retries: u64,
    bytes_sent: u64,
}

impl Count {
    fn of(counters: &Counters) -> Count {
        let read = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
        Count {
            requests: read(&counters.requests),
            authentications: read(&counters.authentications),
            retries: read(&counters.retries),
            bytes_sent: read(&counters.bytes_sent),
        }
    }
}

/// One push while it runs.
struct Push<'a> {
    client: &'a Client,
    source: &'a dyn Source,
    repository: &'a Repository,
    options: &'a Options,
    tree: &'a Tree,
    known: Known,
    head_start: HeadStart,
}

/// Lets the requests for one blob go before all others: its upload is what a push waits for in the end.
struct HeadStart {
    is_over: watch::Sender<bool>,
}

impl HeadStart {
    fn new() -> HeadStart {
        HeadStart {
            is_over: watch::Sender::new(false),
        }
    }

    /// Lets the others go.
    fn end(&self) {
        self.is_over.send_replace(true);
    }

    /// Waits until the others may go, or long enough.
    async fn wait(&self) {
        let mut watcher = self.is_over.subscribe();
        let _ = timeout(HEAD_START, watcher.wait_for(|is_over| *is_over)).await;
    }
}

/// What the registry lacks.
struct Missing<'a> {
    /// Tags that name something else, or nothing.
    tags: Vec<String>,
    /// Manifests of the image, children first.
    manifests: Vec<&'a Manifest>,
    /// Manifests that refer to it, and those below them.
    attached: Vec<&'a Manifest>,
    /// Digests of manifests that their subject's list of referrers lacks, and who keeps those lists.
    unlisted: BTreeMap<Digest, ReferrersKeeper>,
    /// Whether the registry lacks the referrers API.
    lacks_referrers: bool,
}

/// What became of blobs that were asked for.
#[derive(Default)]
struct Brought {
    /// Those that were not there.
    transfers: Vec<Transfer>,
    /// How many are not to be pushed.
    foreign: u64,
}

impl Brought {
    /// Each blob counts once: an image and what refers to it may share one.
    fn append(&mut self, other: Brought) {
        for transfer in other.transfers {
            if !self.transfers.iter().any(|it| it.digest == transfer.digest) {
                self.transfers.push(transfer);
            }
        }
        self.foreign += other.foreign;
    }
}

impl<'a> Push<'a> {
    async fn run(&mut self, tags: Vec<String>) -> Result<Report, Error> {
        let mut report = self.empty_report(&tags);
        let image = Tree::blobs(&self.tree.manifests);
        let (missing, mut blobs) = if self.expects_change(&tags) {
            // Blobs are asked for, and sent, while the registry still says what its tags name.
            let missing = async {
                self.head_start.wait().await;
                self.find_missing(&tags).await
            };
            let (blobs, missing) = try_join(self.bring(image), missing).await?;
            (missing, blobs)
        } else {
            let missing = self.find_missing(&tags).await?;
            let blobs = self
                .bring(Tree::blobs(missing.manifests.iter().copied()))
                .await?;
            (missing, blobs)
        };
        self.known.lacks_referrers = missing.lacks_referrers;
        let attached = Tree::blobs(missing.attached.iter().copied());
        blobs.append(self.bring(attached).await?);
        report.manifests.uploaded = (missing.manifests.len() + missing.attached.len()) as u64;
        report.manifests.existing = (self.tree.manifests.len() + self.tree.attached.len()) as u64
            - report.manifests.uploaded;
        report.unchanged = missing.tags.is_empty()
            && report.manifests.uploaded == 0
            && missing.unlisted.is_empty();
        self.count(blobs, &mut report);
        if self.options.dry_run {
            return Ok(report);
        }
        self.send_manifests(&missing).await?;
        self.remember(&tags);
        Ok(report)
    }

    /// Whether this machine remembers that a tag names another image than this. The registry has the last word.
    fn expects_change(&self, tags: &[String]) -> bool {
        let root = &self.tree.root.digest;
        let repository = self.repository.reference().repository();
        let named = |tag: &String| self.known.tag(repository, tag);
        !self.options.dry_run && tags.iter().filter_map(named).any(|digest| digest != root)
    }

    fn empty_report(&self, tags: &[String]) -> Report {
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

    /// Asks for the tags first: where they name the image already, it is there as a whole and no more is asked.
    async fn find_missing(&self, tags: &[String]) -> Result<Missing<'a>, Error> {
        let (tree, repository) = (self.tree, self.repository);
        let root = &tree.root.digest;
        let stale = stream::iter(tags.iter().cloned())
            .map(|tag| async move {
                let resolved = repository.resolve(&Version::Tag(tag.clone())).await?;
                Ok::<_, Error>((
                    tag,
                    resolved.is_none_or(|resolved| resolved.digest != *root),
                ))
            })
            .buffered(QUESTIONS)
            .try_filter_map(|(tag, is_stale)| async move { Ok(is_stale.then_some(tag)) })
            .try_collect::<Vec<String>>()
            .await?;
        let is_current = stale.is_empty() && !tags.is_empty();
        let manifests = match &tree.manifests[..] {
            _ if is_current => Vec::new(),
            // Setting the tag sends a lone manifest anyway: asking for it would only take time.
            [only] if !tags.is_empty() => vec![only],
            all => self.lacking(all).await?,
        };
        let (unlisted, lacks_referrers) = self.find_unlisted(is_current).await?;
        let is_listed = |manifest: &Manifest| {
            manifest.subject.is_some() && !unlisted.contains_key(&manifest.digest)
        };
        // Without a referrer that the registry lacks, nothing below the referrers can be missing.
        let is_complete = tree
            .attached
            .iter()
            .all(|manifest| manifest.subject.is_none() || is_listed(manifest));
        let attached = if is_complete {
            Vec::new()
        } else {
            tree.attached
                .iter()
                .filter(|manifest| !is_listed(manifest))
                .collect()
        };
        Ok(Missing {
            tags: stale,
            manifests,
            attached,
            unlisted,
            lacks_referrers,
        })
    }

    /// Those of `manifests` that the repository does not have.
    async fn lacking<'m>(&self, manifests: &'m [Manifest]) -> Result<Vec<&'m Manifest>, Error> {
        stream::iter(manifests)
            .map(|manifest| async move {
                let version = Version::Digest(manifest.digest.clone());
                let is_there = self.repository.resolve(&version).await?.is_some();
                Ok::<_, Error>((!is_there).then_some(manifest))
            })
            .buffered(QUESTIONS)
            .try_filter_map(|manifest| async move { Ok(manifest) })
            .try_collect()
            .await
    }

    /// Referrers that their subjects' lists lack. A tag that is current vouches for the image, not for its referrers.
    /// Says too whether the registry lacks the referrers API, as far as known.
    async fn find_unlisted(
        &self,
        is_current: bool,
    ) -> Result<(BTreeMap<Digest, ReferrersKeeper>, bool), Error> {
        let tree = self.tree;
        let image: &[Manifest] = if is_current { &[] } else { &tree.manifests };
        let mut referrers: BTreeMap<&Digest, Vec<&Digest>> = BTreeMap::new();
        for manifest in image.iter().chain(&tree.attached) {
            if let Some(subject) = &manifest.subject {
                referrers
                    .entry(&subject.digest)
                    .or_default()
                    .push(&manifest.digest);
            }
        }
        let mut lacks_api = self.known.lacks_referrers;
        let mut unlisted = BTreeMap::new();
        for (subject, digests) in referrers {
            let (listed, keeper) = self.repository.referrers(subject, lacks_api).await?;
            lacks_api = keeper == ReferrersKeeper::Tag;
            let is_listed = |digest: &Digest| listed.iter().any(|known| known.digest == *digest);
            unlisted.extend(
                digests
                    .into_iter()
                    .filter(|digest| !is_listed(digest))
                    .map(|d| (d.clone(), keeper)),
            );
        }
        Ok((unlisted, lacks_api))
    }

    /// Asks for blobs and sends those that are not there, each as soon as that is known.
    async fn bring(&self, blobs: Vec<Descriptor>) -> Result<Brought, Error> {
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
            let bytes = wanted.iter().map(|blob| blob.size).sum();
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

    /// Everything of the image that was neither sent nor left out was there.
    fn count(&self, brought: Brought, report: &mut Report) {
        let mut transfers = brought.transfers;
        transfers.sort_by(|one, other| one.digest.cmp(&other.digest));
        let sent: BTreeSet<&Digest> = transfers.iter().map(|it| &it.digest).collect();
        let all = Tree::blobs(self.tree.manifests.iter().chain(&self.tree.attached));
        let existing = all
            .iter()
            .filter(|blob| !sent.contains(&blob.digest) && !blob.is_foreign());
        for blob in existing {
            report.blobs.existing += 1;
            report.bytes_saved += blob.size;
        }
        for transfer in &transfers {
            report.bytes_saved += transfer.resumed;
            match transfer.how {
                How::Mounted => {
                    report.blobs.mounted += 1;
                    report.bytes_saved += transfer.size;
                }
                _ => report.blobs.uploaded += 1,
            }
            if self.options.dry_run {
                report.bytes_sent += transfer.size;
            }
        }
        report.blobs.foreign = brought.foreign;
        report.transfers = transfers;
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

    async fn send_blob(
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
        progress.event(Event::Done {
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

    /// Manifests, then the indexes above them, then what refers to them, then the tags.
    async fn send_manifests(&self, missing: &Missing<'_>) -> Result<(), Error> {
        let root = &self.tree.root;
        let (indexes, images): (Vec<&Manifest>, Vec<&Manifest>) = missing
            .manifests
            .iter()
            .copied()
            .filter(|it| it.digest != root.digest)
            .partition(|it| it.is_index());
        stream::iter(images)
            .map(|manifest| self.put_by_digest(manifest, missing))
            .buffer_unordered(self.options.jobs.max(1))
            .try_collect::<()>()
            .await?;
        // Children come before their parents in this order.
        for index in indexes {
            self.put_by_digest(index, missing).await?;
        }
        // With a single tag and no referrers the request that sets the tag stores the manifest too.
        let is_lone =
            missing.tags.len() == 1 && missing.attached.is_empty() && root.subject.is_none();
        let is_missing = missing.manifests.iter().any(|it| it.digest == root.digest);
        if is_missing && !is_lone {
            self.put_by_digest(root, missing).await?;
        } else if missing.unlisted.contains_key(&root.digest) {
            self.list(root, false, missing).await?;
        }
        for manifest in &missing.attached {
            self.put_by_digest(manifest, missing).await?;
        }
        for tag in &missing.tags {
            self.repository
                .put_manifest(&Version::Tag(tag.clone()), root)
                .await?;
        }
        Ok(())
    }

    async fn put_by_digest(&self, manifest: &Manifest, missing: &Missing<'_>) -> Result<(), Error> {
        let version = Version::Digest(manifest.digest.clone());
        let is_listed = self.repository.put_manifest(&version, manifest).await?;
        self.list(manifest, is_listed, missing).await
    }

    /// Adds a referrer to its subject's list, where the registry does not do it.
    async fn list(
        &self,
        manifest: &Manifest,
        is_listed: bool,
        missing: &Missing<'_>,
    ) -> Result<(), Error> {
        let keeper = missing.unlisted.get(&manifest.digest);
        match (&manifest.subject, keeper) {
            (Some(subject), Some(ReferrersKeeper::Tag)) if !is_listed => {
                self.repository
                    .add_referrer(&subject.digest, &manifest.descriptor())
                    .await
            }
            _ => Ok(()),
        }
    }

    /// All blobs of the image are in the repository now, and the tags name it.
    fn remember(&mut self, tags: &[String]) {
        let own = self.repository.reference().repository().to_owned();
        let before = self.client.memory().known(self.repository.reference());
        let all = Tree::blobs(self.tree.manifests.iter().chain(&self.tree.attached));
        for blob in all.into_iter().filter(|blob| !blob.is_foreign()) {
            self.known.add(&blob.digest, &own);
        }
        for tag in tags {
            self.known.set_tag(&own, tag, &self.tree.root.digest);
        }
        if self.known != before {
            self.client
                .memory()
                .set_known(self.repository.reference(), self.known.clone());
        }
    }
}
