//! The builder of the plan's derivation. It runs inside a cell.

use anyhow::{Context, Result, bail};
use plan::record::DIRECTORY;
use plan::{FORMAT, Request, cargo, graph, pipelining, recorder, stage, targets};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

const USAGE: &str = "\
usage: plan
Records what Cargo would do. The environment says for what:
  requestPath  file with the request (JSON)
  manifests    the workspace's manifests, lock and configuration
  out          the directory for plan.json; for targets.json where the request asks for nothing, for metadata.json
               where it asks for Cargo's metadata";

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
    let request = read_request()?;
    let out = PathBuf::from(variable("out")?);
    stage::workspace(Path::new(&variable("manifests")?), &request.stubs)?;
    std::fs::create_dir_all(&out)?;
    if request.args.is_empty() {
        let targets = targets::from_metadata(&cargo::metadata()?)?;
        return write(&out.join("targets.json"), &targets);
    }
    stage::packages(&request)?;
    if request.args == ["metadata"] {
        return write(
            &out.join("metadata.json"),
            &cargo::metadata_of_all(&request)?,
        );
    }
    let records = cargo::record(&request)?;
    let mut plan = graph::plan(&records, &request.packages)?;
    pipelining::pipeline(&mut plan);
    write(&out.join("plan.json"), &plan)
}

fn read_request() -> Result<Request> {
    let path = PathBuf::from(variable("requestPath")?);
    // Nix names a file in its own build directory, which the cell shows as /build.
    let path = match path.file_name() {
        Some(name) if !path.exists() => Path::new("/build").join(name),
        _ => path,
    };
    let text = std::fs::read_to_string(&path)
        .with_context(|| format!("cannot read the request {}", path.display()))?;
    let request: Request = serde_json::from_str(&text)
        .with_context(|| format!("{} is not a request for a plan", path.display()))?;
    if request.version != FORMAT {
        bail!(
            "the request has format {}, this planner knows {FORMAT}",
            request.version
        );
    }
    Ok(request)
}

fn variable(name: &str) -> Result<String> {
    std::env::var(name).with_context(|| format!("the variable {name} is not set\n{USAGE}"))
}

fn write(path: &Path, value: &impl serde::Serialize) -> Result<()> {
    let mut text = serde_json::to_string_pretty(value)?;
    text.push('\n');
    std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}
