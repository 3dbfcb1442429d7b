//! One unit of a Cargo build: its description, and its run.
//!
//! Cargo calls a single run of rustc, or of a compiled build script, a *unit*. Here each unit is
//! one Nix derivation. [`Unit`] is the plan's entry for it. The derivation knows nothing else
//! besides the package's source and the outputs of the units that it depends on. [`run`](run::run)
//! carries it out inside a cell.

pub mod calls;
pub mod compile;
mod diagnostics;
pub mod directives;
mod environment;
pub mod files;
pub mod git;
mod hints;
pub mod inputs;
mod leftovers;
pub mod memory;
pub mod output;
pub mod points;
pub mod run;
pub mod script;
pub mod skeleton;
pub mod source;
pub mod test;
mod written;

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The version of the JSON form of [`Unit`] and of the files in a unit's output.
pub const FORMAT: u32 = 1;

/// The suffix of the names of units that make only a library's metadata.
pub const METADATA: &str = "-metadata";

/// One entry of the plan.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Unit {
    /// The version of the form: [`FORMAT`].
    pub version: u32,
    /// The derivation's name, for example `serde-1.0.219` or `ring-0.17.14-build-script-run`. It
    /// names only the unit itself, so that workspaces share the unit.
    pub name: String,
    /// The directory of the package inside the cell, for example `/cargo/registry/serde-1.0.219`.
    pub source_dir: String,
    /// The package's path in its source, if that is a repository with more in it. The path is
    /// relative. The unit sees the whole repository.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path_in_source: Option<String>,
    /// The working directory inside the cell.
    pub cwd: String,
    /// Environment variables that Cargo sets for this unit.
    pub env: BTreeMap<String, String>,
    /// The work of the unit.
    pub action: Action,
}

/// The work of a unit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(
    tag = "kind",
    rename_all = "kebab-case",
    rename_all_fields = "camelCase",
    deny_unknown_fields
)]
pub enum Action {
    /// Runs rustc (or a program with rustc's interface, such as clippy-driver).
    Compile {
        /// `rustc`, `clippy-driver` or `rustdoc`, found on the cell's `PATH`.
        program: String,
        /// Cargo's own arguments.
        args: Vec<String>,
        /// The directory inside the cell to which Cargo would write.
        out_dir: String,
        /// The target, which decides which `rustc-link-arg-*` apply.
        target: Target,
        /// The output directory of the package's own build script, if it has one.
        build_script: Option<String>,
        /// The output directories of the build scripts whose native libraries this unit may
        /// link: its own first, then those of its dependencies, in Cargo's order.
        native: Vec<String>,
        /// Whether `-l` flags of the package's own build script go to this target
        /// (to the library if the package has one, else to each of its binaries).
        takes_link_libs: bool,
        /// Whether the unit ends when the library's metadata exists. The arguments are those of the
        /// whole library, so the metadata has the same bytes.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        metadata_only: bool,
    },
    /// Runs a compiled build script.
    RunBuildScript {
        /// The program inside the cell.
        program: String,
        /// `OUT_DIR` inside the cell.
        out_dir: String,
        /// The sources of `DEP_*` variables. A prefix (such as `DEP_Z`) maps to the output
        /// directory of the build script whose metadata they carry.
        metadata: BTreeMap<String, String>,
    },
    /// Runs a compiled test.
    RunTest {
        /// The program inside the cell.
        program: String,
        /// Its arguments.
        args: Vec<String>,
        /// The output directory of the package's own build script, if it has one. Tests get its
        /// variables, too.
        build_script: Option<String>,
        /// An empty directory, inside the cell, that the test may use (`CARGO_TARGET_TMPDIR`).
        #[serde(default, skip_serializing_if = "Option::is_none")]
        scratch: Option<String>,
    },
}

/// The kind of target that a unit compiles.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Target {
    /// The kind.
    pub kind: TargetKind,
    /// The target's name as the manifest has it.
    pub name: String,
    /// Whether it is for testing: compiled with the test harness, or documentation whose examples
    /// run.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub test: bool,
}

/// Cargo's kinds of target.
/// <https://doc.rust-lang.org/cargo/reference/cargo-targets.html>
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TargetKind {
    /// A library of any crate type but those below.
    Lib,
    /// A procedural macro.
    ProcMacro,
    /// A C dynamic library.
    Cdylib,
    /// A binary.
    Bin,
    /// An example.
    Example,
    /// An integration test.
    Test,
    /// A benchmark.
    Bench,
    /// A build script.
    BuildScript,
}

/// The kind of a unit's output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Product {
    /// Files that other units use.
    Files,
    /// A program: a binary, an example, a test.
    Program,
    /// HTML.
    Documentation,
    /// Nothing but success: a lint, a test that ran.
    Verdict,
}

impl Unit {
    /// Returns the directory inside the cell for the files of this unit's output.
    pub fn out_dir(&self) -> Option<&str> {
        match &self.action {
            Action::Compile { out_dir, .. } | Action::RunBuildScript { out_dir, .. } => {
                Some(out_dir)
            }
            Action::RunTest { .. } => None,
        }
    }

    /// Returns the `OUT_DIR` of the package's own build script, unless the unit runs a build script.
    fn own_out_dir(&self) -> Option<&str> {
        match &self.action {
            Action::Compile { build_script, .. } | Action::RunTest { build_script, .. } => {
                build_script.as_deref()
            }
            Action::RunBuildScript { .. } => None,
        }
    }

    /// Returns the kind of the unit's output.
    pub fn product(&self) -> Product {
        let Action::Compile {
            program,
            args,
            target,
            ..
        } = &self.action
        else {
            return match &self.action {
                Action::RunBuildScript { .. } => Product::Files,
                _ => Product::Verdict,
            };
        };
        match target.kind {
            _ if program == "rustdoc" && target.test => Product::Verdict,
            _ if program == "rustdoc" => Product::Documentation,
            TargetKind::Lib
            | TargetKind::ProcMacro
            | TargetKind::Cdylib
            | TargetKind::BuildScript
                if !target.test =>
            {
                Product::Files
            }
            _ if writes_code(args) => Product::Program,
            _ => Product::Verdict,
        }
    }
}

/// Whether rustc's arguments ask for code, and not only for metadata or diagnostics.
pub fn writes_code(args: &[String]) -> bool {
    args.iter()
        .filter_map(|arg| arg.strip_prefix("--emit="))
        .any(|kinds| kinds.split(',').any(|kind| kind == "link"))
}
