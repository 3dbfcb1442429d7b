//! The files of the workspace that well-known crates read while they run: `files-by-crate.toml`.
//!
//! A unit sees only its own package. But some macros, and some libraries of build scripts and
//! tests, look beyond it: for the workspace's manifest, or for cached queries or snapshots in its
//! root. For each unit of the workspace, the plan lists the paths that the unit's code looks for.
//! Nix adds those that exist.

use crate::targets::is_program;
use crate::{Origin, Plan, Planned, WORKSPACE};
use anyhow::{Context, Result};
use crateyard_unit::{Action, TargetKind};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;

const TABLE: &str = include_str!("files-by-crate.toml");

/// The reads of a unit's code outside of its package.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Reads {
    /// Paths that the code looks for, relative to the workspace. They need not exist.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub files: BTreeSet<String>,
    /// Whether the code asks Cargo for the workspace.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub workspace: bool,
}

impl Reads {
    /// Whether the code reads nothing there.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// A package of the workspace, as Cargo sees it when code asks about the workspace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Member {
    /// The directory, relative to the workspace; empty for the root.
    pub path: String,
    /// The name.
    pub name: String,
    /// Files, relative to the workspace, that Cargo looks for when it reads the manifest.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub targets: Vec<String>,
}

/// The reads of one crate in `files-by-crate.toml`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    #[serde(default)]
    files: Vec<String>,
    #[serde(default)]
    workspace: bool,
}

/// Sets the reads of each unit of the workspace: those of the code that the unit runs.
///
/// # Errors
/// Fails if `files-by-crate.toml` is malformed; a test reads it.
pub fn set(plan: &mut Plan) -> Result<()> {
    let table: BTreeMap<String, Entry> =
        toml::from_str(TABLE).context("files-by-crate.toml is malformed")?;
    let mut code = Code::new(plan, &table);
    let keys: Vec<&String> = plan.units.keys().collect();
    let mut reading = Vec::new();
    for key in keys {
        let Origin::Path { path } = &plan.units[key].package.origin else {
            continue;
        };
        let crates = code.run_by(&plan.units[key]);
        let reads = reads_of(path, crates.iter().filter_map(|name| table.get(*name)));
        if !reads.is_empty() {
            reading.push((key.clone(), reads));
        }
    }
    for (key, reads) in reading {
        if let Some(planned) = plan.units.get_mut(&key) {
            planned.reads = reads;
        }
    }
    Ok(())
}

fn reads_of<'a>(directory: &str, entries: impl Iterator<Item = &'a Entry>) -> Reads {
    let mut reads = Reads::default();
    for entry in entries {
        reads.workspace |= entry.workspace;
        for file in &entry.files {
            reads.files.insert(file.clone());
            if !directory.is_empty() {
                reads.files.insert(format!("{directory}/{file}"));
            }
        }
    }
    reads
}

/// Finds the crates of the table whose code a unit contains or runs.
struct Code<'a> {
    plan: &'a Plan,
    table: &'a BTreeMap<String, Entry>,
    /// The crates that are linked into each unit, by key.
    linked: HashMap<&'a str, BTreeSet<&'a str>>,
    /// The crates in the macros that rustc loads with each unit, by key.
    loaded: HashMap<&'a str, BTreeSet<&'a str>>,
}

impl<'a> Code<'a> {
    fn new(plan: &'a Plan, table: &'a BTreeMap<String, Entry>) -> Self {
        Self {
            plan,
            table,
            linked: HashMap::new(),
            loaded: HashMap::new(),
        }
    }

