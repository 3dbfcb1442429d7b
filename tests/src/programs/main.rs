//! Builds programs of crates.io by units and by plain Cargo, and compares.
//!
//! Run as `cargo run --release -p e2e --bin programs -- [NAME...]`: See docs/programs.md.
// No code outside a program can reach its items, so `pub` means the same as `pub(crate)`.
#![allow(unreachable_pub)]

// The tests use more of these modules than this program does.
#[allow(dead_code)]
#[path = "../checkout.rs"]
mod checkout;
#[allow(dead_code)]
#[path = "../cold.rs"]
mod cold;
mod compare;
#[path = "../edits.rs"]
mod edits;
#[allow(dead_code)]
#[path = "../engine.rs"]
mod engine;
#[path = "../kept.rs"]
mod kept;
mod markdown;
#[allow(dead_code)]
#[path = "../nix.rs"]
mod nix;
mod outcome;
#[allow(dead_code)]
#[path = "../own_cargo.rs"]
mod own_cargo;
#[path = "../said.rs"]
mod said;
#[path = "../simulated.rs"]
mod simulated;
mod sources;
mod table;

use anyhow::{Context, Result, ensure};
use clap::{Parser, ValueEnum};
use cold::Cold;
use compare::Known;
use crateyard_plan::Plan;
use crateyard_unit::TargetKind;
use outcome::{Again, Failure, Outcome, Step};
use own_cargo::{OwnCargo, Side};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use table::Program;
use tempfile::TempDir;

/// Builds programs of crates.io by units and by plain Cargo, and compares
#[derive(Parser)]
struct Args {
    /// Programs of tests/programs.toml; default: all, or none with --markdown or --json
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// Cold builds of each sort
    #[arg(long, value_name = "N", default_value_t = 1)]
    repetitions: usize,
    /// The directory for sources, store and outcomes
    #[arg(long, value_name = "DIR", default_value = "target/programs")]
    place: PathBuf,
    /// Use the machine's own store, from which nothing is deleted: only with `--only units`,
    /// `counts` or `built`
    #[arg(long)]
    machine_store: bool,
    /// Do only one part
    #[arg(long, value_name = "PART", value_enum)]
    only: Option<Part>,
    /// Write the outcomes of all programs that are kept as a page
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
    /// Write them as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Compare units and features with Cargo's unit graph; build nothing
    Units,
    /// The same; then build the program by units and run it
    Counts,
    /// Build with both kinds, compare units and bytes, run the program; time nothing
    Built,
    /// Time builds of both kinds, cold and after an edit; Cargo is the machine's own
    Cold,
    /// Simulate both on other machines; Cargo builds if it has not
    Simulated,
    /// Build all units again in another directory and another store, with one core each, and
    /// compare the bytes
    Again,
}

/// The overhead of Nix for a derivation in a cell, in seconds (docs/performance.md).
const OVERHEAD: f64 = 0.02;

fn main() -> Result<ExitCode> {
    let args = Args::parse();
    let keeps_store = matches!(args.only, Some(Part::Units | Part::Counts | Part::Built));
    ensure!(
        keeps_store || !args.machine_store,
        "--machine-store needs --only units, counts or built: other parts delete what was built"
    );
    let programs = table::read()?;
    fs::create_dir_all(&args.place)?;
    let place = args.place.canonicalize()?;
    let is_compared = !matches!(args.only, Some(Part::Cold | Part::Simulated | Part::Again));
    let mut all_good = true;
    let wanted = wanted(&args, &programs)?;
    let clone = (!wanted.is_empty()).then(|| sources::clone_crateyard(&place));
    let clone = clone.transpose()?;
    let crateyard = clone.as_ref().map_or(Path::new(""), TempDir::path);
    for program in wanted {
        let outcome = attempt(program, &place, crateyard, &args)?;
        outcome.save(program, &place)?;
        say(program, &verdict(&outcome));
        all_good &= outcome.is_good(is_compared);
    }
    let outcomes: Vec<(Program, Option<Outcome>)> = programs
        .into_iter()
        .map(|program| Ok((program.clone(), Outcome::load(&program, &place)?)))
        .collect::<Result<_>>()?;
    if let Some(file) = &args.markdown {
        let old = fs::read_to_string(file).unwrap_or_default();
        fs::write(file, markdown::page(&outcomes, &old))?;
    }
    if let Some(file) = &args.json {
        let known: Vec<&Outcome> = outcomes.iter().filter_map(|(_, o)| o.as_ref()).collect();
        fs::write(file, serde_json::to_string_pretty(&known)? + "\n")?;
    }
    Ok(if all_good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn wanted<'a>(args: &Args, programs: &'a [Program]) -> Result<Vec<&'a Program>> {
    for name in &args.names {
        ensure!(
            programs.iter().any(|program| program.name == *name),
            "tests/programs.toml has no program {name:?}"
        );
    }
    let composes = args.markdown.is_some() || args.json.is_some();
    let is_wanted = |program: &&Program| match args.names.is_empty() {
        true => !composes,
        false => args.names.contains(&program.name),
    };
    Ok(programs.iter().filter(is_wanted).collect())
}

