//! Plans and builds public workspaces that ship container images. It uses a user's commands, and
//! counts the edits by hand.
//!
//! Run as `cargo run --release -p e2e --bin workspaces -- [NAME...]`: See docs/workspaces.md.
// No code outside a program can reach its items, so `pub` means the same as `pub(crate)`.
#![allow(unreachable_pub)]

// The tests use more of this module than this program does.
#[allow(dead_code)]
#[path = "../checkout.rs"]
mod checkout;
#[path = "../edits.rs"]
mod edits;
#[allow(dead_code)]
#[path = "../engine.rs"]
mod engine;
#[path = "../kept.rs"]
mod kept;
mod markdown;
mod outcome;
#[path = "../said.rs"]
mod said;
mod sources;
mod table;
mod user;

use anyhow::{Result, ensure};
use clap::Parser;
use outcome::Outcome;
use sources::Sources;
use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use table::Workspace;

/// Plans and builds public workspaces, and counts the hand edits that they need
#[derive(Parser)]
struct Args {
    /// Workspaces of tests/workspaces.toml; default: all, or none with --markdown
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// A directory with git repositories that stand for public ones: HOST/OWNER/NAME.git
    #[arg(long, value_name = "DIR")]
    sources: Option<PathBuf>,
    /// The directory for clones and outcomes
    #[arg(long, value_name = "DIR", default_value = "target/workspaces")]
    place: PathBuf,
    /// Also build the image that `assemble init` means, and run it. umoci and runc must be
    /// installed
    #[arg(long)]
    build: bool,
    /// Write the outcomes of all workspaces that are kept as a page
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
}

fn main() -> Result<ExitCode> {
    let args = Args::parse();
    let workspaces = table::read()?;
    fs::create_dir_all(&args.place)?;
    let place = args.place.canonicalize()?;
    let sources = Sources::new(args.sources.as_deref(), &place)?;
    let mut all_good = true;
    for workspace in wanted(&args, &workspaces)? {
        let outcome = user::attempt(workspace, &place, &sources, args.build)?;
        outcome.save(&place)?;
        eprintln!("{}: {}", workspace.name, outcome.verdict());
        all_good &= outcome.failure.is_none();
    }
    if let Some(file) = &args.markdown {
        let outcomes = workspaces
            .into_iter()
            .map(|workspace| Ok((Outcome::load(&workspace.name, &place)?, workspace)))
            .collect::<Result<Vec<_>>>()?;
        fs::write(file, markdown::page(&outcomes))?;
    }
    Ok(match all_good {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

fn wanted<'a>(args: &Args, workspaces: &'a [Workspace]) -> Result<Vec<&'a Workspace>> {
    for name in &args.names {
        ensure!(
            workspaces.iter().any(|workspace| workspace.name == *name),
            "tests/workspaces.toml has no workspace {name:?}"
        );
    }
    let is_wanted = |workspace: &&Workspace| match args.names.is_empty() {
        true => args.markdown.is_none(),
        false => args.names.contains(&workspace.name),
    };
    Ok(workspaces.iter().filter(is_wanted).collect())
}
