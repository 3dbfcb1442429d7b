//! Runs a compiled test.

use crate::inputs::Inputs;
use crate::run::Request;
use crate::{Action, calls, environment, hints};
use anyhow::{Context, Result, bail};
use std::io::{Read, Write};
use std::process::Stdio;

/// Runs the test as `cargo test` would, and passes on its output.
///
/// # Errors
/// When the test fails.
pub fn run_test(request: &Request, inputs: &Inputs) -> Result<()> {
    let unit = &request.unit;
    let Action::RunTest {
        program,
        args,
        scratch,
        ..
    } = &unit.action
    else {
        bail!("the unit {} does not run a test", unit.name);
    };
    if let Some(scratch) = scratch {
        std::fs::create_dir_all(scratch).with_context(|| format!("cannot create {scratch}"))?;
    }
    let mut command = environment::command(program, unit);
    let added = calls::added(unit, |out_dir| inputs.directives(out_dir))?;
    command
        .envs(added.env)
        .args(args)
        .env("RUST_TEST_THREADS", request.cores.to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    environment::show_revision(&mut command, request)?;
    let mut child = command
        .spawn()
        .with_context(|| format!("cannot start the test {program}"))?;
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let said = std::thread::scope(|scope| {
        let errors = scope.spawn(|| pass_on(stderr, std::io::stderr()));
        let mut said = pass_on(stdout, std::io::stdout())?;
        let errors = errors.join();
        said.push_str(&errors.unwrap_or_else(|_| bail!("the reader of errors panicked"))?);
        anyhow::Ok(said)
    })?;
    let status = child.wait()?;
    if !status.success() {
        if let Some(hint) = hints::hint(request, &said) {
            eprintln!("help: {hint}");
        }
        bail!("the test {} failed: {status}", unit.name);
    }
    Ok(())
}

/// Passes on a stream, and returns its text.
fn pass_on(stream: Option<impl Read>, mut to: impl Write) -> Result<String> {
    let mut said = Vec::new();
    let mut buffer = [0; 8192];
    if let Some(mut stream) = stream {
        loop {
            let count = stream.read(&mut buffer)?;
            if count == 0 {
                break;
            }
            to.write_all(&buffer[..count])?;
            to.flush()?;
            said.extend_from_slice(&buffer[..count]);
        }
    }
    Ok(String::from_utf8_lossy(&said).into_owned())
}
