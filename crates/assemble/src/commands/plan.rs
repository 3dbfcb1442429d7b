//! `assemble plan`: shows the units of the images' binaries, and simulates builds on other
//! machines.

use anyhow::{Context, Result};
use crateyard_drive::durations::{self, Durations};
use crateyard_drive::pipelining::{self, Choice, Libraries};
use crateyard_drive::schedule::{Graph, Order};
use crateyard_drive::simulate::{self, Gain};
use crateyard_drive::tasks;
use crateyard_flake::{Nix, plan_lock};
use crateyard_nix::{Closure, Store};
use crateyard_report::explain::{Explained, explain};
use crateyard_report::{dot, page};
use crateyard_terminal::write_to as write;
use crateyard_terminal::{count, note, print, print_json, table};
use crateyard_workspace::described::wanted;
use serde::Serialize;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// The number of crates worth speeding up that the simulation names, and the number that it tries.
const GAINS: usize = 5;
const CANDIDATES: usize = 40;

/// Show the units that make up the images, and the reason for each
#[derive(clap::Args)]
pub struct Args {
    /// Show only units whose name contains this
    #[arg(value_name = "NAME")]
    filter: Option<String>,
    /// The workspace: a directory with flake.nix and images.toml
    #[arg(long, value_name = "DIR", default_value = ".")]
    workspace: PathBuf,
    /// Use this store instead of the machine's own
    #[arg(long, value_name = "STORE")]
    store: Option<String>,
    /// Write the plan to the directory plan.lock, from which Nix evaluates without building
    #[arg(long, conflicts_with_all = ["filter", "dot", "html", "cores", "json"])]
    write: bool,
    /// Print the graph for Graphviz
    #[arg(long, conflicts_with_all = ["json", "html", "cores"])]
    dot: bool,
    /// Write the graph into one HTML file; - is standard output
    #[arg(long, value_name = "FILE", conflicts_with_all = ["json", "cores"])]
    html: Option<PathBuf>,
    /// Simulate a build from scratch on machines with this many cores each
    #[arg(
        long,
        value_name = "N,N…",
        value_delimiter = ',',
        value_parser = clap::value_parser!(u16).range(1..)
    )]
    cores: Vec<u16>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Shows the plan.
///
/// # Errors
/// When Nix can't evaluate the workspace.
pub fn run(args: Args) -> Result<()> {
    let nix = Nix {
        store: args.store.clone(),
        extra: Vec::new(),
        ..Nix::default()
    };
    if args.write {
        return keep(&args, &nix);
    }
    let durations = durations::default_path().map(|path| Durations::read(&path));
    let durations = durations.transpose()?.unwrap_or_default();
    if !args.cores.is_empty() {
        return simulate(&args, &nix, &durations);
    }
    let plan = read_plan(&args, &nix)?;
    let mut units = explain(&plan, |name| durations.seconds(name));
    if let Some(out) = &args.html {
        return write(out, &page::of_plan(&units));
    }
    if args.dot {
        return print(&dot::graph(&units));
    }
    if let Some(filter) = &args.filter {
        units.retain(|unit| unit.name.contains(filter));
        if units.is_empty() {
            note!("{}", no_unit(filter, &wanted(&args.workspace, &[])?));
        }
    }
    match args.json {
        true => print_json(&units),
        false => print(&list(&units)),
    }
}

/// Says that no unit has a filter in its name, and why an image is none.
fn no_unit(filter: &str, images: &[String]) -> String {
    let is_image = images.iter().any(|image| image == filter);
    let why = if is_image { ": it is an image" } else { "" };
    format!(
        "no unit has {filter:?} in its name{why}\n  try: the name of a package or a binary, or \
         none for the units of all images"
    )
}

/// Writes the plan to the workspace.
fn keep(args: &Args, nix: &Nix) -> Result<()> {
    crateyard_workspace::git::check(&args.workspace)?;
    let flake = nix.flake(&args.workspace)?;
    let place = args.workspace.join(plan_lock::NAME);
    let place = place.display();
    match plan_lock::write(&args.workspace, nix, &flake)? {
        true => print(&format!(
            "wrote {place}; Nix sees it once git tracks it: git add {place}\n"
        )),
        false => print(&format!("{place} is current\n")),
    }
}

