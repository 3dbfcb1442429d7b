//! The manifests and blobs of one image, in the order in which they may be sent.

use std::collections::{BTreeMap, BTreeSet};

use crateyard_oci::{Blobs, Descriptor, Digest, Document};

use crate::error::Error;
use crate::source::Source;

/// An image of a source with everything below it.
pub(crate) struct Tree {
    /// The image itself: a manifest or an index.
    pub root: Document,
    /// All manifests and indexes of the image. Children come before their parents; the root is
    /// last.
    pub manifests: Vec<Document>,
    /// The source's manifests that refer to one of `manifests` (signatures, SBOMs, provenance), and
    /// those below them, in the same order.
    pub attached: Vec<Document>,
}

impl Tree {
    /// Reads the image `name` of `source`, or its only image.
    pub(crate) fn read(source: &Source, name: Option<&str>) -> Result<Tree, Error> {
        let mut walk = Walk {
            source,
            seen: BTreeSet::new(),
            manifests: Vec::new(),
        };
        let attached = walk.read_attached()?;
        let root = select(source, &attached, name)?;
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

    /// Returns the total size of blobs in bytes, by their descriptors, which may lie.
    pub(crate) fn total_size(blobs: &[Descriptor]) -> u64 {
        let sizes = blobs.iter().map(|blob| blob.size);
        sizes.fold(0, u64::saturating_add)
    }

    /// Returns the blobs of `manifests`, each once, sorted by digest.
    pub(crate) fn blobs<'a>(manifests: impl IntoIterator<Item = &'a Document>) -> Vec<Descriptor> {
        let blobs = manifests.into_iter().flat_map(|manifest| &manifest.blobs);
        let unique: BTreeMap<&Digest, &Descriptor> =
            blobs.map(|blob| (&blob.digest, blob)).collect();
        unique.into_values().cloned().collect()
    }
}

/// Returns the descriptor of the image `name`, or of the only image that is not a referrer.
fn select(source: &Source, attached: &[Document], name: Option<&str>) -> Result<Descriptor, Error> {
    let index = source.index();
    let is_image = |descriptor: &&Descriptor| {
        descriptor.is_manifest_or_index()
            && !attached
                .iter()
                .any(|manifest| manifest.digest == descriptor.digest)
    };
    let mut found: Vec<&Descriptor> = match name {
        Some(name) => index
            .manifests
            .iter()
            .filter(|descriptor| is_named(descriptor, name))
            .collect(),
        None => index.manifests.iter().filter(is_image).collect(),
    };
    // Tools list an image once under each of its names.
    found.sort_by(|one, other| one.digest.cmp(&other.digest));
    found.dedup_by(|one, other| one.digest == other.digest);
    // If the layout holds only one artifact, the user means that.
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
        .map(|image| image.ref_name().unwrap_or(image.digest.as_str()).to_owned())
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
    descriptor.ref_name() == Some(name) || descriptor.digest.as_str() == name
}

struct Walk<'a> {
    source: &'a Source,
    seen: BTreeSet<Digest>,
    manifests: Vec<Document>,
}

