//! `assemble dockerfile`: writes the description as a Dockerfile, a bake file and an ignore file.

use std::fs;
use std::path::PathBuf;

use anyhow::{Result, bail};
use crateyard_terminal::{print_line, write_to};

/// Write Dockerfile.images, docker-bake.hcl and Dockerfile.images.dockerignore from images.toml
#[derive(clap::Args)]
pub struct Args {
    /// The workspace: a directory with Cargo.toml, Cargo.lock and images.toml
    #[arg(long, value_name = "DIR", default_value = ".")]
    workspace: PathBuf,
    /// Write nothing; fail if a file is out of date
    #[arg(long)]
    check: bool,
}

/// Runs the command.
///
/// # Errors
/// When the workspace or its description is wrong, a file can't be written, or, with `--check`, a
/// file is out of date.
pub fn run(args: Args) -> Result<()> {
    let files = crateyard_engines::generated(&args.workspace)?;
    let mut drifted = Vec::new();
    for (name, text) in files {
        let path = args.workspace.join(name);
        let there = fs::read_to_string(&path).ok();
        if there.as_deref() == Some(text.as_str()) {
            continue;
        }
        if args.check {
            drifted.push(difference(name, there.as_deref(), &text));
        } else {
            write_to(&path, &text)?;
            print_line(format!("wrote {}", path.display()))?;
        }
    }
    if !drifted.is_empty() {
        bail!(
            "{}\n\nimages.toml or the workspace has changed, or the files were edited: run \
             `assemble dockerfile` and commit what it writes",
            drifted.join("\n")
        );
    }
    Ok(())
}

/// Describes a file that is out of date, with its first line that differs.
fn difference(name: &str, there: Option<&str>, wanted: &str) -> String {
    let Some(there) = there else {
        return format!("{name} is missing");
    };
    let mut there = there.lines();
    let mut number = 0;
    for line in wanted.lines() {
        number += 1;
        let found = there.next();
        if found != Some(line) {
            let found = found.map_or("nothing".to_string(), |found| format!("`{found}`"));
            return format!("{name}:{number}: expected `{line}`, found {found}");
        }
    }
    format!("{name}:{}: expected the end of the file", number + 1)
}
