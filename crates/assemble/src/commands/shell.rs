//! `assemble shell`: starts a shell, or runs one command, with the workspace's compiler.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};
use crateyard_flake::Nix;
use crateyard_workspace::root;

/// The package of a workspace's flake that holds the compiler (nix/lib.nix).
const PACKAGE: &str = "toolchain";

/// Start a shell with the compiler, Cargo and the tools that toolchain.lock pins
#[derive(clap::Args)]
pub struct Args {
    /// The workspace: a directory with flake.nix
    #[arg(long, value_name = "DIR", default_value = ".")]
    workspace: PathBuf,
    /// A command to run instead of a shell
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

/// Runs the command. Returns only if it can't be started.
///
/// # Errors
/// When Nix can't build the toolchain, or the command can't be started.
pub fn run(args: Args) -> Result<()> {
    if !args.workspace.join("flake.nix").exists() {
        return Err(root::missing(&args.workspace, "flake.nix", "assemble init"));
    }
    let nix = Nix::default();
    let flake = nix.flake(&args.workspace)?;
    let built = nix.build(&flake, "", &[PACKAGE.to_owned()], None)?;
    let root = built.first().context("nix has built no toolchain")?;
    let mut path = OsString::from(root.join("usr/bin"));
    if let Some(rest) = std::env::var_os("PATH") {
        path.push(":");
        path.push(rest);
    }
    let shell = std::env::var_os("SHELL").unwrap_or_else(|| "/bin/sh".into());
    let mut words = args.command.into_iter();
    let program = words.next().unwrap_or(shell);
    let error = Command::new(&program)
        .args(words)
        .env("PATH", path)
        // rustup's proxies for cargo and rustc would look for their own toolchain.
        .env_remove("RUSTUP_TOOLCHAIN")
        .exec();
    Err(error).with_context(|| format!("cannot start {}", program.to_string_lossy()))
}
