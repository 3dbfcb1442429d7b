//! Pushes the parts of an image that a registry lacks: blobs first, tags last.

mod blobs;
mod manifests;
mod missing;
mod report;

use std::sync::Arc;

use crateyard_oci::Reference;
use futures_util::future::try_join;

use crate::client::Client;
use crate::error::Error;
use crate::learned::Known;
use crate::repository::Repository;
use crate::source::Source;
use crate::tree::Tree;
use blobs::HeadStart;
use report::Count;

pub use report::{BlobCounts, How, Manifests, Report, Transfer};

/// The number of HEAD requests at the same time.
const QUESTIONS: usize = 8;

/// The options of a push.
#[derive(Clone, Debug)]
pub struct Options {
    /// Tags to set in addition to the target's own. If there is no tag at all, the image gets
    /// docker's `latest`.
    pub tags: Vec<String>,
    /// The image to push: its `org.opencontainers.image.ref.name`, or its digest. May be left out
    /// if the source has only one image.
    pub name: Option<String>,
    /// The number of blobs to send at the same time.
    pub jobs: usize,
    /// The size of a chunk in bytes. Each chunk is one request; a smaller blob is sent whole.
    pub chunk_size: u64,
    /// Repositories of the same registry that may have some of the blobs.
    pub mount_from: Vec<String>,
    /// Whether to only find out what would be sent.
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

/// Pushes an image of `source` to the repository of `target`.
///
/// Tags move only when the whole image is there. So, if a push is interrupted, each tag names
/// either the whole old image or the whole new one. If `target` has a digest, the image must have
/// that digest, and no tag moves.
///
/// # Errors
/// Fails if the source is damaged, or if the registry refuses or stays unreachable after all
/// retries.
pub async fn push(
    client: &Client,
    source: Arc<Source>,
    target: &Reference,
    options: &Options,
) -> Result<Report, Error> {
    let tree = Tree::read(&source, options.name.as_deref())?;
    let tags = tags(target, options)?;
    check_target(&source, &tree, target)?;
    let repository = client.repository(target)?.for_push();
    let known = client.learned().known(target);
    let begin = Count::now(&repository);
    let mut push = Push {
        client,
        source: &source,
        repository: &repository,
        options,
        tree: &tree,
        known,
        head_start: HeadStart::new(),
    };
    let mut report = push.run(tags).await?;
    begin.measure(&repository, &mut report);
    Ok(report)
}

/// Returns the tag of the target and those of the options, each once. Returns none if the target
/// has a digest.
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

fn check_target(source: &Source, tree: &Tree, target: &Reference) -> Result<(), Error> {
    match target.digest() {
        Some(digest) if *digest != tree.root.digest => Err(Error::Source {
            place: source.place(),
            reason: format!(
                "the image has the digest {}, but the target {target} has another one",
                tree.root.digest
            ),
            remedy: "leave the digest out, or push the image that it names".to_owned(),
        }),
        _ => Ok(()),
    }
}

/// One push while it runs.
struct Push<'a> {
    client: &'a Client,
    source: &'a Source,
    repository: &'a Repository,
    options: &'a Options,
    tree: &'a Tree,
    known: Known,
    head_start: HeadStart,
}

impl Push<'_> {
    async fn run(&mut self, tags: Vec<String>) -> Result<Report, Error> {
        let mut report = self.empty_report(&tags);
        let image = Tree::blobs(&self.tree.manifests);
        let (missing, mut blobs) = if self.expects_change(&tags) {
            // Ask for and send blobs while the registry still answers what its tags name.
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
        blobs.count(&mut report, self.tree, self.options.dry_run);
        if self.options.dry_run {
            return Ok(report);
        }
        self.send_manifests(&missing).await?;
        self.remember(&tags);
        Ok(report)
    }

    /// Whether, by what this machine learned, a tag names another image. The registry decides.
    fn expects_change(&self, tags: &[String]) -> bool {
        let root = &self.tree.root.digest;
        let repository = self.repository.reference().repository();
        let named = |tag: &String| self.known.tag(repository, tag);
        !self.options.dry_run && tags.iter().filter_map(named).any(|digest| digest != root)
    }

    /// Remembers that the repository has all blobs of the image, and that the tags name it.
    fn remember(&mut self, tags: &[String]) {
        let own = self.repository.reference().repository().to_owned();
        let before = self.client.learned().known(self.repository.reference());
        let all = Tree::blobs(self.tree.manifests.iter().chain(&self.tree.attached));
        for blob in all.into_iter().filter(|blob| !blob.is_foreign()) {
            self.known.add(&blob.digest, &own);
        }
        for tag in tags {
            self.known.set_tag(&own, tag, &self.tree.root.digest);
        }
        if self.known != before {
            self.client
                .learned()
                .set_known(self.repository.reference(), self.known.clone());
        }
    }
}
