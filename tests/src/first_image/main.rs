//! Records the way from an empty store to a container that answers: docs/first-image.md.
//!
//! Run as root: `cargo run -p e2e --bin first-image -- --assemble FILE`.
// No code outside a program can reach its items, so `pub` means the same as `pub(crate)`.
#![allow(unreachable_pub)]

// The tests use more of these modules than this program does.
#[allow(dead_code)]
#[path = "../checkout.rs"]
mod checkout;
mod machine;
mod page;
mod recording;

use anyhow::{Context, Result};
use checkout::repository;
use clap::Parser;
use machine::Machine;
use recording::{Step, record};
use std::fs;
use std::path::PathBuf;

/// Records the way from an empty store to a container that answers
#[derive(Parser)]
struct Args {
    /// The command line to type with, such as bin/assemble of `nix build .#assemble-static`
    #[arg(long, value_name = "FILE")]
    assemble: PathBuf,
    /// The page to write
    #[arg(long, value_name = "FILE", default_value = "docs/first-image.md")]
    page: PathBuf,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let assemble = args.assemble.canonicalize();
    let assemble = assemble.with_context(|| format!("cannot read {}", args.assemble.display()))?;
    let machine = Machine::new(&assemble)?;
    let steps = record(&machine)?;
    fs::write(&args.page, page::page(&steps))
        .with_context(|| format!("cannot write {}", args.page.display()))?;
    Ok(())
}