fn read_plan(args: &Args, nix: &Nix) -> Result<crateyard_plan::Plan> {
    crateyard_workspace::git::check(&args.workspace)?;
    let flake = nix.flake(&args.workspace)?;
    let built = nix.build(&flake, "", &["plan".to_owned()], None)?;
    let built = built.first().context("nix built no plan")?;
    let mut plans = plans_in(built, &Store::new(args.store.clone()))?.into_iter();
    let first = plans.next().context("nix built no plan")?;
    Ok(plans.fold(first, |mut all, plan| {
        all.units.extend(plan.units);
        all.programs.extend(plan.programs);
        all
    }))
}

/// Reads the plans that Nix built: one for each call of Cargo if images have different settings
/// (`plansOf` of nix/images.nix), otherwise a single one.
fn plans_in(built: &Path, store: &Store) -> Result<Vec<crateyard_plan::Plan>> {
    let directory = store.physical(built);
    if directory.join("plan.json").exists() {
        return Ok(vec![parse_plan(&directory)?]);
    }
    let directory = directory.join("calls");
    let entries = std::fs::read_dir(&directory)
        .with_context(|| format!("cannot list {}", directory.display()))?;
    let mut calls = entries
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<Vec<PathBuf>>>()?;
    calls.sort();
    let parse_call = |call: &PathBuf| parse_plan(&store.physical(std::fs::read_link(call)?));
    calls.iter().map(parse_call).collect()
}

fn parse_plan(directory: &Path) -> Result<crateyard_plan::Plan> {
    let path = directory.join("plan.json");
    let text = std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
    serde_json::from_slice(&text).with_context(|| format!("{} is not a plan", path.display()))
}

/// Formats a line for each unit, or the full unit if it is the only one.
fn list(units: &[Explained]) -> String {
    if let [unit] = units {
        return details(unit);
    }
    let rows = units.iter().map(|unit| {
        vec![
            unit.name.clone(),
            unit.kind.clone(),
            unit.platform.clone(),
            unit.seconds.map_or(String::new(), |s| format!("{s:.2} s")),
            count(unit.dependents.len(), "dependent"),
            unit.because.first().cloned().unwrap_or_default(),
            unit.features.join(","),
        ]
    });
    let head = [
        "unit",
        "target",
        "for",
        "took",
        "used by",
        "because of",
        "features",
    ];
    let head = head.map(str::to_owned).to_vec();
    let rows: Vec<Vec<String>> = std::iter::once(head).chain(rows).collect();
    let programs: std::collections::BTreeSet<&String> =
        units.iter().flat_map(|unit| &unit.programs).collect();
    table(&rows, "", &[3])
        + &format!(
            "{} for {}\n",
            count(units.len(), "unit"),
            count(programs.len(), "program")
        )
}

fn details(unit: &Explained) -> String {
    let because: Vec<String> = unit
        .because
        .iter()
        .map(|name| format!("→ {name}"))
        .collect();
    let rows = [
        ("unit", unit.key.clone()),
        ("package", format!("{} {}", unit.package, unit.version)),
        ("target", unit.kind.clone()),
        ("for", unit.platform.clone()),
        ("features", unit.features.join(", ")),
        ("profile", unit.profile.join(" ")),
        (
            "took",
            unit.seconds.map_or(String::new(), |s| format!("{s:.2} s")),
        ),
        ("needed for", unit.programs.join(", ")),
        ("because", because.join(" ")),
        ("uses", unit.dependencies.join(" ")),
        ("used by", unit.dependents.join(" ")),
    ];
    let rows = rows.map(|(name, value)| vec![name.to_owned(), value]);
    table(&rows, "", &[])
}

