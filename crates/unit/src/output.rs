//! The output of a unit.
//!
//! For other units, an output has `unit.json` (the place of its files in a cell), `files/` (the
//! files that rustc or the build script wrote), `directives.json` (the directives of a build
//! script), and `closure` (the outputs of all units that its users need, too). Nix finds the store
//! paths in `closure`, so a unit that depends on another has the whole closure at hand without
//! naming it. Procedural macros and programs of build scripts are loaded or run, never linked.
//! Their dependencies stay behind, except for the files that their code points to, which
//! `points.json` names ([`crate::points`]). A build script that wrote to its package's directory
//! leaves `written/` (`written.rs`).
//!
//! No unit depends on a program (a binary, an example, a test). Its output is `bin/NAME`, and
//! `points.json` if it runs as a test. A binary refers to nothing in the store. Documentation is
//! `doc/`. A lint or a test that ran leaves an empty directory.

use crate::inputs::{Input, Inputs};
use crate::points::Points;
use crate::{Action, FORMAT, Product, TargetKind, Unit, files};
use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

const PLACEMENT: &str = "unit.json";
const CLOSURE: &str = "closure";
const FILES: &str = "files";

/// The contents of `unit.json`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Placement {
    /// The version of the form: [`FORMAT`].
    pub version: u32,
    /// The directory inside a cell where the entries of `files/` belong.
    pub out_dir: String,
    /// The use of the output for other units.
    pub role: Role,
}

/// The use of an output for other units.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// They are linked with it.
    Library,
    /// They run its code: a procedural macro, a build script's program.
    Plugin,
    /// It is a build script's `OUT_DIR` as a whole.
    BuildScriptRun,
}

/// The output of a unit that is being built.
pub struct Output {
    root: PathBuf,
    closure: Option<Reach>,
}

/// The part of a unit's closure that its users need.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reach {
    /// All outputs. The unit is a library.
    All,
    /// The outputs of build scripts. The unit is the run of another one.
    BuildScriptRuns,
    /// Nothing. The unit is a program or a plugin that is complete in itself.
    Nothing,
}

/// Makes the output of a metadata unit from that of the library. It is the same without code.
///
/// # Errors
/// When it is no library's output, or a file can't be copied.
pub(crate) fn take_metadata(whole: &Path, root: &Path) -> Result<()> {
    std::fs::create_dir_all(root)?;
    for name in [PLACEMENT, CLOSURE] {
        std::fs::copy(whole.join(name), root.join(name))?;
    }
    Points::of(whole)?.write(root)?;
    keep_metadata(&whole.join(FILES), &root.join(FILES))
}

/// Copies the metadata that lies in one directory to another.
///
/// # Errors
/// When there is none, or a file can't be copied.
pub(crate) fn keep_metadata(from: &Path, into: &Path) -> Result<()> {
    std::fs::create_dir_all(into)?;
    let mut kept = 0;
    for name in files::names(from)? {
        let file = from.join(&name);
        // In a search directory of libraries, those of other units are links.
        let is_own = std::fs::symlink_metadata(&file)?.is_file();
        if is_own && file.extension() == Some("rmeta".as_ref()) {
            std::fs::copy(&file, into.join(&name))
                .with_context(|| format!("cannot keep {}", file.display()))?;
            kept += 1;
        }
    }
    ensure!(kept > 0, "there is no metadata in {}", from.display());
    Ok(())
}

/// Returns the part of the closure that the unit's users need, or `None` if no unit uses the
/// output.
fn reach(unit: &Unit) -> Option<Reach> {
    if unit.product() != Product::Files {
        return None;
    }
    Some(match &unit.action {
        Action::Compile { target, .. } => match target.kind {
            TargetKind::ProcMacro | TargetKind::BuildScript => Reach::Nothing,
            _ => Reach::All,
        },
        Action::RunBuildScript { .. } | Action::RunTest { .. } => Reach::BuildScriptRuns,
    })
}

fn role(unit: &Unit) -> Role {
    match &unit.action {
        Action::RunBuildScript { .. } => Role::BuildScriptRun,
        Action::Compile { target, .. } => match target.kind {
            TargetKind::ProcMacro | TargetKind::BuildScript => Role::Plugin,
            _ => Role::Library,
        },
        Action::RunTest { .. } => Role::Library,
    }
}

impl Output {
    /// Starts the output of `unit` at `root`.
    ///
    /// # Errors
    /// When the directory can't be made.
    pub fn create(root: &Path, unit: &Unit) -> Result<Self> {
        let output = Self {
            root: root.to_owned(),
            closure: reach(unit),
        };
        std::fs::create_dir_all(root)
            .with_context(|| format!("cannot create {}", root.display()))?;
        if output.is_for_units() {
            let placement = Placement {
                version: FORMAT,
                out_dir: unit.out_dir().unwrap_or_default().to_owned(),
                role: role(unit),
            };
            files::write_json(&root.join(PLACEMENT), &placement)?;
        }
        Ok(output)
    }

    /// Whether other units use this output.
    pub(crate) fn is_for_units(&self) -> bool {
        self.closure.is_some()
    }

    /// Returns the path of the output itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Returns the path for the files for other units.
    pub fn files(&self) -> PathBuf {
        self.root.join(FILES)
    }

    /// Returns the path for a program.
    pub fn bin(&self) -> PathBuf {
        self.root.join("bin")
    }

    /// Returns the path for documentation.
    pub fn doc(&self) -> PathBuf {
        self.root.join("doc")
    }

    /// Returns the path for a build script's directives.
    pub fn directives(&self) -> PathBuf {
        self.root.join("directives.json")
    }

    /// Writes down the outputs that this unit's files may need in turn.
    ///
    /// # Errors
    /// When the file can't be written.
    pub fn write_closure<'a>(&self, inputs: &'a Inputs) -> Result<()> {
        let path = |it: &'a Input| it.path.as_path();
        let paths: Vec<&Path> = match self.closure {
            Some(Reach::All) => inputs.all().map(path).collect(),
            Some(Reach::BuildScriptRuns) => inputs.build_script_runs().map(path).collect(),
            Some(Reach::Nothing) | None => Vec::new(),
        };
        let lines = paths.iter().map(|path| format!("{}\n", path.display()));
        let text: String = lines.collect();
        let path = self.root.join(CLOSURE);
        std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
    }
}
