//! Builds with `assemble build` and reads its events.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use crateyard_drive::event::Event;
use crateyard_nix::Store;
use serde::Deserialize;
use tempfile::NamedTempFile;

use super::Done;
use crate::trial::Trial;

/// Caches and remote builders are off, so that the bench measures only builds on this machine.
const SETTINGS: &str = "\
extra-experimental-features = nix-command flakes
sandbox = true
max-jobs = auto
substituters =
builders =
warn-dirty = false
";

/// The package with everything that evaluation reads: plans and the description. It is not in an
/// image's closure.
const EVALUATION: &str = "evaluation";

/// Fails if something is missing.
///
/// # Errors
/// When Nix is not installed.
pub(super) fn check() -> Result<()> {
    check_in(std::env::var_os("PATH"))
}

fn check_in(paths: Option<OsString>) -> Result<()> {
    which::which_in_global("nix", paths)
        .ok()
        .and_then(|mut found| found.next())
        .map(drop)
        .context("`nix` is not installed; on Debian: apt-get install nix-bin")
}

/// Builds the images before the first edit, so that tools and toolchain exist.
///
/// # Errors
/// When a build fails.
pub(super) fn prepare(trial: &Trial, names: &[String]) -> Result<()> {
    build(trial, names, None).map(drop)
}

/// Downloads the sources that a lock pins now, as a person would do before the build.
///
/// # Errors
/// When a source can't be downloaded.
pub(super) fn fetch(trial: &Trial, debian_lock: &Path) -> Result<()> {
    let own = own_program()?;
    let lock = debian_lock.display().to_string();
    trial
        .run(&own.to_string_lossy(), &["fetch", "--lock", &lock])
        .map(drop)
}

/// A runner's binary cache, and the empty store that it begins with.
pub(super) struct Cache {
    url: String,
    directory: PathBuf,
    store: PathBuf,
}

impl Cache {
    /// Makes a cache with the closures of the images and of evaluation, without their build inputs.
    ///
    /// # Errors
    /// When Nix fails.
    pub(super) fn of(trial: &Trial, names: &[String], directory: &Path) -> Result<Cache> {
        let cache = directory.join("cache");
        let url = format!("file://{}?compression=zstd", cache.display());
        let mut wanted = attributes(trial, names);
        wanted.push(format!("{}#{EVALUATION}", trial.root().display()));
        run(nix(trial).args(["copy", "--to", &url]).args(wanted))?;
        Ok(Cache {
            url,
            directory: cache,
            store: directory.join("store"),
        })
    }

    /// Returns the number of bytes that the store got from the cache.
    fn fetched(&self) -> Result<u64> {
        let mut bytes = 0;
        for entry in fs::read_dir(self.store.join("nix/store"))? {
            let name = entry?.file_name();
            let hash: String = name
                .to_string_lossy()
                .chars()
                .take_while(|c| *c != '-')
                .collect();
            let info = fs::read_to_string(self.directory.join(format!("{hash}.narinfo")))
                .unwrap_or_default();
            let size = info
                .lines()
                .find_map(|line| line.strip_prefix("FileSize: "));
            bytes += size.and_then(|size| size.parse::<u64>().ok()).unwrap_or(0);
        }
        Ok(bytes)
    }
}

impl Drop for Cache {
    /// Makes the files writable, because files in a store are read-only.
    fn drop(&mut self) {
        let _ = Command::new("chmod")
            .args(["-R", "u+w"])
            .arg(&self.store)
            .status();
    }
}

/// Builds images with `assemble build`. If there is a cache, it builds them in the cache's own
/// store.
///
/// # Errors
/// When a build fails. The error quotes the command's output.
pub(super) fn build(trial: &Trial, names: &[String], cache: Option<&Cache>) -> Result<Done> {
    let events = NamedTempFile::new()?;
    let mut command = Command::new(own_program()?);
    command
        .args(["build", "--json", "--events"])
        .arg(events.path())
        .args(names)
        .env("NIX_CONFIG", settings(cache))
        .env("XDG_STATE_HOME", trial.state())
        .current_dir(trial.root());
    let store = cache.map(|cache| cache.store.display().to_string());
    if let Some(store) = &store {
        command.args(["--store", store]);
    }
    let store = Store::new(store);
    let start = Instant::now();
    let output = command.output().context("cannot start assemble build")?;
    let wall = start.elapsed();
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("assemble build failed: {}\n{said}", output.status);
    }
    let lines: Vec<Line> =
        serde_json::from_slice(&output.stdout).context("assemble build printed no images")?;
    let path_of = |name: &String| {
        let line = lines.iter().find(|line| line.name == *name);
        let line = line.with_context(|| format!("assemble build printed no image {name}"))?;
        Ok(store.physical(&line.path))
    };
    Ok(Done {
        paths: names.iter().map(path_of).collect::<Result<_>>()?,
        compiled: built(&fs::read_to_string(events.path())?)?,
        wall,
        fetched: cache.map(Cache::fetched).transpose()?,
    })
}

