//! Compares the rebuilds of each engine with the necessary ones, scenario by scenario.
//!
//! Each engine has its own copy of the workspace. The scenarios are steps in this copy: each begins
//! where the last one ended. The engines take turns. The compiled units are observed, not
//! estimated: the derivations that Nix built, and the packages that Cargo reports, inside buildx
//! too.
//!
//! ```no_run
//! use crateyard_bench::{BenchOptions, Scenario, run};
//! use crateyard_engines::Engine;
//!
//! let report = run(&BenchOptions {
//!     workspace: ".".into(),
//!     engines: vec![Engine::Cargo],
//!     scenarios: vec![Scenario::Cold, Scenario::Nothing],
//!     leaf: None,
//!     debian_lock: None,
//!     crateyard: None,
//!     fresh_engine: None,
//!     out: "bench".into(),
//!     add: false,
//! })?;
//! println!("{}", report.markdown());
//! # Ok::<(), anyhow::Error>(())
//! ```

#![warn(unreachable_pub, clippy::undocumented_unsafe_blocks)]

use std::collections::BTreeSet;
use std::path::PathBuf;

use anyhow::{Context, Result};
use crateyard_engines::Engine;

use self::observe::Runner;
use self::report::{Row, Verdict};
use self::subject::Subject;
use self::trial::Trial;

mod edit;
mod expected;
mod lock;
mod observe;
mod report;
mod scenario;
mod subject;
mod trial;

pub use report::Report;
pub use scenario::Scenario;

/// The engines and scenarios to measure, and the place for the results.
pub struct BenchOptions {
    /// The workspace. It is copied, never changed.
    pub workspace: PathBuf,
    /// The engines.
    pub engines: Vec<Engine>,
    /// The scenarios; an empty list means all. They run in their own order.
    pub scenarios: Vec<Scenario>,
    /// The dependency that the leaf bump changes, as `NAME@VERSION`.
    pub leaf: Option<String>,
    /// The lock of the Debian packages, for engines other than Nix [default: debian.lock in the
    /// workspace].
    pub debian_lock: Option<PathBuf>,
    /// The flake with Crateyard's library, if it is not the workspace's.
    pub crateyard: Option<String>,
    /// An engine for buildx that has built nothing, in the form of `DOCKER_HOST`.
    pub fresh_engine: Option<String>,
    /// The directory for the results.
    pub out: PathBuf,
    /// Whether to add to the results there.
    pub add: bool,
}

/// Measures, writes the results after each scenario, and returns them.
///
/// # Errors
/// When a build fails unexpectedly, or an edit changes nothing.
pub fn run(options: &BenchOptions) -> Result<Report> {
    let scenarios: BTreeSet<Scenario> = match options.scenarios.is_empty() {
        true => Scenario::all().collect(),
        false => options.scenarios.iter().copied().collect(),
    };
    let mut report = match options.add {
        true => Report::read(&options.out)?,
        false => Report::default(),
    };
    let of_engine = |engine: Engine| move || format!("the engine {}", engine.name());
    let trials = options.engines.iter().map(|&engine| {
        let trial = Trial::new(&options.workspace, engine, options.crateyard.as_deref());
        trial.with_context(of_engine(engine))
    });
    let trials: Vec<Trial> = trials.collect::<Result<_>>()?;
    let begins_cold = scenarios.contains(&Scenario::Cold);
    let lanes = options.engines.iter().zip(&trials).map(|(&engine, trial)| {
        Lane::new(engine, trial, options, begins_cold).with_context(of_engine(engine))
    });
    let mut lanes: Vec<Lane<'_>> = lanes.collect::<Result<_>>()?;
    for scenario in scenarios {
        for lane in &mut lanes {
            let row = lane.measure(scenario, options.leaf.as_deref());
            report.add(row.with_context(of_engine(lane.engine))?);
            report.write(&options.out)?;
        }
        // The machine's speed changes. So the engines take turns, and another one begins.
        lanes.rotate_left(1);
    }
    Ok(report)
}

/// One engine with its copy of the workspace.
struct Lane<'a> {
    engine: Engine,
    trial: &'a Trial,
    subject: Subject,
    runner: Runner<'a>,
}

impl<'a> Lane<'a> {
    /// Prepares everything that no scenario measures.
    fn new(
        engine: Engine,
        trial: &'a Trial,
        options: &'a BenchOptions,
        begins_cold: bool,
    ) -> Result<Self> {
        eprintln!("{}: getting ready", engine.name());
        let subject = Subject::of(trial.root(), options.leaf.as_deref())?;
        let mut runner = Runner::new(
            engine,
            trial,
            options.debian_lock.as_deref(),
            options.fresh_engine.as_deref(),
        )?;
        runner.prepare(&subject)?;
        if !begins_cold {
            // The first scenario is compared with this build.
            runner.build(Scenario::Nothing, &subject)?;
        }
        Ok(Self {
            engine,
            trial,
            subject,
            runner,
        })
    }

    fn measure(&mut self, scenario: Scenario, leaf: Option<&str>) -> Result<Row> {
        let lacks = self.subject.lacks(scenario);
        if let Some(reason) = lacks.or_else(|| self.runner.lacks(scenario)) {
            return Ok(Row::skipped(self.engine, scenario, reason));
        }
        eprintln!("{}: {}", self.engine.name(), scenario.title());
        if edit::apply(scenario, &self.subject, self.trial)? {
            self.trial.track()?;
        }
        let after = Subject::of(self.trial.root(), leaf)?;
        let expected = expected::of(scenario, self.engine, &self.subject, &after);
        self.subject = after;
        let seen = self.runner.build(scenario, &self.subject)?;
        Ok(Row {
            engine: self.engine,
            scenario,
            verdict: expected.judge(&seen),
            expected: expected.text(),
            expected_images: expected.images_text(),
            seen: Some(seen),
        })
    }
}

/// The verdict of a skipped row is the reason.
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
