//! Lists directories of a workspace.

use std::fs;
use std::path::{Path, PathBuf};

/// An entry of a directory.
pub(crate) struct Entry {
    pub path: PathBuf,
    pub kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    File,
    Directory,
    /// Links are never followed, because they may form a cycle.
    Link,
}

/// Returns the entries of a directory, sorted. Leaves out entries that can't be read.
pub(crate) fn entries(directory: &Path) -> Vec<Entry> {
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

/// The number of levels below the workspace's root to search.
pub(crate) const MAX_DEPTH: usize = 4;
/// The size of the largest file that is read, in bytes.
const MAX_FILE: u64 = 16 << 20;

/// Reads a regular file that is not too large. Never waits for a pipe.
pub(crate) fn text(path: &Path) -> Option<String> {
    let metadata = fs::metadata(path).ok()?;
    let is_read = metadata.is_file() && metadata.len() <= MAX_FILE;
    is_read.then(|| fs::read_to_string(path).ok()).flatten()
}

/// Whether a directory belongs to tools: build outputs, npm packages, names that begin with a dot.
pub(crate) fn is_foreign(directory: &Path) -> bool {
    let name = directory.file_name().unwrap_or_default().to_string_lossy();
    ["target", "node_modules", "vendor"].contains(&name.as_ref()) || name.starts_with('.')
}

/// Returns a path relative to a parent directory, with `/`.
pub(crate) fn relative(path: &Path, directory: &Path) -> String {
    let inside = path.strip_prefix(directory).unwrap_or(path);
    inside.to_string_lossy().into_owned()
}
