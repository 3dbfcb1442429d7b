//! The documents of the [image specification](https://github.com/opencontainers/image-spec):
//! descriptor, manifest, index, configuration, layout marker.
//!
//! The types are this crate's own because their JSON is hashed: fields come in a fixed order, maps
//! are sorted, and the health check that docker and podman read has a place. Unknown fields of
//! foreign documents are ignored, as the specification demands.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};

use crate::digest::Digest;

/// The media types that this crate writes or understands.
pub mod media_type {
    /// An image index.
    pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";
    /// An image manifest.
    pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
    /// An image configuration.
    pub const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
    /// The empty descriptor's content, `{}`.
    pub const EMPTY: &str = "application/vnd.oci.empty.v1+json";
    /// A layer that is not compressed.
    pub const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
    /// A layer compressed with gzip.
    pub const LAYER_GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
    /// A layer compressed with zstd.
    pub const LAYER_ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";
    /// Docker's equivalent of an index.
    pub const DOCKER_INDEX: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
    /// Docker's equivalent of a manifest.
    pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
    /// Docker's equivalent of a configuration.
    pub const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
    /// Docker's layer that is not compressed.
    pub const DOCKER_LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar";
    /// Docker's layer compressed with gzip.
    pub const DOCKER_LAYER_GZIP: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";
    /// Docker's layer compressed with zstd.
    pub const DOCKER_LAYER_ZSTD: &str = "application/vnd.docker.image.rootfs.diff.tar.zstd";

    /// Whether it names an index, in either dialect.
    pub fn is_index(media_type: &str) -> bool {
        matches!(media_type, INDEX | DOCKER_INDEX)
    }

    /// Whether it names a manifest, in either dialect.
    pub fn is_manifest(media_type: &str) -> bool {
        matches!(media_type, MANIFEST | DOCKER_MANIFEST)
    }

    /// Whether it names the configuration of a container image, in either dialect.
    pub fn is_config(media_type: &str) -> bool {
        matches!(media_type, CONFIG | DOCKER_CONFIG)
    }

    /// Whether it names a file system layer, in any dialect, distributable or not.
    pub fn is_layer(media_type: &str) -> bool {
        const FOREIGN: [&str; 4] = [
            "application/vnd.oci.image.layer.nondistributable.v1.tar",
            "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
            "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd",
            "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
        ];
        matches!(
            media_type,
            LAYER | LAYER_GZIP | LAYER_ZSTD | DOCKER_LAYER | DOCKER_LAYER_GZIP | DOCKER_LAYER_ZSTD
        ) || FOREIGN.contains(&media_type)
    }
}

/// The annotations that this crate writes or reads.
pub mod annotation {
    /// The tag of a manifest in a layout's index.
    pub const REF_NAME: &str = "org.opencontainers.image.ref.name";
    /// The full name under which containerd imports a manifest of an archive.
    pub const CONTAINERD_NAME: &str = "io.containerd.image.name";
}

/// Text-keyed, text-valued and sorted: annotations and labels.
pub type Annotations = BTreeMap<String, String>;

/// Points to content by digest: <https://github.com/opencontainers/image-spec/blob/main/descriptor.md>.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// What the content is.
    #[serde(default)]
    pub media_type: String,
    /// The digest of the content.
    pub digest: Digest,
    /// The length of the content in bytes.
    pub size: u64,
    /// Other places that have the content.
    #[serde(default, skip_serializing_if = "is_none_or_empty")]
    pub urls: Option<Vec<String>>,
    /// Annotations of this reference to the content.
    #[serde(default, skip_serializing_if = "is_none_or_empty_map")]
    pub annotations: Option<Annotations>,
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
    /// A descriptor with the required fields only.
    pub fn new(media_type: impl Into<String>, digest: Digest, size: u64) -> Descriptor {
        Descriptor {
            media_type: media_type.into(),
            digest,
            size,
            urls: None,
            annotations: None,
            data: None,
            platform: None,
            artifact_type: None,
        }
    }

    /// The value of one annotation.
    pub fn annotation(&self, key: &str) -> Option<&str> {
        self.annotations.as_ref()?.get(key).map(String::as_str)
    }

    /// The tag or name in a layout's index ([`annotation::REF_NAME`]).
    pub fn ref_name(&self) -> Option<&str> {
        self.annotation(annotation::REF_NAME)
    }
}

/// Operating system and processor that an image is for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Platform {
    /// The processor architecture in Go's terms: `amd64`, `arm64`.
    pub architecture: String,
    /// The operating system in Go's terms: `linux`.
    pub os: String,
    /// The version of the operating system; Windows uses it.
    #[serde(
        rename = "os.version",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    pub os_version: Option<String>,
    /// Features of the operating system that are needed.
    #[serde(
        rename = "os.features",
        default,
        skip_serializing_if = "is_none_or_empty"
    )]
    pub os_features: Option<Vec<String>>,
    /// The variant of the processor: `v8`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
}