/// The simulation of a cold build on one machine. Times are in seconds.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Machine {
    cores: usize,
    /// The time if units start in the order of their names, as with Nix.
    by_name: f64,
    /// The time if the units on the longest path start first.
    longest_path_first: f64,
    /// The work divided by the number of cores, or the longest path, whichever is longer. No order
    /// is faster.
    bound: f64,
    /// The crates worth speeding up, with the time that the build saves if a crate takes half as
    /// long.
    attack: Vec<Gain>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Forecast {
    derivations: usize,
    /// The number of units with a known time. The times of the others are estimated from the size
    /// of their source.
    known: usize,
    /// The time on one core.
    work: f64,
    longest_path: f64,
    machines: Vec<Machine>,
}

fn simulate(args: &Args, nix: &Nix, durations: &Durations) -> Result<()> {
    let images = wanted(&args.workspace, &[])?;
    let attributes: Vec<String> = images.iter().map(|name| format!("{name}-image")).collect();
    crateyard_workspace::git::check(&args.workspace)?;
    let flake = nix.flake(&args.workspace)?;
    let roots = nix.images(&flake, &attributes)?;
    let store = Store::new(args.store.clone());
    let closure = Closure::read(&store, &roots)?;
    // Sources are present before a build begins.
    let nodes = closure.nodes.iter().enumerate();
    let chosen = nodes.filter(|(_, node)| !node.derivation.is_download());
    let chosen: BTreeSet<usize> = chosen.map(|(index, _)| index).collect();
    let libraries = pipelining::libraries(&closure, &chosen);
    let graph = tasks::graph(&store, &closure, &chosen, durations)?;
    let names = graph.tasks().iter().map(|task| task.name.as_str());
    let forecast = Forecast {
        derivations: chosen.len(),
        known: names
            .filter(|name| durations.seconds(name).is_some())
            .count(),
        work: graph.work(),
        longest_path: graph.longest_path(),
        machines: args
            .cores
            .iter()
            .map(|&cores| machine(&graph, &chosen, &libraries, cores.into()))
            .collect::<Result<_>>()?,
    };
    match args.json {
        true => print_json(&forecast),
        false => print(&forecast_text(&forecast)),
    }
}

/// Simulates a machine. The number of cores decides how the driver gets metadata; plain Nix always
/// builds it.
fn machine(
    graph: &Graph,
    chosen: &BTreeSet<usize>,
    libraries: &Libraries,
    cores: usize,
) -> Result<Machine> {
    let choice = Choice {
        graph,
        chosen,
        libraries,
        order: Order::LongestPath,
        jobs: cores,
    };
    let driven = choice.make(|_| false)?.graph;
    let mut attack = simulate::worth_attacking(&driven, cores, CANDIDATES);
    attack.retain(|gain| gain.gain > 0.0);
    attack.truncate(GAINS);
    Ok(Machine {
        cores,
        by_name: simulate::simulate(graph, Order::Name, cores).seconds,
        longest_path_first: simulate::simulate(&driven, Order::LongestPath, cores).seconds,
        bound: simulate::bound(&driven, cores),
        attack,
    })
}

fn forecast_text(forecast: &Forecast) -> String {
    let time = |seconds: f64| format!("{seconds:.1} s");
    let head = [
        "cores",
        "by name",
        "longest path first",
        "bound",
        "most gained by halving",
    ];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    for machine in &forecast.machines {
        let attack = machine.attack.iter().take(3);
        let attack: Vec<String> = attack
            .map(|gain| format!("{} (−{:.1} of {:.1} s)", gain.name, gain.gain, gain.seconds))
            .collect();
        rows.push(vec![
            machine.cores.to_string(),
            time(machine.by_name),
            time(machine.longest_path_first),
            time(machine.bound),
            attack.join(", "),
        ]);
    }
    format!(
        "{}: {} of work, longest path {}; {} known, the others guessed from their sources\n",
        count(forecast.derivations, "derivation"),
        time(forecast.work),
        time(forecast.longest_path),
        forecast.known,
    ) + &table(&rows, "", &[0, 1, 2, 3])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_told_from_a_unit() {
        let images = ["shop-api".to_owned()];
        let said = no_unit("shop-api", &images);
        assert!(said.starts_with("no unit has \"shop-api\" in its name: it is an image\n"));
        let said = no_unit("shop", &images);
        assert!(said.starts_with("no unit has \"shop\" in its name\n"));
    }
}
