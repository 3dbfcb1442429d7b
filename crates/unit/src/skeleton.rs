//! The workspace around a package, for code that asks Cargo about it.
//!
//! Some macros and tests ask Cargo for the workspace (`cargo locate-project --workspace`, `cargo
//! metadata --no-deps`), or read its manifest. Cargo then reads the manifest of every member. A
//! unit that asks sees the root's manifest as it is. In place of the other packages' manifests it
//! sees ones with only the package's name, so that an edit of another package does not build this
//! one again.

use crate::files;
use anyhow::{Result, bail};
use serde::{Deserialize, Serialize};
use std::path::{Component, Path};

/// The packages of a workspace, and the files that Cargo looks for beside manifests.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Skeleton {
    /// All packages.
    pub packages: Vec<Package>,
    /// Paths of files that manifests name as targets, relative to the workspace. A missing one is
    /// made empty.
    pub targets: Vec<String>,
}

/// A package of the workspace.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Package {
    /// The directory, relative to the workspace.
    pub path: String,
    /// The name.
    pub name: String,
}

impl Skeleton {
    /// Makes the files that do not exist yet.
    ///
    /// # Errors
    /// When a path leaves the workspace or a file can't be written.
    pub(crate) fn place(&self, workspace: &Path) -> Result<()> {
        for package in &self.packages {
            let directory = workspace.join(checked(&package.path)?);
            let manifest = directory.join("Cargo.toml");
            if !manifest.exists() {
                let name = &package.name;
                let text = format!("[package]\nname = {name:?}\nversion = \"0.0.0\"\n");
                files::write(&manifest, &text)?;
                files::write(&directory.join("src/lib.rs"), "")?;
            }
        }
        for target in &self.targets {
            let path = workspace.join(checked(target)?);
            if path.symlink_metadata().is_err() {
                files::write(&path, "")?;
            }
        }
        Ok(())
    }

    /// Reads a skeleton from a file.
    ///
    /// # Errors
    /// When the file can't be read or is malformed.
    pub fn read(path: &Path) -> Result<Self> {
        files::read_json(path)
    }
}

fn checked(path: &str) -> Result<&Path> {
    let path = Path::new(path);
    if path
        .components()
        .any(|c| !matches!(c, Component::Normal(_)))
    {
        bail!("the path {path:?} leaves the workspace");
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn what_is_there_stays() {
        let workspace = tempfile::tempdir().unwrap();
        let at = |name: &str| workspace.path().join(name);
        files::write(&at("a/Cargo.toml"), "own").unwrap();
        let package = |name: &str| Package {
            path: name.into(),
            name: name.into(),
        };
        let skeleton = Skeleton {
            packages: vec![package("a"), package("b")],
            targets: vec!["a/benches/speed.rs".into()],
        };
        skeleton.place(workspace.path()).unwrap();
        assert_eq!(fs::read_to_string(at("a/Cargo.toml")).unwrap(), "own");
        assert!(!at("a/src/lib.rs").exists());
        assert!(at("b/src/lib.rs").exists());
        assert!(at("a/benches/speed.rs").exists());
        let outside = Skeleton {
            packages: vec![package("../c")],
            targets: Vec::new(),
        };
        assert!(outside.place(workspace.path()).is_err());
    }
}
