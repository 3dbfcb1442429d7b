//! Fetches the crates that `Cargo.lock` pins, with cargo.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, bail, ensure};
use crateyard_nix::{Store, sha256_of};
use crateyard_workspace::cargo::{Cargo, said};
use serde::Deserialize;

/// The packages in `Cargo.lock` that lie outside the workspace.
#[derive(Default)]
pub struct Pinned {
    /// Crates from registries.
    pub crates: Vec<CrateFile>,
    /// Packages from git repositories.
    pub git: Vec<Git>,
}

/// A `.crate` file.
pub struct CrateFile {
    /// `NAME-VERSION.crate`: the name in cargo's cache and in the store.
    pub file: String,
    /// SHA-256 in lower-case hexadecimal digits.
    pub sha256: String,
    /// The path in the store.
    pub path: String,
}

/// A package from a git repository.
pub struct Git {
    /// `NAME VERSION`.
    pub package: String,
    /// The repository and the commit, as written in `Cargo.lock`.
    pub source: String,
}

/// The newest version of the format that is read here (Cargo's `ResolveVersion`).
const NEWEST_FORMAT: u32 = 4;

#[derive(Deserialize)]
struct CargoLock {
    /// The version of the format. Versions 1 and 2 do not say it.
    #[serde(default)]
    version: u32,
    #[serde(default)]
    package: Vec<Package>,
    /// Where locks of version 1 have the checksums: `checksum NAME VERSION (SOURCE)`.
    #[serde(default)]
    metadata: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    version: String,
    source: Option<String>,
    checksum: Option<String>,
}

fn parse(lock: &Path) -> Result<CargoLock> {
    let cannot = || format!("cannot read {}", lock.display());
    let text = std::fs::read_to_string(lock).with_context(cannot)?;
    let parsed: CargoLock = toml::from_str(&text).with_context(cannot)?;
    ensure!(
        parsed.version <= NEWEST_FORMAT,
        "{} has the format {}, and the newest known here is {NEWEST_FORMAT}\n  try: a newer \
         Crateyard, or cargo generate-lockfile",
        lock.display(),
        parsed.version
    );
    // A package by itself is in its own lock.
    ensure!(
        !parsed.package.is_empty(),
        "{} lists no package\n  try: cargo generate-lockfile",
        lock.display()
    );
    Ok(parsed)
}

/// Reads the name and version of each crate from crates.io in `Cargo.lock`, no matter which package
/// depends on it.
///
/// # Errors
/// When it can't be read, has a newer format or lists nothing.
pub fn of_crates_io(lock: &Path) -> Result<Vec<(String, String)>> {
    let is_there = |it: &Package| {
        let source = it.source.as_deref();
        source.is_some_and(|source| source.contains("crates.io-index"))
    };
    let packages = parse(lock)?.package.into_iter().filter(is_there);
    Ok(packages.map(|it| (it.name, it.version)).collect())
}

/// Reads `Cargo.lock`.
///
/// # Errors
/// When it can't be read, has a newer format or lists nothing, or a crate has no checksum.
pub fn read(lock: &Path, store: &Store) -> Result<Pinned> {
    let mut pinned = Pinned::default();
    let CargoLock {
        package, metadata, ..
    } = parse(lock)?;
    for package in package {
        let Some(source) = package.source else {
            continue;
        };
        let Package { name, version, .. } = package;
        let old = metadata.get(&format!("checksum {name} {version} ({source})"));
        // A package from git has none there.
        let old = old.filter(|checksum| *checksum != "<none>");
        match package.checksum.or_else(|| old.cloned()) {
            Some(sha256) => {
                let file = format!("{name}-{version}.crate");
                let path = store.path_of(&file, &sha256);
                pinned.crates.push(CrateFile { file, sha256, path });
            }
            None if source.starts_with("git+") => pinned.git.push(Git {
                package: format!("{name} {version}"),
                source,
            }),
            None => bail!(
                "{}: {name} {version} from {source} has no checksum; write the lock anew with: \
                 cargo update -p {name}",
                lock.display()
            ),
        }
    }
    Ok(pinned)
}

/// Lets cargo download the missing crates, and calls `progress` for each crate that arrives.
pub fn download(lock: &Path, mut progress: impl FnMut()) -> Result<()> {
    let directory = match lock.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let cargo = Cargo::to_download(directory)?;
    cargo.warn();
    let mut child = cargo
        .command(&["fetch", "--locked"])?
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .context("cargo cannot be started; it downloads the crates")?;
    let mut said = Vec::new();
    if let Some(stderr) = child.stderr.take() {
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            match line.trim_start().starts_with("Downloaded ") {
                true => progress(),
                false => said.push(line),
            }
        }
    }
    let status = child.wait().context("cargo fetch")?;
    if !status.success() {
        let place = directory.display();
        match said::cause(&said.join("\n")) {
            cause if cause.is_empty() => bail!("`cargo fetch` failed in {place}: {status}"),
            cause => bail!("`cargo fetch` failed in {place}: {cause}{}", cure(&cause)),
        }
    }
    Ok(())
}

