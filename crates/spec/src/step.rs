//! A command whose changes become a layer.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// A command that runs over the files of the layers below. Its changes become the layer, so this is
/// the layer's only source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StepSource<P = PathBuf> {
    /// The layers below, lowest first: directories that `image layer` made.
    pub below: Vec<P>,
    /// The layout of a foreign image below them all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub base: Option<P>,
    /// Program and arguments; no shell.
    pub run: Vec<String>,
    /// The directory in which it starts, an absolute path in the image.
    pub workdir: String,
    /// Variables besides those that every step has.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub environment: BTreeMap<String, String>,
}
