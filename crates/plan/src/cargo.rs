//! Runs Cargo with the recording rustc.

use crate::record::{DIRECTORY, Record};
use crate::recorder::TOOLS;
use crate::{Request, TARGET, WORKSPACE, stage};
use anyhow::{Context, Result, bail};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};

/// Where the stand-ins lie, for variables that name one of them.
pub const STAND_INS: &str = "/cargo/stand-ins";
const HOME: &str = "/cargo/home";
const RECORDS: &str = "/cargo/records";
const CONFIG: &str = "/cargo/sources.toml";

/// Has Cargo carry out the request on the stage, and returns all records.
///
/// # Errors
/// When Cargo fails; it has then said why on standard error.
pub fn record(request: &Request) -> Result<Vec<Record>> {
    for dir in [STAND_INS, HOME, RECORDS] {
        fs::create_dir_all(dir).with_context(|| format!("cannot create {dir}"))?;
    }
    let this = std::env::current_exe()?;
    for name in TOOLS {
        symlink(&this, Path::new(STAND_INS).join(name))?;
    }
    fs::write(CONFIG, stage::replacements(&request.packages)?)?;
    let mut cargo = command();
    cargo
        .args(&request.args)
        .args(["--offline", "--locked", "--target-dir", TARGET])
        .args(["--config", CONFIG])
        .envs(&request.env)
        .env("PATH", format!("{STAND_INS}:/usr/bin"))
        .env(DIRECTORY, RECORDS);
    let output = cargo
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .output()
        .context("cannot start cargo")?;
    if !output.status.success() {
        eprint!("{}", String::from_utf8_lossy(&output.stderr));
        bail!("cargo {} failed: {}", request.args.join(" "), output.status);
    }
    Record::load_all(Path::new(RECORDS))
}

/// Asks Cargo for the workspace's packages.
///
/// # Errors
/// When a manifest is malformed; Cargo has then said so.
pub fn metadata() -> Result<serde_json::Value> {
    metadata_with(&["--no-deps"])
}

/// Asks Cargo for the workspace's packages and all that they depend on.
///
/// # Errors
/// When Cargo fails; it has then said why on standard error.
pub fn metadata_of_all(request: &Request) -> Result<serde_json::Value> {
    fs::create_dir_all(HOME).with_context(|| format!("cannot create {HOME}"))?;
    fs::write(CONFIG, stage::replacements(&request.packages)?)?;
    metadata_with(&["--locked", "--config", CONFIG])
}

fn metadata_with(arguments: &[&str]) -> Result<serde_json::Value> {
    let output = command()
        .args(["metadata", "--format-version=1", "--offline"])
        .args(arguments)
        .env("PATH", "/usr/bin")
        .stderr(Stdio::inherit())
        .output()
        .context("cannot start cargo")?;
    if !output.status.success() {
        bail!("cargo metadata failed: {}", output.status);
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

fn command() -> Command {
    let mut cargo = Command::new("/usr/bin/cargo");
    cargo
        .env_clear()
        .env("CARGO_HOME", HOME)
        .env("HOME", "/homeless")
        .env("LANG", "C.UTF-8")
        .env("CARGO_INCREMENTAL", "0")
        .current_dir(WORKSPACE)
        .stdin(Stdio::null());
    cargo
}
