//! A source with documents attached to its images.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::io::Write;
use std::sync::Arc;

use bytes::Bytes;

use super::{Blob, Source};
use crate::artifact::{Artifact, describe};
use crate::content::media_type;
use crate::digest::Digest;
use crate::error::Error;

/// A source, and artifacts about its images as if its index listed them.
pub struct Attached {
    source: Arc<dyn Source>,
    index: Bytes,
    blobs: BTreeMap<Digest, Blob>,
}

impl Attached {
    /// An artifact and nothing else: the image that it is about is elsewhere.
    ///
    /// # Errors
    /// When a temporary file cannot be written.
    pub fn alone(artifact: &Artifact) -> Result<Attached, Error> {
        Attached::new(Arc::new(Nothing), std::slice::from_ref(artifact))
    }

    /// Attaches `artifacts` to the images of `source`.
    ///
    /// # Errors
    /// When the source's index is damaged, or a temporary file cannot be written.
    pub fn new(source: Arc<dyn Source>, artifacts: &[Artifact]) -> Result<Attached, Error> {
        let mut index: serde_json::Value =
            serde_json::from_slice(&source.index()?).map_err(|error| Error::Source {
                place: format!("{}: index.json", source.place()),
                reason: error.to_string(),
                remedy: "write the layout again; it is damaged".to_owned(),
            })?;
        let mut contents = Contents::default();
        for artifact in artifacts {
            let (manifest, blobs) = artifact.parts();
            let descriptor = describe(media_type::MANIFEST, &manifest);
            if let Some(manifests) = index["manifests"].as_array_mut() {
                manifests.push(serde_json::json!(descriptor));
            }
            contents.add(manifest);
            blobs.into_iter().for_each(|blob| contents.add(blob));
        }
        let temporary = std::env::temp_dir();
        Ok(Attached {
            index: index.to_string().into(),
            blobs: contents
                .into_blobs()
                .map_err(Error::io("write to", temporary))?,
            source,
        })
    }
}

impl Source for Attached {
    fn place(&self) -> String {
        self.source.place()
    }

    fn index(&self) -> Result<Bytes, Error> {
        Ok(self.index.clone())
    }

    fn blob(&self, digest: &Digest) -> Result<Option<Blob>, Error> {
        match self.blobs.get(digest) {
            Some(blob) => Ok(Some(blob.clone())),
            None => self.source.blob(digest),
        }
    }
}

/// A source without images.
struct Nothing;

impl Source for Nothing {
    fn place(&self) -> String {
        "the attached document".to_owned()
    }

    fn index(&self) -> Result<Bytes, Error> {
        Ok(Bytes::from_static(br#"{"schemaVersion":2,"manifests":[]}"#))
    }

    fn blob(&self, _: &Digest) -> Result<Option<Blob>, Error> {
        Ok(None)
    }
}

/// Contents on their way into one temporary file, where they are read as all other blobs are.
#[derive(Default)]
struct Contents {
    bytes: Vec<u8>,
    places: BTreeMap<Digest, (u64, u64)>,
}

impl Contents {
    fn add(&mut self, content: Bytes) {
        let place = (self.bytes.len() as u64, content.len() as u64);
        let digest = Digest::of(&content);
        if let Entry::Vacant(vacant) = self.places.entry(digest) {
            vacant.insert(place);
            self.bytes.extend_from_slice(&content);
        }
    }

    fn into_blobs(self) -> std::io::Result<BTreeMap<Digest, Blob>> {
        let mut file = tempfile::tempfile()?;
        file.write_all(&self.bytes)?;
        let file = Arc::new(file);
        let blob = |(digest, (start, size))| (digest, Blob::new(Arc::clone(&file), start, size));
        Ok(self.places.into_iter().map(blob).collect())
    }
}
