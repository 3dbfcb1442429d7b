//! Artifacts: documents about an image (a bill of materials, a provenance, a signature) as manifests that
//! name the image as their subject.
//!
//! See the [specification](https://github.com/opencontainers/image-spec/blob/main/manifest.md#guidelines-for-artifact-usage).

use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};
use serde::Serialize;

use crate::content::{Descriptor, Manifest, media_type};
use crate::digest::Digest;
use crate::error::Error;
use crate::reference::Version;
use crate::repository::Repository;

/// The config of an artifact that needs none.
const EMPTY_TYPE: &str = "application/vnd.oci.empty.v1+json";
const EMPTY: &[u8] = b"{}";
/// How large a document is that is read, in bytes.
const MAX_DOCUMENT: usize = 16 * 1024 * 1024;

/// A document about an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Artifact {
    /// The manifest that it is about.
    pub subject: Descriptor,
    /// What it is, for those that list referrers.
    pub artifact_type: String,
    /// The document's media type.
    pub media_type: String,
    /// The document.
    pub document: Bytes,
    /// Notes, which lists of referrers show too.
    pub annotations: BTreeMap<String, String>,
}

/// The manifest's form: fields in the specification's order, so that equal artifacts have equal bytes.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Form<'a> {
    schema_version: u32,
    media_type: &'a str,
    artifact_type: &'a str,
    config: Descriptor,
    layers: [Descriptor; 1],
    subject: &'a Descriptor,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    annotations: &'a BTreeMap<String, String>,
}

impl Artifact {
    /// The digest of its manifest.
    pub fn digest(&self) -> Digest {
        Digest::of(&self.parts().0)
    }

    /// Its manifest's bytes, and the blobs that this names.
    pub(crate) fn parts(&self) -> (Bytes, [Bytes; 2]) {
        let empty = Bytes::from_static(EMPTY);
        let form = Form {
            schema_version: 2,
            media_type: media_type::MANIFEST,
            artifact_type: &self.artifact_type,
            config: describe(EMPTY_TYPE, &empty),
            layers: [describe(&self.media_type, &self.document)],
            subject: &self.subject,
            annotations: &self.annotations,
        };
        let manifest = serde_json::to_vec(&form).expect("text and numbers can be written as JSON");
        (manifest.into(), [empty, self.document.clone()])
    }
}

/// A descriptor of `bytes`.
pub(crate) fn describe(media_type: &str, bytes: &[u8]) -> Descriptor {
    Descriptor {
        media_type: media_type.to_owned(),
        digest: Digest::of(bytes),
        size: bytes.len() as u64,
        urls: Vec::new(),
        annotations: BTreeMap::new(),
        platform: None,
        artifact_type: None,
    }
}

impl Repository {
    /// The document of an artifact that a list of referrers names: the first layer of its manifest, verified.
    ///
    /// # Errors
    /// When the registry refuses, cannot be reached, has no such artifact, or sends other bytes.
    pub async fn document(&self, artifact: &Descriptor) -> Result<Bytes, Error> {
        let version = Version::Digest(artifact.digest.clone());
        let manifest = self.manifest(&version).await?;
        let layer = manifest.as_ref().and_then(first_layer);
        let layer = layer.ok_or_else(|| {
            let detail = format!("{} is no artifact with a document", artifact.digest);
            self.contradiction_of(format!("GET manifests/{version}"), detail)
        })?;
        let request = format!("GET blobs/{}", layer.digest);
        let size = usize::try_from(layer.size).unwrap_or(usize::MAX);
        if size > MAX_DOCUMENT {
            let detail = format!("a document of more than {MAX_DOCUMENT} bytes");
            return Err(self.contradiction_of(request, detail));
        }
        let mut download = self.blob(&layer.digest, 0).await?;
        let mut document = BytesMut::new();
        while let Some(piece) = download.chunk().await? {
            if document.len() + piece.len() > size {
                let detail = format!("sent more than the {size} bytes of its descriptor");
                return Err(self.contradiction_of(request, detail));
            }
            document.extend_from_slice(&piece);
        }
        if !layer.digest.matches(&document) {
            let detail = format!("sent bytes with the digest {}", Digest::of(&document));
            return Err(self.contradiction_of(request, detail));
        }
        Ok(document.freeze())
    }
}

/// The first blob after the config.
fn first_layer(manifest: &Manifest) -> Option<&Descriptor> {
    manifest.blobs.get(1)
}
