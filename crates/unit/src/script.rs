//! Runs a compiled build script.

use crate::directives::Directives;
use crate::inputs::Inputs;
use crate::output::Output;
use crate::run::Request;
use crate::written::Snapshot;
use crate::{Action, calls, environment, files, hints, leftovers, points, source};
use anyhow::{Context, Result, bail};
use std::io::Read;
use std::path::Path;
use std::process::{Child, Stdio};

/// Runs the build script, and keeps its files and directives.
///
/// # Errors
/// When the script fails. Its whole output is then on standard error.
pub fn run_build_script(request: &Request, inputs: &Inputs, output: &Output) -> Result<()> {
    let unit = &request.unit;
    let Action::RunBuildScript {
        program, out_dir, ..
    } = &unit.action
    else {
        bail!("the unit {} does not run a build script", unit.name);
    };
    let mut command = environment::command(program, unit);
    let added = calls::added(unit, |out_dir| inputs.directives(out_dir))?;
    command.envs(added.env);
    environment::show_revision(&mut command, request)?;
    command.env("NUM_JOBS", request.cores.to_string());
    command.stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let tokens = environment::share_cores(&mut command, request.cores)?;
    let before = Snapshot::of(Path::new(&unit.source_dir))?;
    let mut child = command
        .spawn()
        .with_context(|| format!("cannot start the build script {program}"))?;
    let (stdout, stderr) = listen(&mut child)?;
    let status = child.wait()?;
    drop(tokens);
    if !status.success() {
        eprint!("{stdout}{stderr}");
        if let Some(hint) = hints::hint(request, &format!("{stdout}{stderr}")) {
            eprintln!("help: {hint}");
        }
        bail!("the build script of {} failed: {status}", package(unit));
    }
    let directives = Directives::parse(&stdout)?;
    for warning in &directives.warnings {
        eprintln!("warning: {}: {warning}", package(unit));
    }
    files::write_json(&output.directives(), &directives)?;
    let out_dir = Path::new(out_dir);
    leftovers::remove(out_dir)?;
    let mut own = request.own_source(inputs)?;
    if before.keep_changes(output.root())? {
        own.written_by = Some(output.root().to_owned());
    }
    let said = serde_json::to_string(&directives)?;
    points::of_build_script(&said, out_dir, &own, inputs)?.write(output.root())?;
    source::place_tree(out_dir, &output.files())
}

/// Reads both streams of a child side by side, so that neither blocks it.
fn listen(child: &mut Child) -> Result<(String, String)> {
    let stdout = child.stdout.take();
    let stderr = child.stderr.take();
    std::thread::scope(|scope| {
        let errors = scope.spawn(|| read(stderr));
        let output = read(stdout)?;
        let errors = errors
            .join()
            .unwrap_or_else(|_| bail!("the reader of errors panicked"))?;
        Ok((output, errors))
    })
}

fn read(stream: Option<impl Read>) -> Result<String> {
    let mut bytes = Vec::new();
    if let Some(mut stream) = stream {
        stream.read_to_end(&mut bytes)?;
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn package(unit: &crate::Unit) -> String {
    let get = |name: &str| unit.env.get(name).map_or("?", String::as_str);
    format!("{} {}", get("CARGO_PKG_NAME"), get("CARGO_PKG_VERSION"))
}
