//! `assemble init`: a flake and a first description for a workspace.

use super::lock::read_description;
use crate::native;
use crate::text::print_line;
use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use description::guess::{self, Guess};

/// Where Crateyard is, for flakes.
const CRATEYARD: &str = "github:crateyard/crateyard";

/// Writes flake.nix and images.toml for a workspace, and says what it guessed
#[derive(clap::Args)]
pub struct Args {
    /// The workspace: a directory with Cargo.toml
    #[arg(long, value_name = "DIR", default_value = ".")]
    workspace: PathBuf,
    /// Where the flake finds Crateyard
    #[arg(long, value_name = "URL", default_value = CRATEYARD)]
    crateyard: String,
}

/// Runs the command.
///
/// # Errors
/// Where the workspace has no binary, Cargo can't read it, or a file can't be written. A file that is there is
/// never touched.
pub fn run(args: Args) -> Result<()> {
    let guess = guess::guess(&native::metadata(
        &args.workspace,
        &["--no-deps", "--offline"],
    )?)
    .context("the output of `cargo metadata` is not understood")?;
    if guess.images.is_empty() {
        bail!(
            "the workspace in {} has no binary: an image holds at least one (src/main.rs, or a [[bin]])",
            args.workspace.display()
        );
    }
    let mut written = Vec::new();
    for (name, text) in [
        ("flake.nix", flake(&args.crateyard)),
        ("images.toml", guess.text.clone()),
    ] {
        if create(&args.workspace.join(name), &text)? {
            print_line(format!("wrote {name}"))?;
            written.push(name);
        } else {
            print_line(format!("kept  {name}, which is there"))?;
        }
    }
    lock_crates(&args.workspace)?;
    for reason in &guess.reasons {
        print_line(format!("      {reason}"))?;
    }
    print_next(&args.workspace, &guess, &written)
}

fn flake(crateyard: &str) -> String {
    format!(
        "{{\n  description = \"Container images of this workspace\";\n\n  inputs.crateyard.url = \"{crateyard}\";\n\n  \
         outputs = {{ self, crateyard }}: crateyard.lib.mkFlake {{ src = self; }};\n}}\n"
    )
}

/// Writes a file that is not there; false where it is.
fn create(path: &Path, text: &str) -> Result<bool> {
    let context = || format!("cannot write {}", path.display());
    match OpenOptions::new().write(true).create_new(true).open(path) {
        Ok(mut file) => {
            let whole = file
                .write_all(text.as_bytes())
                .and_then(|()| file.sync_all());
            if whole.is_err() {
                // Half a file is worse than none; that it can't be removed is said by what comes next.
                let _ = fs::remove_file(path);
            }
            whole.with_context(context)?;
            Ok(true)
        }
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(error).with_context(context),
    }
}

/// Without a lock nothing is pinned.
fn lock_crates(workspace: &Path) -> Result<()> {
    if workspace.join("Cargo.lock").exists() {
        return Ok(());
    }
    duct::cmd!("cargo", "generate-lockfile", "--quiet")
        .dir(workspace)
        .run()
        .context("`cargo generate-lockfile` failed")?;
    print_line("wrote Cargo.lock")
}

fn print_next(workspace: &Path, guess: &Guess, written: &[&str]) -> Result<()> {
    let description = read_description(&workspace.join("images.toml"))?;
    let needed = native::needed(&description, &workspace.join("Cargo.lock"))?;
    for (name, packages) in &needed {
        print_line(format!(
            "      {name} is compiled with {}",
            packages.join(" and ")
        ))?;
    }
    print_line("next:")?;
    if !needed.is_empty() {
        print_line("  assemble lock")?;
    }
    // Of a repository Nix sees what git knows.
    if workspace.join(".git").exists() && !written.is_empty() {
        print_line(format!(
            "  git add Cargo.lock {}{}",
            written.join(" "),
            if needed.is_empty() {
                ""
            } else {
                " debian.lock"
            }
        ))?;
    }
    print_line(format!("  nix build .#{}-image", guess.images[0]))
}
