//! The saved plan: a workspace's directory `plan.lock`. With it, Nix evaluates without building
//! anything (`nix/imported.nix`, docs/plan-lock.md).

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use crateyard_nix::Store;
use rustix::fs::{CWD, RenameFlags, renameat_with};

use crate::Nix;

/// The name of the directory in the workspace.
pub const NAME: &str = "plan.lock";

/// The flake's attribute for a directory with the wanted content of `plan.lock`.
const ATTRIBUTE: &str = "planLock";

/// The content of each file, by name.
type Files = BTreeMap<String, Vec<u8>>;

/// Writes the directory as the workspace's manifests require it. Returns whether anything has
/// changed.
///
/// # Errors
/// When Nix can't make the plan, or the directory can't be written.
pub fn write(workspace: &Path, nix: &Nix, flake: &str) -> Result<bool> {
    let kept = kept(workspace)?;
    let wanted = wanted(nix, flake)?;
    if kept.as_ref() == Some(&wanted) {
        return Ok(false);
    }
    let place = workspace.join(NAME);
    let context = || format!("cannot write {}", place.display());
    let made = tempfile::Builder::new()
        .prefix(".plan.lock-")
        .tempdir_in(workspace)
        .with_context(context)?;
    let new = made.path().join(NAME);
    fs::create_dir(&new).with_context(context)?;
    for (name, content) in &wanted {
        fs::write(new.join(name), content).with_context(context)?;
    }
    // The exchange is atomic, so there is always a complete directory. The temporary one then holds
    // the old files.
    let flags = match kept {
        Some(_) => RenameFlags::EXCHANGE,
        None => RenameFlags::NOREPLACE,
    };
    renameat_with(CWD, &new, CWD, &place, flags).with_context(context)?;
    Ok(true)
}

/// Checks that the directory, if there is one, matches the workspace's manifests. Nix reads the
/// directory without a check: a file with the right name and other content would build something
/// else.
///
/// # Errors
/// When it does not match, or Nix can't make the plan.
pub fn expect_current(workspace: &Path, nix: &Nix, flake: &str) -> Result<()> {
    let Some(kept) = kept(workspace)? else {
        return Ok(());
    };
    let wanted = wanted(nix, flake)?;
    let differing = wanted
        .iter()
        .find(|(name, content)| kept.get(*name) != Some(*content));
    let unneeded = kept.keys().find(|name| !wanted.contains_key(*name));
    if let Some(name) = differing.map(|(name, _)| name).or(unneeded) {
        bail!(
            "{}: {name} is not what the manifests give\n  try: assemble plan --write, \
             and commit {NAME}",
            workspace.join(NAME).display()
        );
    }
    Ok(())
}

/// Reads the files of the directory. Returns `None` if there is no directory.
fn kept(workspace: &Path) -> Result<Option<Files>> {
    let place = workspace.join(NAME);
    match fs::symlink_metadata(&place) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        found => {
            let found = found.with_context(|| format!("cannot read {}", place.display()))?;
            ensure!(
                found.is_dir(),
                "{} is not a directory: `assemble plan --write` keeps the plan there; move it away",
                place.display()
            );
        }
    }
    read(&place, |path| {
        let is_file = fs::symlink_metadata(path)?.is_file();
        ensure!(
            is_file,
            "{} is not a regular file: remove it",
            path.display()
        );
        Ok(fs::read(path)?)
    })
    .map(Some)
}

/// Has Nix make the files, and reads them.
fn wanted(nix: &Nix, flake: &str) -> Result<Files> {
    let built = nix.build(flake, "", &[ATTRIBUTE.to_owned()], None)?;
    let built = built.first().context("nix built no plan.lock")?;
    let store = Store::new(nix.store.clone());
    read(&store.physical(built).join(NAME), |link| {
        let target = store.physical(fs::read_link(link)?);
        fs::read(&target).with_context(|| format!("cannot read {}", target.display()))
    })
}

/// Reads the entries of a directory.
fn read(directory: &Path, content: impl Fn(&Path) -> Result<Vec<u8>>) -> Result<Files> {
    let entries =
        fs::read_dir(directory).with_context(|| format!("cannot list {}", directory.display()))?;
    let entries = entries.map(|entry| {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        Ok((name, content(&entry.path())?))
    });
    entries.collect()
}
