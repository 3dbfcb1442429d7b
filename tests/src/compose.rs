//! The contents of images besides the workspace's binaries.

mod capabilities;
mod downloads;
mod own_downloads;
mod parts;
mod swagger;
mod variants;

use crate::checkout::assemble;
use crate::nix;
use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// The tests of this group.
pub fn trials() -> Vec<Trial> {
    let mut all = parts::trials();
    all.extend(downloads::trials());
    all.extend(own_downloads::trials());
    all.extend(capabilities::trials());
    all.extend(swagger::trials());
    all.extend(variants::trials());
    all
}

/// Requires a file with a content and a mode.
fn holds(root: &Path, path: &str, content: &str, mode: u32) -> Result<()> {
    let file = root.join(path);
    let text = fs::read_to_string(&file).with_context(|| format!("no {path}"))?;
    ensure!(text == content, "{path} holds {text:?}");
    let found = fs::metadata(&file)?.permissions().mode() & 0o7777;
    ensure!(found == mode, "{path} has the mode {found:o}");
    Ok(())
}

/// Requires all of some texts.
fn contains(text: &str, wanted: &[&str]) -> Result<()> {
    for wanted in wanted {
        ensure!(text.contains(wanted), "no {wanted:?} in\n{text}");
    }
    Ok(())
}

/// Requires that `assemble` fails in a workspace, and that its message has all of some texts.
pub fn refuses(workspace: &Path, arguments: &[&str], wanted: &[&str]) -> Result<()> {
    let output = duct::cmd(assemble(), arguments)
        .dir(workspace)
        .stderr_capture()
        .stdout_capture()
        .unchecked()
        .run()?;
    ensure!(!output.status.success(), "{arguments:?} did not fail");
    contains(&String::from_utf8_lossy(&output.stderr), wanted)
}

/// Returns the dependencies that an image's provenance lists.
fn dependencies(image: &Path) -> Result<Vec<Value>> {
    let explained = duct::cmd!(assemble(), "explain", image, "--json").read()?;
    let explained: Value = serde_json::from_str(&explained)?;
    let all = &explained["provenance"]["predicate"]["buildDefinition"]["resolvedDependencies"];
    all.as_array().cloned().context("no dependencies")
}

/// Requires that, among an expression's units, exactly those of the crate `itoa` see a part at
/// `path` of the crate, from a store path with this end.
fn only_itoa_sees(units: &str, path: &str, end: &str) -> Result<()> {
    let expression = format!("builtins.mapAttrs (_: unit: unit.extras) {units}");
    let text = nix::nix(&["eval", "--impure", "--json", "--expr", &expression])?;
    let extras: BTreeMap<String, String> = serde_json::from_str(&text)?;
    let start = format!("/cargo/registry/itoa-1.0.15/{path}=/nix/store/");
    for (key, extras) in &extras {
        let has = extras.starts_with(&start) && extras.ends_with(end);
        ensure!(has == key.starts_with("itoa-"), "{key} has {extras:?}");
    }
    Ok(())
}
