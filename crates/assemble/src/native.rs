//! Finds the Debian packages that crates of a workspace are known to need. For some crates this
//! depends on features, so Crateyard asks Cargo.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context, Result};
use crateyard_description::{Description, LockedPackage};
use crateyard_workspace::cargo::Cargo;

/// Reads the packages of `Cargo.lock`. Returns none if there is no such file.
///
/// # Errors
/// When it can't be read, or is not a lock.
fn locked(cargo_lock: &Path) -> Result<Vec<LockedPackage>> {
    if !cargo_lock.exists() {
        return Ok(Vec::new());
    }
    let context = || format!("cannot read {}", cargo_lock.display());
    let text = std::fs::read_to_string(cargo_lock).with_context(context)?;
    crateyard_description::locked_packages(&text)
        .with_context(|| format!("{} is malformed", cargo_lock.display()))
}

/// Checks that `Cargo.lock` has each crate that a description has a table for. Packages for other
/// crates would have no effect, and nobody would learn why.
///
/// # Errors
/// The errors of [`locked`], and when a crate is missing.
pub fn check_crates(description: &Description, cargo_lock: &Path) -> Result<()> {
    if cargo_lock.exists() {
        description.check_crates(&crateyard_description::names_of(&locked(cargo_lock)?))?;
    }
    Ok(())
}

/// Adds the known needs of the crates in a `Cargo.lock` to a description.
///
/// # Errors
/// The errors of [`locked`], and when Cargo fails.
pub fn with_known_crates(description: Description, cargo_lock: &Path) -> Result<Description> {
    let locked = locked(cargo_lock)?;
    let takers = takers(&description, &locked, cargo_lock)?;
    Ok(description.with_known_crates(&locked, |name| takers.contains(name)))
}

/// Finds the crates of a `Cargo.lock` that are known to need Debian packages, and these packages.
///
/// # Errors
/// The errors of [`with_known_crates`].
pub fn needed(
    description: &Description,
    cargo_lock: &Path,
) -> Result<BTreeMap<String, Vec<String>>> {
    let locked = locked(cargo_lock)?;
    let takers = takers(description, &locked, cargo_lock)?;
    Ok(crateyard_description::needed(&locked, |name| {
        takers.contains(name)
    }))
}

/// Returns the crates that could compile their own copy of a library but do not. Asks Cargo only if
/// such crates exist and the description lists no packages for them.
fn takers(
    description: &Description,
    locked: &[LockedPackage],
    cargo_lock: &Path,
) -> Result<BTreeSet<String>> {
    let mut open = crateyard_description::undecided(locked);
    open.retain(|name| !description.has_packages_of(name));
    if open.is_empty() {
        return Ok(open);
    }
    let names: Vec<&str> = open.iter().map(String::as_str).collect();
    let resolved = resolved(description, cargo_lock).with_context(|| {
        format!(
            "only features tell whether {} is compiled with Debian's library or its own: \
             [crates.NAME] in images.toml can say it, `packages = [\"libNAME-dev\"]`",
            names.join(", ")
        )
    })?;
    let vendoring = crateyard_description::undecided(&resolved);
    // Crates that Cargo does not build need nothing.
    let built: BTreeSet<&str> = resolved
        .iter()
        .map(|package| package.name.as_str())
        .collect();
    open.retain(|name| built.contains(name.as_str()) && !vendoring.contains(name));
    Ok(open)
}

/// Resolves the workspace's packages and their dependencies with the description's features. Cargo
/// downloads missing crates.
fn resolved(description: &Description, cargo_lock: &Path) -> Result<Vec<LockedPackage>> {
    let directory = match cargo_lock.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let target = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let features = description.metadata_arguments();
    let mut arguments = vec!["--locked", "--filter-platform", &target];
    arguments.extend(features.iter().map(String::as_str));
    crateyard_description::resolved_packages(&Cargo::of(directory)?.metadata(&arguments)?)
        .context("cannot read the output of `cargo metadata`")
}
