//! `assemble dockerfile`: writes the description as a Dockerfile, a bake file and an ignore file.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use crateyard_terminal::print_line;

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
            write(&path, &text).with_context(|| format!("can't write `{}`", path.display()))?;
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

/// Writes a temporary file beside `path` and renames it, so that `path` is never incomplete.
fn write(path: &Path, text: &str) -> std::io::Result<()> {
    let directory = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    let mut file = tempfile::Builder::new()
        .permissions(fs::Permissions::from_mode(0o644))
        .tempfile_in(directory.unwrap_or(Path::new(".")))?;
    file.write_all(text.as_bytes())?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    Ok(())
}
