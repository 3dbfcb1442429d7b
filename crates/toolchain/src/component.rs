//! The files of a component.
//!
//! Each component is a root file system with its files below `usr`. So a cell can join several
//! components, and rustc finds its libraries beside itself.

use std::fs::{self, File};
use std::io::BufReader;
use std::path::{Component as Part, Path, PathBuf};

use lzma_rust2::XzReader;
use tempfile::TempDir;

use crate::error::{Error, Result, io};

/// The directory of a component's files in its root file system.
const PREFIX: &str = "usr";

/// A component's files, in a temporary directory that is removed on drop.
pub struct Files {
    directory: TempDir,
    name: String,
}

impl Files {
    /// Creates an empty tree for the store name `name`, beside `near`, so that the tree can hold
    /// links to files there.
    fn empty(name: &str, near: &Path) -> Result<Self> {
        let made = tempfile::Builder::new()
            .prefix(".crateyard-")
            .tempdir_in(near)
            .or_else(|_| tempfile::tempdir());
        let directory = made.map_err(io(near))?;
        let files = Self {
            directory,
            name: name.to_owned(),
        };
        let root = files.path().join(PREFIX);
        fs::create_dir_all(&root).map_err(io(&root))?;
        Ok(files)
    }

    /// Returns the tree, under its name in the store.
    pub fn path(&self) -> PathBuf {
        self.directory.path().join(&self.name)
    }

    /// Computes the SHA-256 of the tree as a Nix archive, in lower-case hexadecimal. It decides the
    /// tree's store path.
    ///
    /// # Errors
    /// Fails if the tree can't be read.
    pub fn sha256(&self) -> Result<String> {
        let path = self.path();
        let hash = crateyard_nix::nar::hash(&path).map_err(io(&path))?;
        Ok(hash.base16())
    }

    /// Links the files of a list from `source`, or copies them if links are impossible. `scratch`
    /// is a directory on the same file system, if there is one.
    pub(crate) fn linked(
        name: &str,
        source: &Path,
        list: &[Listed],
        scratch: &Path,
    ) -> Result<Self> {
        let files = Self::empty(name, scratch)?;
        let root = files.path().join(PREFIX);
        for listed in list {
            link(&source.join(listed.path()), &root.join(listed.path()))?;
        }
        Ok(files)
    }

    /// Unpacks a component's archive (`.tar.xz`).
    ///
    /// # Errors
    /// Fails if the archive can't be read, or does not hold a component.
    pub fn unpacked(name: &str, archive: &Path) -> Result<Self> {
        let files = Self::empty(name, &std::env::temp_dir())?;
        let raw = files.directory.path().join("archive");
        let file = File::open(archive).map_err(io(archive))?;
        let mut tar = tar::Archive::new(XzReader::new(BufReader::new(file), true));
        tar.unpack(&raw).map_err(io(archive))?;
        let wrong = |reason: String| Error::Archive {
            archive: archive.to_owned(),
            reason,
        };
        let top = only_directory(&raw)?
            .ok_or_else(|| wrong("it has no single directory at its top".to_owned()))?;
        let components = top.join("components");
        let names = fs::read_to_string(&components).map_err(io(&components))?;
        let root = files.path().join(PREFIX);
        for part in names.lines() {
            let directory = top.join(checked(part).map_err(wrong)?);
            let manifest = directory.join("manifest.in");
            let text = fs::read_to_string(&manifest).map_err(io(&manifest))?;
            for listed in parse_list(&text).map_err(wrong)? {
                let (from, to) = (directory.join(listed.path()), root.join(listed.path()));
                make_parent(&to)?;
                fs::rename(&from, &to).map_err(io(&from))?;
            }
        }
        fs::remove_dir_all(&raw).map_err(io(&raw))?;
        Ok(files)
    }
}

/// An entry of a component's list of files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Listed {
    /// One file.
    File(PathBuf),
    /// A directory with all its content.
    Directory(PathBuf),
}

impl Listed {
    pub(crate) fn path(&self) -> &Path {
        match self {
            Self::File(path) | Self::Directory(path) => path,
        }
    }
}

/// Reads a list of lines `file:PATH` and `dir:PATH`, the format of archives and rustup.
///
/// # Errors
/// Fails with the quoted line if a line is malformed or leads out of the component.
pub(crate) fn parse_list(text: &str) -> std::result::Result<Vec<Listed>, String> {
    let listed = |line: &str| match line.split_once(':') {
        Some(("file", path)) => checked(path).map(Listed::File),
        Some(("dir", path)) => checked(path).map(Listed::Directory),
        _ => Err(format!("`{line}` is not a line of a list of files")),
    };
    text.lines().map(listed).collect()
}

/// Checks that a path is relative and stays within its directory.
fn checked(path: &str) -> std::result::Result<PathBuf, String> {
    let checked = PathBuf::from(path);
    let is_plain = |part: Part<'_>| matches!(part, Part::Normal(_));
    match !path.is_empty() && checked.components().all(is_plain) {
        true => Ok(checked),
        false => Err(format!("the path `{path}` leads out of the component")),
    }
}

fn only_directory(path: &Path) -> Result<Option<PathBuf>> {
    let entries: std::io::Result<Vec<_>> = fs::read_dir(path).map_err(io(path))?.collect();
    let entries = entries.map_err(io(path))?;
    Ok(match &entries[..] {
        [only] if only.path().is_dir() => Some(only.path()),
        _ => None,
    })
}

/// Links or copies a file or a directory with all its content.
fn link(from: &Path, to: &Path) -> Result<()> {
    let metadata = fs::symlink_metadata(from).map_err(io(from))?;
    if metadata.is_dir() {
        fs::create_dir_all(to).map_err(io(to))?;
        for entry in fs::read_dir(from).map_err(io(from))? {
            let name = entry.map_err(io(from))?.file_name();
            link(&from.join(&name), &to.join(&name))?;
        }
        return Ok(());
    }
    make_parent(to)?;
    if fs::hard_link(from, to).is_ok() {
        return Ok(());
    }
    if metadata.is_symlink() {
        let target = fs::read_link(from).map_err(io(from))?;
        return std::os::unix::fs::symlink(target, to).map_err(io(to));
    }
    fs::copy(from, to).map(drop).map_err(io(from))
}

fn make_parent(path: &Path) -> Result<()> {
    match path.parent() {
        Some(parent) => fs::create_dir_all(parent).map_err(io(parent)),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_stay_within_their_component() {
        let list = parse_list("file:bin/cargo\ndir:share/doc\n").unwrap();
        assert_eq!(list[0], Listed::File("bin/cargo".into()));
        assert_eq!(list[1], Listed::Directory("share/doc".into()));
        for line in [
            "bin/cargo",
            "file:/etc/passwd",
            "file:../x",
            "file:",
            "link:a",
        ] {
            let said = parse_list(line).unwrap_err();
            assert!(said.contains('`'), "{said}");
        }
    }
}
