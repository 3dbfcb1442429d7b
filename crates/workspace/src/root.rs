//! Finds the workspace that a command was meant for: people work in the directories of members,
//! too.

use std::path::{Path, PathBuf};

use anyhow::anyhow;

/// The name of the description, which is in the workspace's root.
pub(crate) const DESCRIPTION: &str = "images.toml";

/// Returns the workspace around a directory that is none itself. An empty path is the current
/// directory.
pub fn above(directory: &Path) -> Option<PathBuf> {
    let directory = match directory.as_os_str().is_empty() {
        true => Path::new("."),
        false => directory,
    };
    if directory.join(DESCRIPTION).is_file() {
        return None;
    }
    let place = std::path::absolute(directory).unwrap_or_else(|_| directory.to_owned());
    let mut above = place.ancestors().skip(1);
    let root = above.find(|directory| directory.join(DESCRIPTION).is_file())?;
    Some(root.to_owned())
}

/// Says what to do about a file that a directory lacks: call the command for the workspace above,
/// or write the file by a command.
pub fn hint(directory: &Path, command: &str) -> String {
    match above(directory) {
        Some(root) => {
            let root = root.display();
            format!("the workspace is in {root}\n  try: --workspace {root}")
        }
        None => format!("to write it: {command}"),
    }
}

/// Says that a directory lacks a file of a workspace, and what to do about it.
pub fn missing(directory: &Path, name: &str, command: &str) -> anyhow::Error {
    let path = directory.join(name);
    anyhow!(
        "there is no {}; {}",
        path.display(),
        hint(directory, command)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_path_is_the_current_directory() {
        assert_eq!(above(Path::new("")), above(Path::new(".")));
    }

    #[test]
    fn the_workspace_above_is_found() {
        let place = tempfile::tempdir().unwrap();
        let member = place.path().join("crates/api");
        std::fs::create_dir_all(&member).unwrap();
        let said = |name: &str| missing(&member, name, "assemble init").to_string();
        assert!(said("flake.nix").ends_with("crates/api/flake.nix; to write it: assemble init"));
        std::fs::write(place.path().join(DESCRIPTION), "version = 1\n").unwrap();
        let root = place.path().display();
        let cure = format!("the workspace is in {root}\n  try: --workspace {root}");
        for name in ["flake.nix", DESCRIPTION] {
            assert!(said(name).ends_with(&cure), "{}", said(name));
        }
        std::fs::write(member.join(DESCRIPTION), "version = 1\n").unwrap();
        assert!(said("flake.nix").ends_with("to write it: assemble init"));
    }
}
