//! Checks the files of a workspace that commands read by name.
//!
//! The workspace may be somebody else's. A named pipe in place of such a file would make a command
//! wait forever. A link to `/proc/self/environ` would make an error quote the machine's secrets in
//! a log.

use crate::git::GitRepository;
use anyhow::{Result, ensure};
use std::fs;
use std::path::{Path, PathBuf};

/// The files that commands, or the git that they run, read by name.
const FILES: [&str; 16] = [
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
    ".gitattributes",
    ".gitignore",
    ".gitmodules",
    "audit.toml",
    "deploy.toml",
];

/// The size of the largest file that is read, in bytes.
const MAX_FILE: u64 = 64 << 20;

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
    let top = GitRepository::of(&here).map_or_else(|| here.clone(), |repository| repository.top);
    for name in names {
        let path = workspace.join(name);
        // Cargo would write the missing file to wherever the link leads.
        ensure!(
            path.exists() || !path.is_symlink(),
            "{} is a link that leads nowhere\n  try: remove it, or put the file itself there",
            path.display()
        );
        check_file(&path, &top)?;
    }
    Ok(())
}

/// The name of a package's manifest.
const MANIFEST: &str = "Cargo.toml";
/// The most entries of a directory that are looked at where git can't be asked.
const MAX_ENTRIES: usize = 1_000_000;

/// Checks the manifests of all packages of the repository in the same way, before Cargo reads them.
/// Cargo's error about a manifest quotes a line of it.
///
/// # Errors
/// Names the manifest and the problem.
pub(crate) fn check_manifests(workspace: &Path) -> Result<()> {
    let Ok(here) = workspace.canonicalize() else {
        return Ok(());
    };
    let repository = GitRepository::of(&here);
    let listed = repository
        .as_ref()
        .and_then(GitRepository::links_and_submodules);
    let top = repository.map_or(here, |repository| repository.top);
    // Without git, or where git refuses the repository because it belongs to somebody else.
    let (mut odd, trees) = listed.unwrap_or_else(|| (Vec::new(), vec![top.clone()]));
    let mut left = MAX_ENTRIES;
    for tree in trees {
        find_odd(&tree, &mut odd, &mut left)?;
    }
    odd.iter().try_for_each(|path| check_link(path, &top))
}

/// Finds the entries below a directory that are neither directories nor regular files. Any
/// directory may have packages, `target` too.
fn find_odd(directory: &Path, odd: &mut Vec<PathBuf>, left: &mut usize) -> Result<()> {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        ensure!(
            *left > 0,
            "there are more than {MAX_ENTRIES} files, and git does not say which are links\n  \
             try: git init && git add .",
        );
        *left -= 1;
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => find_odd(&entry.path(), odd, left)?,
            Ok(kind) if kind.is_file() => {}
            _ => odd.push(entry.path()),
        }
    }
    Ok(())
}

