//! Stores manifests, lists referrers, and sets tags.

use std::collections::BTreeMap;

use crateyard_oci::{Descriptor, Digest, Document, TagOrDigest};
use futures_util::stream::{self, StreamExt, TryStreamExt};

use super::Push;
use super::missing::Missing;
use crate::error::Error;
use crate::repository::{Put, ReferrersKeeper};

/// The number of times that a registry may say that it lacks a blob that it has, before all blobs
/// are sent again.
const PATIENCE: u32 = 2;

/// Referrers that are missing in the lists of their subjects, by subject. Each list is written
/// once, because the registry may not let its tag move.
#[derive(Default)]
struct Unlisted {
    by_subject: BTreeMap<Digest, Vec<Descriptor>>,
}

impl Unlisted {
    /// Adds a stored manifest, unless the registry lists it by itself.
    fn note(&mut self, manifest: &Document, is_listed: bool, missing: &Missing<'_>) {
        let keeper = missing.unlisted.get(&manifest.digest);
        if let (Some(subject), Some(ReferrersKeeper::Tag), false) =
            (&manifest.subject, keeper, is_listed)
        {
            let listed = self.by_subject.entry(subject.digest.clone());
            listed.or_default().push(manifest.descriptor());
        }
    }
}

impl Push<'_> {
    /// Sends manifests, then the indexes above them, their referrers, the lists of referrers, and
    /// the tags.
    pub(super) async fn send_manifests(&self, missing: &Missing<'_>) -> Result<(), Error> {
        let root = &self.tree.root;
        let (indexes, images): (Vec<&Document>, Vec<&Document>) = missing
            .manifests
            .iter()
            .copied()
            .filter(|it| it.digest != root.digest)
            .partition(|it| it.is_index());
        let mut unlisted = Unlisted::default();
        let stored: Vec<(&Document, bool)> = stream::iter(images)
            .map(|manifest| async move {
                let is_listed = self.put_by_digest(manifest).await?;
                Ok::<_, Error>((manifest, is_listed))
            })
            .buffer_unordered(self.options.jobs.max(1))
            .try_collect()
            .await?;
        for (manifest, is_listed) in stored {
            unlisted.note(manifest, is_listed, missing);
        }
        // The tree lists children before their parents.
        for index in indexes {
            unlisted.note(index, self.put_by_digest(index).await?, missing);
        }
        // With a single tag and no referrers, the request that sets the tag also stores the
        // manifest.
        let is_lone =
            missing.tags.len() == 1 && missing.attached.is_empty() && root.subject.is_none();
        let is_missing = missing.manifests.iter().any(|it| it.digest == root.digest);
        let is_listed = match is_missing && !is_lone {
            true => self.put_by_digest(root).await?,
            false => false,
        };
        unlisted.note(root, is_listed, missing);
        for manifest in &missing.attached {
            unlisted.note(manifest, self.put_by_digest(manifest).await?, missing);
        }
        for (subject, referrers) in &unlisted.by_subject {
            self.repository.add_referrers(subject, referrers).await?;
        }
        for tag in &missing.tags {
            self.put(&TagOrDigest::Tag(tag.clone()), root).await?;
        }
        Ok(())
    }

    async fn put_by_digest(&self, manifest: &Document) -> Result<bool, Error> {
        self.put(&TagOrDigest::Digest(manifest.digest.clone()), manifest)
            .await
    }

    /// Stores a manifest, and returns whether the registry lists it as a referrer. A registry may
    /// not see a new blob yet, or may have lost one since it was asked. Then this waits, asks
    /// again, and sends again.
    async fn put(&self, version: &TagOrDigest, manifest: &Document) -> Result<bool, Error> {
        let reference = self.repository.reference().to_string();
        let mut attempts = self.repository.transport().attempts(&reference);
        let mut failed = 0;
        loop {
            match self.repository.put_manifest(version, manifest).await? {
                Put::Stored { is_listed } => return Ok(is_listed),
                Put::Lacks(trouble) => attempts.pause(trouble).await?,
            }
            failed += 1;
            self.send_again(manifest, failed == PATIENCE + 1).await?;
        }
    }

    /// Sends the blobs and manifests that a manifest names and the repository lacks. With `all`,
    /// sends everything without asking.
    async fn send_again(&self, manifest: &Document, all: bool) -> Result<(), Error> {
        for blob in &manifest.blobs {
            let is_here = self.source.blob(&blob.digest)?.is_some();
            if is_here && (all || !self.repository.has_blob(&blob.digest).await?) {
                self.upload(blob, None).await?;
            }
        }
        for child in &manifest.manifests {
            let known = self.tree.manifests.iter().chain(&self.tree.attached);
            let Some(child) = known.into_iter().find(|it| it.digest == child.digest) else {
                continue;
            };
            let version = TagOrDigest::Digest(child.digest.clone());
            if all || self.repository.resolve(&version).await?.is_none() {
                Box::pin(self.put(&version, child)).await?;
            }
        }
        Ok(())
    }
}
