//! Small operations on files, with errors that name the files.

use anyhow::{Context, Result};
use serde::{Serialize, de::DeserializeOwned};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

pub(crate) fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T> {
    let text =
        std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    serde_json::from_str(&text).with_context(|| format!("{} is malformed", path.display()))
}

/// Writes a value as JSON, on several lines.
///
/// # Errors
/// When the file can't be written.
pub fn write_json<T: Serialize>(path: &Path, value: &T) -> Result<()> {
    let mut text = serde_json::to_string_pretty(value)?;
    text.push('\n');
    std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

/// Writes a file, and makes the directories above it.
///
/// # Errors
/// When the file can't be written.
pub fn write(path: &Path, content: impl AsRef<[u8]>) -> Result<()> {
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent)?;
    }
    std::fs::write(path, content).with_context(|| format!("cannot write {}", path.display()))
}

/// Makes a link as [`link`] does, unless something exists at `place`.
pub(crate) fn link_once(target: &Path, place: &Path) -> Result<()> {
    if place.symlink_metadata().is_ok() {
        return Ok(());
    }
    link(target, place)
}

pub(crate) fn link(target: &Path, place: &Path) -> Result<()> {
    std::os::unix::fs::symlink(target, place)
        .with_context(|| format!("cannot link {} to {}", place.display(), target.display()))
}

/// Returns the lines of a file, as paths. Returns none if the file does not exist.
pub(crate) fn lines(file: &Path) -> Result<Vec<PathBuf>> {
    match std::fs::read_to_string(file) {
        Ok(text) => Ok(text.lines().map(PathBuf::from).collect()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", file.display())),
    }
}

/// Returns the targets of the symbolic links below a directory.
pub(crate) fn links_below(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for name in names(dir)? {
        let path = dir.join(name);
        let kind = std::fs::symlink_metadata(&path)
            .with_context(|| format!("cannot read {}", path.display()))?
            .file_type();
        if kind.is_dir() {
            found.extend(links_below(&path)?);
        } else if kind.is_symlink() {
            found.push(std::fs::read_link(&path)?);
        }
    }
    Ok(found)
}

/// Returns the names in a directory, sorted.
pub(crate) fn names(dir: &Path) -> Result<Vec<OsString>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(dir).with_context(|| format!("cannot list {}", dir.display()))? {
        names.push(entry?.file_name());
    }
    names.sort();
    Ok(names)
}

/// Returns the parent of the directory `folder`, if `file` lies in a directory of this name.
pub(crate) fn parent_of<'a>(file: &'a Path, folder: &str) -> Option<&'a Path> {
    let parent = file.parent()?;
    if parent.file_name()? == folder {
        parent.parent()
    } else {
        None
    }
}
