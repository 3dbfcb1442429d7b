//! Mirrors the files of a changed git repository, as Nix sees them, in a directory.
//!
//! After each edit Nix copies all files of a flake into the store before it evaluates them. That
//! takes longer than the evaluation. A flake that is evaluated in this directory gives the same
//! derivations, because their sources are copied one by one. Only a derivation that names the
//! directory itself would differ, and [`Tree::NAME`] detects that.
//!
//! The directory lies outside the workspace ([`state::outside`]), so no repository can decide which
//! of its files are removed.

use super::inputs::Inputs;
use anyhow::{Context, Result};
use crateyard_disk::Directory;
use crateyard_workspace::{git, mirror, state};
use sha2::{Digest, Sha256};
use std::fs::{self, File};
use std::path::{Path, PathBuf};

/// Records the flake.nix and flake.lock that Nix itself has evaluated to derivations.
const SEEN: &str = "flake.seen";

/// Records the flake.nix that `assemble init` wrote.
const OWN: &str = "flake.own";

/// A copy of a repository's tracked files. No other process changes the copy while this value
/// exists.
#[derive(Debug)]
pub(crate) struct Tree {
    /// The copy of the repository's top directory.
    pub top: PathBuf,
    /// The flake's path below the top directory: empty, or `/DIRECTORY`.
    pub below: String,
    /// The inputs in the flake's lock.
    pub inputs: Inputs,
    _lock: File,
}

impl Tree {
    /// The last part of the copy's path. No other file has this name.
    pub(crate) const NAME: &str = "tree-that-crateyard-evaluates";

    /// Updates the copy of the repository around `workspace`. Returns `None` if Nix should work
    /// without the copy: nothing has changed, or the repository has entries that are not files.
    ///
    /// # Errors
    /// When git can't be run, or a file can't be copied.
    pub(crate) fn update(workspace: &Path) -> Result<Option<Self>> {
        let workspace = workspace.canonicalize()?;
        let Some(place) = state::outside(&workspace)? else {
            return Ok(None);
        };
        if !is_noted(&workspace, &place, SEEN) || !is_changed(&workspace)? {
            return Ok(None);
        }
        let repository = git::top(&workspace)?;
        // The configuration in `.git` can name another directory as the work tree.
        let around = git::GitRepository::of(&workspace).map(|repository| repository.top);
        if around != Some(repository.canonicalize()?) {
            return Ok(None);
        }
        let Some(files) = git::tracked(&repository)? else {
            return Ok(None);
        };
        let Some(inputs) = Inputs::locked(&workspace)? else {
            return Ok(None);
        };
        let locked = place.try_lock(format!("{}.lock", Self::NAME))?;
        // Another process is using the copy.
        let Some(lock) = locked else {
            return Ok(None);
        };
        let copy = place.make_directory(Self::NAME)?;
        mirror::update(&Directory::open(&repository)?, &files, &copy)?;
        Ok(Some(Self {
            top: copy.path().canonicalize()?,
            below: below(&workspace, &repository)?,
            inputs,
            _lock: lock,
        }))
    }
}

/// Records that `assemble init`, run by this user, has just written the flake here.
///
/// # Errors
/// When the record can't be written.
pub fn remember_own(workspace: &Path) -> Result<()> {
    note(workspace, OWN)
}

/// Whether Nix may write flake.lock: it is missing, and `assemble init` wrote flake.nix here. A
/// flake.nix from anybody else could name a directory of this machine.
pub(crate) fn may_lock(workspace: &Path) -> bool {
    let place = state::outside(workspace).ok().flatten();
    let is_own = place.is_some_and(|place| is_noted(workspace, &place, OWN));
    is_own && !workspace.join("flake.lock").exists()
}

/// Whether Nix itself has evaluated the flake here before, with the current lock.
pub(crate) fn is_seen(workspace: &Path) -> bool {
    let place = state::outside(workspace).ok().flatten();
    place.is_some_and(|place| is_noted(workspace, &place, SEEN))
}

/// Records that Nix itself has evaluated the flake, so its lock is complete.
///
/// # Errors
/// When the record can't be written.
pub fn remember(workspace: &Path) -> Result<()> {
    note(workspace, SEEN)
}

fn note(workspace: &Path, name: &str) -> Result<()> {
    let Some(place) = state::outside(workspace)? else {
        return Ok(());
    };
    if is_noted(workspace, &place, name) {
        return Ok(());
    }
    let written = place.write(name, fingerprint(workspace).as_bytes());
    written.with_context(|| format!("cannot write {}", place.path().join(name).display()))
}

fn is_noted(workspace: &Path, place: &Directory, name: &str) -> bool {
    let flake = fingerprint(workspace);
    let seen = place.read(name, flake.len() as u64);
    seen.is_ok_and(|seen| seen.is_some_and(|seen| seen == flake.as_bytes()))
}

fn fingerprint(workspace: &Path) -> String {
    let mut hash = Sha256::new();
    for file in ["flake.nix", "flake.lock"] {
        let bytes = fs::read(workspace.join(file)).unwrap_or_default();
        hash.update((bytes.len() as u64).to_le_bytes());
        hash.update(bytes);
    }
    format!("{:x}", hash.finalize())
}

/// Whether Nix would call the repository dirty.
fn is_changed(workspace: &Path) -> Result<bool> {
    // As Nix does, this looks into no submodule, where git would follow its configuration.
    let arguments = [
        "status",
        "--porcelain",
        "--untracked-files=no",
        "--ignore-submodules=all",
    ];
    Ok(!git::read(workspace, &arguments)?.is_empty())
}

fn below(workspace: &Path, repository: &Path) -> Result<String> {
    let inner = workspace.strip_prefix(repository.canonicalize()?)?;
    let inner = inner
        .to_str()
        .context("the workspace's path is not valid UTF-8")?;
    Ok(match inner {
        "" => String::new(),
        inner => format!("/{inner}"),
    })
}
