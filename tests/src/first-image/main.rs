//! Records the way from an empty store to a container that answers: docs/first-image.md.
//!
//! Run as root: `cargo run -p e2e --bin first-image -- --assemble FILE`.
// Nothing outside a program can reach its items, so `pub` says the same as `pub(crate)`.
#![allow(unreachable_pub)]

// The tests use more of these modules than this program does.
#[allow(dead_code)]
#[path = "../checkout.rs"]
mod checkout;
mod machine;
mod page;

use anyhow::{Context, Result, ensure};
use checkout::repository;
use clap::Parser;
use machine::Machine;
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

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

/// A line that was typed.
struct Step {
    /// The line, as a reader types it.
    line: String,
    /// Its output and errors, in order.
    said: String,
    took: Duration,
}

/// The service that a newcomer has: one package, no dependencies.
const SERVICE: &str = "nix/templates/service/src/main.rs";

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

fn record(machine: &Machine) -> Result<Vec<Step>> {
    let mut steps = Vec::new();
    let mut run = |line: &str| -> Result<()> {
        steps.push(typed(machine, line)?);
        Ok(())
    };
    run("cargo new --quiet hello")?;
    fs::copy(
        repository().join(SERVICE),
        machine.workspace().join("src/main.rs"),
    )?;
    let url = format!("git+file://{}", repository().display());
    run(&format!("assemble init --crateyard {url}"))?;
    run("git add Cargo.lock Cargo.toml src flake.nix images.toml")?;
    run("assemble fetch")?;
    run("assemble build hello")?;
    run("assemble load hello --into podman")?;
    run("podman run --detach --publish 8080:8080 hello:0.1.0")?;
    steps.push(answered(machine)?);
    Ok(steps)
}

fn typed(machine: &Machine, line: &str) -> Result<Step> {
    eprintln!("$ {line}");
    let start = Instant::now();
    let output = machine.shell(line)?;
    let took = start.elapsed();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    eprintln!("{said}({:.1} s)", took.as_secs_f64());
    ensure!(
        output.status.success(),
        "`{line}` ended with {}",
        output.status
    );
    Ok(Step {
        line: line.to_owned(),
        said,
        took,
    })
}

/// Asks the container until it answers.
fn answered(machine: &Machine) -> Result<Step> {
    let line =
        "curl --silent --retry 40 --retry-delay 1 --retry-all-errors http://127.0.0.1:8080/first";
    let step = typed(machine, line)?;
    ensure!(
        step.said.contains("you asked for /first"),
        "the container answered {:?}",
        step.said
    );
    Ok(step)
}
