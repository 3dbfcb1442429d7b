//! Descriptors, which point to content by its digest.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::json::null_as_default;
use crate::{Digest, ImageName, Platform, media_type};

/// The annotations that this crate writes or reads.
pub mod annotation {
    /// The tag of a manifest in a layout's index.
    pub const REF_NAME: &str = "org.opencontainers.image.ref.name";
    /// The full name under which containerd imports a manifest of an archive.
    pub const CONTAINERD_NAME: &str = "io.containerd.image.name";
    /// buildx's type of a manifest that is not an image.
    pub(crate) const DOCKER_REFERENCE_TYPE: &str = "vnd.docker.reference.type";
}

/// Annotations or labels: keys and values are texts, sorted by key.
pub type Annotations = BTreeMap<String, String>;

/// A pointer to content by its digest:
/// <https://github.com/opencontainers/image-spec/blob/main/descriptor.md>.
///
/// ```
/// use crateyard_oci::{Descriptor, Digest, media_type};
///
/// let config = Descriptor::of(media_type::CONFIG, b"{}");
/// assert_eq!((config.digest, config.size), (Digest::of(b"{}"), 2));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// The type of the content.
    #[serde(default)]
    pub media_type: String,
    /// The digest of the content.
    pub digest: Digest,
    /// The length of the content in bytes.
    pub size: u64,
    /// Other places that have the content.
    #[serde(
        default,
        deserialize_with = "null_as_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub urls: Vec<String>,
    /// Annotations of this reference to the content.
    #[serde(
        default,
        deserialize_with = "null_as_default",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub annotations: Annotations,
    /// The content itself, in base 64, when it is small.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<String>,
    /// The platform that the content runs on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    /// The kind of artifact, when the content is a manifest of one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
}

impl Descriptor {
    /// Makes a descriptor with the required fields only.
    pub fn new(media_type: impl Into<String>, digest: Digest, size: u64) -> Descriptor {
        Descriptor {
            media_type: media_type.into(),
            digest,
            size,
            urls: Vec::new(),
            annotations: Annotations::new(),
            data: None,
            platform: None,
            artifact_type: None,
        }
    }

    /// Makes a descriptor of content in memory.
    pub fn of(media_type: impl Into<String>, content: &[u8]) -> Descriptor {
        Descriptor::new(media_type, Digest::of(content), content.len() as u64)
    }

    /// Returns a copy with the required fields only, as in a subject.
    pub fn plain(&self) -> Descriptor {
        Descriptor::new(&self.media_type, self.digest.clone(), self.size)
    }

    /// Returns the descriptors for a layout's index: one for each name, or one without a name.
    pub fn named(&self, names: &[ImageName]) -> Vec<Descriptor> {
        if names.is_empty() {
            return vec![self.clone()];
        }
        let with_name = |name: &ImageName| {
            let mut named = self.clone();
            let mut put = |key: &str, value| named.annotations.insert(key.to_owned(), value);
            put(annotation::REF_NAME, name.tag().to_owned());
            put(annotation::CONTAINERD_NAME, name.to_string());
            named
        };
        names.iter().map(with_name).collect()
    }

    /// Returns the value of one annotation.
    pub fn annotation(&self, key: &str) -> Option<&str> {
        self.annotations.get(key).map(String::as_str)
    }

    /// Whether the descriptor names no container image but a statement about one, in the form of
    /// buildx: formally the manifest of an image, with other things for layers.
    pub fn is_attestation(&self) -> bool {
        let platform = self.platform.as_ref();
        platform.is_some_and(|platform| platform.os == "unknown")
            || self.artifact_type.is_some()
            || self.annotation(annotation::DOCKER_REFERENCE_TYPE).is_some()
    }

    /// Returns the tag or name in a layout's index ([`annotation::REF_NAME`]).
    pub fn ref_name(&self) -> Option<&str> {
        self.annotation(annotation::REF_NAME)
    }

    /// Whether the descriptor points to a manifest or an index and not to a blob.
    pub fn is_manifest_or_index(&self) -> bool {
        media_type::is_manifest_or_index(&self.media_type)
    }

    /// Whether the media type forbids a push of the content (foreign base layers).
    pub fn is_foreign(&self) -> bool {
        media_type::is_foreign(&self.media_type)
    }
}
