//! Fetches the packages that `debian.lock` pins, with apt.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use crateyard_debian::apt::{self, Download, Mirror, Mirrors};
use crateyard_debian::lock::{Lock, store_name};
use crateyard_nix::Store;

/// A `.deb` file.
pub struct DebFile<'l> {
    /// The name in the store.
    pub file: String,
    /// The path in the store.
    pub path: String,
    package: &'l crateyard_debian::lock::Package,
    suites: &'l [crateyard_debian::lock::Suite],
}

/// Selects packages of a lock by set and architecture. An empty list selects all.
pub fn select<'l>(
    lock: &'l Lock,
    sets: &[String],
    architectures: &[String],
    store: &Store,
) -> Result<Vec<DebFile<'l>>> {
    if let Some(unknown) = sets.iter().find(|name| !lock.sets.contains_key(*name)) {
        let known: Vec<&str> = lock.sets.keys().map(String::as_str).collect();
        bail!(
            "the lock has no set `{unknown}`; it has {}",
            known.join(", ")
        );
    }
    let known: BTreeSet<&String> = lock.sets.values().flat_map(BTreeMap::keys).collect();
    if let Some(unknown) = architectures.iter().find(|name| !known.contains(name)) {
        bail!("no set in the lock is for the architecture `{unknown}`");
    }
    let asked = |list: &[String], name: &String| list.is_empty() || list.contains(name);
    let mut keys = BTreeSet::new();
    for (_, set) in lock.sets.iter().filter(|(name, _)| asked(sets, name)) {
        for (_, members) in set.iter().filter(|(name, _)| asked(architectures, name)) {
            keys.extend(members);
        }
    }
    let debs = keys
        .into_iter()
        .filter_map(|key| lock.packages.get_key_value(key))
        .map(|(key, package)| {
            let file = store_name(key, &package.version);
            DebFile {
                path: store.path_of(&file, &package.sha256),
                file,
                package,
                suites: &lock.suites,
            }
        });
    Ok(debs.collect())
}

/// The outcome of a download.
pub struct Arrived {
    /// Files, with the store paths that they will get.
    pub files: Vec<(PathBuf, String)>,
    /// Files that no mirror has provided, each with the reason.
    pub missing: Vec<(String, String)>,
}

/// Downloads packages into a directory, under the names that they have in the store.
pub fn download(
    wanted: &[&DebFile<'_>],
    directory: &Path,
    mirrors: &[Mirror],
    progress: impl FnMut(usize),
) -> Result<Arrived> {
    let mut all = Mirrors::of_machine().context("cannot find the machine's mirrors")?;
    // The workspace's packages come before Crateyard's own, which are all Debian's.
    if let Some(deb) = wanted.first() {
        all.set_sources(deb.suites);
    }
    all.set_all(mirrors);
    let downloads: Vec<Download> = wanted
        .iter()
        .map(|deb| Download {
            archive: deb.package.archive.clone(),
            path: deb.package.path.clone(),
            to: directory.join(&deb.file),
            sha256: deb.package.sha256.clone(),
            size: deb.package.size,
        })
        .collect();
    let reasons = apt::download(&all, &downloads, progress)?;
    let mut arrived = Arrived {
        files: Vec::new(),
        missing: Vec::new(),
    };
    for (place, deb) in wanted.iter().enumerate() {
        match reasons.get(&place) {
            Some(reason) => arrived.missing.push((deb.file.clone(), reason.clone())),
            None => arrived
                .files
                .push((downloads[place].to.clone(), deb.path.clone())),
        }
    }
    Ok(arrived)
}