fn say(program: &Program, text: &str) {
    eprintln!("{} {}: {text}", program.name, program.version);
}

fn verdict(outcome: &Outcome) -> String {
    if let Some(failure) = &outcome.failure {
        return format!("FAILED: {:?}: {}", failure.step, failure.said);
    }
    let compared = outcome.compared.as_ref();
    let mut words = Vec::new();
    if let Some(compared) = compared {
        words.push(format!(
            "{} units, Cargo's {}",
            compared.units, compared.cargos
        ));
        words.extend(compared.differing.iter().cloned());
    }
    if let Some(again) = &outcome.again {
        words.push(format!("built again: {} outputs", again.outputs));
        words.extend(again.differing.iter().map(|name| format!("{name} differs")));
    }
    if outcome.same_bytes == Some(false) {
        words.push("other bytes than Cargo's".to_owned());
    }
    if let Some(ratio) = outcome.ratio() {
        words.push(format!("{ratio:.2} × cargo"));
    }
    words.join(", ")
}

/// Does all steps. A failing one is part of the outcome.
fn attempt(program: &Program, place: &Path, crateyard: &Path, args: &Args) -> Result<Outcome> {
    let known = Outcome::load(program, place)?;
    let mut outcome = match args.only {
        Some(_) => known.unwrap_or_else(|| Outcome::new(program)),
        None => Outcome::new(program),
    };
    outcome.failure = None;
    outcome.cores = std::thread::available_parallelism().map_or(1, |n| n.get());
    let mut step = Step::Init;
    if let Err(error) = go(program, place, crateyard, args, &mut outcome, &mut step) {
        // The page is the same wherever the sources and the clone are.
        let said = format!("{error:#}").replace(&crateyard.display().to_string(), "crateyard");
        let said = said.replace(&format!("{}/", place.display()), "");
        outcome.failure = Some(Failure { step, said });
    }
    Ok(outcome)
}

fn go(
    program: &Program,
    place: &Path,
    crateyard: &Path,
    args: &Args,
    outcome: &mut Outcome,
    step: &mut Step,
) -> Result<()> {
    say(program, "sources");
    let cold = sources::prepare(program, place, crateyard, args.machine_store)?;
    *step = Step::Plan;
    say(program, "toolchain, plan");
    cold.prepare()?;
    let plan = cold.plan()?;
    outcome.packages = locked_packages(&cold.workspace)?;
    if matches!(args.only, None | Some(Part::Cold)) {
        time(program, &cold, &plan, args.repetitions, outcome, step)?;
    }
    if matches!(args.only, None | Some(Part::Units | Part::Counts)) {
        compare(&cold, &plan, outcome, step)?;
    }
    if matches!(args.only, Some(Part::Built)) {
        say(program, "cargo build --release");
        compare_built(&cold, &plan, outcome, step)?;
    }
    if matches!(args.only, None | Some(Part::Simulated)) {
        *step = Step::Cargo;
        let report = cold.made_by_cargo(&plan)?.join("timings.html");
        *step = Step::Compare;
        let report = fs::read_to_string(report)?;
        outcome.simulated = simulated::simulated(&plan, &report, OVERHEAD)?;
    }
    if matches!(args.only, None | Some(Part::Counts | Part::Built)) {
        run(program, &cold, &plan, outcome, step)?;
    }
    if matches!(args.only, Some(Part::Again)) {
        *step = Step::Again;
        outcome.add_again(again(program, &cold, place, crateyard)?);
    }
    Ok(())
}

/// Builds all units once more with plain Nix: from another directory, in another store, with one
/// core each. Units that programs share are built there only once.
fn again(program: &Program, cold: &Cold, place: &Path, crateyard: &Path) -> Result<Again> {
    say(program, "assemble build");
    cold.assemble(&program.name)?;
    // Units that no image refers to may have been deleted together with another program's.
    cold.complete(&[])?;
    let second = place.join("again");
    fs::create_dir_all(&second)?;
    let second = sources::prepare(program, &second, crateyard, false)?;
    second.prepare()?;
    say(program, "plain Nix in another store");
    second.complete(&["--option", "cores", "1"])?;
    Ok(Again::compare(&cold.hashes()?, &second.hashes()?, true))
}

