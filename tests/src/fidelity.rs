//! Compares how Cargo and the plan's units call rustc and build scripts (docs/fidelity.md).

use crate::trial::trial;
use crate::workspaces::{build, by_cargo, locked, outputs};
use anyhow::{Context, Result, ensure};
use crateyard_plan::{Plan, Planned, pipelining};
use crateyard_unit::directives::Directives;
use crateyard_unit::{Action, calls};
use libtest_mimic::Trial;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// The tests of this file.
pub fn trials() -> Vec<Trial> {
    let test = |name, run| trial(format!("fidelity::{name}"), run);
    vec![test("units_are_called_as_by_cargo", called_as_by_cargo)]
}

fn called_as_by_cargo() -> Result<()> {
    compare("ledger", "ledger")?;
    compare("torture", "torture")?;
    compare("scriptorium", "scribe")
}

/// Variables that Cargo sets for the compiler and units leave out; see the table in
/// docs/fidelity.md.
const NOT_FOR_COMPILERS: [&str; 2] = ["CARGO_PRIMARY_PACKAGE", "LD_LIBRARY_PATH"];
/// Variables of build scripts that depend on the number of cores.
const NOT_FOR_SCRIPTS: [&str; 1] = ["NUM_JOBS"];

/// One process that Cargo started.
struct Called {
    env: BTreeMap<String, String>,
    words: Vec<String>,
}

fn compare(workspace: &str, name: &str) -> Result<()> {
    let workspace = locked(workspace)?;
    let cargos = by_cargo(&workspace, name)?;
    let mut called = called(&fs::read_to_string(cargos.join("log"))?)?;
    let plan = build(&workspace, "plan")?.join("plan.json");
    let plan: Plan = serde_json::from_slice(&fs::read(plan)?)?;
    let said = said(outputs(&workspace, name)?.values().map(AsRef::as_ref))?;
    let units: Vec<_> = pipelining::cargos(&plan).collect();
    ensure!(
        called.len() == units.len(),
        "Cargo started {} processes, the plan has {} units",
        called.len(),
        units.len()
    );
    let mut differing = Vec::new();
    for (key, planned) in units {
        let index = called
            .iter()
            .position(|called| is_call_of(called, planned))
            .with_context(|| format!("Cargo has started nothing like {key}"))?;
        let call = called.swap_remove(index);
        let differences = differences(planned, &said, &call)?.into_iter();
        differing.extend(differences.map(|difference| format!("{key}: {difference}")));
    }
    ensure!(differing.is_empty(), "{name}: {}", differing.join("\n"));
    Ok(())
}

/// Returns the directives of each build script, by its `OUT_DIR`, from the units' outputs.
fn said<'a>(outputs: impl Iterator<Item = &'a Path>) -> Result<BTreeMap<String, Directives>> {
    let mut said = BTreeMap::new();
    for output in outputs {
        let directives = output.join("directives.json");
        if directives.exists() {
            let entry: Value = serde_json::from_slice(&fs::read(output.join("unit.json"))?)?;
            let out_dir = entry["outDir"].as_str().context("a run has an outDir")?;
            let directives = serde_json::from_slice(&fs::read(directives)?)?;
            said.insert(out_dir.to_owned(), directives);
        }
    }
    Ok(said)
}

