//! Runs a compiled build script.

use crate::closure::Closure;
use crate::directives::Directives;
use crate::output::Output;
use crate::run::Request;
use crate::{Action, environment, files, hints, leftovers, source};
use anyhow::{Context, Result, bail};
use std::io::Read;
use std::path::Path;
use std::process::{Child, Stdio};

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
    command.stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let tokens = environment::share_cores(&mut command, request.cores)?;
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
    source::place_tree(out_dir, &output.files())
}

/// Both streams of a child, read side by side so that neither blocks it.
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
