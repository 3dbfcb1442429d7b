//! Runs one unit inside a cell: puts source and inputs in place, runs the program, keeps its
//! output.

use crate::skeleton::Skeleton;
use crate::source::{self, Source};
use crate::{Action, Unit, compile, inputs::Inputs, output, output::Output, script, test};
use crate::{files, git, written};
use anyhow::{Context, Result};
use std::path::{Path, PathBuf};

/// The inputs of one run.
#[derive(Debug)]
pub struct Request {
    /// The unit's entry of the plan.
    pub unit: Unit,
    /// The package's source: a `.crate` file, or a directory.
    pub source: PathBuf,
    /// Outputs of the units that this one depends on directly.
    pub inputs: Vec<PathBuf>,
    /// Files beside the source: declared files outside the package, and programs that a test
    /// starts. Each has a path inside the cell and a source.
    pub extras: Vec<(PathBuf, PathBuf)>,
    /// The workspace around the package, if the unit asks for it.
    pub skeleton: Option<Skeleton>,
    /// The revision that the unit's `git` knows, if one is declared.
    pub revision: Option<git::Revision>,
    /// The path for the output.
    pub out: PathBuf,
    /// The Debian packages that the package is known to need. They help to explain a failure.
    pub wants: Vec<String>,
    /// The output of the whole library, if a unit for its metadata is to take the metadata from
    /// there. The bytes are the same as if it was compiled.
    pub whole: Option<PathBuf>,
    /// The number of jobs that the unit may run at once. It never changes a byte of the output.
    pub cores: usize,
}

/// Runs the unit.
///
/// # Errors
/// When the source is damaged, an input is not a unit's output, or the program fails. The program's
/// own messages are then on standard error.
pub fn run(request: &Request) -> Result<()> {
    let unit = &request.unit;
    if let Some(whole) = &request.whole {
        return output::take_metadata(whole, &request.out).with_context(|| {
            format!(
                "cannot take the metadata of {} from {}",
                unit.name,
                whole.display()
            )
        });
    }
    let inputs = Inputs::of(unit, &request.inputs, &request.programs())?;
    place(request, &inputs)?;
    if let Some(out_dir) = unit.out_dir() {
        std::fs::create_dir_all(out_dir).with_context(|| format!("cannot create {out_dir}"))?;
    }
    let output = Output::create(&request.out, unit)?;
    match &unit.action {
        Action::Compile { .. } => compile::compile(request, &inputs, &output)?,
        Action::RunBuildScript { .. } => script::run_build_script(request, &inputs, &output)?,
        Action::RunTest { .. } => test::run_test(request, &inputs)?,
    }
    if output.is_for_units() {
        output.write_closure(&inputs)?;
    }
    Ok(())
}

/// Puts everything where Cargo would have it. If two files have the same path, the first one stays.
fn place(request: &Request, inputs: &Inputs) -> Result<()> {
    request.own_source(inputs)?.place()?;
    for (path, from) in &request.extras {
        source::place_tree(from, path)
            .with_context(|| format!("cannot place {}", path.display()))?;
    }
    inputs.place(&request.unit)?;
    if let Some(skeleton) = &request.skeleton {
        skeleton.place(Path::new(source::WORKSPACE))?;
    }
    if request.revision.is_some() {
        git::install()?;
    }
    Ok(())
}

impl Request {
    /// Returns the source of the unit's own package.
    ///
    /// # Errors
    /// When the output of its build script is not among the inputs.
    pub(crate) fn own_source(&self, inputs: &Inputs) -> Result<Source> {
        let unit = &self.unit;
        let out_dir = unit.own_out_dir();
        let run = out_dir.map(|out_dir| inputs.build_script_run(out_dir));
        let written_by = run.transpose()?.filter(|run| written::has_changes(run));
        Ok(Source {
            place: unit.source_dir.clone(),
            from: self.source.clone(),
            path_in_source: unit.path_in_source.clone(),
            written_by: written_by.map(Path::to_owned),
        })
    }

    /// Returns the outputs of the programs that a test starts: `OUTPUT/bin/NAME`.
    fn programs(&self) -> Vec<PathBuf> {
        if !matches!(self.unit.action, Action::RunTest { .. }) {
            return Vec::new();
        }
        let sources = self.extras.iter().map(|(_, from)| from);
        let outputs = sources.filter_map(|from| files::parent_of(from, "bin"));
        outputs.map(Path::to_owned).collect()
    }
}