impl std::fmt::Display for Platform {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        match &self.variant {
            Some(variant) => write!(f, "/{variant}"),
            None => Ok(()),
        }
    }
}

impl std::str::FromStr for Platform {
    type Err = String;

    /// Reads `linux/amd64` or `linux/arm/v7`.
    fn from_str(text: &str) -> Result<Platform, String> {
        let mut parts = text.split('/').map(str::to_owned);
        match (parts.next(), parts.next(), parts.next(), parts.next()) {
            (Some(os), Some(architecture), variant, None)
                if !os.is_empty() && !architecture.is_empty() =>
            {
                Ok(Platform {
                    architecture,
                    os,
                    os_version: None,
                    os_features: None,
                    variant,
                })
            }
            _ => Err(format!(
                "{text:?} is not a platform: write OS/ARCHITECTURE, such as linux/amd64"
            )),
        }
    }
}

impl Platform {
    /// Whether an image for this platform is what `wanted` asks for. A variant counts only when
    /// both sides name one, and `arm64` is `arm64/v8`.
    pub fn satisfies(&self, wanted: &Platform) -> bool {
        let same_variant = match (&self.variant, &wanted.variant) {
            (Some(one), Some(other)) => one == other,
            _ => true,
        };
        self.os == wanted.os && self.architecture == wanted.architecture && same_variant
    }
}

/// An image manifest: <https://github.com/opencontainers/image-spec/blob/main/manifest.md>.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// Always 2.
    pub schema_version: u64,
    /// [`media_type::MANIFEST`] or docker's; may be absent in old documents.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// The kind of artifact, when this is not a container image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// The configuration.
    pub config: Descriptor,
    /// The layers, lowest first.
    pub layers: Vec<Descriptor>,
    /// The manifest that this one says something about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Descriptor>,
    /// Annotations of the image.
    #[serde(default, skip_serializing_if = "is_none_or_empty_map")]
    pub annotations: Option<Annotations>,
}

/// An image index: <https://github.com/opencontainers/image-spec/blob/main/image-index.md>.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Index {
    /// Always 2.
    pub schema_version: u64,
    /// [`media_type::INDEX`] or docker's; may be absent in old documents.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// The kind of artifact, when this is not an image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// Manifests, or further indexes.
    #[serde(default)]
    pub manifests: Vec<Descriptor>,
    /// The manifest that this index says something about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Descriptor>,
    /// Annotations of the index.
    #[serde(default, skip_serializing_if = "is_none_or_empty_map")]
    pub annotations: Option<Annotations>,
}

impl Index {
    /// An index of some manifests.
    pub fn new(manifests: Vec<Descriptor>) -> Index {
        Index {
            schema_version: 2,
            media_type: Some(media_type::INDEX.to_owned()),
            artifact_type: None,
            manifests,
            subject: None,
            annotations: None,
        }
    }
}

/// The content of the file `oci-layout`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayoutMarker {
    /// The version of the layout, [`LayoutMarker::VERSION`].
    #[serde(rename = "imageLayoutVersion")]
    pub version: String,
}

impl LayoutMarker {
    /// The only version there is.
    pub const VERSION: &str = "1.0.0";

    /// The marker of that version.
    pub fn current() -> LayoutMarker {
        LayoutMarker {
            version: Self::VERSION.to_owned(),
        }
    }
}

/// An image configuration: <https://github.com/opencontainers/image-spec/blob/main/config.md>.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageConfig {
    /// When the image was made, in RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// Who made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    /// Operating system and architecture.
    #[serde(flatten)]
    pub platform: Platform,
    /// How a container of the image is run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<ExecutionConfig>,
    /// The layers, as they are when uncompressed.
    pub rootfs: RootFs,
    /// How each layer came about.
    #[serde(
        default,
        deserialize_with = "null_as_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub history: Vec<History>,
}

/// The layers of a configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootFs {
    /// Always `layers`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The digest of each layer's uncompressed tar, lowest first.
    #[serde(default, deserialize_with = "null_as_default")]
    pub diff_ids: Vec<Digest>,
}

/// One step in the making of an image.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct History {
    /// When, in RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// The command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_by: Option<String>,
    /// Who.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    /// A remark.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// Whether the step made no layer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub empty_layer: Option<bool>,
}

