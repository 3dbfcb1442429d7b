//! The outputs of all units below a unit, and their places inside the cell.

use crate::directives::Directives;
use crate::output::{Placement, Role};
use crate::points::{self, Points};
use crate::{Action, Unit, files, source};
use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};

/// An output that a unit may use.
#[derive(Debug)]
pub struct Input {
    /// The output.
    pub path: PathBuf,
    /// Its description of itself.
    pub placement: Placement,
}

/// Every output that a unit may use.
pub struct Inputs {
    /// Sorted by path.
    all: Vec<Input>,
    /// The files that the unit sees beside them.
    pub(crate) sight: Points,
}

impl Inputs {
    /// Reads the `direct` inputs with all outputs below them, and the files to which `programs`
    /// point: outputs with programs that the unit starts.
    ///
    /// # Errors
    /// When one of them is not a unit's output.
    pub fn of(unit: &Unit, direct: &[PathBuf], programs: &[PathBuf]) -> Result<Self> {
        let mut paths: Vec<PathBuf> = direct.to_vec();
        // Each output names its whole closure, so one step down is enough.
        for input in direct {
            let list = input.join("closure");
            let text = std::fs::read_to_string(&list)
                .with_context(|| format!("{} is not the output of a unit", input.display()))?;
            paths.extend(text.lines().map(PathBuf::from));
        }
        let all = read(paths)?;
        let sight = points::sight(unit, &all, programs)?;
        Ok(Self { all, sight })
    }

    /// Returns the outputs, sorted.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Input> {
        self.all.iter()
    }

    /// Returns the outputs of build scripts that ran, sorted.
    pub(crate) fn build_script_runs(&self) -> impl Iterator<Item = &Input> {
        let is_run = |it: &&Input| it.placement.role == Role::BuildScriptRun;
        self.all().filter(is_run)
    }

    /// Returns the output of the build script whose `OUT_DIR` is `out_dir`.
    ///
    /// # Errors
    /// When no input is that build script's output.
    pub(crate) fn build_script_run(&self, out_dir: &str) -> Result<&Path> {
        let mut runs = self.build_script_runs();
        match runs.find(|run| run.placement.out_dir == out_dir) {
            Some(run) => Ok(&run.path),
            None => bail!("no input of this unit is the build script's output {out_dir:?}"),
        }
    }

    /// Reads the directives of the build script whose `OUT_DIR` is `out_dir`.
    ///
    /// # Errors
    /// When no input is that build script's output.
    pub fn directives(&self, out_dir: &str) -> Result<Directives> {
        files::read_json(&self.build_script_run(out_dir)?.join("directives.json"))
    }

    /// Puts the files of every input, and the other files that the unit sees, where Cargo would
    /// have put them.
    ///
    /// # Errors
    /// When a file can't be placed.
    pub fn place(&self, unit: &Unit) -> Result<()> {
        let written = unit.own_out_dir().filter(|_| self.runs_code(unit));
        for input in self.all() {
            if input.placement.role == Role::BuildScriptRun {
                let is_written = written == Some(input.placement.out_dir.as_str());
                place_out_dir(input, is_written)?;
            } else {
                link_files(input)?;
            }
        }
        for run in read(self.sight.out_dirs.iter().cloned().collect())? {
            if !self.all().any(|input| input.path == run.path) {
                place_out_dir(&run, false)?;
            }
        }
        for source in &self.sight.sources {
            source.place()?;
        }
        Ok(())
    }

    /// Whether the unit runs code that may write to `OUT_DIR`: a macro, or a test.
    fn runs_code(&self, unit: &Unit) -> bool {
        let is_macro = |it: &Input| it.placement.role == Role::Plugin;
        matches!(unit.action, Action::RunTest { .. }) || self.all().any(is_macro)
    }
}

fn read(mut paths: Vec<PathBuf>) -> Result<Vec<Input>> {
    paths.sort();
    paths.dedup();
    let read = |path: PathBuf| {
        let placement = files::read_json(&path.join("unit.json"))?;
        Ok(Input { path, placement })
    };
    paths.into_iter().map(read).collect()
}

/// Puts a build script's `OUT_DIR` in place. With Cargo, macros and tests can write to it, so they
/// get a copy of their own.
fn place_out_dir(run: &Input, is_written: bool) -> Result<()> {
    let place = Path::new(&run.placement.out_dir);
    let stored = run.path.join("files");
    if is_written {
        return source::place_tree(&stored, place);
    }
    if let Some(parent) = place.parent() {
        std::fs::create_dir_all(parent)?;
    }
    files::link_once(&stored, place)
}

fn link_files(input: &Input) -> Result<()> {
    let place = Path::new(&input.placement.out_dir);
    let stored = input.path.join("files");
    std::fs::create_dir_all(place).with_context(|| format!("cannot create {}", place.display()))?;
    for name in files::names(&stored)? {
        // A library's metadata may occur twice: in its own output and beside the code.
        files::link_once(&stored.join(&name), &place.join(&name))?;
    }
    Ok(())
}