/// Times both kinds of build, cold and after an edit. They take turns in going first. Also compares
/// the bytes of our cold builds.
fn time(
    program: &Program,
    cold: &Cold,
    plan: &Plan,
    repetitions: usize,
    outcome: &mut Outcome,
    step: &mut Step,
) -> Result<()> {
    (outcome.cold, outcome.cold_cargo) = Default::default();
    (outcome.edit, outcome.edit_cargo) = Default::default();
    *step = Step::Cargo;
    let own = OwnCargo::new(cold, plan, &checkout::repository().join("toolchain.lock"))?;
    let mut first = None;
    for side in (0..repetitions).flat_map(own_cargo::turns) {
        *step = step_of(side);
        match side {
            Side::Units => {
                cold.forget()?;
                cold.forget_durations(&program.name)?;
                say(program, "assemble build, cold");
                outcome.cold.push(cold.assemble(&program.name)?);
                let hashes = cold.hashes()?;
                match &first {
                    None => first = Some(hashes),
                    Some(first) => outcome.add_again(Again::compare(first, &hashes, false)),
                }
            }
            Side::Cargo => {
                say(program, "cargo build --release, cold");
                outcome.cold_cargo.push(own.cold()?);
            }
        }
    }
    let file = own.main_file(&program.binary)?;
    say(program, &format!("edits of {file}"));
    for side in (0..repetitions).flat_map(own_cargo::turns) {
        *step = step_of(side);
        match side {
            Side::Units => {
                own_cargo::edit(&cold.workspace.join(&file))?;
                outcome.edit.push(cold.assemble(&program.name)?);
            }
            Side::Cargo => outcome.edit_cargo.push(own.edited(&file)?),
        }
    }
    Ok(())
}

fn step_of(side: Side) -> Step {
    match side {
        Side::Units => Step::Build,
        Side::Cargo => Step::Cargo,
    }
}

/// Compares units and features with Cargo's build if there is one, else with Cargo's unit graph.
fn compare(cold: &Cold, plan: &Plan, outcome: &mut Outcome, step: &mut Step) -> Result<()> {
    if outcome.is_built_by_cargo() {
        return compare_built(cold, plan, outcome, step);
    }
    (outcome.compared, outcome.same_bytes, outcome.runs) = (None, None, false);
    *step = Step::Cargo;
    let file = cold.unit_graph(plan)?.join("unit-graph");
    *step = Step::Compare;
    outcome.compared = Some(compare::compare(plan, &file, Known::UnitGraph)?);
    Ok(())
}

/// Compares units and features with Cargo's build, which runs if it has not yet.
fn compare_built(cold: &Cold, plan: &Plan, outcome: &mut Outcome, step: &mut Step) -> Result<()> {
    (outcome.compared, outcome.same_bytes, outcome.runs) = (None, None, false);
    *step = Step::Cargo;
    let file = cold.made_by_cargo(plan)?.join("messages");
    *step = Step::Compare;
    outcome.compared = Some(compare::compare(plan, &file, Known::Build)?);
    Ok(())
}

/// Builds the missing parts, compares the program's bytes if Cargo has built it, and runs it.
fn run(
    program: &Program,
    cold: &Cold,
    plan: &Plan,
    outcome: &mut Outcome,
    step: &mut Step,
) -> Result<()> {
    *step = Step::Build;
    say(program, "assemble build");
    cold.assemble(&program.name)?;
    let images = cold.images()?;
    if outcome.is_built_by_cargo() {
        *step = Step::Compare;
        let ours = fs::read(program_of(program, cold, plan)?)?;
        let cargos = cold.made_by_cargo(plan)?.join(&program.binary);
        outcome.same_bytes = Some(ours == fs::read(cargos)?);
    }
    *step = Step::Run;
    let image = images.iter().find(|image| image["name"] == *program.binary);
    let image = image.and_then(|image| image["path"].as_str());
    let image = cold.physical(image.with_context(|| format!("no image {}", program.binary))?);
    let arguments: Vec<&str> = program.arguments.iter().map(String::as_str).collect();
    let said = engine::run(&image, &arguments, &program.input)?;
    for text in &program.prints {
        ensure!(
            said.contains(text),
            "it does not print {text:?} but\n{said}"
        );
    }
    outcome.runs = true;
    Ok(())
}

/// Returns the program's path in the output of its unit.
fn program_of(program: &Program, cold: &Cold, plan: &Plan) -> Result<PathBuf> {
    let mut programs = plan.programs.iter();
    // A library may have the program's name.
    let found = programs.find(|p| p.kind == TargetKind::Bin && p.name == program.binary);
    let key = &found.context("the plan has no such program")?.unit;
    let unit: String = cold.evaluate(&format!(
        "flake.legacyPackages.x86_64-linux.units.\"{key}\".outPath"
    ))?;
    Ok(cold.physical(&unit).join("bin").join(&program.binary))
}

fn locked_packages(workspace: &Path) -> Result<usize> {
    let lock = fs::read_to_string(workspace.join("Cargo.lock"))?;
    Ok(lock.lines().filter(|line| *line == "[[package]]").count())
}
