//! What only the workspace knows of its description's subjects.

use std::collections::BTreeSet;

use serde::Deserialize;

use crate::sources::Sources;
use crateyard_spec::targets::Targets;

/// What a description is resolved against.
#[derive(Clone, Debug)]
pub struct Workspace {
    /// Its packages.
    pub targets: Targets,
    /// Its files.
    pub sources: Sources,
    /// The names of all packages in `Cargo.lock`, where it is known.
    pub locked: Option<BTreeSet<String>>,
    /// The crates for whose programs `debian.lock` has libraries.
    pub libraries: BTreeSet<String>,
    /// The names of the parts that its flake hands over, where they are known.
    pub parts: Option<BTreeSet<String>>,
}

impl Workspace {
    /// A workspace of which nothing but its packages is known.
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
    /// The names of its dependencies, each perhaps with a version behind it.
    #[serde(default)]
    pub dependencies: Vec<String>,
}

#[derive(Deserialize)]
struct Lock {
    #[serde(default)]
    package: Vec<LockedPackage>,
}

/// All packages in the text of a `Cargo.lock`.
///
/// # Errors
/// Where it is not TOML, or not of a lock's form.
pub fn locked_packages(lock: &str) -> Result<Vec<LockedPackage>, toml::de::Error> {
    let lock: Lock = toml::from_str(lock)?;
    Ok(lock.package)
}

/// The names of packages.
pub fn names_of(packages: &[LockedPackage]) -> BTreeSet<String> {
    packages
        .iter()
        .map(|package| package.name.clone())
        .collect()
}
