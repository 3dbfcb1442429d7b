//! Fetches the packages that npm installs for parts of images.toml. The machine's npm downloads
//! them from its registry or mirror, with its proxies and tokens.
//!
//! Nix reads the locks (nix/npm/lock.nix) and lists the files it needs. npm keeps each package in
//! its cache by the hash in the lock (<https://github.com/npm/cacache>), and the store gets the
//! package from there.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Component, Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use crateyard_nix::Store;
use crateyard_terminal::note;
use crateyard_workspace::{described, files};
use serde::Deserialize;

use crate::flake::{attribute_of, flake_of, workspace_of};
use crate::{Counts, Missing, git, package_lock};

/// The flake's attribute that names the packages (nix/lib.nix).
const ATTRIBUTE: &str = "npmInputs";

/// The version of the attribute's format.
const FORMAT: u32 = 1;

/// The packages that npm installs for a workspace.
#[derive(Debug, Deserialize)]
struct Inputs {
    version: u32,
    /// The parts, by name.
    parts: BTreeMap<String, Part>,
}

/// The files that tell npm which packages to install.
const MANIFESTS: [&str; 2] = ["package.json", "package-lock.json"];

/// The hash algorithms of npm's locks.
const ALGORITHMS: [&str; 4] = ["sha1", "sha256", "sha384", "sha512"];

/// The packages that npm installs for a part.
#[derive(Debug, Deserialize)]
struct Part {
    /// The directory of its lock, relative to the workspace. Empty for the workspace itself.
    directory: String,
    packages: Vec<Package>,
}

/// A package of a lock.
#[derive(Debug, Deserialize)]
struct Package {
    name: String,
    version: String,
    /// The hash: `sha512-` and base64.
    integrity: String,
    /// The path in the store.
    file: String,
}

impl Part {
    /// Returns the store paths of its packages.
    fn paths(&self) -> impl Iterator<Item = &str> {
        self.packages.iter().map(|package| package.file.as_str())
    }
}

/// Adds the packages that npm installs for the parts of the workspace around a lock. Returns those
/// that npm could not download. Nix downloads them from the addresses in the lock.
///
/// # Errors
/// When nix-store fails.
pub fn fetch(lock: &Path, store: &Store) -> Result<(Counts, Vec<Missing>)> {
    let mut counts = Counts::default();
    let mut lacking = Vec::new();
    let parts = read(lock).unwrap_or_else(|error| {
        note!("nothing is fetched of what npm installs, and Nix downloads it: {error:#}");
        BTreeMap::new()
    });
    let mut fetched: BTreeSet<&str> = BTreeSet::new();
    for (name, part) in &parts {
        let new: Vec<&str> = part.paths().filter(|path| fetched.insert(path)).collect();
        let missing = store.missing(new.iter().copied())?;
        let missing: Vec<&str> = new
            .iter()
            .copied()
            .filter(|it| missing.contains(*it))
            .collect();
        counts.total += new.len();
        counts.present += new.len() - missing.len();
        if missing.is_empty() {
            continue;
        }
        match fetch_part(workspace_of(lock), part, &missing, store) {
            Ok(()) => counts.added += missing.len(),
            Err(error) => lacking.push(Missing {
                file: format!("the packages of the part {name}"),
                reason: format!("{error:#}"),
            }),
        }
    }
    Ok((counts, lacking))
}

/// Reads the parts of the workspace around a lock, by name. Asks the flake only if npm makes a
/// part.
///
/// # Errors
/// When the description or a package-lock.json has an error.
fn read(lock: &Path) -> Result<BTreeMap<String, Part>> {
    let images = workspace_of(lock).join("images.toml");
    let Some(flake) = flake_of(lock).filter(|_| images.exists()) else {
        return Ok(BTreeMap::new());
    };
    if described::read(&images)?.npm_parts.is_empty() {
        return Ok(BTreeMap::new());
    }
    let text = git::evaluate(&attribute_of(&flake, ATTRIBUTE)?, None)
        .context("cannot read what npm installs for the parts of images.toml")?;
    let inputs: Inputs =
        serde_json::from_str(&text).context("the flake lists npm's packages in another format")?;
    ensure!(
        inputs.version == FORMAT,
        "the flake lists npm's packages in format {}, but this version of assemble reads {FORMAT}",
        inputs.version
    );
    Ok(inputs.parts)
}

