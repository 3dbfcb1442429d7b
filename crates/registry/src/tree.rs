//! Everything that one image of a source consists of, in the order in which it may be sent.

use std::collections::{BTreeMap, BTreeSet};

use crate::content::{Descriptor, Manifest};
use crate::digest::Digest;
use crate::error::Error;
use crate::source::{self, Source};

/// How deep indexes may be nested, how many manifests an image may have, and how large they may be together, in
/// bytes: hostile layouts end here.
pub(crate) const MAX_DEPTH: usize = 8;
pub(crate) const MAX_MANIFESTS: usize = 10_000;
pub(crate) const MAX_TOTAL_SIZE: u64 = 16 * 1024 * 1024;

const REFERENCE_NAME: &str = "org.opencontainers.image.ref.name";

/// An image of a source with everything below it.
pub(crate) struct Tree {
    /// The image itself: a manifest or an index.
    pub root: Manifest,
    /// All manifests and indexes of the image, each after those it points to; the root comes last.
    pub manifests: Vec<Manifest>,
    /// The manifests in the source that refer to one of `manifests` (signatures, SBOMs, provenance), with what they
    /// point to, in the same order.
    pub attached: Vec<Manifest>,
}

impl Tree {
    /// Reads the image named `name` of `source`, or its only one.
    pub fn read(source: &dyn Source, name: Option<&str>) -> Result<Tree, Error> {
        let index = read_index(source)?;
        let mut walk = Walk {
            source,
            size_left: MAX_TOTAL_SIZE,
            seen: BTreeSet::new(),
            manifests: Vec::new(),
        };
        let attached = walk.read_attached(&index)?;
        let root = select(source, &index, &attached, name)?;
        walk.visit(&root, 0)?;
        let manifests = std::mem::take(&mut walk.manifests);
        for referrer in referrers_of(&manifests, attached) {
            walk.visit(&referrer.descriptor(), 0)?;
        }
        let root = manifests
            .last()
            .cloned()
            .expect("a visit adds at least what it visits");
        Ok(Tree {
            root,
            manifests,
            attached: walk.manifests,
        })
    }

    /// The blobs of `manifests`, each once, in order of their digests.
    pub fn blobs<'a>(manifests: impl IntoIterator<Item = &'a Manifest>) -> Vec<Descriptor> {
        let blobs = manifests.into_iter().flat_map(|manifest| &manifest.blobs);
        let unique: BTreeMap<&Digest, &Descriptor> =
            blobs.map(|blob| (&blob.digest, blob)).collect();
        unique.into_values().cloned().collect()
    }
}

fn read_index(source: &dyn Source) -> Result<Manifest, Error> {
    let bytes = source.index()?;
    let digest = Digest::of(&bytes);
    let damaged = |reason| Error::Source {
        place: format!("{}: index.json", source.place()),
        reason,
        remedy: "write the layout again; it is damaged".to_owned(),
    };
    let index = Manifest::parse(bytes, digest, Some(crate::media_type::INDEX)).map_err(damaged)?;
    if index.manifests.len() > MAX_MANIFESTS {
        return Err(damaged(format!(
            "{} manifests; at most {MAX_MANIFESTS} are read",
            index.manifests.len()
        )));
    }
    Ok(index)
}

/// The descriptor named `name`, or the only one that is no referrer.
fn select(
    source: &dyn Source,
    index: &Manifest,
    attached: &[Manifest],
    name: Option<&str>,
) -> Result<Descriptor, Error> {
    let is_image = |descriptor: &&Descriptor| {
        descriptor.is_manifest()
            && !attached
                .iter()
                .any(|manifest| manifest.digest == descriptor.digest)
    };
    let name_of = |descriptor: &Descriptor| descriptor.annotations.get(REFERENCE_NAME).cloned();
    let mut found: Vec<&Descriptor> = match name {
        Some(name) => index
            .manifests
            .iter()
            .filter(|descriptor| is_named(descriptor, name))
            .collect(),
        None => index.manifests.iter().filter(is_image).collect(),
    };
    // Tools list an image once for each of its names.
    found.sort_by(|one, other| one.digest.cmp(&other.digest));
    found.dedup_by(|one, other| one.digest == other.digest);
    // A layout that holds nothing but one artifact: that is what is meant.
    if let ([], None, [only]) = (found.as_slice(), name, attached) {
        found.extend(
            index
                .manifests
                .iter()
                .find(|descriptor| descriptor.digest == only.digest),
        );
    }
    if let [only] = found.as_slice() {
        return Ok((*only).clone());
    }
    let names: BTreeSet<String> = index
        .manifests
        .iter()
        .map(|image| name_of(image).unwrap_or_else(|| image.digest.to_string()))
        .collect();
    let reason = match (name, found.len()) {
        (Some(name), 0) => format!("no image is named {name:?}"),
        (None, 0) => "holds no image".to_owned(),
        (_, count) => format!("holds {count} images"),
    };
    let names = names.into_iter().take(20).collect::<Vec<_>>().join(", ");
    Err(Error::Source {
        place: source.place(),
        reason,
        remedy: format!(
            "choose one with --name; it holds: {}",
            if names.is_empty() { "nothing" } else { &names }
        ),
    })
}