/// How a container is run. Every field may be absent or, in docker's documents, null.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ExecutionConfig {
    /// User name or number, optionally with `:` and a group.
    #[serde(skip_serializing_if = "is_none_or_empty")]
    pub user: Option<String>,
    /// Ports such as `8080/tcp`.
    #[serde(skip_serializing_if = "is_none_or_empty_map")]
    pub exposed_ports: Option<BTreeMap<String, EmptyObject>>,
    /// `NAME=value`, in order.
    #[serde(skip_serializing_if = "is_none_or_empty")]
    pub env: Option<Vec<String>>,
    /// The program and its first arguments.
    #[serde(skip_serializing_if = "is_none_or_empty")]
    pub entrypoint: Option<Vec<String>>,
    /// The arguments that the caller may replace.
    #[serde(skip_serializing_if = "is_none_or_empty")]
    pub cmd: Option<Vec<String>>,
    /// Paths that are mounted from outside.
    #[serde(skip_serializing_if = "is_none_or_empty_map")]
    pub volumes: Option<BTreeMap<String, EmptyObject>>,
    /// The directory to start in.
    #[serde(skip_serializing_if = "is_none_or_empty")]
    pub working_dir: Option<String>,
    /// Labels.
    #[serde(skip_serializing_if = "is_none_or_empty_map")]
    pub labels: Option<Annotations>,
    /// The signal that stops the container: `SIGTERM`.
    #[serde(skip_serializing_if = "is_none_or_empty")]
    pub stop_signal: Option<String>,
    /// Windows only: the command is one escaped text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub args_escaped: Option<bool>,
    /// How docker and podman find out whether the container works.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub healthcheck: Option<Healthcheck>,
    /// The shell for the shell form of commands.
    #[serde(skip_serializing_if = "is_none_or_empty")]
    pub shell: Option<Vec<String>>,
    /// What docker runs when another image is built upon this one.
    #[serde(skip_serializing_if = "is_none_or_empty")]
    pub on_build: Option<Vec<String>>,
}

/// `{}`, which the configuration has where a set is meant.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EmptyObject {}

/// Docker's health check. Durations are nanoseconds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Healthcheck {
    /// `["CMD", program, …]`, `["CMD-SHELL", command]` or `["NONE"]`.
    #[serde(skip_serializing_if = "is_none_or_empty")]
    pub test: Option<Vec<String>>,
    /// Time between two checks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interval: Option<u64>,
    /// Time after which a check has failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<u64>,
    /// Time in which failures do not count.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_period: Option<u64>,
    /// Time between two checks in the start period.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_interval: Option<u64>,
    /// How many failures in a row make it unhealthy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retries: Option<u64>,
}

/// The bytes of a document as they are stored and hashed: compact JSON in the order of the types.
///
/// # Errors
/// None in practice: the types of this module always serialize.
pub fn to_bytes<T: Serialize>(document: &T) -> crate::Result<Vec<u8>> {
    serde_json::to_vec(document).map_err(|source| crate::Error::Json {
        what: "a document to be written".to_owned(),
        source,
    })
}

fn null_as_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

trait Emptiness {
    fn has_nothing(&self) -> bool;
}

impl Emptiness for String {
    fn has_nothing(&self) -> bool {
        self.is_empty()
    }
}

impl<T> Emptiness for Vec<T> {
    fn has_nothing(&self) -> bool {
        self.is_empty()
    }
}

fn is_none_or_empty<T: Emptiness>(value: &Option<T>) -> bool {
    value.as_ref().is_none_or(T::has_nothing)
}

fn is_none_or_empty_map<V>(value: &Option<BTreeMap<String, V>>) -> bool {
    value.as_ref().is_none_or(BTreeMap::is_empty)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_keeps_its_order_and_reads_nulls() {
        let text = r#"{"architecture":"amd64","os":"linux","config":{"Env":null,"Cmd":["a"],
            "Labels":{"z":"1","a":"2"},"Healthcheck":{"Test":["CMD","x"],"Interval":5}},
            "rootfs":{"type":"layers","diff_ids":null},"history":null,"docker_version":"1"}"#;
        let config: ImageConfig = serde_json::from_str(text).unwrap();
        let written = String::from_utf8(to_bytes(&config).unwrap()).unwrap();
        assert_eq!(
            written,
            r#"{"architecture":"amd64","os":"linux","config":{"Cmd":["a"],"Labels":{"a":"2","z":"1"},"Healthcheck":{"Test":["CMD","x"],"Interval":5}},"rootfs":{"type":"layers","diff_ids":[]}}"#
        );
    }

    #[test]
    fn platforms_match_loosely_by_variant() {
        let arm: Platform = "linux/arm64/v8".parse().unwrap();
        assert!(arm.satisfies(&"linux/arm64".parse().unwrap()));
        assert!(!arm.satisfies(&"linux/amd64".parse().unwrap()));
        assert!("linux".parse::<Platform>().is_err());
    }
}
