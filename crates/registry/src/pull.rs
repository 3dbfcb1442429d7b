//! Pulls an image into an OCI layout, and verifies every digest.

mod blobs;
mod destination;
mod partial;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::atomic::Ordering;

use crateyard_oci::{
    Budget, Descriptor, Digest, Document, Platform, Reference, TagOrDigest, media_type,
};
use futures_util::stream::{self, StreamExt, TryStreamExt};
use serde::Serialize;

use crate::client::Client;
use crate::error::{Error, Failure, Kind};
use crate::progress::Event;
use crate::repository::Repository;
use crate::tree::Tree;
use blobs::Pull;
use destination::Destination;

/// The options of a pull.
#[derive(Clone, Debug)]
pub struct Options {
    /// Pull only the image that fits this platform best. Without it, pull the index with all its
    /// images.
    pub platform: Option<Platform>,
    /// How many blobs to fetch at the same time.
    pub jobs: usize,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            platform: None,
            jobs: 4,
        }
    }
}

/// The result of a pull.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The reference that was pulled.
    pub reference: String,
    /// The digest of the pulled image.
    pub digest: Digest,
    /// Its media type.
    pub media_type: String,
    /// How many blobs (not manifests) the layout already had.
    pub existing: u64,
    /// How many blobs were fetched.
    pub fetched: u64,
    /// How many bytes of blobs were received.
    pub bytes_received: u64,
    /// Requests to the registry, but not to token servers.
    pub requests: u64,
    /// Requests that were sent again.
    pub retries: u64,
}

/// A fetched image, which the layout's index does not name yet.
pub struct Fetched {
    layout: Destination,
    root: Document,
    blobs: Vec<Descriptor>,
    name: Option<String>,
    report: Report,
}

/// Pulls the image that `reference` names into the OCI layout at `destination`. Creates the layout
/// if it does not exist.
///
/// A blob gets its name in the layout only after it was verified, and `index.json` changes last. A
/// killed pull leaves only whole blobs. A failed pull keeps the bytes that it received, and the
/// next pull continues there. Several pulls may write to one layout at the same time. The same
/// digest, pulled into an empty layout, always gives the same bytes.
///
/// ```no_run
/// use crateyard_registry::{Client, Options, pull};
///
/// let client = Client::new(Options::from_environment());
/// let reference = "registry.example/team/gateway:v1".parse()?;
/// let options = pull::Options::default();
/// let pulled = pull::pull(&client, &reference, "gateway".as_ref(), &options);
/// let report = crateyard_registry::run(pulled)?;
/// println!("fetched {} blobs of {}", report.fetched, report.digest);
/// # Ok::<(), crateyard_registry::Error>(())
/// ```
///
/// # Errors
/// Fails if the registry refuses, sends bytes with another digest, or stays unreachable, or if
/// `destination` is not a layout.
pub async fn pull(
    client: &Client,
    reference: &Reference,
    destination: &Path,
    options: &Options,
) -> Result<Report, Error> {
    fetch(client, reference, destination, options)
        .await?
        .finish()
}

/// Like [`pull`], but does not change `index.json`. So the caller can inspect the image before
/// [`Fetched::finish`].
///
/// # Errors
/// Fails as [`pull`] does.
pub async fn fetch(
    client: &Client,
    reference: &Reference,
    destination: &Path,
    options: &Options,
) -> Result<Fetched, Error> {
    let repository = client.repository(reference)?;
    let layout = Destination::open(destination)?;
    let counters = repository.transport().counters();
    let (requests, retries) = (
        counters.requests.load(Ordering::Relaxed),
        counters.retries.load(Ordering::Relaxed),
    );
    let root = fetch_manifest(&repository, &reference.version()).await?;
    let budget = Budget::default();
    let root = match &options.platform {
        Some(platform) => choose_platform(&repository, &budget, root, platform).await?,
        None => root,
    };
    let manifests = fetch_tree(&repository, &budget, &root).await?;
    let blobs = Tree::blobs(&manifests);
    layout.create()?;
    layout.tidy(&blobs);
    client.progress().event(Event::Start {
        blobs: blobs.len(),
        bytes: Tree::total_size(&blobs),
    });
    let pull = Pull {
        client,
        repository: &repository,
        layout: &layout,
    };
    let received: Vec<Option<u64>> = stream::iter(&blobs)
        .map(|blob| pull.fetch_blob(blob))
        .buffer_unordered(options.jobs.max(1))
        .try_collect()
        .await?;
    for manifest in &manifests {
        layout.add(manifest)?;
    }
    let report = Report {
        reference: reference.to_string(),
        digest: root.digest.clone(),
        media_type: root.media_type.clone(),
        existing: received.iter().filter(|bytes| bytes.is_none()).count() as u64,
        fetched: received.iter().filter(|bytes| bytes.is_some()).count() as u64,
        bytes_received: received.iter().flatten().sum(),
        requests: counters.requests.load(Ordering::Relaxed) - requests,
        retries: counters.retries.load(Ordering::Relaxed) - retries,
    };
    let name = reference.version().to_string();
    let all = manifests.iter().map(Document::descriptor);
    Ok(Fetched {
        layout,
        root,
        blobs: all.chain(blobs).collect(),
        name: reference.digest().is_none().then_some(name),
        report,
    })
}

