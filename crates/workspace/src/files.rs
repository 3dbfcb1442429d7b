//! Checks the files of a workspace that commands read by name.
//!
//! The workspace may be somebody else's. A named pipe in place of such a file would make a command
//! wait forever. A link to `/proc/self/environ` would make an error quote the machine's secrets in
//! a log.

use crate::git::Repository;
use anyhow::{Result, ensure};
use std::fs;
use std::path::Path;

/// The files that commands read by name.
const FILES: [&str; 12] = [
    "Cargo.toml",
    "Cargo.lock",
    "images.toml",
    "flake.nix",
    "flake.lock",
    "debian.lock",
    "toolchain.lock",
    "rust-toolchain",
    "rust-toolchain.toml",
    ".cargo/config",
    ".cargo/config.toml",
    ".gitmodules",
];

/// The size of the largest file that is read, in bytes.
const MOST: u64 = 64 << 20;

/// Checks that the files are regular files of the repository around the workspace, and small enough
/// for memory. The command that needs a missing file reports it.
///
/// # Errors
/// Names the file and the problem.
pub fn check(workspace: &Path) -> Result<()> {
    check_files(workspace, &FILES)
}

/// Checks files that `images.toml` names in the same way. Their paths are relative to the
/// workspace.
///
/// # Errors
/// Names the file and the problem.
pub fn check_files(workspace: &Path, names: &[&str]) -> Result<()> {
    let workspace = match workspace.as_os_str().is_empty() {
        true => Path::new("."),
        false => workspace,
    };
    let Ok(here) = workspace.canonicalize() else {
        return Ok(());
    };
    let top = Repository::of(&here).map_or_else(|| here.clone(), |repository| repository.top);
    for name in names {
        check_file(&workspace.join(name), &top)?;
    }
    Ok(())
}

fn check_file(path: &Path, top: &Path) -> Result<()> {
    let Ok(place) = path.canonicalize() else {
        return Ok(());
    };
    let shown = path.display();
    ensure!(
        place.starts_with(top),
        "{shown} is a link to {}, which lies outside of {}\n  try: put the file itself there",
        place.display(),
        top.display()
    );
    let metadata = fs::metadata(&place)?;
    ensure!(
        metadata.is_file() || metadata.is_dir(),
        "{shown} is not a regular file, but a pipe, a socket or a device\n  try: put a file there"
    );
    ensure!(
        metadata.len() <= MOST,
        "{shown} has {} bytes, more than the limit of {MOST}",
        metadata.len()
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn links_stay_in_the_repository() {
        let directory = tempfile::tempdir().unwrap();
        let top = directory.path().join("repository");
        let workspace = top.join("a");
        fs::create_dir_all(&workspace).unwrap();
        fs::create_dir(top.join(".git")).unwrap();
        for path in [directory.path(), &top] {
            fs::write(path.join("Cargo.lock"), "").unwrap();
        }
        assert!(check(&workspace).is_ok());
        symlink("../Cargo.lock", workspace.join("Cargo.lock")).unwrap();
        assert!(check(&workspace).is_ok());
        symlink("../../Cargo.lock", workspace.join("images.toml")).unwrap();
        let error = check(&workspace).unwrap_err().to_string();
        assert!(error.contains("images.toml is a link to"), "{error}");
    }

    #[test]
    fn sizes_are_bounded() {
        let directory = tempfile::tempdir().unwrap();
        let file = fs::File::create(directory.path().join("flake.lock")).unwrap();
        file.set_len(MOST).unwrap();
        assert!(check(directory.path()).is_ok());
        file.set_len(MOST + 1).unwrap();
        let error = check(directory.path()).unwrap_err().to_string();
        assert!(error.contains("67108865 bytes"), "{error}");
    }
}
