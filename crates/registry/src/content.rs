//! Descriptors, manifests and indexes, as far as moving them needs.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;

/// The largest manifest or index that is read, in bytes: what the distribution specification obliges registries to take.
pub const MAX_MANIFEST_SIZE: u64 = 4 * 1024 * 1024;

/// Media types by the names that the specifications give them.
pub mod media_type {
    /// OCI image index.
    pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";
    /// OCI image manifest.
    pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
    /// Docker's manifest list.
    pub const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
    /// Docker's image manifest, schema 2.
    pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
    /// What is asked for when a manifest is fetched: all that can be handled.
    pub const ALL: [&str; 4] = [INDEX, MANIFEST, DOCKER_LIST, DOCKER_MANIFEST];
}

/// What points to content: its type, digest and size.
///
/// See the [specification](https://github.com/opencontainers/image-spec/blob/main/descriptor.md).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// The content's media type.
    pub media_type: String,
    /// The content's digest.
    pub digest: Digest,
    /// The content's size in bytes.
    pub size: u64,
    /// Other places that have the content (foreign layers).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub urls: Vec<String>,
    /// Free-form notes, such as `org.opencontainers.image.ref.name`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// The machine that an image is for, in an index.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    /// What an artifact is, in an index of referrers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
}

impl Descriptor {
    /// Whether it points to a manifest or an index rather than to a blob.
    pub fn is_manifest(&self) -> bool {
        media_type::ALL.contains(&self.media_type.as_str())
    }

    /// Whether its content is by its type not to be pushed (foreign base layers).
    pub fn is_foreign(&self) -> bool {
        self.media_type.contains(".foreign.") || self.media_type.contains(".nondistributable.")
    }
}

/// The machine that an image is for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Platform {
    /// `amd64`, `arm64`, …
    pub architecture: String,
    /// `linux`, …
    pub os: String,
    /// `v8`, …
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    /// What this crate does not interpret (`os.version`, `os.features`).
    #[serde(flatten)]
    pub rest: BTreeMap<String, serde_json::Value>,
}

impl std::fmt::Display for Platform {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}/{}", self.os, self.architecture)?;
        self.variant
            .as_ref()
            .map_or(Ok(()), |variant| write!(formatter, "/{variant}"))
    }
}

/// A manifest or an index: its bytes, which are never rewritten, and what they point to.
#[derive(Clone, Debug)]
pub struct Manifest {
    /// The bytes, exactly as stored.
    pub bytes: bytes::Bytes,
    /// Their media type.
    pub media_type: String,
    /// Their digest.
    pub digest: Digest,
    /// The manifests of an index; none in a manifest.
    pub manifests: Vec<Descriptor>,
    /// The config and layers of a manifest; none in an index.
    pub blobs: Vec<Descriptor>,
    /// The manifest that this one refers to.
    pub subject: Option<Descriptor>,
    /// What an artifact is: its `artifactType`, else the type of its config.
    pub artifact_type: Option<String>,
    /// Its annotations.
    pub annotations: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Raw {
    schema_version: u32,
    media_type: Option<String>,
    artifact_type: Option<String>,
    config: Option<Descriptor>,
    layers: Option<Vec<Descriptor>>,
    manifests: Option<Vec<Descriptor>>,
    subject: Option<Descriptor>,
    annotations: Option<BTreeMap<String, String>>,
}

impl Manifest {
    /// Reads a manifest or an index. `expected_type` is what its descriptor or the registry calls it.
    ///
    /// # Errors
    /// Says what is wrong where the bytes are neither, or call themselves something else than `expected_type`.
    pub fn parse(
        bytes: bytes::Bytes,
        digest: Digest,
        expected_type: Option<&str>,
    ) -> Result<Manifest, String> {
        let raw: Raw = serde_json::from_slice(&bytes)
            .map_err(|error| format!("no manifest and no index: {error}"))?;
        if raw.schema_version != 2 {
            return Err(format!(
                "schemaVersion is {}, supported is 2",
                raw.schema_version
            ));
        }
        let media_type = decide_type(&raw, expected_type)?;
        let is_index = media_type == media_type::INDEX || media_type == media_type::DOCKER_LIST;
        if is_index && (raw.config.is_some() || raw.layers.is_some()) {
            return Err("an index has no config and no layers".to_owned());
        }
        if !is_index && (raw.manifests.is_some() || raw.config.is_none()) {
            return Err("an image manifest has one config and no manifests".to_owned());
        }
        let artifact_type = raw
            .artifact_type
            .or_else(|| raw.config.as_ref().map(|config| config.media_type.clone()));
        Ok(Manifest {
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
            annotations: raw.annotations.unwrap_or_default(),
        })
    }

    /// Whether it points to manifests rather than to blobs.
    pub fn is_index(&self) -> bool {
        self.media_type == media_type::INDEX || self.media_type == media_type::DOCKER_LIST
    }

    /// A descriptor of it with nothing but what is required, as a subject is named.
    pub fn plain_descriptor(&self) -> Descriptor {
        Descriptor {
            annotations: BTreeMap::new(),
            artifact_type: None,
            ..self.descriptor()
        }
    }

    /// A descriptor of it, as an index of referrers holds it.
    pub fn descriptor(&self) -> Descriptor {
        Descriptor {
            media_type: self.media_type.clone(),
            digest: self.digest.clone(),
            size: self.bytes.len() as u64,
            urls: Vec::new(),
            annotations: self.annotations.clone(),
            platform: None,
            artifact_type: self.artifact_type.clone(),
        }
    }
}

/// What it calls itself must be what it was announced as: a type that two readers see differently is an attack.
fn decide_type(raw: &Raw, expected: Option<&str>) -> Result<String, String> {
    let expected = expected.filter(|expected| media_type::ALL.contains(expected));
    let media_type = match (raw.media_type.as_deref(), expected) {
        (Some(own), Some(expected)) if own != expected => {
            return Err(format!(
                "calls itself {own:?} but was announced as {expected:?}"
            ));
        }
        (Some(own), _) => own,
        (None, Some(expected)) => expected,
        (None, None) if raw.manifests.is_some() => media_type::INDEX,
        (None, None) => media_type::MANIFEST,
    };
    if !media_type::ALL.contains(&media_type) {
        return Err(format!(
            "{media_type:?} is no manifest or index that is supported"
        ));
    }
    Ok(media_type.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str, expected: Option<&str>) -> Result<Manifest, String> {
        let bytes = bytes::Bytes::copy_from_slice(text.as_bytes());
        let digest = Digest::of(&bytes);
        Manifest::parse(bytes, digest, expected)
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
