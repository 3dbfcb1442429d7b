//! The workspaces in `tests/workspaces.toml`.

use crate::checkout::repository;
use crate::edits::Edit;
use anyhow::{Context, Result};
use serde::Deserialize;
use std::fs;

/// A public workspace that ships container images.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Workspace {
    /// A name for the table.
    pub name: String,
    /// The address from which git clones it.
    pub address: String,
    /// The commit, in full.
    pub commit: String,
    /// The directory of its `Cargo.toml` in the repository; empty for the top.
    #[serde(default)]
    pub directory: String,
    /// The programs that its authors ship in container images. `assemble init` should choose the
    /// first one.
    pub images: Vec<String>,
    /// The run of the image that `assemble init` chooses.
    pub run: Option<Run>,
    /// The edits that a user must make by hand before `assemble init`.
    #[serde(default)]
    pub edits: Vec<Edit>,
}

/// A run of an image.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Run {
    /// The arguments of its program.
    pub arguments: Vec<String>,
    /// A text that the program must print.
    pub prints: String,
    /// The exit code. A server without its configuration, say, names the missing file and fails.
    #[serde(default)]
    pub code: i32,
}

#[derive(Deserialize)]
struct Table {
    workspace: Vec<Workspace>,
}

/// Reads all workspaces, in the table's order.
pub fn read() -> Result<Vec<Workspace>> {
    let path = repository().join("tests/workspaces.toml");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {path:?}"))?;
    let table: Table = toml::from_str(&text).with_context(|| format!("in {path:?}"))?;
    Ok(table.workspace)
}
