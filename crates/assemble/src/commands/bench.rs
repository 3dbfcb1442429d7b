//! `assemble bench`: compares the rebuilds of each engine with the necessary ones, scenario by
//! scenario.
//!
//! Each engine has its own copy of the workspace. The scenarios are steps in it: each begins where
//! the last one ended. The compiled units are observed, not estimated: derivations that Nix built,
//! packages that Cargo reports, inside buildx too.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};

use self::observe::Runner;
use self::report::{Report, Row, Verdict};
use self::scenario::{Scenario, Subject};
use self::trial::Trial;
use crate::engine::Engine;

mod observe;
mod report;
mod scenario;
mod trial;

const EXAMPLES: &str = "\
Examples:
  assemble bench --out bench --leaf httpdate@1.0.2
  assemble bench --engines nix,cargo --scenarios cold,nothing
  assemble bench --engines buildx --add --fresh-engine unix:///run/fresh.sock

Writes bench.tsv, bench.md, bench.json and bench.svg. Exit codes: 0, or 1 where something was built that should not have been, or
was not that should have been; 1 also for errors.";

/// Measure which parts Nix, buildx and Cargo build again after an edit, side by side
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The workspace. It is copied, never changed
    #[arg(long, value_name = "DIR", default_value = ".")]
    workspace: PathBuf,

    /// The engines to measure
    #[arg(long, value_enum, value_delimiter = ',', value_name = "ENGINES", default_values = ["nix", "buildx", "cargo"])]
    engines: Vec<Engine>,

    /// Run only these scenarios, in their own order, and skip those in between
    #[arg(long, value_enum, value_delimiter = ',', value_name = "SCENARIOS")]
    scenarios: Vec<Scenario>,

    /// The dependency that the leaf bump changes. Its dependents must accept the new version
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
    let scenarios: BTreeSet<Scenario> = match args.scenarios.is_empty() {
        true => Scenario::all().collect(),
        false => args.scenarios.iter().copied().collect(),
    };
    let mut report = match args.add {
        true => Report::read(&args.out)?,
        false => Report::default(),
    };
    for engine in &args.engines {
        measure(*engine, &scenarios, &args, &mut report)
            .with_context(|| format!("the engine {}", engine.name()))?;
    }
    print!("{}", report.markdown());
    eprintln!(
        "written to {}: bench.tsv, bench.md, bench.json, bench.svg",
        args.out.display()
    );
    Ok(match report.has_failed() {
        true => ExitCode::FAILURE,
        false => ExitCode::SUCCESS,
    })
}

fn measure(
    engine: Engine,
    scenarios: &BTreeSet<Scenario>,
    args: &Args,
    report: &mut Report,
) -> Result<()> {
    let trial = Trial::new(&args.workspace, engine, args.crateyard.as_deref())?;
    let mut subject = Subject::of(trial.root(), args.leaf.as_deref())?;
    let mut runner = Runner::new(
        engine,
        &trial,
        args.debian_lock.as_deref(),
        args.fresh_engine.as_deref(),
    )?;
    eprintln!("{}: getting ready", engine.name());
    runner.prepare(&subject)?;
    if !scenarios.contains(&Scenario::Cold) {
        // The first scenario is compared with this build.
        runner.build(Scenario::Nothing, &subject)?;
    }
    for scenario in scenarios {
        if let Some(reason) = subject.lacks(*scenario).or_else(|| runner.lacks(*scenario)) {
            report.add(Row::skipped(engine, *scenario, reason));
            report.write(&args.out)?;
            continue;
        }
        eprintln!("{}: {}", engine.name(), scenario.title());
        let edited = scenario.apply(&subject, &trial)?;
        if edited {
            trial.track()?;
        }
        let before = subject;
        subject = Subject::of(trial.root(), args.leaf.as_deref())?;
        let expected = scenario.expected(engine, &before, &subject);
        let seen = runner.build(*scenario, &subject)?;
        report.add(Row {
            engine,
            scenario: *scenario,
            verdict: expected.judge(&seen),
            expected: expected.text(),
            expected_images: expected.images_text(),
            seen: Some(seen),
        });
        report.write(&args.out)?;
    }
    Ok(())
}

/// For a skipped row the verdict is the reason.
impl Row {
    fn skipped(engine: Engine, scenario: Scenario, reason: String) -> Row {
        Row {
            engine,
            scenario,
            verdict: Verdict::Skipped(reason),
            expected: String::new(),
            expected_images: String::new(),
            seen: None,
        }
    }
}