    fn run_by(&mut self, planned: &'a Planned) -> BTreeSet<&'a str> {
        let mut crates = BTreeSet::new();
        match &planned.unit.action {
            Action::Compile {
                program, target, ..
            } => {
                let runs_libraries = program == "rustdoc" && target.test;
                for key in &planned.dependencies {
                    crates.extend(self.loaded_with(key));
                    if runs_libraries && kind(&self.plan.units[key]) == Some(TargetKind::Lib) {
                        crates.extend(self.linked_into(key));
                    }
                }
            }
            Action::RunBuildScript { .. } => {
                for key in &planned.dependencies {
                    if kind(&self.plan.units[key]) == Some(TargetKind::BuildScript) {
                        crates.extend(self.linked_into(key));
                    }
                }
            }
            Action::RunTest { .. } => {
                for key in planned.programs.values() {
                    crates.extend(self.linked_into(key));
                }
            }
        }
        crates
    }

    /// Returns the crates of the table whose code is in a unit's output.
    fn linked_into(&mut self, key: &'a str) -> BTreeSet<&'a str> {
        if let Some(known) = self.linked.get(key) {
            return known.clone();
        }
        let planned = &self.plan.units[key];
        let name = planned.package.name.as_str();
        let own = self.table.contains_key(name).then_some(name);
        let mut crates: BTreeSet<&str> = own.into_iter().collect();
        for below in &planned.dependencies {
            if kind(&self.plan.units[below]) == Some(TargetKind::Lib) {
                crates.extend(self.linked_into(below));
            }
        }
        self.linked.insert(key, crates.clone());
        crates
    }

    /// Returns the crates of the table that are in macros which rustc loads when it uses this
    /// library or macro.
    fn loaded_with(&mut self, key: &'a str) -> BTreeSet<&'a str> {
        let planned = &self.plan.units[key];
        match kind(planned) {
            Some(TargetKind::ProcMacro) => return self.linked_into(key),
            Some(TargetKind::Lib) => {}
            _ => return BTreeSet::new(),
        }
        if let Some(known) = self.loaded.get(key) {
            return known.clone();
        }
        let mut crates = BTreeSet::new();
        for below in &planned.dependencies {
            crates.extend(self.loaded_with(below));
        }
        self.loaded.insert(key, crates.clone());
        crates
    }
}

fn kind(planned: &Planned) -> Option<TargetKind> {
    match &planned.unit.action {
        Action::Compile { target, .. } => Some(target.kind),
        _ => None,
    }
}

/// Reads the workspace's packages from the output of `cargo metadata --no-deps`.
///
/// # Errors
/// Fails if the metadata lacks a field or a manifest can't be read.
pub fn members(metadata: &Value) -> Result<Vec<Member>> {
    let packages = metadata["packages"].as_array();
    let packages = packages.context("cargo metadata names no packages")?;
    let mut members = packages.iter().map(member).collect::<Result<Vec<_>>>()?;
    members.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(members)
}

fn member(package: &Value) -> Result<Member> {
    let text = |name: &str| {
        package[name]
            .as_str()
            .with_context(|| format!("a package has no {name}"))
    };
    let manifest = Path::new(text("manifest_path")?);
    let directory = manifest.parent().unwrap_or(manifest);
    let inner = |path: &Path| -> Option<String> {
        let inner = path.strip_prefix(WORKSPACE).ok()?;
        Some(inner.to_string_lossy().into_owned())
    };
    let path = inner(directory).unwrap_or_default();
    let named = named_targets(manifest)?;
    let targets = package["targets"].as_array().into_iter().flatten();
    let is_wanted = |target: &&Value| {
        let name = target["name"].as_str().unwrap_or_default();
        // In other packages, Cargo sees a manifest that names no targets.
        (path.is_empty() && is_program(target).is_some()) || named.contains(name)
    };
    let paths = targets
        .filter(is_wanted)
        .filter_map(|target| target["src_path"].as_str());
    let mut targets: Vec<String> = paths.filter_map(|path| inner(Path::new(path))).collect();
    targets.sort();
    Ok(Member {
        name: text("name")?.to_owned(),
        targets,
        path,
    })
}

/// Returns the names of the tests, benchmarks and examples that have a table in a manifest. Cargo
/// does not read the manifest without their files.
fn named_targets(manifest: &Path) -> Result<BTreeSet<String>> {
    let text = std::fs::read_to_string(manifest)
        .with_context(|| format!("cannot read {}", manifest.display()))?;
    let table: toml::Table =
        toml::from_str(&text).with_context(|| format!("{} is malformed", manifest.display()))?;
    let kinds = ["test", "bench", "example"];
    let targets = kinds.iter().filter_map(|kind| table.get(*kind)?.as_array());
    let names = targets
        .flatten()
        .filter_map(|target| target.get("name")?.as_str());
    Ok(names.map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_read() {
        let table: BTreeMap<String, Entry> = toml::from_str(TABLE).unwrap();
        assert!(table["sqlx-macros"].workspace);
        let reads = reads_of("crates/app", [&table["sqlx-macros"]].into_iter());
        for file in [".sqlx", "crates/app/.sqlx", "migrations"] {
            assert!(reads.files.contains(file), "{reads:?}");
        }
        assert_eq!(
            reads_of("", [&table["proc-macro-crate"]].into_iter())
                .files
                .len(),
            0
        );
    }
}
