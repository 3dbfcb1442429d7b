//! Finds the parts of an image that a registry lacks.

use std::collections::BTreeMap;

use crateyard_oci::{Digest, Document, TagOrDigest};
use futures_util::stream::{self, StreamExt, TryStreamExt};

use super::{Push, QUESTIONS};
use crate::error::Error;
use crate::repository::ReferrersKeeper;

/// The parts of an image that the registry lacks.
pub(super) struct Missing<'a> {
    /// Tags that do not exist or name another image.
    pub tags: Vec<String>,
    /// Manifests of the image, children first.
    pub manifests: Vec<&'a Document>,
    /// Manifests that refer to the image, and those below them.
    pub attached: Vec<&'a Document>,
    /// Digests of manifests that are missing in their subject's list of referrers, and who keeps
    /// that list.
    pub unlisted: BTreeMap<Digest, ReferrersKeeper>,
    /// Whether the registry lacks the referrers API.
    pub lacks_referrers: bool,
}

impl<'a> Push<'a> {
    /// Finds the missing parts. Asks for the tags first: if they name the image, the registry has
    /// all of it.
    pub(super) async fn find_missing(&self, tags: &[String]) -> Result<Missing<'a>, Error> {
        let (tree, repository) = (self.tree, self.repository);
        let root = &tree.root.digest;
        let stale = stream::iter(tags.iter().cloned())
            .map(|tag| async move {
                let resolved = repository.resolve(&TagOrDigest::Tag(tag.clone())).await?;
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
            // Setting the tag sends a lone manifest anyway, so do not ask for it.
            [only] if !tags.is_empty() => vec![only],
            all => self.lacking(all).await?,
        };
        let (unlisted, lacks_referrers) = self.find_unlisted(is_current).await?;
        let is_listed = |manifest: &Document| {
            manifest.subject.is_some() && !unlisted.contains_key(&manifest.digest)
        };
        // If all referrers are listed, nothing below them can be missing.
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

    /// Finds the `manifests` that the repository lacks.
    async fn lacking<'m>(&self, manifests: &'m [Document]) -> Result<Vec<&'m Document>, Error> {
        stream::iter(manifests)
            .map(|manifest| async move {
                let version = TagOrDigest::Digest(manifest.digest.clone());
                let is_there = self.repository.resolve(&version).await?.is_some();
                Ok::<_, Error>((!is_there).then_some(manifest))
            })
            .buffered(QUESTIONS)
            .try_filter_map(|manifest| async move { Ok(manifest) })
            .try_collect()
            .await
    }

    /// Finds referrers that are missing in their subjects' lists, even if the tags are current: a
    /// tag vouches for the image, not for its referrers. Also returns whether the registry lacks
    /// the referrers API, as far as known.
    async fn find_unlisted(
        &self,
        is_current: bool,
    ) -> Result<(BTreeMap<Digest, ReferrersKeeper>, bool), Error> {
        let tree = self.tree;
        let image: &[Document] = if is_current { &[] } else { &tree.manifests };
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
}
