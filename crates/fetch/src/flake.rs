//! The flake beside a lock.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use crateyard_flake::{self as flake, Nix};

use crate::git;

/// Returns the directory of a lock.
pub fn workspace_of(lock: &Path) -> &Path {
    match lock.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Returns the flake beside a lock, if there is one.
pub(crate) fn flake_of(lock: &Path) -> Option<PathBuf> {
    let workspace = workspace_of(lock);
    let is_flake = workspace.join("flake.nix").exists();
    is_flake.then(|| workspace.to_owned())
}

/// Returns the arguments that evaluate an attribute of a flake, for [`git::evaluate`].
///
/// # Errors
/// When the flake must not be evaluated here.
pub(crate) fn attribute_of(flake: &Path, attribute: &str) -> Result<Vec<String>> {
    crateyard_workspace::git::check(flake)?;
    let mut arguments = vec![format!("{}#{attribute}", Nix::default().flake(flake)?)];
    arguments.extend(flake::locked(flake).into_iter().map(str::to_owned));
    Ok(arguments)
}

/// Returns the lock that a workspace builds with. If the workspace has none of its own, it is
/// Crateyard's, which the flake knows.
///
/// # Errors
/// When the flake can't be evaluated, or does not know the lock.
pub fn lock_path(lock: &Path, attribute: &str) -> Result<PathBuf> {
    let flake = match flake_of(lock) {
        Some(flake) if !lock.exists() => flake,
        _ => return Ok(lock.to_owned()),
    };
    let path = git::evaluate(&attribute_of(&flake, attribute)?, None)
        .with_context(|| format!("the flake does not tell which lock it uses ({attribute})"))?;
    // If Nix wrote flake.lock, the file belongs to this user.
    flake::remember(&flake)?;
    Ok(path.into())
}
