//! The files that commands keep for a workspace: `.crateyard` in it, and a directory outside that
//! only the user writes to.
//!
//! The workspace may be somebody else's. So `.crateyard` is opened without following links, and
//! refused if git tracks a file in it, because then the repository's authors would control its
//! content. State that decides about deletion, such as the copy that evaluation reads, is outside.

use std::io::ErrorKind;
use std::ops::Deref;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use crateyard_disk::Directory;
use sha2::{Digest, Sha256};

use crate::git::GitRepository;

/// The name of the directory in a workspace.
pub const NAME: &str = ".crateyard";

/// The number of digits of the hash that names a workspace's outside directory.
const DIGITS: usize = 32;

/// An open `.crateyard` of a workspace.
#[derive(Debug)]
pub struct State(Directory);

impl State {
    /// Opens it. A missing directory is created with a `.gitignore`, so that git leaves it alone.
    ///
    /// # Errors
    /// Fails if git tracks it, it is a link or not a directory, or it can't be created.
    pub fn of(workspace: &Path) -> Result<Self> {
        refuse_tracked(workspace)?;
        let open = || {
            let state = Directory::open(workspace)?.make_directory(NAME)?;
            if state.status(".gitignore")?.is_none() {
                state.write(".gitignore", b"*\n")?;
            }
            Ok(Self(state))
        };
        opened(workspace, open())
    }

    /// Opens it; `None` if it does not exist.
    ///
    /// # Errors
    /// Fails if git tracks it, or it is a link or not a directory.
    pub fn find(workspace: &Path) -> Result<Option<Self>> {
        let find = || {
            let workspace = match Directory::open(workspace) {
                Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
                opened => opened?,
            };
            Ok(workspace.directory(NAME)?.map(Self))
        };
        match opened(workspace, find())? {
            Some(state) => {
                refuse_tracked(workspace)?;
                Ok(Some(state))
            }
            None => Ok(None),
        }
    }
}

impl Deref for State {
    type Target = Directory;

    fn deref(&self) -> &Directory {
        &self.0
    }
}

fn opened<T>(workspace: &Path, result: std::io::Result<T>) -> Result<T> {
    result.with_context(|| {
        format!(
            "cannot use {}: remove it if you did not make it",
            workspace.join(NAME).display()
        )
    })
}

/// Fails if git tracks a file of the state: tracked files come from anybody who may write to the
/// repository. Also fails if git can't say so.
fn refuse_tracked(workspace: &Path) -> Result<()> {
    let Some(repository) = GitRepository::of(workspace) else {
        return Ok(());
    };
    // A state that does not exist is nobody else's.
    if workspace.join(NAME).symlink_metadata().is_err() {
        return Ok(());
    }
    let listed = repository.tracked_below(NAME).with_context(|| {
        format!(
            "cannot ask git whether it tracks {NAME}, where builds of this machine keep their \
             state\n  try: install git, or remove {}",
            workspace.join(NAME).display()
        )
    })?;
    let Some(first) = listed.first() else {
        return Ok(());
    };
    bail!(
        "git tracks {first:?}, and {NAME} is where builds of this machine keep their state\n  \
         try: git rm -r --cached {NAME}, after a look at who added it"
    )
}

/// Opens the directory for state of a workspace that must not be in it:
/// `$XDG_STATE_HOME/crateyard/workspaces/HASH`. Returns `None` if the environment names no home.
///
/// # Errors
/// Fails if the workspace does not exist, or the directory can't be created.
pub fn outside(workspace: &Path) -> Result<Option<Directory>> {
    let Some(state) = crateyard_drive::durations::state_directory() else {
        return Ok(None);
    };
    let place = state
        .join("workspaces")
        .join(key(&workspace.canonicalize()?));
    let made = Directory::create(&place);
    let made = made.with_context(|| format!("cannot create {}", place.display()))?;
    Ok(Some(made))
}

/// Returns the user's directory for files that can be fetched again: `$XDG_CACHE_HOME/crateyard`.
///
/// # Errors
/// Fails if the environment names neither a home nor a cache.
pub fn cache() -> Result<PathBuf> {
    let named = |variable| std::env::var_os(variable).map(PathBuf::from);
    let base = named("XDG_CACHE_HOME").or_else(|| named("HOME").map(|home| home.join(".cache")));
    Ok(base
        .context("neither XDG_CACHE_HOME nor HOME is set")?
        .join("crateyard"))
}

fn key(workspace: &Path) -> PathBuf {
    let mut hash = format!("{:x}", Sha256::digest(workspace.as_os_str().as_bytes()));
    hash.truncate(DIGITS);
    hash.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::git;
    use std::fs;
    use std::os::unix::fs::{MetadataExt, symlink};

    fn repository() -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        git::read(directory.path(), &["init", "--quiet"]).unwrap();
        directory
    }

    #[test]
    fn what_git_tracks_is_refused() {
        let repository = repository();
        let path = repository.path();
        let state = State::of(path).unwrap();
        assert_eq!(state.read(".gitignore", 10).unwrap().unwrap(), b"*\n");
        assert!(State::find(path).unwrap().is_some());
        state.write("layers/record", b"theirs").unwrap();
        git::read(path, &["add", "--force", NAME]).unwrap();
        for error in [State::of(path).unwrap_err(), State::find(path).unwrap_err()] {
            assert!(error.to_string().contains("git tracks"), "{error}");
        }
    }

    /// Git refuses the repository of another user. A clone that somebody else unpacked is one.
    #[test]
    #[expect(clippy::print_stderr, reason = "a test says that it is skipped")]
    fn what_git_tracks_is_refused_in_a_repository_of_another_owner() {
        let repository = repository();
        let path = repository.path();
        State::of(path).unwrap();
        let give = |to: u32| {
            let git = path.join(".git");
            std::os::unix::fs::chown(path, Some(to), None)
                .and_then(|()| std::os::unix::fs::chown(git, Some(to), None))
        };
        let mine = fs::metadata(path).unwrap().uid();
        if give(65534).is_err() {
            return eprintln!("SKIPPED: tracked files of another owner: chown needs root");
        }
        assert!(git::read(path, &["status"]).is_err(), "git refuses it");
        assert!(State::find(path).unwrap().is_some());
        give(mine).unwrap();
        git::read(path, &["add", "--force", NAME]).unwrap();
        give(65534).unwrap();
        for error in [State::of(path).unwrap_err(), State::find(path).unwrap_err()] {
            assert!(error.to_string().contains("git tracks"), "{error}");
        }
    }

    #[test]
    fn a_repository_that_git_cannot_read_is_refused() {
        let repository = repository();
        let path = repository.path();
        State::of(path).unwrap();
        fs::write(path.join(".git/index"), "DIRC, but no index").unwrap();
        let error = State::find(path).unwrap_err();
        assert!(error.to_string().contains("cannot ask git"), "{error}");
    }

    #[test]
    fn a_link_is_no_state() {
        let repository = repository();
        let other = tempfile::tempdir().unwrap();
        symlink(other.path(), repository.path().join(NAME)).unwrap();
        assert!(State::of(repository.path()).is_err());
        assert!(State::find(repository.path()).is_err());
        assert_eq!(fs::read_dir(other.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_workspace_without_state_has_none() {
        let repository = repository();
        assert!(State::find(repository.path()).unwrap().is_none());
        assert!(State::find(&repository.path().join("x")).unwrap().is_none());
    }
}
