//! What the engine is given of the workspace: the files that git knows, as they lie there. What is only in one person's directory can't get
//! into an image by it, as it can't through Nix.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::ErrorKind;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

/// Brings the directory up to date with what git knows of the workspace. Says whether git knows it at all.
///
/// # Errors
/// When a file can't be read or written.
pub fn update(workspace: &Path, directory: &Path) -> Result<bool> {
    let Some(mut names) = known_to_git(workspace) else {
        return Ok(false);
    };
    // They are what the engine reads first, committed or not.
    names.extend([dockerfile::DOCKERFILE, dockerfile::IGNORE].map(PathBuf::from));
    remove_others(directory, directory, &names)?;
    for name in &names {
        let (from, to) = (workspace.join(name), directory.join(name));
        copy(&from, &to).with_context(|| format!("cannot copy {}", from.display()))?;
    }
    Ok(true)
}

fn known_to_git(workspace: &Path) -> Option<BTreeSet<PathBuf>> {
    let output = Command::new("git")
        .args(["ls-files", "-z", "--cached"])
        .current_dir(workspace)
        .output()
        .ok()
        .filter(|output| output.status.success() && !output.stdout.is_empty())?;
    let list = String::from_utf8(output.stdout).ok()?;
    let names = list.split('\0').filter(|name| !name.is_empty());
    // What git knows and is not there is on its way out.
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

/// With its time: by size and time the engine knows what it has already.
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
    // A submodule is a directory, which git lists and does not know.
    if is_same || !metadata.is_file() {
        return Ok(());
    }
    // A file that may not be written can be replaced.
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
            dockerfile::DOCKERFILE,
            dockerfile::IGNORE,
        ] {
            fs::create_dir_all(root.join(name).parent().unwrap()).unwrap();
            fs::write(root.join(name), name).unwrap();
        }
        symlink("a", root.join("link")).unwrap();
        let git = |arguments: &[&str]| {
            let status = Command::new("git")
                .args(arguments)
                .current_dir(root)
                .status();
            assert!(status.unwrap().success());
        };
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
