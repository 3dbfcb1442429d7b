//! Finds what Cargo reads outside the workspace's directory, where Crateyard sees nothing.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use crateyard_plan::advice::LARGER_WORKSPACE;
use serde_json::Value;

/// Cargo's configuration files.
/// <https://doc.rust-lang.org/cargo/reference/config.html#hierarchical-structure>
pub(super) const CONFIGURATIONS: [&str; 2] = [".cargo/config.toml", ".cargo/config"];

/// Checks that all members and their path dependencies are in the workspace's directory. `metadata`
/// is the output of `cargo metadata --no-deps`.
///
/// # Errors
/// When one is not. The error names all that are outside, and the way to include them.
pub(super) fn refuse(metadata: &Value, root: &Path) -> Result<()> {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let packages = list(&metadata["packages"]);
    let mut outside = BTreeSet::new();
    for package in &packages {
        let name = package["name"].as_str().unwrap_or_default();
        let manifest = package["manifest_path"].as_str().map(Path::new);
        let directory = manifest.and_then(Path::parent);
        if let Some(directory) = directory.filter(|it| !it.starts_with(root)) {
            outside.insert(format!("the member {name}, in {}", directory.display()));
        }
        for dependency in list(&package["dependencies"]) {
            let path = dependency["path"].as_str().map(PathBuf::from);
            if let Some(path) = path.filter(|it| !it.starts_with(root)) {
                let on = dependency["name"].as_str().unwrap_or_default();
                outside.insert(format!(
                    "{on}, on which {name} depends, in {}",
                    path.display()
                ));
            }
        }
    }
    if outside.is_empty() {
        return Ok(());
    }
    let listed: Vec<String> = outside.into_iter().collect();
    bail!(
        "these packages are outside the workspace's directory {}, and Crateyard sees nothing \
         there:\n  {}\n  try: {LARGER_WORKSPACE}; assemble init writes the first two there",
        root.display(),
        listed.join("\n  ")
    );
}

/// Returns Cargo's configuration files above the workspace, up to the top of its repository.
pub(super) fn configurations(workspace: &Path, top: &Path) -> Vec<PathBuf> {
    let above = workspace.ancestors().skip(1);
    let within = above.take_while(|directory| directory.starts_with(top));
    let files = within.flat_map(|directory| CONFIGURATIONS.map(|name| directory.join(name)));
    files.filter(|file| file.is_file()).collect()
}
