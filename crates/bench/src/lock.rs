//! Reads the packages of `Cargo.lock`, and their dependencies.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};
use crateyard_description::locked_packages;

/// Reads the packages of a lock: name and version.
pub(crate) fn packages(lock: &str) -> Result<Vec<(String, String)>> {
    let packages = locked_packages(lock).context("Cargo.lock is not understood")?;
    let pairs = packages.into_iter().map(|it| (it.name, it.version));
    Ok(pairs.collect())
}

/// Reads the dependencies of each package by name. Versions of one name are merged.
pub(crate) fn edges(lock: &str) -> Result<BTreeMap<String, BTreeSet<String>>> {
    let mut edges: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for package in locked_packages(lock).context("Cargo.lock is not understood")? {
        let names = package.dependencies.iter();
        let names = names.filter_map(|edge| edge.split(' ').next());
        let known = edges.entry(package.name.clone()).or_default();
        known.extend(names.map(str::to_owned));
    }
    Ok(edges)
}
