//! Artifacts: documents about an image (a bill of materials, a provenance, a signature) as
//! manifests that name the image as their subject.
//!
//! See the
//! [specification](https://github.com/opencontainers/image-spec/blob/main/manifest.md#guidelines-for-artifact-usage).

use std::collections::BTreeMap;

use bytes::Bytes;
use crateyard_oci::{
    Descriptor, Digest, Document, Manifest, TagOrDigest, limits, media_type, to_bytes,
};

use crate::error::Error;
use crate::repository::Repository;

/// The config of an artifact that needs none.
const EMPTY: &[u8] = b"{}";

/// A document about an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Artifact {
    /// The manifest that it is about.
    pub subject: Descriptor,
    /// The kind of document, which lists of referrers show.
    pub artifact_type: String,
    /// The document's media type.
    pub media_type: String,
    /// The document.
    pub document: Bytes,
    /// Annotations, which lists of referrers show too.
    pub annotations: BTreeMap<String, String>,
}

impl Artifact {
    /// The digest of its manifest.
    pub fn digest(&self) -> Digest {
        Digest::of(&self.parts().0)
    }

    /// The bytes of its manifest, and the blobs that the manifest names.
    pub(crate) fn parts(&self) -> (Bytes, [Bytes; 2]) {
        let empty = Bytes::from_static(EMPTY);
        let config = Descriptor::of(media_type::EMPTY, &empty);
        let document = Descriptor::of(&self.media_type, &self.document);
        let manifest = Manifest {
            artifact_type: Some(self.artifact_type.clone()),
            subject: Some(self.subject.clone()),
            annotations: self.annotations.clone(),
            ..Manifest::new(config, vec![document])
        };
        let manifest = to_bytes(&manifest).expect("text and numbers can be written as JSON");
        (manifest.into(), [empty, self.document.clone()])
    }
}

impl Repository {
    /// Fetches and verifies the document of an artifact: the first layer of its manifest.
    ///
    /// # Errors
    /// Fails if the registry refuses, cannot be reached, has no such artifact, or sends other
    /// bytes.
    pub async fn document(&self, artifact: &Descriptor) -> Result<Bytes, Error> {
        let version = TagOrDigest::Digest(artifact.digest.clone());
        let manifest = self.manifest(&version).await?;
        let layer = manifest.as_ref().and_then(first_layer);
        let layer = layer.ok_or_else(|| {
            let detail = format!("{} is not an artifact with a document", artifact.digest);
            self.contradiction_of(format!("GET manifests/{version}"), detail)
        })?;
        self.small_blob(layer).await
    }

    /// A blob of at most 16 MiB, verified.
    ///
    /// # Errors
    /// When the registry refuses, cannot be reached, has no such blob, sends other bytes, or takes
    /// minutes.
    pub async fn small_blob(&self, layer: &Descriptor) -> Result<Bytes, Error> {
        let request = format!("GET blobs/{}", layer.digest);
        if layer.size > limits::MAX_ATTACHED {
            let detail = format!("a document of more than {} bytes", limits::MAX_ATTACHED);
            return Err(self.contradiction_of(request, detail));
        }
        let size = layer.size as usize;
        let download = self.blob(&layer.digest, 0).await?;
        let Some(document) = download.bytes_within(size).await? else {
            let detail = format!("sent more than the {size} bytes of its descriptor");
            return Err(self.contradiction_of(request, detail));
        };
        if !layer.digest.matches(&document) {
            let detail = format!("sent bytes with the digest {}", Digest::of(&document));
            return Err(self.contradiction_of(request, detail));
        }
        limits::attached(layer.digest.as_str(), &document)
            .map_err(|error| self.contradiction_of(request, error.to_string()))?;
        Ok(document)
    }
}

/// The first blob after the config.
fn first_layer(manifest: &Document) -> Option<&Descriptor> {
    manifest.blobs.get(1)
}
