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

/// The sets whose packages only compile: no image holds them.
const COMPILING: [&str; 4] = ["lints", "npm", "toolchain", "toolchain.linker"];
/// The beginnings of the names of such sets.
const COMPILING_PREFIXES: [&str; 2] = ["crates.", "cross-"];

/// Returns Debian's name of this machine's architecture, or Rust's name if Debian's is not known.
pub fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn only_compiles(set: &str) -> bool {
    let mut prefixes = COMPILING_PREFIXES.iter();
    COMPILING.contains(&set) || prefixes.any(|prefix| set.starts_with(prefix))
}

/// Selects packages of a lock by set and architecture. An empty list of sets selects all. An empty
/// list of architectures selects what builds on this machine need: sets that only compile for the
/// machine's own architecture, and other sets for all.
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
    let is_wanted = |set: &str, name: &String| match architectures {
        [] => !only_compiles(set) || name == architecture(),
        asked => asked.contains(name),
    };
    let mut keys = BTreeSet::new();
    for (set, resolved) in &lock.sets {
        if sets.is_empty() || sets.contains(set) {
            let resolved = resolved.iter().filter(|(name, _)| is_wanted(set, name));
            keys.extend(resolved.flat_map(|(_, members)| members));
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

#[cfg(test)]
mod tests {
    use super::*;
    use crateyard_debian::lock::Package;
    use std::collections::BTreeMap;

    const ARCHITECTURES: [&str; 2] = ["amd64", "arm64"];

    /// Returns a lock in which each set is resolved for both architectures.
    fn lock(sets: &[&str]) -> Lock {
        let key = |set: &str, architecture: &str| format!("of-{set}:{architecture}");
        let of_set = |set: &&str| {
            let resolved = ARCHITECTURES.map(|it| (it.to_owned(), vec![key(set, it)]));
            ((*set).to_owned(), BTreeMap::from(resolved))
        };
        let package = Package {
            version: "1".to_owned(),
            archive: "debian".to_owned(),
            path: "pool/a.deb".to_owned(),
            sha256: "0".repeat(64),
            size: 1,
        };
        let keys = sets
            .iter()
            .flat_map(|set| ARCHITECTURES.map(|it| key(set, it)));
        Lock {
            version: 1,
            suites: Vec::new(),
            snapshot: String::new(),
            sets: sets.iter().map(of_set).collect(),
            omitted: BTreeMap::new(),
            packages: keys.map(|key| (key, package.clone())).collect(),
        }
    }

    fn selected(lock: &Lock, architectures: &[&str]) -> Vec<String> {
        let architectures: Vec<String> = architectures.iter().map(|it| (*it).to_owned()).collect();
        let debs = select(lock, &[], &architectures, &Store::new(None)).unwrap();
        debs.into_iter().map(|deb| deb.file).collect()
    }

    #[test]
    fn what_compiles_elsewhere_is_not_selected() {
        let here = architecture();
        for set in ["crates.openssl-sys", "cross-amd64", "lints", "toolchain"] {
            let expected = [format!("of-{set}_1_{here}.deb")];
            assert_eq!(selected(&lock(&[set]), &[]), expected);
        }
        let both = ["of-base_1_amd64.deb", "of-base_1_arm64.deb"];
        assert_eq!(selected(&lock(&["base"]), &[]), both);
    }

    #[test]
    fn a_named_architecture_is_selected_alone() {
        let lock = lock(&["base", "toolchain"]);
        for it in ARCHITECTURES {
            let expected = ["base", "toolchain"].map(|set| format!("of-{set}_1_{it}.deb"));
            assert_eq!(selected(&lock, &[it]), expected);
        }
    }
}
