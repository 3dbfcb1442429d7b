//! What Cargo would do, recorded as units.
//!
//! The real `cargo build` runs over manifests and empty source files, with a rustc that only
//! writes down how it was called ([`recorder`]). What each unit's arguments, environment and
//! dependencies are is thus Cargo's own word, with any stable Cargo; [`graph`] turns the records
//! into a [`Plan`].

pub mod asks;
pub mod cargo;
pub mod configuration;
pub mod git;
pub mod graph;
pub mod inherit;
pub mod layout;
pub mod machine;
pub mod pipelining;
pub mod record;
pub mod recorder;
pub mod sources;
pub mod stage;
pub mod targets;

use crateyard_unit::Unit;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The version of the JSON form of [`Plan`] and [`Request`].
pub const FORMAT: u32 = 2;

/// The directory of the workspace inside a cell.
pub const WORKSPACE: &str = "/workspace";
/// The directory of packages from registries inside a cell.
pub const REGISTRY: &str = "/cargo/registry";
/// The directory of packages from git repositories inside a cell.
pub const GIT: &str = "/cargo/git";
/// Cargo's target directory inside a cell.
pub const TARGET: &str = "/cargo/target";

/// What Cargo is asked to do.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Request {
    /// [`FORMAT`].
    pub version: u32,
    /// Cargo's subcommand and arguments, for example `["build", "--release", "--package",
    /// "gateway"]`. `--package NAME` means the member of that name, whatever else is called so.
    /// With none, only what the workspace could build is wanted ([`targets::Targets`]).
    pub args: Vec<String>,
    /// Variables for Cargo, such as `RUSTC_WORKSPACE_WRAPPER`.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// Every package of the lock that does not lie in the workspace.
    pub packages: Vec<LockedPackage>,
}

/// A package that the lock pins.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LockedPackage {
    /// The package's name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Its source as `Cargo.lock` has it: `registry+URL`, `sparse+URL` or `git+URL?...#COMMIT`.
    pub source: String,
    /// The SHA-256 of the `.crate` file; none for git.
    #[serde(default)]
    pub checksum: Option<String>,
    /// The `.crate` file, or the repository's checkout.
    pub path: std::path::PathBuf,
}

/// What Cargo would do.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Plan {
    /// [`FORMAT`].
    pub version: u32,
    /// Every unit by its key. Keys are the derivations' names and Cargo's hash.
    pub units: BTreeMap<String, Planned>,
    /// The programs that Cargo was asked for.
    pub programs: Vec<Program>,
    /// Where the workspace's packages lie.
    #[serde(default)]
    pub layout: layout::Layout,
    /// The packages of the workspace, sorted by directory.
    #[serde(default)]
    pub members: Vec<asks::Member>,
}

/// A unit and what it needs from outside of its entry.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Planned {
    /// The entry that the unit's derivation sees.
    pub unit: Unit,
    /// The package's name, version and origin.
    pub package: Package,
    /// Keys of the units that it depends on directly, sorted.
    pub dependencies: Vec<String>,
    /// The programs that it starts: path inside the cell to the key of the unit that makes it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub programs: BTreeMap<String, String>,
    /// What the code that it runs asks the workspace for.
    #[serde(default, skip_serializing_if = "asks::Asks::is_empty")]
    pub asks: asks::Asks,
}

/// Which package a unit belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Package {
    /// The package's name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Where its source comes from.
    pub origin: Origin,
}

/// Where a package's source comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Origin {
    /// A directory of the workspace, relative to its root; empty for the root itself.
    Path {
        /// The directory.
        path: String,
    },
    /// A registry: the lock says which file.
    Registry {
        /// The source as `Cargo.lock` has it.
        source: String,
    },
    /// A git repository.
    Git {
        /// The source as `Cargo.lock` has it.
        source: String,
        /// The package's directory inside the checkout.
        path: String,
    },
}

impl Origin {
    /// Where the package lies in its source; none where it is the whole of it.
    pub fn path_in_source(&self) -> Option<String> {
        match self {
            Self::Git { path, .. } if !path.is_empty() => Some(path.clone()),
            _ => None,
        }
    }
}

/// A program (or C library) at the end of the graph.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Program {
    /// The package.
    pub package: String,
    /// The kind of the target.
    pub kind: crateyard_unit::TargetKind,
    /// The target's name.
    pub name: String,
    /// The key of its unit.
    pub unit: String,
}
