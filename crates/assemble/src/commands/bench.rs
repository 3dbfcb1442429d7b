//! `assemble bench`: compares the rebuilds of each engine with the necessary ones, scenario by
//! scenario.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use crateyard_bench::{BenchOptions, Scenario, run as measure};
use crateyard_engines::Engine;
use crateyard_terminal::{note, print};

const EXAMPLES: &str = "\
Examples:
  assemble bench --out bench --leaf httpdate@1.0.2
  assemble bench --engines nix,cargo --scenarios cold,nothing
  assemble bench --engines buildx --add --fresh-engine unix:///run/fresh.sock

Writes bench.tsv, bench.md, bench.json and bench.svg.

Exit codes: 0, or 1 if an engine built more or less than it should, and for errors.";

/// Measure which parts Nix, buildx and Cargo build again after an edit, side by side
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The workspace, which is copied and never changed
    #[arg(long, value_name = "DIR", default_value = ".")]
    workspace: PathBuf,

    /// The engines to measure
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        value_name = "ENGINES",
        default_values = ["nix", "buildx", "cargo"]
    )]
    engines: Vec<Engine>,

    /// Run only these scenarios, in their own order, and skip those in between
    #[arg(long, value_enum, value_delimiter = ',', value_name = "SCENARIOS")]
    scenarios: Vec<Scenario>,

    /// The dependency whose version one scenario changes; its dependents must accept the new one
    #[arg(long, value_name = "NAME@VERSION")]
    leaf: Option<String>,

    /// The lock of the Debian packages, for engines other than nix [default: debian.lock in the
    /// workspace]
    #[arg(long, value_name = "FILE")]
    debian_lock: Option<PathBuf>,

    /// The flake with Crateyard's library, for a workspace whose own flake should not be used
    #[arg(long, value_name = "FLAKE")]
    crateyard: Option<String>,

    /// An engine that has built nothing, in the form of DOCKER_HOST. Without it buildx skips the
    /// fresh runner
    #[arg(long, value_name = "HOST")]
    fresh_engine: Option<String>,

    /// The directory for the results
    #[arg(long, value_name = "DIR", default_value = "bench")]
    out: PathBuf,

    /// Add to the existing results; rows of the same scenario and engine are replaced
    #[arg(long)]
    add: bool,
}

/// Runs the command.
///
/// # Errors
/// When a build fails unexpectedly, or an edit changes nothing.
pub fn run(args: Args) -> Result<ExitCode> {
    let report = measure(&BenchOptions {
        workspace: args.workspace,
        engines: args.engines,
        scenarios: args.scenarios,
        leaf: args.leaf,
        debian_lock: args.debian_lock,
        crateyard: args.crateyard,
        fresh_engine: args.fresh_engine,
        out: args.out.clone(),
        add: args.add,
    })?;
    print(&report.markdown())?;
    note!(
        "written to {}: bench.tsv, bench.md, bench.json, bench.svg",
        args.out.display()
    );
    Ok(match report.has_failed() {
        true => ExitCode::FAILURE,
        false => ExitCode::SUCCESS,
    })
}