/// An image that `assemble build --json` printed.
#[derive(Deserialize)]
struct Line {
    name: String,
    path: PathBuf,
}

/// Returns the names of the derivations that were built.
fn built(events: &str) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for line in events.lines() {
        let event = serde_json::from_str(line)
            .with_context(|| format!("not an event of assemble build: {line}"))?;
        if let Event::Finished { name, .. } = event {
            names.push(name);
        }
    }
    Ok(names)
}

/// Returns the settings for Nix, with those of the environment behind them.
fn settings(cache: Option<&Cache>) -> String {
    let own = std::env::var("NIX_CONFIG").unwrap_or_default();
    let cache = cache.map_or_else(String::new, |cache| {
        format!("substituters = {}\nrequire-sigs = false\n", cache.url)
    });
    format!("{SETTINGS}{own}\n{cache}")
}

/// Returns this program's own file, which is `assemble`.
fn own_program() -> Result<PathBuf> {
    std::env::current_exe().context("cannot find this program's own file")
}

fn attributes(trial: &Trial, names: &[String]) -> Vec<String> {
    let root = trial.root().display();
    let names = names.iter();
    names.map(|name| format!("{root}#{name}-image")).collect()
}

fn nix(trial: &Trial) -> Command {
    let mut command = crateyard_nix::environment::nix("nix");
    command
        .env("NIX_CONFIG", settings(None))
        .current_dir(trial.root());
    command
}

fn run(command: &mut Command) -> Result<String> {
    let output = command.output().context("cannot start nix")?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        bail!("nix failed: {}\n{said}", output.status);
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Returns the packages of the derivations that are units, and the number of these derivations. The
/// name of a unit begins with `NAME-VERSION`.
pub(super) fn units(built: &[String], packages: &[(String, String)]) -> (BTreeSet<String>, usize) {
    let package_of = |derivation: &String| {
        let found = packages.iter().find(|(name, version)| {
            let rest = derivation
                .strip_prefix(name.as_str())
                .and_then(|rest| rest.strip_prefix('-'))
                .and_then(|rest| rest.strip_prefix(version.as_str()));
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
        });
        found.map(|(name, _)| name.clone())
    };
    let units: Vec<String> = built.iter().filter_map(package_of).collect();
    (units.iter().cloned().collect(), units.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Not every workspace has a Makefile that installs Nix.
    #[test]
    fn advice_works_in_any_workspace() {
        let empty = tempfile::tempdir().unwrap();
        let error = check_in(Some(empty.path().into())).unwrap_err();
        assert_eq!(
            error.to_string(),
            "`nix` is not installed; on Debian: apt-get install nix-bin"
        );
    }

    #[test]
    fn builds_are_found_among_the_events() {
        let (name, derivation) = ("serde-1.0.1".to_owned(), "/nix/store/aaa.drv".to_owned());
        let events = [
            Event::Started {
                name: "itoa-1.0.1".to_owned(),
                derivation: derivation.clone(),
                slot: 0,
                cores: 2,
                at: 0.0,
            },
            Event::Finished {
                name,
                derivation,
                seconds: 1.0,
                at: 1.0,
            },
        ];
        let events = events.map(|event| serde_json::to_string(&event).unwrap());
        assert_eq!(built(&events.join("\n")).unwrap(), ["serde-1.0.1"]);
        assert!(built("note: nothing").is_err());
    }

    #[test]
    fn derivations_of_packages_are_units() {
        let locked = [("serde", "1.0.1"), ("gateway", "0.1.0")]
            .map(|(name, version)| (name.to_owned(), version.to_owned()));
        let built = [
            "serde-1.0.1",
            "serde-1.0.1-build-script",
            "gateway-0.1.0-bin-gateway",
            "gateway-image",
            "plan",
            "serde-1.0.10",
        ];
        let (packages, units) = units(&built.map(str::to_owned), &locked);
        assert_eq!(packages, ["gateway", "serde"].map(str::to_owned).into());
        assert_eq!(units, 3);
    }
}
