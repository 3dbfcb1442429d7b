//! The builder of one unit's derivation. It runs inside a cell.

use anyhow::{Context, Result, bail};
use std::path::PathBuf;
use std::process::ExitCode;

const USAGE: &str = "\
usage: unit
Builds one unit. The environment says what:
  unitPath  file with the unit's entry of the plan (JSON)
  source    the package's source: a .crate file or a directory
  inputs    outputs of the units that this one depends on, separated by spaces
  extras    PATH=SOURCE lines: files beside the source, programs that a test starts (optional)
  wants     Debian packages that the package is known to need, separated by spaces (optional)
  skeleton  file with the packages of the workspace, for a unit that asks Cargo for it \
(JSON, optional)
  revision  the revision that git knows in the cell (JSON, optional)
  whole     the library's output, which a unit for metadata takes that from (optional)
  out       where the output goes";

fn main() -> ExitCode {
    if let Some(code) = crateyard_unit::git::play() {
        return code;
    }
    if std::env::args().len() > 1 {
        eprintln!("{USAGE}");
        return ExitCode::from(64);
    }
    match build() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            if !crateyard_unit::memory::is_full(&crateyard_unit::source::PLACES) {
                return ExitCode::FAILURE;
            }
            // Leave nothing of this run to the next.
            if let Some(out) = std::env::var_os("out") {
                let _ = std::fs::remove_dir_all(out);
            }
            eprintln!("error: the memory for sources is full");
            ExitCode::from(crateyard_unit::memory::FULL)
        }
    }
}

fn build() -> Result<()> {
    let request = crateyard_unit::run::Request {
        unit: read_entry()?,
        source: PathBuf::from(variable("source")?),
        inputs: variable("inputs")?
            .split_whitespace()
            .map(PathBuf::from)
            .collect(),
        extras: extras(&std::env::var("extras").unwrap_or_default())?,
        wants: words("wants"),
        skeleton: std::env::var("skeletonPath")
            .ok()
            .map(|path| crateyard_unit::skeleton::Skeleton::read(&in_cell(path)))
            .transpose()?,
        revision: std::env::var("revision")
            .ok()
            .map(|text| serde_json::from_str(&text).context("the revision is malformed"))
            .transpose()?,
        whole: std::env::var_os("whole").map(PathBuf::from),
        out: PathBuf::from(variable("out")?),
        cores: cores(),
    };
    crateyard_unit::run::run(&request)
}

fn read_entry() -> Result<crateyard_unit::Unit> {
    let path = in_cell(variable("unitPath")?);
    let text = std::fs::read_to_string(&path)
        .with_context(|| format!("cannot read the unit's entry {}", path.display()))?;
    let entry: crateyard_unit::Unit = serde_json::from_str(&text)
        .with_context(|| format!("{} is not an entry of a plan", path.display()))?;
    if entry.version != crateyard_unit::FORMAT {
        bail!(
            "the entry has format {}, this runner knows {}: build both from one revision",
            entry.version,
            crateyard_unit::FORMAT
        );
    }
    Ok(entry)
}

/// Returns the path in the cell of a file that Nix names in its build directory. The cell shows
/// this directory as `/build`.
fn in_cell(path: String) -> PathBuf {
    let path = PathBuf::from(path);
    match path.file_name() {
        Some(name) if !path.exists() => PathBuf::from("/build").join(name),
        _ => path,
    }
}

fn words(variable: &str) -> Vec<String> {
    let text = std::env::var(variable).unwrap_or_default();
    text.split_whitespace().map(str::to_owned).collect()
}

fn extras(lines: &str) -> Result<Vec<(PathBuf, PathBuf)>> {
    lines
        .lines()
        .map(|line| {
            let (path, source) = line
                .split_once('=')
                .with_context(|| format!("extra file {line:?} is not PATH=SOURCE"))?;
            Ok((path.into(), source.into()))
        })
        .collect()
}

fn cores() -> usize {
    let cores = std::env::var("NIX_BUILD_CORES")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(0);
    if cores > 0 {
        return cores;
    }
    std::thread::available_parallelism().map_or(1, |n| n.get())
}

fn variable(name: &str) -> Result<String> {
    std::env::var(name).with_context(|| format!("the variable {name} is not set\n{USAGE}"))
}
