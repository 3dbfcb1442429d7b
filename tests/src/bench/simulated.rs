//! What Cargo and the driver would make of the same units on machines with other numbers of cores.
//!
//! Both get the durations that Cargo itself has measured (`cargo build --timings`), each unit one core.
//! Cargo starts a unit once the metadata of its libraries is there (pipelining) and prefers the one that
//! most others wait for; the driver waits for whole libraries, goes by the longest path, and pays Nix
//! for each unit.

use anyhow::{Context, Result, ensure};
use drive::schedule::{Graph, Order, Task};
use drive::simulate::simulate;
use plan::{Package, Plan, Planned};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use unit::{Action, TargetKind};

/// The cores of the machines.
const CORES: [usize; 5] = [2, 4, 8, 16, 64];

/// One simulated machine; times in seconds.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Simulated {
    /// The machine's cores.
    pub cores: usize,
    /// Cargo with pipelining.
    pub cargo: f64,
    /// The driver.
    pub driven: f64,
    /// The same units in Nix's order.
    pub by_name: f64,
}

/// What Cargo's report has of a unit.
#[derive(Deserialize)]
struct Timing {
    name: String,
    version: String,
    /// Empty for a library; else such as ` build script`, ` build script (run)`, ` bin "gateway"`.
    target: String,
    duration: f64,
    /// When metadata was there, in seconds from the unit's start.
    rmeta_time: Option<f64>,
}

/// A unit that is run by Cargo.
struct Unit {
    name: String,
    inputs: Vec<Input>,
    seconds: f64,
    /// When those can start that need its metadata alone.
    metadata: f64,
}

struct Input {
    unit: usize,
    /// Whether the whole library is needed, and not its metadata alone.
    whole: bool,
}

/// Simulates the units of a plan with the durations of Cargo's report of them (HTML).
/// `overhead` is what Nix costs for a unit, in seconds.
///
/// # Errors
/// When the report can't be read, or lacks a unit.
pub fn simulated(plan: &Plan, report: &str, overhead: f64) -> Result<Vec<Simulated>> {
    let units = units(plan, report)?;
    let tasks = units.iter().map(|unit| Task {
        name: unit.name.clone(),
        inputs: unit.inputs.iter().map(|input| input.unit).collect(),
        seconds: unit.seconds + overhead,
    });
    let graph = Graph::new(tasks.collect())?;
    let machines = CORES.into_iter().map(|cores| Simulated {
        cores,
        cargo: by_cargo(&units, cores),
        driven: simulate(&graph, Order::LongestPath, cores).seconds,
        by_name: simulate(&graph, Order::Name, cores).seconds,
    });
    Ok(machines.collect())
}

fn units(plan: &Plan, report: &str) -> Result<Vec<Unit>> {
    let mut timings: BTreeMap<(String, String, String), Vec<Timing>> = BTreeMap::new();
    for timing in timings_in(report)? {
        let kind = kind_in_report(&timing.target).to_owned();
        let key = (timing.name.clone(), timing.version.clone(), kind);
        timings.entry(key).or_default().push(timing);
    }
    let index: BTreeMap<&String, usize> = plan.units.keys().zip(0..).collect();
    let mut units = Vec::new();
    for (key, planned) in &plan.units {
        let Package { name, version, .. } = &planned.package;
        let timing = timings.get_mut(&(name.clone(), version.clone(), kind_of(planned)));
        // A library for the machine and for the target are told apart by nothing in the report.
        let timing = timing
            .and_then(Vec::pop)
            .with_context(|| format!("Cargo's report has no {key}"))?;
        let inputs = planned.dependencies.iter().map(|input| Input {
            unit: index[input],
            whole: !takes_metadata(planned, input),
        });
        units.push(Unit {
            name: key.clone(),
            inputs: inputs.collect(),
            seconds: timing.duration,
            metadata: timing.rmeta_time.unwrap_or(timing.duration),
        });
    }
    Ok(units)
}

