//! Libraries whose dependents need not wait for their code.
//!
//! A library is compiled against the *metadata* of those below it; their code is needed when
//! something is linked. rustc writes metadata long before code, and Cargo starts dependents at that
//! moment:
//! <https://doc.rust-lang.org/rustc/command-line-arguments.html#--emit-specifies-the-types-of-output-files-to-generate>.
//! The outputs of a derivation are there all at once, when it ends. So the libraries of `PIPELINED`
//! have two units: one that ends when metadata is there, and the whole one. Libraries depend on the
//! first, what links depends on both.
//!
//! The way to the metadata is then gone twice. That pays only where the code takes far longer, and
//! where much waits for it: hence a list. Whether a library is on it has to follow from the library
//! alone: what its dependents are made from is part of their identity, and that has to be the same
//! in every workspace.

use crate::{Origin, Plan, Planned};
use crateyard_unit::{Action, Product, TargetKind};
use std::collections::{BTreeMap, BTreeSet};

/// Optimized libraries of registries whose metadata is there long before their code, and that much
/// is made from: those by which simulated machines of 4 and more cores gain
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

/// How the names of metadata units end.
const SUFFIX: &str = "-metadata";

/// Gives the plan's pipelined libraries a unit for their metadata, and lets others depend on it
/// where that is enough.
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

/// Lets libraries depend on the metadata of pipelined ones (key to metadata's key), and what links
/// on all of them that it links. Gives the metadata that is wanted: its key to the library's.
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

/// Whether rustc optimizes it. Otherwise, code is there soon after metadata.
pub fn is_optimized(planned: &Planned) -> bool {
    let Action::Compile { args, .. } = &planned.unit.action else {
        return false;
    };
    let mut levels = args.iter().filter_map(|arg| arg.strip_prefix("opt-level="));
    levels.any(|level| level != "0")
}

/// Whether Cargo hands it libraries and not their metadata: it is linked.
pub fn takes_whole_libraries(planned: &Planned) -> bool {
    let Action::Compile { args, .. } = &planned.unit.action else {
        return false;
    };
    args.iter().any(|arg| arg.ends_with(".rlib"))
}

/// The units that are calls of Cargo's own: it has metadata and code of a library from one call.
pub fn cargos(plan: &Plan) -> impl Iterator<Item = (&String, &Planned)> {
    let units = plan.units.iter();
    units.filter(|(key, planned)| library_of(key, planned).is_none())
}

/// For each unit that links: the pipelined libraries among all that it links.
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

/// Keys of all libraries below a unit that are linked with it: those of macros and build scripts
/// are not.
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

/// The key of the library that a metadata unit belongs to; none for other units.
pub fn library_of(key: &str, planned: &Planned) -> Option<String> {
    let Action::Compile {
        metadata_only: true,
        ..
    } = &planned.unit.action
    else {
        return None;
    };
    let name = &planned.unit.name;
    let library = name.strip_suffix(SUFFIX)?;
    Some(key.replacen(name, library, 1))
}

fn metadata_name(name: &str) -> String {
    format!("{name}{SUFFIX}")
}

/// Keys are names and Cargo's hash.
fn metadata_key(key: &str, planned: &Planned) -> String {
    let name = &planned.unit.name;
    key.replacen(name, &metadata_name(name), 1)
}
