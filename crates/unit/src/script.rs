//! Runs a compiled build script.

use crate::closure::Closure;
use crate::directives::Directives;
use crate::output::Output;
use crate::run::Request;
use crate::{Action, environment, files, source};
use anyhow::{Context, Result, bail};
use std::path::Path;
use std::process::Stdio;

/// Runs the build script and keeps what it wrote and what it said.
///
/// # Errors
/// When the script fails; its whole output has then been shown.
pub fn run_build_script(request: &Request, closure: &Closure, output: &Output) -> Result<()> {
    let unit = &request.unit;
    let Action::RunBuildScript {
        program,
        out_dir,
        metadata,
    } = &unit.action
    else {
        bail!("the unit {} does not run a build script", unit.name);
    };
    let mut command = environment::command(program, unit);
    for (prefix, from) in metadata {
        for (key, value) in &closure.directives(from)?.metadata {
            command.env(format!("{prefix}_{}", envify(key)), value);
        }
    }
    command.env("NUM_JOBS", request.cores.to_string());
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    let tokens = environment::share_cores(&mut command, request.cores)?;
    let child = command
        .spawn()
        .with_context(|| format!("cannot start the build script {program}"))?;
    let finished = child.wait_with_output()?;
    drop(tokens);
    let stdout = String::from_utf8_lossy(&finished.stdout);
    if !finished.status.success() {
        eprint!("{stdout}");
        bail!(
            "the build script of {} failed: {}",
            package(unit),
            finished.status
        );
    }
    let directives = Directives::parse(&stdout)?;
    for warning in &directives.warnings {
        eprintln!("warning: {}: {warning}", package(unit));
    }
    files::write_json(&output.directives(), &directives)?;
    source::place_tree(Path::new(out_dir), &output.files())
}

/// Cargo's rule for the names of `DEP_*` variables.
fn envify(name: &str) -> String {
    name.chars()
        .flat_map(char::to_uppercase)
        .map(|c| if c == '-' { '_' } else { c })
        .collect()
}

fn package(unit: &crate::Unit) -> String {
    let get = |name: &str| unit.env.get(name).map_or("?", String::as_str);
    format!("{} {}", get("CARGO_PKG_NAME"), get("CARGO_PKG_VERSION"))
}