/// Returns what to do about an error of cargo: its own advice for a lock that does not match the
/// manifests is to leave out an option of this call.
fn cure(cause: &str) -> &'static str {
    match cause.contains("--locked was passed to prevent this") {
        true => {
            "\n  try: cargo update --workspace && git add Cargo.lock, because Cargo.lock does not \
             match the manifests; then run this again"
        }
        false => "",
    }
}

/// Finds the files of crates in cargo's cache and checks them against `Cargo.lock`.
///
/// # Errors
/// When a crate is missing or damaged.
pub fn find(wanted: &[&CrateFile]) -> Result<Vec<(PathBuf, String)>> {
    let cache = cargo_home()?.join("registry/cache");
    let registries = directories(&cache)?;
    let mut found = Vec::new();
    let mut absent = BTreeSet::new();
    let mut damaged = BTreeMap::new();
    for each in wanted {
        let mut file = None;
        for candidate in registries
            .iter()
            .map(|registry| registry.join(&each.file))
            .filter(|path| path.is_file())
        {
            match sha256_of(&candidate)? {
                sha256 if sha256 == each.sha256 => file = Some(candidate),
                other => drop(damaged.insert(each.file.as_str(), (candidate, other, &each.sha256))),
            }
        }
        match file {
            Some(file) => {
                damaged.remove(each.file.as_str());
                found.push((file, each.path.clone()));
            }
            None => drop(absent.insert(each.file.as_str())),
        }
    }
    if let Some((path, found, expected)) = damaged.values().next() {
        bail!(
            "{} is damaged: SHA-256 {found}, Cargo.lock has {expected}; delete it and run this \
             again",
            path.display()
        );
    }
    if !absent.is_empty() {
        let names: Vec<&str> = absent.into_iter().collect();
        bail!(
            "cargo has fetched them, but {} lie(s) not below {}: your own configuration of cargo, \
             or that of a workspace that you trust, replaces the registry by a directory, which \
             has no .crate files",
            names.join(", "),
            cache.display()
        );
    }
    Ok(found)
}

fn cargo_home() -> Result<PathBuf> {
    if let Some(home) = std::env::var_os("CARGO_HOME").filter(|home| !home.is_empty()) {
        return Ok(PathBuf::from(home));
    }
    let home = std::env::var_os("HOME")
        .context("neither CARGO_HOME nor HOME is set; cargo's cache cannot be found")?;
    Ok(PathBuf::from(home).join(".cargo"))
}

fn directories(path: &Path) -> Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(path)
        .with_context(|| format!("cannot read cargo's cache {}", path.display()))?;
    let mut all: Vec<PathBuf> = entries
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<std::io::Result<_>>()
        .with_context(|| format!("cannot read cargo's cache {}", path.display()))?;
    all.sort();
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_that_does_not_match_is_told() {
        let cause = "cannot update the lock file /w/Cargo.lock because --locked was passed to \
                     prevent this";
        assert!(cure(cause).contains("try: cargo update --workspace"));
        assert_eq!(cure("failed to download `itoa v1.0.15`"), "");
    }

    /// Cargo still reads the locks that it wrote before 2020.
    #[test]
    fn a_lock_of_version_1_has_checksums_in_its_metadata() {
        let text = "[[package]]\nname = \"a\"\nversion = \"1.0.0\"\n\
                    source = \"registry+https://index.example\"\n\n\
                    [[package]]\nname = \"b\"\nversion = \"2.0.0\"\n\
                    source = \"git+https://git.example/b#0123\"\n\n\
                    [metadata]\n\
                    \"checksum a 1.0.0 (registry+https://index.example)\" = \"aa\"\n\
                    \"checksum b 2.0.0 (git+https://git.example/b#0123)\" = \"<none>\"\n";
        let directory = tempfile::tempdir().unwrap();
        let lock = directory.path().join("Cargo.lock");
        std::fs::write(&lock, text).unwrap();
        let store = Store::new(None);
        let pinned = read(&lock, &store).unwrap();
        let crates = pinned.crates.iter();
        let crates: Vec<_> = crates.map(|it| (&*it.file, &*it.sha256)).collect();
        assert_eq!(crates, [("a-1.0.0.crate", "aa")]);
        let git: Vec<_> = pinned.git.iter().map(|it| &*it.package).collect();
        assert_eq!(git, ["b 2.0.0"]);
    }

    #[test]
    fn a_lock_of_the_future_or_of_nothing_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let lock = directory.path().join("Cargo.lock");
        for (text, expected) in [
            ("version = 99\n", "has the format 99"),
            ("", "lists no package"),
            ("version = 4\n", "lists no package"),
        ] {
            std::fs::write(&lock, text).unwrap();
            let Err(error) = read(&lock, &Store::new(None)) else {
                panic!("{text:?} was read");
            };
            assert!(error.to_string().contains(expected), "{error}");
        }
    }
}
