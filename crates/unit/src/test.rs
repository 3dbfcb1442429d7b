//! Runs a compiled test.

use crate::closure::Closure;
use crate::run::Request;
use crate::{Action, environment};
use anyhow::{Context, Result, bail};
use std::process::Stdio;

/// Runs the test as `cargo test` would; what it prints is passed on.
///
/// # Errors
/// When the test fails.
pub fn run_test(request: &Request, closure: &Closure) -> Result<()> {
    let unit = &request.unit;
    let Action::RunTest {
        program,
        args,
        build_script,
        scratch,
    } = &unit.action
    else {
        bail!("the unit {} does not run a test", unit.name);
    };
    if let Some(scratch) = scratch {
        std::fs::create_dir_all(scratch).with_context(|| format!("cannot create {scratch}"))?;
    }
    let mut command = environment::command(program, unit);
    if let Some(out_dir) = build_script {
        command.envs(closure.directives(out_dir)?.env);
    }
    command
        .args(args)
        .env("RUST_TEST_THREADS", request.cores.to_string())
        .stdin(Stdio::null());
    let status = command
        .status()
        .with_context(|| format!("cannot start the test {program}"))?;
    if !status.success() {
        bail!("the test {} failed: {status}", unit.name);
    }
    Ok(())
}
