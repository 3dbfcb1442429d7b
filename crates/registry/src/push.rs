//! Pushing an image: what the registry lacks, blobs first, tags last.

mod blobs;
mod manifests;
mod missing;
mod report;

use std::sync::Arc;

use crateyard_oci::Reference;
use futures_util::future::try_join;

use crate::client::Client;
use crate::error::Error;
use crate::memory::Known;
use crate::repository::Repository;
use crate::source::Source;
use crate::tree::Tree;
use blobs::HeadStart;
use report::Count;

pub use report::{Blobs, How, Manifests, Report, Transfer};

/// How many questions (HEAD requests) are asked at the same time.
const QUESTIONS: usize = 8;

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

/// Pushes an image of `source` to the repository of `target`.
///
/// Tags move only when everything they name is there, so that whatever stops a push, each tag names the old image or
/// the new one, whole. Where `target` has a digest, the image must have it and no tag is moved.
///
/// # Errors
/// When the source is damaged, the registry refuses, or it stays unreachable after all retries.
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
    let known = client.memory().known(target);
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

fn check_target(source: &Source, tree: &Tree, target: &Reference) -> Result<(), Error> {
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
        blobs.count(&mut report, self.tree, self.options.dry_run);
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
