//! Small things with files, with errors that name them.

use anyhow::{Context, Result};
use serde::{Serialize, de::DeserializeOwned};
use std::ffi::OsString;
use std::path::Path;

pub(crate) fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T> {
    let text =
        std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    serde_json::from_str(&text).with_context(|| format!("{} is malformed", path.display()))
}

pub(crate) fn write_json<T: Serialize>(path: &Path, value: &T) -> Result<()> {
    let mut text = serde_json::to_string_pretty(value)?;
    text.push('\n');
    std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

/// Like [`link`]; what is there already stays.
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

/// The names in a directory, sorted.
pub(crate) fn names(dir: &Path) -> Result<Vec<OsString>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(dir).with_context(|| format!("cannot list {}", dir.display()))? {
        names.push(entry?.file_name());
    }
    names.sort();
    Ok(names)
}
