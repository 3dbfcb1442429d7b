//! The image configuration: the way to run a container of the image, and the image's layers.
//!
//! The types are this crate's own because their JSON is hashed: fields come in a fixed order, maps
//! are sorted, and the health check that docker and podman read has a place. Unknown fields of
//! foreign documents are ignored, as the specification demands.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::json::null_as_default;
use crate::{Annotations, Digest, Platform};

/// An image configuration: <https://github.com/opencontainers/image-spec/blob/main/config.md>.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Fields")]
pub struct ImageConfig {
    /// The time of the image, in RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// The image's author.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    /// The operating system and architecture.
    #[serde(flatten)]
    pub platform: Platform,
    /// The way to run a container of the image.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub config: Option<ExecutionConfig>,
    /// The layers, uncompressed.
    pub rootfs: RootFs,
    /// The steps that made the layers.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<History>,
}

/// The same as one object: a reader that flattens types does not know their fields.
#[derive(Deserialize)]
struct Fields {
    created: Option<String>,
    author: Option<String>,
    architecture: String,
    os: String,
    #[serde(rename = "os.version")]
    os_version: Option<String>,
    #[serde(rename = "os.features", default, deserialize_with = "null_as_default")]
    os_features: Vec<String>,
    variant: Option<String>,
    config: Option<ExecutionConfig>,
    rootfs: RootFs,
    #[serde(default, deserialize_with = "null_as_default")]
    history: Vec<History>,
}

impl From<Fields> for ImageConfig {
    fn from(fields: Fields) -> Self {
        Self {
            created: fields.created,
            author: fields.author,
            platform: Platform {
                architecture: fields.architecture,
                os: fields.os,
                os_version: fields.os_version,
                os_features: fields.os_features,
                variant: fields.variant,
            },
            config: fields.config,
            rootfs: fields.rootfs,
            history: fields.history,
        }
    }
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
    /// The time, in RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// The command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_by: Option<String>,
    /// The author.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    /// A remark.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// Whether the step made no layer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub empty_layer: Option<bool>,
}

/// The way to run a container. Every field may be absent or, in docker's documents, null.
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
    /// The check by which docker and podman find out whether the container works.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub healthcheck: Option<HealthcheckConfig>,
    /// The shell for the shell form of commands.
    #[serde(skip_serializing_if = "is_none_or_empty")]
    pub shell: Option<Vec<String>>,
    /// The commands that docker runs when another image is built upon this one.
    #[serde(skip_serializing_if = "is_none_or_empty")]
    pub on_build: Option<Vec<String>>,
}

/// `{}`, which stands for an element of a set in the configuration.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EmptyObject {}

/// Docker's health check. Durations are nanoseconds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct HealthcheckConfig {
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
    /// The number of failures in a row that make the container unhealthy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retries: Option<u64>,
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
    use crate::to_bytes;

    #[test]
    fn a_configuration_keeps_its_order_and_reads_nulls() {
        let text = r#"{"architecture":"amd64","os":"linux","config":{"Env":null,"Cmd":["a"],
            "Labels":{"z":"1","a":"2"},"Healthcheck":{"Test":["CMD","x"],"Interval":5}},
            "rootfs":{"type":"layers","diff_ids":null},"history":null,"docker_version":"1"}"#;
        let config: ImageConfig = serde_json::from_str(text).unwrap();
        let written = String::from_utf8(to_bytes(&config).unwrap()).unwrap();
        assert_eq!(
            written,
            concat!(
                r#"{"architecture":"amd64","os":"linux","config":{"Cmd":["a"],"#,
                r#""Labels":{"a":"2","z":"1"},"Healthcheck":{"Test":["CMD","x"],"Interval":5}},"#,
                r#""rootfs":{"type":"layers","diff_ids":[]}}"#
            )
        );
    }
}
