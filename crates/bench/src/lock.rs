//! Reads `Cargo.lock`.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};

fn table(lock: &str) -> Result<Vec<toml::Value>> {
    let lock: toml::Table = lock.parse().context("Cargo.lock is not understood")?;
    let packages = lock.get("package").and_then(toml::Value::as_array);
    Ok(packages.cloned().unwrap_or_default())
}

fn text<'v>(package: &'v toml::Value, field: &str) -> Option<&'v str> {
    package.get(field)?.as_str()
}

/// Reads the packages of a lock: name and version.
pub(crate) fn packages(lock: &str) -> Result<Vec<(String, String)>> {
    let pair = |package: &toml::Value| {
        Some((
            text(package, "name")?.to_owned(),
            text(package, "version")?.to_owned(),
        ))
    };
    Ok(table(lock)?.iter().filter_map(pair).collect())
}

/// Reads the dependencies of each package by name. Versions of one name are merged.
pub(crate) fn edges(lock: &str) -> Result<BTreeMap<String, BTreeSet<String>>> {
    let mut edges: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for package in table(lock)? {
        let Some(name) = text(&package, "name") else {
            continue;
        };
        let needs = package.get("dependencies").and_then(toml::Value::as_array);
        let needs = needs.into_iter().flatten().filter_map(toml::Value::as_str);
        let names = needs.filter_map(|edge| edge.split(' ').next());
        let known = edges.entry(name.to_owned()).or_default();
        known.extend(names.map(str::to_owned));
    }
    Ok(edges)
}