/// The list in the report's script.
fn timings_in(report: &str) -> Result<Vec<Timing>> {
    let (_, list) = report
        .split_once("const UNIT_DATA = ")
        .context("Cargo's report has no list of units")?;
    let mut values = serde_json::Deserializer::from_str(list).into_iter();
    let timings: Vec<Timing> = values.next().context("the list is empty")??;
    ensure!(!timings.is_empty(), "Cargo has compiled nothing");
    Ok(timings)
}

fn kind_of(planned: &Planned) -> String {
    match &planned.unit.action {
        Action::Compile { target, .. } => match target.kind {
            TargetKind::BuildScript => "build-script".to_owned(),
            TargetKind::Bin => target.name.clone(),
            _ => String::new(),
        },
        _ => "run".to_owned(),
    }
}

fn kind_in_report(target: &str) -> &str {
    match target {
        run if run.ends_with("(run)") => "run",
        script if script.starts_with(" build") => "build-script",
        named => named.split('"').nth(1).unwrap_or(""),
    }
}

/// Whether rustc is called with the metadata of a unit and not with the library.
fn takes_metadata(planned: &Planned, input: &str) -> bool {
    let hash = input.rsplit('-').next().unwrap_or(input);
    let wanted = format!("-{hash}.rmeta");
    match &planned.unit.action {
        Action::Compile { args, .. } => args.iter().any(|arg| arg.ends_with(&wanted)),
        _ => false,
    }
}

/// Cargo's job queue with this many jobs: seconds until all is done.
fn by_cargo(units: &[Unit], jobs: usize) -> f64 {
    let mut dependents: Vec<Vec<(usize, bool)>> = units.iter().map(|_| Vec::new()).collect();
    for (index, unit) in units.iter().enumerate() {
        for input in &unit.inputs {
            dependents[input.unit].push((index, input.whole));
        }
    }
    let waiting_for = waiting_for(&dependents);
    let mut missing: Vec<usize> = units.iter().map(|unit| unit.inputs.len()).collect();
    let mut ready: Vec<usize> = (0..units.len())
        .filter(|&unit| missing[unit] == 0)
        .collect();
    // What happens when: metadata, or the end.
    let mut events: Vec<(f64, usize, bool)> = Vec::new();
    let (mut now, mut running) = (0.0, 0);
    loop {
        while running < jobs && !ready.is_empty() {
            ready.sort_by_key(|&unit| (waiting_for[unit], std::cmp::Reverse(unit)));
            let Some(next) = ready.pop() else { break };
            events.push((now + units[next].metadata, next, false));
            events.push((now + units[next].seconds, next, true));
            running += 1;
        }
        let first = (0..events.len()).min_by(|&a, &b| {
            let ((a, unit_a, end_a), (b, unit_b, end_b)) = (events[a], events[b]);
            a.total_cmp(&b).then((unit_a, end_a).cmp(&(unit_b, end_b)))
        });
        let Some(first) = first else { return now };
        let (time, unit, is_end) = events.swap_remove(first);
        now = time;
        running -= usize::from(is_end);
        for &(dependent, whole) in &dependents[unit] {
            if whole == is_end {
                missing[dependent] -= 1;
                if missing[dependent] == 0 {
                    ready.push(dependent);
                }
            }
        }
    }
}

/// How many others wait for each unit, directly or not: what Cargo goes by.
fn waiting_for(dependents: &[Vec<(usize, bool)>]) -> Vec<usize> {
    let count = |unit: usize| {
        let mut seen = BTreeSet::new();
        let mut pending = vec![unit];
        while let Some(unit) = pending.pop() {
            for &(dependent, _) in &dependents[unit] {
                if seen.insert(dependent) {
                    pending.push(dependent);
                }
            }
        }
        seen.len()
    };
    (0..dependents.len()).map(count).collect()
}
