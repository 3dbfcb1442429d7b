//! The builder of the plan's derivation. It runs inside a cell.

use anyhow::{Context, Result, bail};
use crateyard_plan::record::DIRECTORY;
use crateyard_plan::{
    FORMAT, Request, WORKSPACE, cargo, configuration, documentation, graph, machine, pipelining,
    places, reads, recorder, sources, stage, targets,
};
use crateyard_unit::files::write_json;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

const USAGE: &str = "\
usage: plan
Records what Cargo would do. The environment says for what:
  requestPath  file with the request (JSON)
  manifests    the workspace's directories with manifests, lock, configuration and links
  namesPath    file with the paths of all files of the workspace, one a line
  out          the directory for plan.json; for targets.json where the request asks for nothing,
               for metadata.json where it asks for Cargo's metadata";

fn main() -> ExitCode {
    let done = match std::env::var_os(DIRECTORY) {
        Some(directory) => recorder::play(Path::new(&directory)),
        None if std::env::args().len() > 1 => {
            eprintln!("{USAGE}");
            return ExitCode::from(64);
        }
        None => make_plan(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn make_plan() -> Result<()> {
    let request: Request = read(&passed("requestPath")?, "a request for a plan")?;
    if request.version != FORMAT {
        bail!(
            "the request has format {}, but this planner reads {FORMAT}: use the same revision of \
             Crateyard for both",
            request.version
        );
    }
    let names = variable("namesPath")?;
    let names = std::fs::read(&names).with_context(|| format!("cannot read {names}"))?;
    stage::workspace(Path::new(&variable("manifests")?), &names)?;
    let configuration = configuration::settle(Path::new(WORKSPACE), cargo::is_nightly()?)?;
    let out = PathBuf::from(variable("out")?);
    std::fs::create_dir_all(&out)?;
    let workspace = cargo::metadata()?;
    let places = places::places(&workspace, Path::new(WORKSPACE), cargo::metadata_of)?;
    if request.args.is_empty() {
        let targets = targets::from_metadata(&workspace, places)?;
        return write_json(&out.join("targets.json"), &targets);
    }
    let packages = sources::Packages::new(&request.packages)?;
    stage::packages(&packages)?;
    if request.args == ["metadata"] {
        return write_json(
            &out.join("metadata.json"),
            &cargo::metadata_of_all(&packages)?,
        );
    }
    let calls = documentation::calls(&request.args, &workspace);
    let aimed = |args: &Vec<String>| configuration.aim(cargo::arguments(args, &workspace));
    let calls = calls.iter().map(aimed).collect::<Result<Vec<_>>>()?;
    let records = cargo::record(&calls, &request.env, &packages)?;
    machine::check(&records, &calls.concat(), &configuration)?;
    let mut plan = graph::plan(&records, &packages)?;
    plan.places = places;
    plan.members = reads::members(&workspace)?;
    reads::set(&mut plan)?;
    pipelining::pipeline(&mut plan);
    write_json(&out.join("plan.json"), &plan)
}

/// Returns the path of the file that a variable names. Nix may name a file in its own build
/// directory, which is /build in the cell.
fn passed(name: &str) -> Result<PathBuf> {
    let path = PathBuf::from(variable(name)?);
    Ok(match path.file_name() {
        Some(file) if !path.exists() => Path::new("/build").join(file),
        _ => path,
    })
}

fn read<T: serde::de::DeserializeOwned>(path: &Path, what: &str) -> Result<T> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("cannot read {what}, {}", path.display()))?;
    serde_json::from_str(&text).with_context(|| format!("{} is not {what}", path.display()))
}

fn variable(name: &str) -> Result<String> {
    std::env::var(name).with_context(|| format!("the variable {name} is not set\n{USAGE}"))
}
