//! The known files of the workspace: none, a list, or those on disk.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::value::join_within;

/// The files that a description may name, by their paths relative to the workspace's root.
#[derive(Clone, Debug, Default)]
pub enum Sources {
    /// Nothing is known, and nothing is checked.
    #[default]
    Unknown,
    /// All files of the workspace.
    Listed(BTreeSet<String>),
    /// The workspace's root on disk.
    Disk(PathBuf),
}

/// The kind of thing at a path.
#[derive(Debug, PartialEq, Eq)]
pub enum Found {
    /// Unknown: see [`Sources::Unknown`].
    Unknown,
    /// Nothing.
    Nothing,
    /// A file.
    File,
    /// A directory, with the paths of all files under it, relative to it.
    Directory(Vec<String>),
}

impl Sources {
    /// Reads a list with one path a line, as `find . -type f` or `git ls-files` write it.
    pub fn listed(text: &str) -> Sources {
        Sources::Listed(
            text.lines()
                .filter_map(|line| join_within("", line.trim_end_matches('\r')))
                .filter(|path| !path.is_empty())
                .collect(),
        )
    }

    /// Returns what is at `path`.
    pub fn find(&self, path: &str) -> Found {
        match self {
            Sources::Unknown => Found::Unknown,
            Sources::Listed(files) => find_listed(files, path),
            Sources::Disk(root) => find_on_disk(&root.join(path)),
        }
    }

    /// Returns the names beside `path`, for suggestions.
    pub(crate) fn beside(&self, path: &str) -> Vec<String> {
        let directory = path.rsplit_once('/').map_or("", |(directory, _)| directory);
        let Found::Directory(files) = self.find(directory) else {
            return Vec::new();
        };
        let names: BTreeSet<&str> = files
            .iter()
            .filter_map(|file| file.split('/').next())
            .collect();
        names
            .into_iter()
            .filter_map(|name| join_within(directory, name))
            .collect()
    }
}

fn find_listed(files: &BTreeSet<String>, path: &str) -> Found {
    if files.contains(path) {
        return Found::File;
    }
    let prefix = if path.is_empty() {
        String::new()
    } else {
        format!("{path}/")
    };
    let under: Vec<String> = files
        .range(prefix.clone()..)
        .map_while(|file| file.strip_prefix(&prefix))
        .map(str::to_string)
        .collect();
    if under.is_empty() {
        Found::Nothing
    } else {
        Found::Directory(under)
    }
}

fn find_on_disk(path: &Path) -> Found {
    if path.is_dir() {
        let mut files = Vec::new();
        walk(path, "", &mut files);
        return Found::Directory(files);
    }
    match path.symlink_metadata() {
        Ok(_) => Found::File,
        Err(_) => Found::Nothing,
    }
}

/// Collects all files under `directory`, sorted. Leaves out unreadable directories: copying them
/// will fail with a message.
fn walk(directory: &Path, prefix: &str, files: &mut Vec<String>) {
    let Ok(entries) = directory.read_dir() else {
        return;
    };
    let mut entries: Vec<_> = entries.flatten().collect();
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            walk(&entry.path(), &format!("{name}/"), files);
        } else {
            files.push(name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_has_files_and_directories() {
        let sources = Sources::listed("./deploy/a\ndeploy/b/c\nREADME.md\n");
        assert_eq!(sources.find("README.md"), Found::File);
        let under = vec!["a".to_string(), "b/c".to_string()];
        assert_eq!(sources.find("deploy"), Found::Directory(under));
        assert_eq!(sources.find("dep"), Found::Nothing);
        assert_eq!(sources.beside("deploy/x"), ["deploy/a", "deploy/b"]);
    }
}
