//! The environment of rustc and build scripts: Cargo's variables, and a bare minimum beside them.

use crate::run::Request;
use crate::{Unit, git};
use anyhow::{Context, Result};
use std::process::Command;

/// Makes a command without the derivation's own environment.
pub(crate) fn command(program: &str, unit: &Unit) -> Command {
    let mut command = Command::new(program);
    command
        .env_clear()
        .env("PATH", "/usr/bin")
        // The directory does not exist, so programs find no home.
        .env("HOME", "/homeless")
        .env("LANG", "C.UTF-8")
        .env("TMPDIR", "/tmp")
        // C compilers and archivers would write the time of day.
        .env("SOURCE_DATE_EPOCH", "0")
        .env("ZERO_AR_DATE", "1")
        .envs(&unit.env)
        .current_dir(&unit.cwd);
    command
}

/// Lets the command and all processes that it starts share `cores` tokens, as Cargo would. The
/// caller keeps the returned client alive while the command runs.
pub(crate) fn share_cores(command: &mut Command, cores: usize) -> Result<jobserver::Client> {
    // Every process holds one token without asking.
    let client = jobserver::Client::new(cores.saturating_sub(1))
        .context("cannot create the pipe that shares the cores")?;
    client.configure(command);
    Ok(client)
}

/// Lets the command find a `git` that knows the declared revision, if one is declared.
pub(crate) fn show_revision(command: &mut Command, request: &Request) -> Result<()> {
    if let Some(revision) = &request.revision {
        command
            .env("PATH", format!("{}:/usr/bin", git::DIRECTORY))
            .env(git::VARIABLE, serde_json::to_string(revision)?);
    }
    Ok(())
}
