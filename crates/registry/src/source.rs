//! The source of a push: the images of a layout or an archive, and documents about them.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use crateyard_oci::{
    Blobs, Budget, Descriptor, Digest, Document, Index, Layout, Stored, media_type,
    read_document_bytes,
};

use crate::artifact::Artifact;
use crate::error::Error;

/// The images of a layout or an archive. Attached documents appear as if its index listed them.
#[derive(Debug)]
pub struct Source {
    layout: Option<Arc<Layout>>,
    index: Index,
    attached: BTreeMap<Digest, Stored>,
    budget: Arc<Budget>,
}

impl Source {
    /// Opens the layout directory, OCI archive or docker archive at `path`.
    ///
    /// # Errors
    /// Fails if the file is none of these or is damaged.
    pub fn open(path: &Path) -> Result<Arc<Source>, Error> {
        if path.is_dir() && !path.join("oci-layout").exists() {
            return Err(Error::Source {
                place: path.display().to_string(),
                reason: "the directory is not an OCI image layout: it has no file oci-layout"
                    .to_owned(),
                remedy: "name a directory with oci-layout, index.json and blobs/".to_owned(),
            });
        }
        let layout = Layout::open(path)?;
        Ok(Arc::new(Source {
            index: layout.index().clone(),
            budget: Arc::clone(layout.budget()),
            layout: Some(Arc::new(layout)),
            attached: BTreeMap::new(),
        }))
    }

    /// Makes a source with only an artifact. The image that the artifact describes is elsewhere.
    pub fn artifact(artifact: &Artifact) -> Arc<Source> {
        let nothing = Source {
            layout: None,
            index: Index::new(Vec::new()),
            attached: BTreeMap::new(),
            budget: Arc::default(),
        };
        nothing.attach(std::slice::from_ref(artifact))
    }

    /// Makes a source of a manifest and the blobs that it names, unchanged.
    pub fn manifest(manifest: Bytes, blobs: impl IntoIterator<Item = Bytes>) -> Arc<Source> {
        let index = Index::new(vec![Descriptor::of(media_type::MANIFEST, &manifest)]);
        let all = std::iter::once(manifest).chain(blobs);
        let stored = |bytes: Bytes| (Digest::of(&bytes), Stored::bytes(bytes));
        Arc::new(Source {
            layout: None,
            index,
            attached: all.map(stored).collect(),
            budget: Arc::default(),
        })
    }

    /// Returns the same source with `artifacts` attached to its images.
    pub fn attach(&self, artifacts: &[Artifact]) -> Arc<Source> {
        let mut index = self.index.clone();
        let mut attached = self.attached.clone();
        let mut add = |bytes: Bytes| {
            let digest = Digest::of(&bytes);
            attached.entry(digest).or_insert(Stored::bytes(bytes));
        };
        for artifact in artifacts {
            let (manifest, blobs) = artifact.parts();
            index
                .manifests
                .push(Descriptor::of(media_type::MANIFEST, &manifest));
            add(manifest);
            blobs.into_iter().for_each(&mut add);
        }
        Arc::new(Source {
            layout: self.layout.clone(),
            index,
            attached,
            budget: Arc::clone(&self.budget),
        })
    }

    /// Returns the path or name for messages.
    pub fn place(&self) -> String {
        match &self.layout {
            Some(layout) => layout.title(),
            None => "the attached document".to_owned(),
        }
    }

    /// Returns the index of the layout.
    pub fn index(&self) -> &Index {
        &self.index
    }

    /// Opens the blob with this digest, if there is one.
    ///
    /// # Errors
    /// Fails if it is not a regular file or cannot be read.
    pub fn blob(&self, digest: &Digest) -> Result<Option<Stored>, Error> {
        match (self.attached.get(digest), &self.layout) {
            (Some(blob), _) => Ok(Some(blob.clone())),
            (None, Some(layout)) => Ok(layout.stored(digest)?),
            (None, None) => Ok(None),
        }
    }

    /// Reads a manifest or an index, checks its size and digest, and charges the budget.
    pub(crate) fn document(&self, descriptor: &Descriptor) -> Result<Document, Error> {
        let bytes = read_document_bytes(self, descriptor)?;
        let what = format!("manifest {} of {}", descriptor.digest, self.place());
        let document = Document::parse(
            bytes.into(),
            descriptor.digest.clone(),
            Some(&descriptor.media_type),
        );
        let document = document.map_err(|reason| Error::Source {
            place: what.clone(),
            reason,
            remedy: "write the layout again; it is damaged".to_owned(),
        })?;
        self.budget.document(&what, descriptor.size, 0)?;
        self.budget.values(&what, &document.bytes)?;
        Ok(document)
    }
}

impl Blobs for Source {
    fn open_blob(
        &self,
        descriptor: &Descriptor,
    ) -> crateyard_oci::Result<Box<dyn std::io::Read + Send + '_>> {
        match (self.attached.get(&descriptor.digest), &self.layout) {
            (Some(blob), _) => Ok(blob.reader()),
            (None, Some(layout)) => layout.open_blob(descriptor),
            (None, None) => Err(crateyard_oci::Error::NotFound {
                what: format!("blob {}", descriptor.digest),
                place: self.place(),
                hint: String::new(),
            }),
        }
    }

    fn title(&self) -> String {
        self.place()
    }

    fn budget(&self) -> &Arc<Budget> {
        &self.budget
    }
}
