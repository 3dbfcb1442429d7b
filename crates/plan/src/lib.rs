//! Plans a build: records the calls that Cargo would make as units.
//!
//! The real `cargo build` runs over manifests and empty source files, with a stand-in for rustc
//! that only records how it was called ([`recorder`]). So the arguments, environment and
//! dependencies of each unit come from Cargo itself, with any stable Cargo. [`graph`] turns the
//! records into a [`Plan`].
//!
//! ```
//! use crateyard_plan::{graph, record::Record, sources::Packages};
//!
//! let rustc = "/cargo/stand-ins/rustc --crate-name app src/main.rs --crate-type bin \
//!              --emit=dep-info,link --out-dir /cargo/target/release/deps";
//! let variables = [
//!     ("CARGO_PKG_NAME", "app"),
//!     ("CARGO_PKG_VERSION", "0.1.0"),
//!     ("CARGO_MANIFEST_DIR", "/workspace/app"),
//!     ("CARGO_BIN_NAME", "app"),
//! ];
//! let record = Record {
//!     argv: rustc.split(' ').map(str::to_owned).collect(),
//!     env: variables.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
//!     cwd: "/workspace".to_owned(),
//! };
//! let plan = graph::plan(&[record], &Packages::new(&[])?)?;
//! assert_eq!(plan.programs[0].name, "app");
//! assert_eq!(plan.units[&plan.programs[0].unit].unit.name, "app-0.1.0-bin-app");
//! # Ok::<(), anyhow::Error>(())
//! ```

pub mod advice;
pub mod cargo;
pub mod configuration;
pub mod documentation;
pub mod git;
pub mod graph;
pub mod inherit;
pub mod machine;
pub mod pipelining;
pub mod places;
pub mod reads;
pub mod record;
pub mod recorder;
pub mod sources;
pub mod stage;
pub mod targets;

use crateyard_unit::Unit;
pub use crateyard_unit::source::WORKSPACE;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The version of the JSON form of [`Plan`] and [`Request`].
pub const FORMAT: u32 = 2;

/// The directory of packages from registries inside a cell.
pub const REGISTRY: &str = "/cargo/registry";
/// The directory of packages from git repositories inside a cell.
pub const GIT: &str = "/cargo/git";
/// Cargo's target directory inside a cell.
pub const TARGET: &str = "/cargo/target";

/// A request to Cargo.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Request {
    /// [`FORMAT`].
    pub version: u32,
    /// Cargo's subcommand and arguments, for example `["build", "--release", "--package",
    /// "gateway"]`. `--package NAME` means the member of that name, even if other packages have the
    /// name too. Without arguments, the planner only lists the targets of the workspace
    /// ([`targets::Targets`]).
    pub args: Vec<String>,
    /// Variables for Cargo, such as `RUSTC_WORKSPACE_WRAPPER`.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// All packages of the lock that are not in the workspace.
    pub packages: Vec<FetchedPackage>,
}

/// A package of the lock, and where its fetched files are.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FetchedPackage {
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

/// The plan of a build.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Plan {
    /// [`FORMAT`].
    pub version: u32,
    /// All units by key. A key consists of the derivation's name and Cargo's hash.
    pub units: BTreeMap<String, Planned>,
    /// The programs that Cargo was asked for.
    pub programs: Vec<Program>,
    /// The directories of the workspace's packages.
    #[serde(default, rename = "layout")]
    pub places: places::PackagePlaces,
    /// The packages of the workspace, sorted by directory.
    #[serde(default)]
    pub members: Vec<reads::Member>,
}

/// A unit, and the facts about it that are not in its entry.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Planned {
    /// The entry that the unit's derivation sees.
    pub unit: Unit,
    /// The package's name, version and origin.
    pub package: Package,
    /// The keys of its direct dependencies, sorted.
    pub dependencies: Vec<String>,
    /// The programs that the unit starts: the path inside the cell, and the key of the unit that
    /// makes the program.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub programs: BTreeMap<String, String>,
    /// The files of the workspace that the unit's code reads. Saved plans (`plan.lock`) and
    /// nix/cargo/units.nix call this `asks`.
    #[serde(
        default,
        rename = "asks",
        skip_serializing_if = "reads::Reads::is_empty"
    )]
    pub reads: reads::Reads,
}

/// The package that a unit belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Package {
    /// The package's name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The origin of its source.
    pub origin: Origin,
}

/// The origin of a package's source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Origin {
    /// A directory of the workspace, relative to its root; empty for the root itself.
    Path {
        /// The directory.
        path: String,
    },
    /// A registry. The lock names the file.
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
    /// Returns the package's directory in its source, or none if the package is the whole source.
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