/// Returns the processes in the log of `cargo build -vv`, which prints them as shell commands.
fn called(log: &str) -> Result<Vec<Called>> {
    // A description may have more than one line.
    let lines = log.split(" Running `").skip(1);
    let lines = lines.filter_map(|rest| rest.split("`\n").next());
    let mut called = Vec::new();
    for line in lines {
        let print = format!("printf '%s\\0' {line}");
        let words = duct::cmd!("sh", "-c", print).stdout_capture().run()?.stdout;
        let words = String::from_utf8(words)?;
        let mut words: Vec<String> = words.split_terminator('\0').map(str::to_owned).collect();
        let is_variable = |word: &String| word.split_once('=').is_some_and(|(n, _)| is_name(n));
        let first = words.iter().position(|word| !is_variable(word));
        let rest = words.split_off(first.context("a line without a program")?);
        let env = words.iter().filter_map(|word| word.split_once('='));
        let env = env.map(|(name, value)| (name.to_owned(), value.to_owned()));
        called.push(Called {
            env: env.collect(),
            words: rest,
        });
    }
    Ok(called)
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// Whether a process belongs to a unit: the crate's name and Cargo's hashes in file names are the
/// same. A C library has no such names.
fn is_call_of(called: &Called, planned: &Planned) -> bool {
    match &planned.unit.action {
        Action::Compile { args, .. } => {
            args.get(..2) == called.words.get(1..3) && made_up(args) == made_up(&called.words)
        }
        _ => {
            let package = called.env.get("CARGO_PKG_NAME") == Some(&planned.package.name);
            package && called.words.len() == 1
        }
    }
}

fn made_up(words: &[String]) -> Option<&String> {
    let mut words = words.iter();
    words.find(|word| word.starts_with("extra-filename="))
}

/// Returns the differences between Cargo's call and the unit's call, which is the plan's entry plus
/// the runner's additions.
fn differences(
    planned: &Planned,
    said: &BTreeMap<String, Directives>,
    called: &Called,
) -> Result<Vec<String>> {
    let unit = &planned.unit;
    let said = |out_dir: &str| {
        let directives = said.get(out_dir).cloned();
        directives.with_context(|| format!("no build script wrote to {out_dir}"))
    };
    let added = calls::added(unit, said)?;
    let mut differing = Vec::new();
    let left_out = match &unit.action {
        Action::Compile { args, .. } => {
            let (begin, end) = called.words[1..].split_at(args.len().min(called.words.len() - 1));
            differing.extend(different_words(args, begin));
            let (ours, cargos) = (options(&added.args), options(end));
            if ours != cargos {
                differing.push(format!("build scripts add {ours:?}, Cargo's {cargos:?}"));
            }
            &NOT_FOR_COMPILERS[..]
        }
        _ => &NOT_FOR_SCRIPTS[..],
    };
    let mut env = unit.env.clone();
    env.extend(added.env);
    let names: BTreeSet<&String> = env.keys().chain(called.env.keys()).collect();
    for name in names {
        let (ours, cargos) = (env.get(name), called.env.get(name));
        let is_explained = match (ours, cargos) {
            (None, Some(_)) => left_out.contains(&name.as_str()),
            // Cargo's log leaves out the separator.
            (Some(ours), Some(cargos)) => ours.replace('\x1f', "") == cargos.replace('\x1f', ""),
            _ => false,
        };
        if !is_explained {
            differing.push(format!("{name} is {ours:?}, Cargo's is {cargos:?}"));
        }
    }
    Ok(differing)
}

/// Returns the values of each option, in order. Cargo 1.85 adds the directives of one script after
/// another, newer versions add all search paths first. So the order of different options depends on
/// the version.
fn options(words: &[String]) -> BTreeMap<&str, Vec<&str>> {
    let mut options: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for pair in words.chunks(2) {
        let value = pair.get(1).map_or("", String::as_str);
        options.entry(&pair[0]).or_default().push(value);
    }
    if let Some(paths) = options.get_mut("-L") {
        paths.sort_unstable();
    }
    options
}

/// Returns the first word that differs from Cargo's.
fn different_words(ours: &[String], cargos: &[String]) -> Option<String> {
    let last = ours.len().max(cargos.len());
    (0..last).find_map(|index| {
        let (word, theirs) = (ours.get(index), cargos.get(index));
        // `cargo -vv` shows the warnings of dependencies, but `cargo` caps them.
        let is_capped = word.is_some_and(|word| word == "allow")
            && theirs.is_some_and(|theirs| theirs == "warn")
            && ours[index - 1] == "--cap-lints";
        let differs = word != theirs && !is_capped;
        differs.then(|| format!("word {index} is {word:?}, Cargo's is {theirs:?}"))
    })
}