impl Walk<'_> {
    /// Reads the manifests of `index.json` that have a subject.
    fn read_attached(&mut self) -> Result<Vec<Document>, Error> {
        let mut attached = Vec::new();
        let mut seen = BTreeSet::new();
        for descriptor in self
            .source
            .index()
            .manifests
            .iter()
            .filter(|descriptor| descriptor.is_manifest_or_index())
        {
            // A layout may list manifests that it does not hold. Only the selected one must be
            // there.
            if !seen.insert(&descriptor.digest) || self.source.blob(&descriptor.digest)?.is_none() {
                continue;
            }
            let manifest = self.source.document(descriptor)?;
            if manifest.subject.is_some() {
                attached.push(manifest);
            }
        }
        Ok(attached)
    }

    /// Adds the children of `descriptor`, then the manifest itself.
    fn visit(&mut self, descriptor: &Descriptor, depth: usize) -> Result<(), Error> {
        if !self.seen.insert(descriptor.digest.clone()) {
            return Ok(());
        }
        self.source.budget().depth(&self.source.place(), depth)?;
        let manifest = self.source.document(descriptor)?;
        for child in &manifest.manifests {
            if !child.is_manifest_or_index() {
                return Err(Error::Source {
                    place: format!("{}: index {}", self.source.place(), descriptor.digest),
                    reason: format!(
                        "{} is {:?}, which is neither a manifest nor an index",
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

/// Returns the `attached` manifests that refer to one of `manifests`, directly or through others. A
/// signature of an SBOM counts too.
fn referrers_of(manifests: &[Document], mut attached: Vec<Document>) -> Vec<Document> {
    let mut subjects: BTreeSet<Digest> = manifests
        .iter()
        .map(|manifest| manifest.digest.clone())
        .collect();
    let mut referrers = Vec::new();
    loop {
        let refers = |manifest: &Document| {
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

#[cfg(test)]
mod tests {
    use crateyard_oci::media_type;

    use super::*;

    /// Makes a layout with two images, an index and a referrer: as an archive, and as files.
    fn layout() -> (Vec<u8>, BTreeMap<String, Vec<u8>>) {
        let mut files = BTreeMap::new();
        let mut put = |media_type: &str, bytes: &str| {
            let digest = Digest::of(bytes.as_bytes());
            files.insert(
                format!("blobs/sha256/{}", digest.hex()),
                bytes.as_bytes().to_vec(),
            );
            let size = bytes.len();
            format!(r#"{{"mediaType":"{media_type}","digest":"{digest}","size":{size}}}"#)
        };
        let (manifest_type, index_type) = (media_type::MANIFEST, media_type::INDEX);
        let config = put("application/vnd.oci.image.config.v1+json", "{}");
        let layer = put("application/vnd.oci.image.layer.v1.tar", "layer");
        let base = format!(r#""schemaVersion":2,"config":{config},"layers":[{layer}]"#);
        let image = put(manifest_type, &format!("{{{base}}}"));
        let other = put(
            manifest_type,
            &format!(r#"{{{base},"annotations":{{"a":"b"}}}}"#),
        );
        let index = format!(r#"{{"schemaVersion":2,"manifests":[{image},{other}]}}"#);
        let index = put(index_type, &index);
        let referrer = put(manifest_type, &format!(r#"{{{base},"subject":{index}}}"#));
        let top = format!(r#"{{"schemaVersion":2,"manifests":[{index},{referrer}]}}"#);
        files.insert("index.json".to_owned(), top.into_bytes());
        files.insert(
            "oci-layout".to_owned(),
            br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec(),
        );
        let mut builder = tar::Builder::new(Vec::new());
        for (name, bytes) in &files {
            let mut header = tar::Header::new_gnu();
            header.set_size(bytes.len() as u64);
            builder
                .append_data(&mut header, name, bytes.as_slice())
                .unwrap();
        }
        (builder.into_inner().unwrap(), files)
    }

    /// Changes some bytes, or cuts, repeats or removes a piece.
    fn mutate(bytes: &mut Vec<u8>, random: &mut fastrand::Rng) {
        for _ in 0..random.usize(1..4) {
            if bytes.is_empty() {
                return;
            }
            let at = random.usize(..bytes.len());
            let end = (at + random.usize(1..64)).min(bytes.len());
            match random.u8(..6) {
                0 => bytes[at] = random.u8(..),
                1 => bytes[at] ^= 1 << random.u8(..8),
                2 => bytes.truncate(at),
                3 => drop(bytes.drain(at..end)),
                4 => {
                    let piece = bytes[at..end].to_vec();
                    bytes.splice(at..at, piece);
                }
                // Parsers often fail at numbers.
                _ => bytes[at] = *random.choice(b"0123456789-{}[]\",:\x80\xff").unwrap_or(&0),
            }
        }
    }

    #[test]
    fn an_image_comes_with_everything_below_it_in_order() {
        let (archive, _) = layout();
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), archive).unwrap();
        let source = Source::open(file.path()).unwrap();
        let tree = Tree::read(&source, None).unwrap();
        assert_eq!((tree.manifests.len(), tree.attached.len()), (3, 1));
        assert!(tree.root.is_index() && tree.manifests[2].digest == tree.root.digest);
        assert_eq!(Tree::blobs(&tree.manifests).len(), 2);
    }

    #[test]
    fn ten_thousand_mutated_layouts_do_no_harm() {
        let (archive, files) = layout();
        let mut random = fastrand::Rng::with_seed(7);
        // Keep the many small files in memory if the machine allows it.
        let memory = std::path::Path::new("/dev/shm");
        let place = if memory.is_dir() {
            memory.to_owned()
        } else {
            std::env::temp_dir()
        };
        let directory = tempfile::tempdir_in(place).unwrap();
        let mut read = 0;
        for round in 0..10_000 {
            let path = directory.path().join("layout");
            if round % 2 == 0 {
                let mut bytes = archive.clone();
                mutate(&mut bytes, &mut random);
                std::fs::write(&path, bytes).unwrap();
            } else {
                // Recompute the digests, so that the mutation passes the checks of digests.
                write_mutated(&path, &files, &mut random);
            }
            if let Ok(source) = Source::open(&path) {
                read += usize::from(Tree::read(&source, None).is_ok());
            }
            let _ = std::fs::remove_file(&path);
            let _ = std::fs::remove_dir_all(&path);
        }
        assert!(
            read > 100,
            "only {read} were readable: the mutations destroy too much"
        );
    }

    /// Writes a layout in which one file is mutated, and adapts the files that name it.
    fn write_mutated(
        path: &std::path::Path,
        files: &BTreeMap<String, Vec<u8>>,
        random: &mut fastrand::Rng,
    ) {
        let mut files = files.clone();
        let names: Vec<String> = files.keys().cloned().collect();
        let mut victim = names[random.usize(..names.len())].clone();
        let mut bytes = files.remove(&victim).unwrap_or_default();
        let mut old = (Digest::of(&bytes), bytes.len());
        mutate(&mut bytes, random);
        while victim.starts_with("blobs/") {
            let new = (Digest::of(&bytes), bytes.len());
            files.insert(
                format!("blobs/sha256/{}", new.0.hex()),
                std::mem::take(&mut bytes),
            );
            let (from, to) = (old.0.to_string(), new.0.to_string());
            let user = files
                .iter()
                .find(|(_, text)| String::from_utf8_lossy(text).contains(&from));
            let Some(name) = user.map(|(name, _)| name.clone()) else {
                break;
            };
            let text = files.remove(&name).unwrap_or_default();
            let sizes = [(from.as_str(), old.1), (to.as_str(), new.1)];
            let [from_size, to_size] =
                sizes.map(|(digest, size)| format!(r#"{digest}","size":{size}"#));
            old = (Digest::of(&text), text.len());
            let text = String::from_utf8_lossy(&text).replace(&from_size, &to_size);
            (victim, bytes) = (name, text.replace(&from, &to).into_bytes());
        }
        if !victim.starts_with("blobs/") {
            files.insert(victim, bytes);
        }
        for (name, bytes) in files {
            let file = path.join(name);
            std::fs::create_dir_all(file.parent().unwrap_or(path)).unwrap();
            std::fs::write(file, bytes).unwrap();
        }
    }
}
