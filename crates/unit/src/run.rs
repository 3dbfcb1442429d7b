//! Runs one unit inside a cell: source in place, dependencies in place, the program, its output.

use crate::{
    Action, Unit, closure::Closure, compile, output, output::Output, script, source, test,
};
use anyhow::{Context, Result};
use std::path::PathBuf;

/// All that one run needs.
#[derive(Debug)]
pub struct Request {
    /// The unit's entry of the plan.
    pub unit: Unit,
    /// The package's source: a `.crate` file, or a directory.
    pub source: PathBuf,
    /// Outputs of the units that this one depends on directly.
    pub inputs: Vec<PathBuf>,
    /// Files beside the source, which are declared files outside the package and programs that a
    /// test starts: path inside the cell, and where it comes from.
    pub extras: Vec<(PathBuf, PathBuf)>,
    /// Where the output goes.
    pub out: PathBuf,
    /// The Debian packages that the package is known to need: what a failure is explained by.
    pub wants: Vec<String>,
    /// The output of the whole library, if a unit for its metadata is to take that from there. The output has the same
    /// bytes as if it was made.
    pub whole: Option<PathBuf>,
    /// How many jobs the unit may run at once. Never changes a byte of the output.
    pub cores: usize,
}

/// Runs the unit.
///
/// # Errors
/// When the source is damaged, an input is not a unit's output, or the program fails; what the
/// program itself has to say has then been written to standard error.
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
    place_source(request).with_context(|| format!("cannot unpack {}", request.source.display()))?;
    for (path, from) in &request.extras {
        source::place_tree(from, path)
            .with_context(|| format!("cannot place {}", path.display()))?;
    }
    let closure = Closure::of(&request.inputs)?;
    closure.link_into_place()?;
    if let Some(out_dir) = unit.out_dir() {
        std::fs::create_dir_all(out_dir).with_context(|| format!("cannot create {out_dir}"))?;
    }
    let output = Output::create(&request.out, unit)?;
    match &unit.action {
        Action::Compile { .. } => compile::compile(request, &closure, &output)?,
        Action::RunBuildScript { .. } => script::run_build_script(request, &closure, &output)?,
        Action::RunTest { .. } => test::run_test(request, &closure)?,
    }
    if output.is_for_units() {
        output.write_closure(&closure)?;
    }
    Ok(())
}

fn place_source(request: &Request) -> Result<()> {
    let place = request.unit.source_dir.as_ref();
    match &request.unit.path_in_source {
        None => source::place(&request.source, place),
        Some(path) => source::place_within(&request.source, path.as_ref(), place),
    }
}
