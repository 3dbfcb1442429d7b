//! What the workspace can build, for whoever checks a description of images against it.

use crate::layout::Layout;
use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

/// The workspace's packages, sorted by name.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Targets {
    /// [`crate::FORMAT`].
    pub version: u32,
    /// The packages.
    pub packages: Vec<Package>,
    /// Where they lie, and where packages lie that are no members.
    #[serde(default)]
    pub layout: Layout,
}

/// One package.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Package {
    /// The name.
    pub name: String,
    /// The version.
    pub version: String,
    /// An SPDX expression.
    pub license: Option<String>,
    /// One sentence.
    pub description: Option<String>,
    /// Where the source is kept.
    pub repository: Option<String>,
    /// The authors.
    pub authors: Vec<String>,
    /// The manifest, relative to the workspace.
    pub manifest_path: String,
    /// The edition of its code.
    pub edition: String,
    /// What it can build.
    pub targets: Vec<Target>,
}

/// One target.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Target {
    /// Cargo's kinds, such as `bin`.
    pub kind: Vec<String>,
    /// The name.
    pub name: String,
    /// Features without which Cargo does not build it.
    pub required_features: Vec<String>,
    /// The file, relative to the workspace.
    pub path: String,
}

/// Takes what is needed from `cargo metadata`.
/// <https://doc.rust-lang.org/cargo/commands/cargo-metadata.html#json-format>
///
/// # Errors
/// When a field is missing.
pub fn from_metadata(metadata: &serde_json::Value, layout: Layout) -> Result<Targets> {
    let list = metadata["packages"]
        .as_array()
        .context("cargo metadata names no packages")?;
    let mut packages = list.iter().map(package).collect::<Result<Vec<_>>>()?;
    packages.sort_by(|a, b| a.name.cmp(&b.name));
    let version = crate::FORMAT;
    Ok(Targets {
        version,
        packages,
        layout,
    })
}

fn package(json: &serde_json::Value) -> Result<Package> {
    let text = |name: &str| json[name].as_str().map(str::to_owned);
    let manifest = text("manifest_path").context("a package has no manifest")?;
    let root = format!("{}/", crate::WORKSPACE);
    let inner = |path: &str| path.strip_prefix(&root).unwrap_or(path).to_owned();
    let targets = json["targets"]
        .as_array()
        .context("a package has no targets")?;
    Ok(Package {
        name: text("name").context("a package has no name")?,
        version: text("version").context("a package has no version")?,
        license: text("license"),
        description: text("description"),
        repository: text("repository"),
        authors: strings(&json["authors"]),
        manifest_path: inner(&manifest),
        edition: text("edition").context("a package has no edition")?,
        targets: targets
            .iter()
            .map(|target| Target {
                kind: strings(&target["kind"]),
                name: target["name"].as_str().unwrap_or_default().to_owned(),
                required_features: strings(&target["required-features"]),
                path: inner(target["src_path"].as_str().unwrap_or_default()),
            })
            .collect(),
    })
}

fn strings(json: &serde_json::Value) -> Vec<String> {
    let items = json.as_array().into_iter().flatten();
    items
        .filter_map(|v| v.as_str().map(str::to_owned))
        .collect()
}
