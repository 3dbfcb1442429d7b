//! The build context: the files that git knows, in their current state. As with Nix, files that
//! exist only in one person's directory can't get into an image.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::ErrorKind;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use crateyard_workspace::git;

/// Updates a directory to the files of the workspace that git knows. Returns false if git does not
/// know the workspace.
///
/// # Errors
/// When a file can't be read or written.
pub(super) fn update(workspace: &Path, directory: &Path) -> Result<bool> {
    let Some(mut names) = known_to_git(workspace) else {
        return Ok(false);
    };
    // The engine reads these files first, whether they are committed or not.
    names.extend(
        [
            crateyard_dockerfile::DOCKERFILE,
            crateyard_dockerfile::IGNORE,
        ]
        .map(PathBuf::from),
    );
    remove_others(directory, directory, &names)?;
    for name in &names {
        let (from, to) = (workspace.join(name), directory.join(name));
        copy(&from, &to).with_context(|| format!("cannot copy {}", from.display()))?;
    }
    Ok(true)
}

fn known_to_git(workspace: &Path) -> Option<BTreeSet<PathBuf>> {
    let listed = git::read(workspace, &["ls-files", "-z", "--cached"]).ok();
    let list = String::from_utf8(listed.filter(|listed| !listed.is_empty())?).ok()?;
    let names = list.split('\0').filter(|name| !name.is_empty());
    // A file that git lists but that is missing is being deleted.
    let there = names.filter(|name| workspace.join(name).symlink_metadata().is_ok());
    Some(there.map(PathBuf::from).collect())
}

fn remove_others(root: &Path, directory: &Path, names: &BTreeSet<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let path = entry.path();
        if entry.file_type()?.is_dir() {
            remove_others(root, &path, names)?;
            match fs::remove_dir(&path) {
                Err(error) if error.kind() == ErrorKind::DirectoryNotEmpty => {}
                removed => removed?,
            }
        } else if !path
            .strip_prefix(root)
            .is_ok_and(|name| names.contains(name))
        {
            fs::remove_file(&path)?;
        }
    }
    Ok(())
}

/// Copies a file with its time, because the engine recognizes known files by size and time.
fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
    let metadata = from.symlink_metadata()?;
    if let Some(parent) = to.parent() {
        fs::create_dir_all(parent)?;
    }
    if metadata.is_symlink() {
        match fs::remove_file(to) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => return symlink(fs::read_link(from)?, to),
        }
    }
    let is_same = to.symlink_metadata().is_ok_and(|there| {
        there.len() == metadata.len()
            && there.permissions() == metadata.permissions()
            && there.modified().ok() == metadata.modified().ok()
    });
    // git lists a submodule as one directory, without its files.
    if is_same || !metadata.is_file() {
        return Ok(());
    }
    // A read-only file can be replaced.
    if to.symlink_metadata().is_ok() {
        fs::remove_file(to)?;
    }
    fs::copy(from, to)?;
    File::open(to)?.set_modified(metadata.modified()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_git_knows_is_there() {
        let workspace = tempfile::tempdir().unwrap();
        let context = tempfile::tempdir().unwrap();
        let (root, copy) = (workspace.path(), context.path());
        assert!(!update(root, copy).unwrap(), "no repository");
        for name in [
            "a",
            "d/b",
            "new",
            crateyard_dockerfile::DOCKERFILE,
            crateyard_dockerfile::IGNORE,
        ] {
            fs::create_dir_all(root.join(name).parent().unwrap()).unwrap();
            fs::write(root.join(name), name).unwrap();
        }
        symlink("a", root.join("link")).unwrap();
        let git = |arguments: &[&str]| drop(git::read(root, arguments).unwrap());
        git(&["init", "--quiet"]);
        git(&["add", "a", "d", "link"]);
        assert!(update(root, copy).unwrap());
        assert_eq!(fs::read_to_string(copy.join("d/b")).unwrap(), "d/b");
        assert_eq!(fs::read_link(copy.join("link")).unwrap(), Path::new("a"));
        assert!(!copy.join("new").exists(), "git does not know it");
        fs::write(root.join("a"), "edited").unwrap();
        fs::remove_dir_all(root.join("d")).unwrap();
        assert!(update(root, copy).unwrap());
        assert_eq!(fs::read_to_string(copy.join("a")).unwrap(), "edited");
        assert!(!copy.join("d").exists());
    }
}
