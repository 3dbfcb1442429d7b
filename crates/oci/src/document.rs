//! Manifests and indexes with the bytes that their digest covers.

use bytes::Bytes;
use serde::Deserialize;

use crate::json::{self, null_as_default};
use crate::{Annotations, Descriptor, Digest, Limits, media_type};

/// A manifest or an index: its bytes, which are never rewritten, and the descriptors in it.
#[derive(Clone, Debug)]
pub struct Document {
    /// The bytes, exactly as stored.
    pub bytes: Bytes,
    /// The media type.
    pub media_type: String,
    /// The digest of the bytes.
    pub digest: Digest,
    /// The manifests of an index; none in a manifest.
    pub manifests: Vec<Descriptor>,
    /// The config and layers of a manifest; none in an index.
    pub blobs: Vec<Descriptor>,
    /// The manifest that this one refers to.
    pub subject: Option<Descriptor>,
    /// The type of an artifact: its `artifactType`, else the type of its config.
    pub artifact_type: Option<String>,
    /// The annotations.
    pub annotations: Annotations,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Raw {
    schema_version: u64,
    media_type: Option<String>,
    artifact_type: Option<String>,
    config: Option<Descriptor>,
    layers: Option<Vec<Descriptor>>,
    manifests: Option<Vec<Descriptor>>,
    subject: Option<Descriptor>,
    #[serde(default, deserialize_with = "null_as_default")]
    annotations: Annotations,
}

impl Document {
    /// Reads a manifest or an index. `expected_type` is the media type in its descriptor or from
    /// the registry.
    ///
    /// # Errors
    /// Describes the problem if the bytes are neither, or if their own type is not `expected_type`.
    pub fn parse(
        bytes: Bytes,
        digest: Digest,
        expected_type: Option<&str>,
    ) -> Result<Document, String> {
        let limits = Limits::default();
        if bytes.len() as u64 > limits.document || json::values(&bytes) > limits.values {
            return Err(format!(
                "larger than {} bytes, or more than {} values",
                limits.document, limits.values
            ));
        }
        let raw: Raw = json::from_slice(&bytes)
            .map_err(|error| format!("neither a manifest nor an index: {error}"))?;
        if raw.schema_version != 2 {
            return Err(format!(
                "schemaVersion is {}, but only 2 is supported",
                raw.schema_version
            ));
        }
        let media_type = decide_type(&raw, expected_type)?;
        let is_index = media_type::is_index(&media_type);
        if is_index && (raw.config.is_some() || raw.layers.is_some()) {
            return Err("an index has no config and no layers".to_owned());
        }
        if !is_index && (raw.manifests.is_some() || raw.config.is_none()) {
            return Err("an image manifest has one config and no manifests".to_owned());
        }
        let artifact_type = raw
            .artifact_type
            .or_else(|| raw.config.as_ref().map(|config| config.media_type.clone()));
        Ok(Document {
            bytes,
            media_type,
            digest,
            manifests: raw.manifests.unwrap_or_default(),
            blobs: raw
                .config
                .into_iter()
                .chain(raw.layers.unwrap_or_default())
                .collect(),
            subject: raw.subject,
            artifact_type,
            annotations: raw.annotations,
        })
    }

    /// Whether the document points to manifests and not to blobs.
    pub fn is_index(&self) -> bool {
        media_type::is_index(&self.media_type)
    }

    /// Returns a descriptor of the document with the required fields only, as in a subject.
    pub fn plain_descriptor(&self) -> Descriptor {
        Descriptor::new(
            &self.media_type,
            self.digest.clone(),
            self.bytes.len() as u64,
        )
    }

    /// Returns a descriptor of the document, as in an index of referrers.
    pub fn descriptor(&self) -> Descriptor {
        Descriptor {
            annotations: self.annotations.clone(),
            artifact_type: self.artifact_type.clone(),
            ..self.plain_descriptor()
        }
    }
}

/// Checks that a document's own type is the announced one: a type that two readers see differently
/// is an attack.
fn decide_type(raw: &Raw, expected: Option<&str>) -> Result<String, String> {
    let expected = expected.filter(|expected| media_type::is_manifest_or_index(expected));
    let media_type = match (raw.media_type.as_deref(), expected) {
        (Some(own), Some(expected)) if own != expected => {
            return Err(format!(
                "has the media type {own:?}, but its descriptor says {expected:?}"
            ));
        }
        (Some(own), _) => own,
        (None, Some(expected)) => expected,
        (None, None) if raw.manifests.is_some() => media_type::INDEX,
        (None, None) => media_type::MANIFEST,
    };
    if !media_type::is_manifest_or_index(media_type) {
        return Err(format!(
            "{media_type:?} is not a supported manifest or index"
        ));
    }
    Ok(media_type.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str, expected: Option<&str>) -> Result<Document, String> {
        let bytes = Bytes::copy_from_slice(text.as_bytes());
        let digest = Digest::of(&bytes);
        Document::parse(bytes, digest, expected)
    }

    #[test]
    fn the_type_is_what_all_readers_see() {
        let config = format!(
            r#"{{"mediaType":"x","digest":"{}","size":1}}"#,
            Digest::of(b"")
        );
        let manifest = format!(r#"{{"schemaVersion":2,"config":{config},"layers":[]}}"#);
        assert_eq!(
            parse(&manifest, None).unwrap().media_type,
            media_type::MANIFEST
        );
        assert_eq!(
            parse(&manifest, Some(media_type::DOCKER_MANIFEST))
                .unwrap()
                .media_type,
            media_type::DOCKER_MANIFEST
        );
        assert!(parse(&manifest, Some(media_type::INDEX)).is_err());
        let both = format!(r#"{{"schemaVersion":2,"config":{config},"manifests":[]}}"#);
        assert!(parse(&both, None).is_err());
        let other = format!(
            r#"{{"schemaVersion":2,"mediaType":"{}","config":{config}}}"#,
            media_type::DOCKER_MANIFEST
        );
        assert!(parse(&other, Some(media_type::MANIFEST)).is_err());
        for hostile in [
            "",
            "{}",
            "[]",
            "null",
            r#"{"schemaVersion":1}"#,
            r#"{"schemaVersion":2,"layers":3}"#,
        ] {
            assert!(parse(hostile, None).is_err(), "{hostile}");
        }
    }
}
