//! How rustc and build scripts are called: by Cargo, and by the plan's units (docs/fidelity.md).

use crate::trial::trial;
use crate::workspaces::{build, by_cargo, locked};
use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use plan::{Plan, Planned, pipelining};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use unit::Action;

/// The tests of this file.
pub fn trials() -> Vec<Trial> {
    let test = |name, run| trial(format!("fidelity::{name}"), run);
    vec![test("units_are_called_as_by_cargo", called_as_by_cargo)]
}

fn called_as_by_cargo() -> Result<()> {
    compare("ledger")?;
    compare("torture")
}

/// What Cargo gives and units do not, or later: the table of docs/fidelity.md.
const LEFT_OUT: [&str; 3] = ["CARGO_PRIMARY_PACKAGE", "LD_LIBRARY_PATH", "NUM_JOBS"];
/// What a build script adds to the arguments of its package and of those above it.
const FROM_SCRIPTS: [&str; 5] = ["--cfg", "--check-cfg", "-C", "-L", "-l"];

/// One process that Cargo started.
struct Called {
    env: BTreeMap<String, String>,
    words: Vec<String>,
}

fn compare(name: &str) -> Result<()> {
    let workspace = locked(name)?;
    let cargos = by_cargo(&workspace, name)?;
    let mut called = called(&fs::read_to_string(cargos.join("log"))?)?;
    let plan = build(&workspace, "plan")?.join("plan.json");
    let plan: Plan = serde_json::from_slice(&fs::read(plan)?)?;
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
        differing.extend(
            differences(&plan, planned, &call)
                .into_iter()
                .map(|difference| format!("{key}: {difference}")),
        );
    }
    ensure!(differing.is_empty(), "{name}: {}", differing.join("\n"));
    Ok(())
}

/// The processes in the log of `cargo build -vv`, which has them as words of a shell.
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

/// Whether a process is that of a unit: the crate's name and the file names that Cargo makes up are the same. A
/// library of C has no such names.
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

fn differences(plan: &Plan, planned: &Planned, called: &Called) -> Vec<String> {
    let mut differing = Vec::new();
    let scripts = planned.dependencies.iter().any(|key| {
        let action = &plan.units[key].unit.action;
        matches!(action, Action::RunBuildScript { .. })
    });
    if let Action::Compile { args, .. } = &planned.unit.action {
        differing.extend(added_words(args, &called.words[1..]));
    }
    let env = &planned.unit.env;
    let names: BTreeSet<&String> = env.keys().chain(called.env.keys()).collect();
    for name in names {
        let (ours, cargos) = (env.get(name), called.env.get(name));
        let is_explained = match (ours, cargos) {
            (None, Some(_)) => LEFT_OUT.contains(&name.as_str()) || scripts,
            // Cargo's log leaves out the separator.
            (Some(ours), Some(cargos)) => ours.replace('\x1f', "") == cargos.replace('\x1f', ""),
            _ => false,
        };
        if !is_explained {
            differing.push(format!("{name} is {ours:?}, Cargo's is {cargos:?}"));
        }
    }
    differing
}

/// Cargo's words must be the unit's in the same order, with nothing between them but what build
/// scripts add.
fn added_words(ours: &[String], cargos: &[String]) -> Option<String> {
    let mut cargos = cargos.iter().peekable();
    for word in ours {
        loop {
            let Some(theirs) = cargos.next() else {
                return Some(format!("Cargo does not say {word:?}"));
            };
            // `cargo -vv` shows the warnings of dependencies, which `cargo` caps.
            let is_capped = word == "allow" && theirs == "warn";
            if theirs == word || is_capped {
                break;
            }
            let value = cargos.next();
            if !FROM_SCRIPTS.contains(&theirs.as_str()) || value.is_none() {
                return Some(format!("Cargo says {theirs:?} before {word:?}"));
            }
        }
    }
    let mut rest = cargos.step_by(2);
    let other = rest.find(|word| !FROM_SCRIPTS.contains(&word.as_str()))?;
    Some(format!("Cargo adds {other:?}"))
}
