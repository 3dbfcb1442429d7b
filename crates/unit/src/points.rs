//! The files to which code points when it runs: directories of packages, and `OUT_DIR`s.
//!
//! A library may keep the path of its own directory (`env!("CARGO_MANIFEST_DIR")`) or of a build
//! script's output (`env!("OUT_DIR")`, or a variable that its build script set). It may open files
//! there when it runs, in a build script, a macro or a test of a package above it. rustc writes the
//! variables that a crate read into its dep-info (`# env-dep:NAME=VALUE`). So a unit's output can
//! name the files to which its code points: `points.json`. The store paths in that file are
//! references for Nix. A unit that depends on a program which points to something has it at hand,
//! and no other unit has.
//! <https://doc.rust-lang.org/cargo/reference/build-cache.html#dep-info-files>

use crate::inputs::{Input, Inputs};
use crate::output::Role;
use crate::source::Source;
use crate::{Action, Unit, files};
use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// The name of the file in a unit's output. It exists only if the code points to something.
pub const FILE: &str = "points.json";

/// The files to which code points.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Points {
    /// Directories of packages.
    pub sources: BTreeSet<Source>,
    /// Outputs of build scripts that ran.
    pub out_dirs: BTreeSet<PathBuf>,
}

impl Points {
    /// Reads the files to which the code of an output points.
    ///
    /// # Errors
    /// When the file is malformed.
    pub fn of(output: &Path) -> Result<Self> {
        let path = output.join(FILE);
        if path.exists() {
            files::read_json(&path)
        } else {
            Ok(Self::default())
        }
    }

    /// Writes the file to an output, if the code points to something.
    ///
    /// # Errors
    /// When the file can't be written.
    pub fn write(&self, output: &Path) -> Result<()> {
        if *self == Self::default() {
            return Ok(());
        }
        files::write_json(&output.join(FILE), self)
    }

    /// Adds the files to which `other` points.
    pub fn add(&mut self, other: Self) {
        self.sources.extend(other.sources);
        self.out_dirs.extend(other.out_dirs);
    }

    /// Adds the files to which a text points: those of `sources` whose place it names.
    fn add_named<'a>(&mut self, text: &str, sources: impl Iterator<Item = &'a Source>) {
        let named = sources.filter(|source| names(text, &source.place));
        self.sources.extend(named.cloned());
    }
}

/// Whether a text has a path in it, and not only as the beginning of another name.
fn names(text: &str, path: &str) -> bool {
    text.match_indices(path).any(|(at, _)| {
        let next = text[at + path.len()..].chars().next();
        !next.is_some_and(|c| c.is_alphanumeric() || matches!(c, '-' | '_' | '.' | '+'))
    })
}

/// Returns the files to which a compiled crate itself points, by the variables that it read.
///
/// # Errors
/// When the dep-info is there and can't be read.
pub(crate) fn of_crate(dep_info: &Path, own: &Source, inputs: &Inputs) -> Result<Points> {
    let mut points = Points::default();
    if !dep_info.exists() {
        return Ok(points);
    }
    let text = std::fs::read_to_string(dep_info)
        .with_context(|| format!("cannot read {}", dep_info.display()))?;
    let variables = text
        .lines()
        .filter_map(|line| line.strip_prefix("# env-dep:"));
    for value in variables.filter_map(|variable| variable.split_once('=').map(|(_, value)| value)) {
        points.add_named(value, std::iter::once(own).chain(&inputs.sight.sources));
        for run in inputs.build_script_runs() {
            if names(value, &run.placement.out_dir) {
                points.out_dirs.insert(run.path.clone());
            }
        }
    }
    Ok(points)
}

/// Returns the files to which a build script's output points: the directories that its directives
/// name, and those to which links in its `OUT_DIR` lead.
///
/// # Errors
/// When `out_dir` can't be read.
pub(crate) fn of_build_script(
    directives: &str,
    out_dir: &Path,
    own: &Source,
    inputs: &Inputs,
) -> Result<Points> {
    let known = || std::iter::once(own).chain(&inputs.sight.sources);
    let mut points = Points::default();
    points.add_named(directives, known());
    for link in files::links_below(out_dir)? {
        points.add_named(&link.to_string_lossy(), known());
    }
    Ok(points)
}

/// Returns the files to which a program points: those of its own crate, and of all libraries linked
/// into it.
///
/// # Errors
/// When the file of a library is malformed.
pub(crate) fn of_program(own: Points, inputs: &Inputs) -> Result<Points> {
    let mut points = own;
    for library in inputs.all().filter(|it| it.placement.role == Role::Library) {
        points.add(Points::of(&library.path)?);
    }
    Ok(points)
}

/// Returns the files that a unit sees beside its source and the outputs of units below it: those to
/// which the code that it runs points, and those to which the build scripts whose directives it
/// uses point.
///
/// # Errors
/// When the file of an output is malformed.
pub(crate) fn sight(unit: &Unit, inputs: &[Input], programs: &[PathBuf]) -> Result<Points> {
    let runs_libraries = matches!(
        &unit.action,
        Action::Compile { program, target, .. } if program == "rustdoc" && target.test
    );
    let mut sight = Points::default();
    for input in inputs {
        if input.placement.role != Role::Library || runs_libraries {
            sight.add(Points::of(&input.path)?);
        }
    }
    for program in programs {
        sight.add(Points::of(program)?);
    }
    // A build script's output may point to others in turn.
    let mut pending: Vec<PathBuf> = sight.out_dirs.iter().cloned().collect();
    while let Some(run) = pending.pop() {
        sight.sources.extend(Points::of(&run)?.sources);
        for below in files::lines(&run.join("closure"))? {
            if sight.out_dirs.insert(below.clone()) {
                pending.push(below);
            }
        }
    }
    sight
        .sources
        .retain(|source| source.place != unit.source_dir);
    Ok(sight)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_named_as_a_whole() {
        assert!(names("/workspace/lamp/include", "/workspace/lamp"));
        assert!(names("native=/workspace/lamp", "/workspace/lamp"));
        assert!(!names("/workspace/lamp-sys/include", "/workspace/lamp"));
        assert!(!names("/cargo/registry/z-1.0.1", "/cargo/registry/z-1.0"));
        assert!(names(
            "/workspace/lamp-sys:/workspace/lamp",
            "/workspace/lamp"
        ));
    }
}
