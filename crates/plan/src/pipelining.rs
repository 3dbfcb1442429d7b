//! Lets the dependents of some libraries start before the libraries' code is ready.
//!
//! To compile a library, rustc needs only the *metadata* of the libraries below it. Their code is
//! needed for linking. rustc writes metadata long before code, and Cargo then starts the dependents
//! (see `--emit` in <https://doc.rust-lang.org/rustc/command-line-arguments.html>). But all outputs
//! of a derivation appear together, when it ends. So each library in `PIPELINED` has two units: one
//! that ends when the metadata is ready, and the whole library. Libraries depend on the first.
//! Units that link depend on both.
//!
//! rustc then does the work up to the metadata twice. That pays only if the code takes far longer
//! and if many units wait for the library, hence a list. Whether a library is on the list must
//! depend on the library alone: the inputs of its dependents are part of their identity, which must
//! be the same in every workspace.

use crate::{Origin, Plan, Planned};
use crateyard_unit::{Action, METADATA, Product, TargetKind};
use std::collections::{BTreeMap, BTreeSet};

/// Optimized libraries of registries whose metadata is ready long before their code, and that many
/// others depend on. With these, simulated machines with 4 and more cores gain time
/// (`docs/performance.md`). Sorted.
const PIPELINED: &[&str] = &[
    "aho-corasick",
    "globset",
    "h2",
    "hyper",
    "hyper-rustls",
    "hyper-util",
    "memchr",
    "regex",
    "regex-automata",
    "regex-syntax",
    "reqwest",
    "ring",
    "rustls",
    "rustls-webpki",
    "serde_json",
    "tokio",
];

/// Gives each pipelined library of the plan a unit for its metadata, and makes other units depend
/// on that unit if it is enough for them.
pub fn pipeline(plan: &mut Plan) {
    let units = plan.units.iter();
    let pipelined: BTreeMap<String, String> = units
        .filter(|(_, planned)| is_pipelined(planned))
        .map(|(key, planned)| (key.clone(), metadata_key(key, planned)))
        .collect();
    for (key, library) in depend_on_metadata(plan, &pipelined) {
        let mut planned = plan.units[&library].clone();
        planned.unit.name = metadata_name(&planned.unit.name);
        if let Action::Compile { metadata_only, .. } = &mut planned.unit.action {
            *metadata_only = true;
        }
        plan.units.insert(key, planned);
    }
}

/// Makes libraries depend on the metadata of pipelined libraries (`pipelined` maps keys to the
/// metadata's keys), and makes units that link depend on all pipelined libraries that they link.
/// Returns the metadata units that are needed: each one's key and the library's.
fn depend_on_metadata(
    plan: &mut Plan,
    pipelined: &BTreeMap<String, String>,
) -> BTreeMap<String, String> {
    let below = linked_below(plan, pipelined);
    let mut wanted = BTreeMap::new();
    for (key, planned) in &mut plan.units {
        if let Some(below) = below.get(key) {
            planned.dependencies.extend(below.iter().cloned());
        } else {
            for dependency in &mut planned.dependencies {
                if let Some(metadata) = pipelined.get(dependency) {
                    let library = std::mem::replace(dependency, metadata.clone());
                    wanted.insert(metadata.clone(), library);
                }
            }
        }
        planned.dependencies.sort();
        planned.dependencies.dedup();
    }
    wanted
}

fn is_pipelined(planned: &Planned) -> bool {
    let Action::Compile { args, target, .. } = &planned.unit.action else {
        return false;
    };
    PIPELINED
        .binary_search(&planned.package.name.as_str())
        .is_ok()
        && !matches!(planned.package.origin, Origin::Path { .. })
        && target.kind == TargetKind::Lib
        && !target.test
        && planned.unit.product() == Product::Files
        && crateyard_unit::writes_code(args)
        && is_optimized(planned)
}

/// Whether rustc optimizes the unit. Otherwise the code is ready soon after the metadata.
pub fn is_optimized(planned: &Planned) -> bool {
    let Action::Compile { args, .. } = &planned.unit.action else {
        return false;
    };
    let mut levels = args.iter().filter_map(|arg| arg.strip_prefix("opt-level="));
    levels.any(|level| level != "0")
}

/// Whether the unit is linked, so that Cargo gives it libraries and not their metadata.
pub fn takes_whole_libraries(planned: &Planned) -> bool {
    let Action::Compile { args, .. } = &planned.unit.action else {
        return false;
    };
    args.iter().any(|arg| arg.ends_with(".rlib"))
}

/// Returns the units that are Cargo's own calls. Cargo makes metadata and code of a library in one
/// call.
pub fn cargos(plan: &Plan) -> impl Iterator<Item = (&String, &Planned)> {
    let units = plan.units.iter();
    units.filter(|(key, planned)| library_of(key, planned).is_none())
}

/// Returns for each unit that links: the pipelined libraries among those that it links.
fn linked_below(
    plan: &Plan,
    pipelined: &BTreeMap<String, String>,
) -> BTreeMap<String, BTreeSet<String>> {
    let links = plan.units.iter();
    links
        .filter(|(_, planned)| takes_whole_libraries(planned))
        .map(|(key, planned)| {
            let mut libraries = libraries_below(plan, planned);
            libraries.retain(|key| pipelined.contains_key(key));
            (key.clone(), libraries)
        })
        .collect()
}

/// Returns the keys of all libraries below a unit that are linked with it. Leaves out the libraries
/// of macros and build scripts.
pub fn libraries_below(plan: &Plan, planned: &Planned) -> BTreeSet<String> {
    let mut seen = BTreeSet::new();
    let mut pending: Vec<&String> = planned.dependencies.iter().collect();
    while let Some(key) = pending.pop() {
        let below = &plan.units[key];
        if is_library(below) && seen.insert(key.clone()) {
            pending.extend(&below.dependencies);
        }
    }
    seen
}

fn is_library(planned: &Planned) -> bool {
    matches!(&planned.unit.action, Action::Compile { target, .. } if target.kind == TargetKind::Lib)
}

/// Returns the key of the library that a metadata unit belongs to, or none for other units.
pub fn library_of(key: &str, planned: &Planned) -> Option<String> {
    let Action::Compile {
        metadata_only: true,
        ..
    } = &planned.unit.action
    else {
        return None;
    };
    let name = &planned.unit.name;
    let library = name.strip_suffix(METADATA)?;
    Some(key.replacen(name, library, 1))
}

fn metadata_name(name: &str) -> String {
    format!("{name}{METADATA}")
}

/// Returns the key of a library's metadata unit. A key consists of the name and Cargo's hash.
fn metadata_key(key: &str, planned: &Planned) -> String {
    let name = &planned.unit.name;
    key.replacen(name, &metadata_name(name), 1)
}