fn is_named(descriptor: &Descriptor, name: &str) -> bool {
    descriptor
        .annotations
        .get(REFERENCE_NAME)
        .is_some_and(|own| own == name)
        || descriptor.digest.as_str() == name
}

struct Walk<'a> {
    source: &'a dyn Source,
    size_left: u64,
    seen: BTreeSet<Digest>,
    manifests: Vec<Manifest>,
}

impl Walk<'_> {
    /// The manifests of `index.json` that have a subject.
    fn read_attached(&mut self, index: &Manifest) -> Result<Vec<Manifest>, Error> {
        let mut attached = Vec::new();
        let mut seen = BTreeSet::new();
        for descriptor in index
            .manifests
            .iter()
            .filter(|descriptor| descriptor.is_manifest())
        {
            // A layout may list what it does not hold; only what is selected has to be there.
            if !seen.insert(&descriptor.digest) || self.source.blob(&descriptor.digest)?.is_none() {
                continue;
            }
            let manifest = self.read(descriptor)?;
            if manifest.subject.is_some() {
                attached.push(manifest);
            }
        }
        Ok(attached)
    }

    fn read(&mut self, descriptor: &Descriptor) -> Result<Manifest, Error> {
        self.size_left = self.size_left.checked_sub(descriptor.size).ok_or_else(|| {
            self.too_much(
                descriptor,
                format!("more than {MAX_TOTAL_SIZE} bytes of manifests"),
            )
        })?;
        source::manifest(self.source, descriptor)
    }

    fn too_much(&self, descriptor: &Descriptor, reason: String) -> Error {
        let place = format!("{}: manifest {}", self.source.place(), descriptor.digest);
        Error::Source {
            place,
            reason,
            remedy: "push the image's parts one by one".to_owned(),
        }
    }

    /// Adds what `descriptor` points to, and then it: children come first.
    fn visit(&mut self, descriptor: &Descriptor, depth: usize) -> Result<(), Error> {
        if !self.seen.insert(descriptor.digest.clone()) {
            return Ok(());
        }
        if depth > MAX_DEPTH || self.seen.len() > MAX_MANIFESTS {
            let reason = format!(
                "indexes nested deeper than {MAX_DEPTH}, or more than {MAX_MANIFESTS} manifests"
            );
            return Err(self.too_much(descriptor, reason));
        }
        let manifest = self.read(descriptor)?;
        for child in &manifest.manifests {
            if !child.is_manifest() {
                return Err(Error::Source {
                    place: format!("{}: index {}", self.source.place(), descriptor.digest),
                    reason: format!(
                        "{} is {:?}, neither a manifest nor an index",
                        child.digest, child.media_type
                    ),
                    remedy: "write the layout again".to_owned(),
                });
            }
            self.visit(child, depth + 1)?;
        }
        self.manifests.push(manifest);
        Ok(())
    }
}

/// Those of `attached` that refer to one of `manifests`, or to such a one: a signature of an SBOM counts too.
fn referrers_of(manifests: &[Manifest], mut attached: Vec<Manifest>) -> Vec<Manifest> {
    let mut subjects: BTreeSet<Digest> = manifests
        .iter()
        .map(|manifest| manifest.digest.clone())
        .collect();
    let mut referrers = Vec::new();
    loop {
        let refers = |manifest: &Manifest| {
            manifest
                .subject
                .as_ref()
                .is_some_and(|subject| subjects.contains(&subject.digest))
                && !subjects.contains(&manifest.digest)
        };
        let (found, rest): (Vec<_>, Vec<_>) = attached.into_iter().partition(refers);
        if found.is_empty() {
            return referrers;
        }
        subjects.extend(found.iter().map(|manifest| manifest.digest.clone()));
        referrers.extend(found);
        attached = rest;
    }
}
