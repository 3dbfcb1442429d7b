//! The files of a changed git repository as Nix sees them, in a directory that is kept up to date.
//!
//! After each edit Nix copies all files of a flake into the store before it evaluates them, which takes longer than
//! the evaluation. Evaluated in this directory, a flake gives the same derivations, as their sources are copied one
//! by one. Only a derivation that names the directory itself would differ: [`Tree::NAME`] tells.
//!
//! The directory lies outside the workspace ([`state::outside`]): what is removed in it, no repository decides.

use super::inputs::Inputs;
use crate::{git, mirror, state};
use anyhow::{Context, Result};
use image::beneath::Directory;
use sha2::{Digest, Sha256};
use std::fs::{self, File};
use std::path::{Path, PathBuf};

/// The file that says of which flake.nix and flake.lock Nix itself has made derivations.
const SEEN: &str = "flake.seen";

/// The file that says which flake.nix `assemble init` has written.
const OWN: &str = "flake.own";

/// A repository's tracked files, copied. Nobody else changes the copy while this lives.
#[derive(Debug)]
pub struct Tree {
    /// The copy of the repository's top.
    pub top: PathBuf,
    /// Where the flake lies below it: empty, or `/DIRECTORY`.
    pub below: String,
    /// What the flake's lock names.
    pub inputs: Inputs,
    _lock: File,
}

impl Tree {
    /// The last part of the copy's path, which nothing else is called.
    pub const NAME: &str = "tree-that-crateyard-evaluates";

    /// Brings the copy of the repository around `workspace` up to date. None where Nix does better without: nothing
    /// is changed, or the repository is more than files.
    ///
    /// # Errors
    /// When git can't be run, or a file can't be copied.
    pub fn update(workspace: &Path) -> Result<Option<Self>> {
        let workspace = workspace.canonicalize()?;
        let Some(place) = state::outside(&workspace)? else {
            return Ok(None);
        };
        if !is_noted(&workspace, &place, SEEN) || !is_changed(&workspace)? {
            return Ok(None);
        }
        let repository = git::top(&workspace)?;
        let Some(files) = git::tracked(&repository)? else {
            return Ok(None);
        };
        let Some(inputs) = Inputs::locked(&workspace)? else {
            return Ok(None);
        };
        let locked = place.try_lock(format!("{}.lock", Self::NAME))?;
        // Another process uses the copy.
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

/// Notes that `assemble init` has just written the flake, here and for this user.
///
/// # Errors
/// When that can't be written down.
pub fn remember_own(workspace: &Path) -> Result<()> {
    note(workspace, OWN)
}

/// Whether Nix may write flake.lock: there is none, and flake.nix is what `assemble init` has written here. What
/// anybody else's flake.nix names could be a directory of this machine.
pub fn may_lock(workspace: &Path) -> bool {
    let place = state::outside(workspace).ok().flatten();
    let is_own = place.is_some_and(|place| is_noted(workspace, &place, OWN));
    is_own && !workspace.join("flake.lock").exists()
}

/// Whether Nix itself has evaluated the flake here before, with the lock that is there.
pub fn is_seen(workspace: &Path) -> bool {
    let place = state::outside(workspace).ok().flatten();
    place.is_some_and(|place| is_noted(workspace, &place, SEEN))
}

/// Notes that Nix itself has evaluated the flake: its lock is complete.
///
/// # Errors
/// When that can't be written down.
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
    let arguments = ["status", "--porcelain", "--untracked-files=no"];
    Ok(!git::read(workspace, &arguments)?.is_empty())
}

fn below(workspace: &Path, repository: &Path) -> Result<String> {
    let inner = workspace.strip_prefix(repository.canonicalize()?)?;
    let inner = inner.to_str().context("the workspace's path is no text")?;
    Ok(match inner {
        "" => String::new(),
        inner => format!("/{inner}"),
    })
}
