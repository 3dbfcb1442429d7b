//! Directories of a workspace, as far as people write them.

use std::fs;
use std::path::{Path, PathBuf};

/// What stands in a directory.
pub struct Entry {
    pub path: PathBuf,
    pub kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    File,
    Directory,
    /// Links are never followed: they may go round.
    Link,
}

/// What stands in a directory, sorted. What can't be read is not there.
pub fn entries(directory: &Path) -> Vec<Entry> {
    let read = fs::read_dir(directory).into_iter().flatten().flatten();
    let entry = |entry: fs::DirEntry| {
        let kind = entry.file_type().ok()?;
        let kind = match (kind.is_symlink(), kind.is_dir()) {
            (true, _) => Kind::Link,
            (_, true) => Kind::Directory,
            _ => Kind::File,
        };
        let path = entry.path();
        Some(Entry { path, kind })
    };
    let mut entries: Vec<Entry> = read.filter_map(entry).collect();
    entries.sort_by(|a, b| a.path.cmp(&b.path));
    entries
}

/// Whether a directory holds what tools put there: build outputs, packages of npm, what begins with a dot.
pub fn is_foreign(directory: &Path) -> bool {
    let name = directory.file_name().unwrap_or_default().to_string_lossy();
    ["target", "node_modules", "vendor"].contains(&name.as_ref()) || name.starts_with('.')
}

/// A path relative to a directory that it lies in, with `/`.
pub fn relative(path: &Path, directory: &Path) -> String {
    let inside = path.strip_prefix(directory).unwrap_or(path);
    inside.to_string_lossy().into_owned()
}