/// Checks an entry that may lead to a manifest, by itself or as a directory.
fn check_link(path: &Path, top: &Path) -> Result<()> {
    match path.file_name().is_some_and(|name| name == MANIFEST) {
        true => check_file(path, top),
        false => check_file(&path.join(MANIFEST), top),
    }
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
        metadata.len() <= MAX_FILE,
        "{shown} has {} bytes, more than the limit of {MAX_FILE}",
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
    fn links_lead_to_a_file() {
        let directory = tempfile::tempdir().unwrap();
        for target in ["../new", "Cargo.lock"] {
            let lock = directory.path().join("Cargo.lock");
            symlink(target, &lock).unwrap();
            let error = check(directory.path()).unwrap_err().to_string();
            assert!(error.contains("a link that leads nowhere"), "{error}");
            fs::remove_file(lock).unwrap();
        }
        assert!(check(directory.path()).is_ok());
    }

    #[test]
    fn manifests_of_members_stay_in_the_repository() {
        let directory = tempfile::tempdir().unwrap();
        let top = directory.path().join("repository");
        fs::create_dir_all(top.join("a/b")).unwrap();
        fs::write(directory.path().join("secret"), "").unwrap();
        fs::write(top.join("Cargo.toml"), "").unwrap();
        symlink("../Cargo.toml", top.join("a/Cargo.toml")).unwrap();
        assert!(check_manifests(&top).is_ok());
        symlink("../../../secret", top.join("a/b/Cargo.toml")).unwrap();
        let refused = || {
            let error = check_manifests(&top).unwrap_err().to_string();
            assert!(error.contains("a/b/Cargo.toml is a link to"), "{error}");
        };
        refused();
        crate::git::read(&top, &["init", "--quiet"]).unwrap();
        crate::git::read(&top, &["add", "--all"]).unwrap();
        refused();
        assert!(check_manifests(&top.join("a")).is_err());
        // Where git refuses a repository, as that of another user.
        fs::write(top.join(".git/HEAD"), "").unwrap();
        refused();
    }

    #[test]
    fn manifests_of_members_anywhere_stay_in_the_repository() {
        let directory = tempfile::tempdir().unwrap();
        let (top, outside) = (
            directory.path().join("repository"),
            directory.path().join("outside"),
        );
        fs::create_dir_all(top.join("inside")).unwrap();
        fs::create_dir(&outside).unwrap();
        for place in [&top, &top.join("inside"), &outside] {
            fs::write(place.join("Cargo.toml"), "").unwrap();
        }
        symlink("inside", top.join("link")).unwrap();
        symlink("gone", top.join("dangling")).unwrap();
        symlink("..", top.join("inside/loop")).unwrap();
        crate::git::read(&top, &["init", "--quiet"]).unwrap();
        let refuses = |tracked: bool| {
            if tracked {
                crate::git::read(&top, &["add", "--all"]).unwrap();
            }
            check_manifests(&top).is_err()
        };
        assert!(!refuses(true));
        symlink(&outside, top.join("away")).unwrap();
        assert!(refuses(true));
        fs::remove_file(top.join("away")).unwrap();
        assert!(!refuses(true));

        fs::remove_dir_all(top.join(".git")).unwrap();
        assert!(!refuses(false));
        fs::create_dir_all(top.join("target/a")).unwrap();
        symlink(outside.join("Cargo.toml"), top.join("target/a/Cargo.toml")).unwrap();
        assert!(refuses(false));
    }

    #[test]
    fn sizes_are_bounded() {
        let directory = tempfile::tempdir().unwrap();
        let file = fs::File::create(directory.path().join("flake.lock")).unwrap();
        file.set_len(MAX_FILE).unwrap();
        assert!(check(directory.path()).is_ok());
        file.set_len(MAX_FILE + 1).unwrap();
        let error = check(directory.path()).unwrap_err().to_string();
        assert!(error.contains("67108865 bytes"), "{error}");
    }

    #[test]
    fn the_files_that_are_looked_at_are_counted() {
        let directory = tempfile::tempdir().unwrap();
        for name in ["a/x", "b", "c"] {
            let path = directory.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        let look = |mut left: usize| find_odd(directory.path(), &mut Vec::new(), &mut left);
        look(4).unwrap();
        let error = look(3).unwrap_err().to_string();
        assert!(error.contains("more than 1000000 files"), "{error}");
    }

    /// git lists a submodule as one entry, and says nothing of the links in it.
    #[test]
    fn manifests_in_submodules_stay_in_the_repository() {
        let directory = tempfile::tempdir().unwrap();
        let top = directory.path().join("repository");
        let inner = top.join("inner");
        fs::create_dir_all(&inner).unwrap();
        fs::write(directory.path().join("secret"), "").unwrap();
        let git = |place: &Path, arguments: &[&str]| {
            crate::git::read(place, arguments).unwrap();
        };
        for place in [&top, &inner] {
            git(place, &["init", "--quiet"]);
        }
        fs::write(inner.join("Cargo.toml"), "").unwrap();
        git(&inner, &["add", "--all"]);
        let author = ["-c", "user.name=a", "-c", "user.email=a@example.com"];
        git(
            &inner,
            &[&author[..], &["commit", "--quiet", "-m", "a"]].concat(),
        );
        git(&top, &["add", "--all"]);
        let repository = GitRepository::of(&top).unwrap();
        let (_, submodules) = repository.links_and_submodules().unwrap();
        assert_eq!(submodules, [inner.canonicalize().unwrap()]);
        check_manifests(&top).unwrap();
        fs::remove_file(inner.join("Cargo.toml")).unwrap();
        symlink("../../secret", inner.join("Cargo.toml")).unwrap();
        let error = check_manifests(&top).unwrap_err().to_string();
        assert!(error.contains("inner/Cargo.toml is a link to"), "{error}");
    }
}
