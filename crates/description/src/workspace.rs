//! The facts that only the workspace knows, and that a description needs.

use std::collections::BTreeSet;

use serde::Deserialize;

use crate::sources::Sources;
use crateyard_spec::targets::Targets;

/// The workspace that a description is resolved against.
#[derive(Clone, Debug)]
pub struct Workspace {
    /// Its packages.
    pub targets: Targets,
    /// Its files.
    pub sources: Sources,
    /// The names of all packages in `Cargo.lock`, if it is known.
    pub locked: Option<BTreeSet<String>>,
    /// The crates whose programs have libraries in `debian.lock`.
    pub libraries: BTreeSet<String>,
    /// The names of the parts that its flake hands over, if they are known.
    pub parts: Option<BTreeSet<String>>,
}

impl Workspace {
    /// Makes a workspace of which only the packages are known.
    pub fn new(targets: Targets) -> Workspace {
        Workspace {
            targets,
            sources: Sources::Unknown,
            locked: None,
            libraries: BTreeSet::new(),
            parts: None,
        }
    }
}

/// A package of `Cargo.lock`.
#[derive(Clone, Debug, Deserialize)]
pub struct LockedPackage {
    /// Its name.
    pub name: String,
    /// Its version; empty if it is not known.
    #[serde(default)]
    pub version: String,
    /// The names of its dependencies, each optionally followed by a version.
    #[serde(default)]
    pub dependencies: Vec<String>,
}

#[derive(Deserialize)]
struct Lock {
    #[serde(default)]
    package: Vec<LockedPackage>,
}

/// Reads all packages in the text of a `Cargo.lock`.
///
/// # Errors
/// Fails if the text is not TOML, or not in the form of a lock.
pub fn locked_packages(lock: &str) -> Result<Vec<LockedPackage>, toml::de::Error> {
    let lock: Lock = toml::from_str(lock)?;
    Ok(lock.package)
}

/// Returns the names of packages.
pub fn names_of(packages: &[LockedPackage]) -> BTreeSet<String> {
    packages
        .iter()
        .map(|package| package.name.clone())
        .collect()
}
