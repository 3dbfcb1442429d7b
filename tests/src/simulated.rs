//! Simulates Cargo and the driver with the same units on machines with other numbers of cores.
//!
//! Both use the durations that Cargo measured (`cargo build --timings`) and one core for each unit.
//! Cargo starts a library when the metadata of its dependencies is ready, starts linking when all
//! code is ready, and prefers the unit that most others wait for. The driver prefers the longest
//! path, and pays Nix's overhead for each unit. A metadata unit takes as long as Cargo's report
//! says, or is taken from the library.

use anyhow::{Context, Result, ensure};
use crateyard_drive::pipelining::Choice;
use crateyard_drive::schedule::{Graph, Order, Task};
use crateyard_drive::simulate::simulate;
use crateyard_plan::{Package, Plan, Planned, pipelining};
use crateyard_unit::{Action, TargetKind};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

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
    /// All units in Nix's order.
    pub by_name: f64,
}

/// A unit in Cargo's report.
#[derive(Deserialize)]
struct Timing {
    name: String,
    version: String,
    /// The kind of target. It is empty for a library, otherwise a text such as ` build script`, `
    /// build script (run)` or ` bin "gateway"`.
    target: String,
    duration: f64,
    /// The time when the metadata was ready, in seconds since the unit's start.
    rmeta_time: Option<f64>,
}

impl Timing {
    /// Returns the time when the metadata was ready, or the end if the report does not say.
    fn metadata(&self) -> f64 {
        self.rmeta_time.unwrap_or(self.duration)
    }
}

/// A unit that Cargo runs.
struct Unit {
    inputs: Vec<Input>,
    seconds: f64,
    /// The duration until units that need only the metadata can start.
    metadata: f64,
}

struct Input {
    unit: usize,
    /// Whether the whole library is needed, and not only its metadata.
    whole: bool,
}

/// Simulates the units of a plan with the durations in Cargo's report on them (HTML). `overhead` is
/// Nix's overhead for a unit, in seconds.
///
/// # Errors
/// When the report can't be read, or lacks a unit.
pub fn simulated(plan: &Plan, report: &str, overhead: f64) -> Result<Vec<Simulated>> {
    let timings = timings_of(plan, report)?;
    let units = cargos(plan, &timings);
    let driver = Driver::new(plan, &timings, overhead)?;
    let machine = |cores| {
        Ok(Simulated {
            cores,
            cargo: by_cargo(&units, cores),
            driven: driver.seconds(cores)?,
            by_name: simulate(&driver.graph, Order::Name, cores).seconds,
        })
    };
    CORES.into_iter().map(machine).collect()
}

/// The units of the driver.
struct Driver {
    graph: Graph,
    /// Maps metadata units to their libraries.
    libraries: BTreeMap<usize, usize>,
}

impl Driver {
    fn new(plan: &Plan, timings: &BTreeMap<&String, Timing>, overhead: f64) -> Result<Self> {
        let index: BTreeMap<&String, usize> = plan.units.keys().zip(0..).collect();
        let mut tasks = Vec::new();
        let mut libraries = BTreeMap::new();
        for (key, planned) in &plan.units {
            let library = pipelining::library_of(key, planned);
            let seconds = match &library {
                Some(library) => timings[library].metadata(),
                None => timings[key].duration,
            };
            libraries.extend(library.map(|library| (tasks.len(), index[&library])));
            tasks.push(Task {
                name: planned.unit.name.clone(),
                inputs: planned.dependencies.iter().map(|key| index[key]).collect(),
                seconds: seconds + overhead,
            });
        }
        Ok(Self {
            graph: Graph::new(tasks)?,
            libraries,
        })
    }

    fn seconds(&self, cores: usize) -> Result<f64> {
        let order = Order::LongestPath;
        let choice = Choice {
            graph: &self.graph,
            chosen: &(0..self.graph.tasks().len()).collect(),
            libraries: &self.libraries,
            order,
            jobs: cores,
        };
        let taken = choice.make(|_| false)?;
        Ok(simulate(&taken.graph, order, cores).seconds)
    }
}

/// Returns the units of Cargo, which has no separate units for metadata.
fn cargos(plan: &Plan, timings: &BTreeMap<&String, Timing>) -> Vec<Unit> {
    let index: BTreeMap<&String, usize> = timings.keys().copied().zip(0..).collect();
    let unit = |key: &&String| {
        let planned = &plan.units[*key];
        let inputs = inputs_of(plan, planned).into_iter();
        Unit {
            inputs: inputs
                .map(|(key, whole)| Input {
                    unit: index[&key],
                    whole,
                })
                .collect(),
            seconds: timings[*key].duration,
            metadata: timings[*key].metadata(),
        }
    };
    timings.keys().map(unit).collect()
}

/// Maps each input to whether the whole of it is needed. A linked unit waits for all code below it.
/// Cargo adds these inputs itself:
/// <https://github.com/rust-lang/cargo/blob/0.86.0/src/cargo/core/compiler/job_queue/mod.rs>
/// (`enqueue`).
fn inputs_of(plan: &Plan, planned: &Planned) -> BTreeMap<String, bool> {
    let links = pipelining::takes_whole_libraries(planned);
    let mut below: BTreeSet<String> = planned.dependencies.iter().cloned().collect();
    if links {
        below.extend(pipelining::libraries_below(plan, planned));
    }
    let inputs = below.into_iter().map(|key| {
        let whole = links || !takes_metadata(planned, &key);
        let library = pipelining::library_of(&key, &plan.units[&key]);
        (library.unwrap_or(key), whole)
    });
    inputs.collect()
}

/// Returns the entry of each unit in Cargo's report.
fn timings_of<'a>(plan: &'a Plan, report: &str) -> Result<BTreeMap<&'a String, Timing>> {
    let mut timings: BTreeMap<(String, String, String), Vec<Timing>> = BTreeMap::new();
    for timing in timings_in(report)? {
        let kind = kind_in_report(&timing.target).to_owned();
        let key = (timing.name.clone(), timing.version.clone(), kind);
        timings.entry(key).or_default().push(timing);
    }
    for same in timings.values_mut() {
        same.sort_by(|a, b| a.duration.total_cmp(&b.duration));
    }
    let mut found = BTreeMap::new();
    let mut units: Vec<_> = pipelining::cargos(plan).collect();
    // The report does not distinguish a library for the host from the same library for the target.
    // The latter is optimized and takes longer.
    units.sort_by_key(|(_, planned)| !pipelining::is_optimized(planned));
    for (key, planned) in units {
        let Package { name, version, .. } = &planned.package;
        let timing = timings
            .get_mut(&(name.clone(), version.clone(), kind_of(planned)))
            .and_then(Vec::pop)
            .with_context(|| format!("Cargo's report has no {key}"))?;
        found.insert(key, timing);
    }
    Ok(found)
}

/// Returns the list in the report's script.
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

/// Whether rustc gets the metadata of a unit instead of the library.
fn takes_metadata(planned: &Planned, input: &str) -> bool {
    let hash = input.rsplit('-').next().unwrap_or(input);
    let wanted = format!("-{hash}.rmeta");
    match &planned.unit.action {
        Action::Compile { args, .. } => args.iter().any(|arg| arg.ends_with(&wanted)),
        _ => false,
    }
}

/// Simulates Cargo's job queue with this many jobs. Returns the seconds until all units are done.
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
    // Events: the metadata or the end of a unit.
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

/// Counts the other units that wait for each unit, directly or not. This is Cargo's priority.
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