/// Lets npm download the packages of a part that the store lacks, and adds them to the store.
///
/// # Errors
/// When npm is missing or fails.
fn fetch_part(workspace: &Path, part: &Part, missing: &[&str], store: &Store) -> Result<()> {
    // The flake names the directory, and its author may not choose one outside.
    let is_inside = |part| matches!(part, Component::Normal(_) | Component::CurDir);
    ensure!(
        Path::new(&part.directory).components().all(is_inside),
        "{:?} is not a directory of the workspace",
        part.directory
    );
    let manifests = MANIFESTS.map(|name| format!("{}/{name}", part.directory));
    let manifests: Vec<&str> = manifests
        .iter()
        .map(|it| it.trim_start_matches('/'))
        .collect();
    files::check_files(workspace, &manifests)?;
    let directory = workspace.join(&part.directory);
    let scratch = tempfile::tempdir()?;
    for name in MANIFESTS {
        fs::copy(directory.join(name), scratch.path().join(name))
            .with_context(|| format!("cannot read {}", directory.join(name).display()))?;
    }
    let [manifest, lock] = MANIFESTS.map(|name| fs::read_to_string(scratch.path().join(name)));
    package_lock::check(&manifest?, &lock?)
        .with_context(|| format!("npm does not fetch for {:?}", part.directory))?;
    let cache = scratch.path().join("cache");
    install(scratch.path(), &cache)?;
    let wanted = part.packages.iter();
    for package in wanted.filter(|package| missing.contains(&package.file.as_str())) {
        let (algorithm, found) = in_cache(&cache, &package.integrity)?;
        ensure!(
            found.is_file(),
            "npm downloaded no {}@{} with the hash {}",
            package.name,
            package.version,
            package.integrity
        );
        // The store takes over the name of the file.
        let file = scratch.path().join(store_name(&package.file)?);
        fs::copy(&found, &file)?;
        store.add_hashed(algorithm, &[(file, package.file.clone())])?;
    }
    Ok(())
}

/// Runs npm without scripts and git, and without an `.npmrc` of the workspace, which could send the
/// machine's tokens to another registry.
fn install(directory: &Path, cache: &Path) -> Result<()> {
    let output = Command::new("npm")
        .args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"])
        .args(["--no-bin-links", "--allow-git=none", "--git=/nonexistent"])
        .args(["--loglevel", "error", "--cache"])
        .arg(cache)
        .current_dir(directory)
        .stdin(Stdio::null())
        .output()
        .context("npm cannot be started; install it to use its registry and tokens")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "npm ci failed: {}", said.trim());
    Ok(())
}

/// Returns the hash algorithm of a package, and its path in npm's cache.
fn in_cache<'i>(cache: &Path, integrity: &'i str) -> Result<(&'i str, PathBuf)> {
    let decoded = integrity
        .split_once('-')
        .and_then(|(algorithm, hash)| Some((algorithm, STANDARD.decode(hash).ok()?)))
        .filter(|(algorithm, hash)| ALGORITHMS.contains(algorithm) && hash.len() > 2);
    let Some((algorithm, hash)) = decoded else {
        bail!("`{integrity}` is not a hash of npm's");
    };
    let hash = base16ct::lower::encode_string(&hash);
    let content = cache.join("_cacache/content-v2").join(algorithm);
    let place = content.join(&hash[..2]).join(&hash[2..4]).join(&hash[4..]);
    Ok((algorithm, place))
}

/// Returns the name of a store path: NAME of `/nix/store/HASH-NAME`.
fn store_name(path: &str) -> Result<&str> {
    let name = path.rsplit('/').next().unwrap_or_default();
    let (_, name) = name
        .split_once('-')
        .with_context(|| format!("{path} is not a store path"))?;
    Ok(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_lie_where_npm_keeps_them() {
        let (algorithm, place) = in_cache(Path::new("/c"), "sha1-AAECAwQ=").expect("a hash");
        assert_eq!(algorithm, "sha1");
        assert_eq!(place, Path::new("/c/_cacache/content-v2/sha1/00/01/020304"));
        for wrong in [
            "",
            "sha512",
            "sha512-",
            "sha512-!",
            "sha512-AAE=",
            "../sha1-AAECAwQ=",
            "/tmp-AAECAwQ=",
        ] {
            assert!(in_cache(Path::new("/c"), wrong).is_err(), "{wrong}");
        }
        assert_eq!(
            store_name("/nix/store/abc-a-1.0.tgz").ok(),
            Some("a-1.0.tgz")
        );
    }
}
