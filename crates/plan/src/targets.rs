//! Lists the targets of the workspace, to check a description of images against them.

use crate::places::PackagePlaces;
use anyhow::{Context, Result};
pub use crateyard_spec::targets::{Package, TARGETS_FORMAT, Target, Targets};

/// Takes the needed fields from the output of `cargo metadata`.
/// <https://doc.rust-lang.org/cargo/commands/cargo-metadata.html#json-format>
///
/// # Errors
/// Fails if a field is missing.
pub fn from_metadata(metadata: &serde_json::Value, places: PackagePlaces) -> Result<Targets> {
    let list = metadata["packages"]
        .as_array()
        .context("cargo metadata names no packages")?;
    let mut packages = list.iter().map(package).collect::<Result<Vec<_>>>()?;
    packages.sort_by(|a, b| a.name.cmp(&b.name));
    let version = TARGETS_FORMAT;
    Ok(Targets {
        version,
        packages,
        places,
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

/// Whether a target of Cargo's metadata is a program and not a library. Returns none for tests,
/// examples, build scripts and the like.
pub(crate) fn is_program(target: &serde_json::Value) -> Option<bool> {
    const LIBRARIES: [&str; 6] = ["lib", "rlib", "dylib", "cdylib", "staticlib", "proc-macro"];
    strings(&target["kind"])
        .iter()
        .find_map(|kind| match kind.as_str() {
            "bin" => Some(true),
            kind => LIBRARIES.contains(&kind).then_some(false),
        })
}

fn strings(json: &serde_json::Value) -> Vec<String> {
    let items = json.as_array().into_iter().flatten();
    items
        .filter_map(|v| v.as_str().map(str::to_owned))
        .collect()
}