impl Fetched {
    /// The descriptor of the image.
    pub fn root(&self) -> Descriptor {
        self.root.descriptor()
    }

    /// Names the image in the layout's index.
    ///
    /// # Errors
    /// Fails if the index can't be written, or if a fetched blob is gone.
    pub fn finish(self) -> Result<Report, Error> {
        let (root, name) = (&self.root, self.name.as_deref());
        self.layout.finish(root, name, &self.blobs)?;
        Ok(self.report)
    }

    /// Removes the fetched files if the layout holds no other image.
    pub fn discard(self) {
        self.layout.discard(&self.blobs);
    }
}

async fn fetch_manifest(repository: &Repository, version: &TagOrDigest) -> Result<Document, Error> {
    repository.manifest(version).await?.ok_or_else(|| {
        let reference = match version {
            TagOrDigest::Tag(tag) => format!("{}:{tag}", repository.reference()),
            TagOrDigest::Digest(digest) => format!("{}@{digest}", repository.reference()),
        };
        Failure {
            reference,
            request: format!(
                "GET /v2/{}/manifests/{version}",
                repository.reference().repository()
            ),
            kind: Kind::NotFound,
            detail: "404 Not Found".to_owned(),
            remedy:
                "check the repository and the tag; the registry may also hide images that need a \
                 login"
                    .to_owned(),
        }
        .into()
    })
}

/// Fetches a manifest or index that another index names. Charges the budget first.
async fn fetch_child(
    repository: &Repository,
    budget: &Budget,
    descriptor: &Descriptor,
) -> Result<Document, Error> {
    let what = format!("{}@{}", repository.reference(), descriptor.digest);
    budget.document(&what, descriptor.size, 0)?;
    let version = TagOrDigest::Digest(descriptor.digest.clone());
    let document = fetch_manifest(repository, &version).await?;
    budget.values(&what, &document.bytes)?;
    if document.bytes.len() as u64 == descriptor.size {
        return Ok(document);
    }
    let (size, expected) = (document.bytes.len(), descriptor.size);
    let problem = format!("it has {size} bytes, but its descriptor says {expected}");
    Err(crateyard_oci::Error::damaged(what, problem).into())
}

/// The manifest that fits a platform best, or an index if all of it is for that platform.
async fn choose_platform(
    repository: &Repository,
    budget: &Budget,
    root: Document,
    wanted: &Platform,
) -> Result<Document, Error> {
    if !root.is_index() {
        return Ok(root);
    }
    let title = format!("{}@{}", repository.reference(), root.digest);
    let mut found = Vec::new();
    let mut seen = BTreeSet::new();
    let mut level = root.manifests;
    let mut depth = 0;
    while !level.is_empty() {
        budget.depth(&title, depth)?;
        let mut below = Vec::new();
        for descriptor in level {
            if descriptor.is_attestation() || !seen.insert(descriptor.digest.clone()) {
                continue;
            }
            if descriptor.platform.is_some() {
                found.push(descriptor);
            } else if media_type::is_index(&descriptor.media_type) {
                below.extend(
                    fetch_child(repository, budget, &descriptor)
                        .await?
                        .manifests,
                );
            }
        }
        level = below;
        depth += 1;
    }
    // Of equally good ones take the first, as docker does.
    let best = wanted.best_of(&found, |it| it.platform.as_ref());
    if let Some(best) = best.first() {
        return fetch_child(repository, budget, best).await;
    }
    let platforms = found.iter().filter_map(|it| it.platform.as_ref());
    let there: BTreeSet<String> = platforms.map(Platform::to_string).collect();
    let there: Vec<String> = there.into_iter().take(20).collect();
    Err(Failure {
        reference: title,
        request: format!(
            "GET /v2/{}/manifests/{}",
            repository.reference().repository(),
            root.digest
        ),
        kind: Kind::NotFound,
        detail: format!("the index has no image for the platform \"{wanted}\""),
        remedy: format!("choose one of: {}", there.join(", ")),
    }
    .into())
}

/// Fetches the manifest and everything that it points to, each once.
async fn fetch_tree(
    repository: &Repository,
    budget: &Budget,
    root: &Document,
) -> Result<Vec<Document>, Error> {
    let title = format!("{}@{}", repository.reference(), root.digest);
    let mut found = vec![root.clone()];
    let mut seen = BTreeSet::from([root.digest.clone()]);
    let mut level: Vec<Descriptor> = root.manifests.clone();
    let mut depth = 1;
    loop {
        level.retain(|descriptor| {
            descriptor.is_manifest_or_index() && seen.insert(descriptor.digest.clone())
        });
        if level.is_empty() {
            found.reverse();
            return Ok(found);
        }
        budget.depth(&title, depth)?;
        let fetched: Vec<Document> = stream::iter(std::mem::take(&mut level))
            .map(|descriptor| async move { fetch_child(repository, budget, &descriptor).await })
            .buffered(4)
            .try_collect()
            .await?;
        let children = fetched.iter().flat_map(|manifest| &manifest.manifests);
        level.extend(children.cloned());
        found.extend(fetched);
        depth += 1;
    }
}
