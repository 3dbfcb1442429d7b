//! Turns records into units and finds what depends on what.

use crate::record::Record;
use crate::{FORMAT, LockedPackage, Package, Plan, Planned, Program, recorder, stage};
use anyhow::{Context, Result, bail};
use semver::Version;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;
use unit::{Action, Target, TargetKind, Unit};

/// Makes the plan from the records of one Cargo run.
///
/// # Errors
/// When a record can't be understood; the error quotes it.
pub fn plan(records: &[Record], packages: &[LockedPackage]) -> Result<Plan> {
    let graph = Graph::new(records)?;
    let mut units = BTreeMap::new();
    let mut programs = Vec::new();
    for node in &graph.nodes {
        let planned = graph.planned(node, packages)?;
        if let Some(program) = program(node, &planned) {
            programs.push(program);
        }
        if let Some(other) = units.insert(node.key.clone(), planned) {
            if other.unit != units[&node.key].unit {
                bail!("Cargo has two different units {:?}", node.key);
            }
        }
    }
    programs.sort_by(|a, b| a.unit.cmp(&b.unit));
    let version = FORMAT;
    Ok(Plan {
        version,
        units,
        programs,
    })
}

fn program(node: &Node, planned: &Planned) -> Option<Program> {
    let Action::Compile { target, .. } = &planned.unit.action else {
        return None;
    };
    use TargetKind::{Bench, Bin, Cdylib, Example, Test};
    matches!(target.kind, Bin | Example | Test | Bench | Cdylib).then(|| Program {
        package: planned.package.name.clone(),
        kind: target.kind,
        name: target.name.clone(),
        unit: node.key.clone(),
    })
}

/// One record and what is known of it.
struct Node<'a> {
    record: &'a Record,
    /// The unit's key in the plan.
    key: String,
    /// None for a build script that runs.
    target: Option<Target>,
    /// The directory that Cargo has it write to.
    out_dir: String,
}

struct Graph<'a> {
    nodes: Vec<Node<'a>>,
    /// The node that writes a file.
    by_file: HashMap<String, usize>,
    /// The build script that runs with this `OUT_DIR`.
    by_out_dir: HashMap<String, usize>,
    /// The build script that is compiled to this directory.
    scripts: HashMap<String, usize>,
    /// Packages (by directory) that have a library.
    with_library: BTreeSet<String>,
}

impl<'a> Graph<'a> {
    fn new(records: &'a [Record]) -> Result<Self> {
        let mut nodes = records.iter().map(Node::new).collect::<Result<Vec<_>>>()?;
        nodes.sort_by(|a, b| a.key.cmp(&b.key));
        let mut graph = Self {
            by_file: HashMap::new(),
            by_out_dir: HashMap::new(),
            scripts: HashMap::new(),
            with_library: BTreeSet::new(),
            nodes: Vec::new(),
        };
        for (index, node) in nodes.iter().enumerate() {
            graph.enter(index, node)?;
        }
        graph.nodes = nodes;
        Ok(graph)
    }

    fn enter(&mut self, index: usize, node: &Node) -> Result<()> {
        let Some(target) = &node.target else {
            self.by_out_dir.insert(node.out_dir.clone(), index);
            return Ok(());
        };
        for file in recorder::outputs(node.record)? {
            self.by_file
                .insert(file.to_string_lossy().into_owned(), index);
        }
        match target.kind {
            TargetKind::BuildScript => {
                self.scripts.insert(node.out_dir.clone(), index);
            }
            TargetKind::Lib | TargetKind::ProcMacro | TargetKind::Cdylib => {
                self.with_library.insert(node.package_dir()?.to_owned());
            }
            _ => {}
        }
        Ok(())
    }

    fn planned(&self, node: &Node, packages: &[LockedPackage]) -> Result<Planned> {
        let dir = node.package_dir()?.to_owned();
        let mut dependencies: Vec<String> = self
            .dependencies(node)?
            .into_iter()
            .map(|index| self.nodes[index].key.clone())
            .collect();
        dependencies.sort();
        dependencies.dedup();
        let unit = Unit {
            version: unit::FORMAT,
            name: node.name()?,
            source_dir: dir.clone(),
            cwd: node.record.cwd.clone(),
            env: node.env(),
            action: self.action(node)?,
        };
        let package = Package {
            name: node.var("CARGO_PKG_NAME")?.to_owned(),
            version: node.var("CARGO_PKG_VERSION")?.to_owned(),
            origin: stage::origin(&dir, packages)?,
        };
        Ok(Planned {
            unit,
            package,
            dependencies,
        })
    }

    fn action(&self, node: &Node) -> Result<Action> {
        let Some(target) = &node.target else {
            return Ok(Action::RunBuildScript {
                program: node.record.argv[0].clone(),
                out_dir: node.out_dir.clone(),
                metadata: node.metadata(),
            });
        };
        let native = self.native(node)?;
        let has_library = self.with_library.contains(node.package_dir()?);
        let is_library = matches!(
            target.kind,
            TargetKind::Lib | TargetKind::ProcMacro | TargetKind::Cdylib
        );
        let program = Path::new(&node.record.argv[0])
            .file_name()
            .unwrap_or_default();
        Ok(Action::Compile {
            program: program.to_string_lossy().into_owned(),
            args: node.record.argv[1..].to_vec(),
            out_dir: node.out_dir.clone(),
            target: target.clone(),
            build_script: self.own_script(node).map(|i| self.nodes[i].out_dir.clone()),
            native: native
                .iter()
                .map(|&i| self.nodes[i].out_dir.clone())
                .collect(),
            takes_link_libs: is_library || !has_library,
        })
    }

    /// The units that a unit depends on directly.
    fn dependencies(&self, node: &Node) -> Result<Vec<usize>> {
        if node.target.is_some() {
            let mut all = self.externs(node)?;
            all.extend(self.own_script(node));
            all.extend(self.bins_of_tests(node));
            return Ok(all);
        }
        let dir = Path::new(&node.record.argv[0])
            .parent()
            .unwrap_or(Path::new("/"));
        let dir = dir.to_string_lossy();
        let compiled = self.scripts.get(dir.as_ref());
        let mut all = vec![*compiled.with_context(|| format!("no unit compiles to {dir}"))?];
        for from in node.metadata().values() {
            let run = self.by_out_dir.get(from);
            all.push(*run.with_context(|| format!("no build script writes to {from}"))?);
        }
        Ok(all)
    }

    /// The libraries that rustc is given.
    fn externs(&self, node: &Node) -> Result<Vec<usize>> {
        let mut found = Vec::new();
        for value in node.record.values("--extern") {
            let Some((_, path)) = value.split_once('=') else {
                continue; // a crate of the sysroot
            };
            let index = self.by_file.get(path);
            found.push(*index.with_context(|| format!("no unit of the plan writes {path}"))?);
        }
        Ok(found)
    }

    /// A test may start its package's programs: `CARGO_BIN_EXE_*` names them.
    fn bins_of_tests(&self, node: &Node) -> Vec<usize> {
        let named = |name: &str| name.starts_with("CARGO_BIN_EXE_");
        let vars = node.record.env.iter().filter(|(name, _)| named(name));
        vars.filter_map(|(_, path)| self.by_file.get(path).copied())
            .collect()
    }

    /// The run of the package's own build script.
    fn own_script(&self, node: &Node) -> Option<usize> {
        let target = node.target.as_ref()?;
        if target.kind == TargetKind::BuildScript {
            return None;
        }
        self.by_out_dir.get(node.record.var("OUT_DIR")?).copied()
    }

    /// The build scripts whose native libraries a unit may link, in Cargo's order: its own, then
    /// those of its dependencies, which are sorted by package. What is built for the host as a
    /// plugin is not linked.
    fn native(&self, node: &Node) -> Result<Vec<usize>> {
        let mut ordered = Vec::new();
        let mut seen = BTreeSet::new();
        self.collect_native(node, &mut ordered, &mut seen, &mut BTreeSet::new())?;
        Ok(ordered)
    }

    fn collect_native(
        &self,
        node: &Node,
        ordered: &mut Vec<usize>,
        seen: &mut BTreeSet<usize>,
        visited: &mut BTreeSet<String>,
    ) -> Result<()> {
        if !visited.insert(node.key.clone()) {
            return Ok(());
        }
        if let Some(own) = self.own_script(node) {
            if seen.insert(own) {
                ordered.push(own);
            }
        }
        let mut below = self.externs(node)?;
        below.sort_by_cached_key(|&i| self.nodes[i].package_order());
        for index in below {
            let dependency = &self.nodes[index];
            let linkable = dependency.target.as_ref().map(|t| t.kind);
            if matches!(linkable, Some(TargetKind::Lib | TargetKind::Cdylib)) {
                self.collect_native(dependency, ordered, seen, visited)?;
            }
        }
        Ok(())
    }
}

impl<'a> Node<'a> {
    fn new(record: &'a Record) -> Result<Self> {
        let program = record.argv.first().map_or("", String::as_str);
        let file = Path::new(program)
            .file_name()
            .unwrap_or_default()
            .to_string_lossy();
        let runs_script = file.starts_with("build-script-");
        let (target, out_dir) = if runs_script {
            (
                None,
                record
                    .var("OUT_DIR")
                    .context("a build script without OUT_DIR")?,
            )
        } else {
            let dir = record
                .values("--out-dir")
                .next()
                .or(record.values("-o").next());
            (
                Some(target(record)?),
                dir.context("rustc is given no --out-dir")?,
            )
        };
        let mut node = Self {
            record,
            key: String::new(),
            target,
            out_dir: out_dir.to_owned(),
        };
        node.key = format!("{}-{}", node.name()?, node.hash());
        Ok(node)
    }

    fn var(&self, name: &str) -> Result<&'a str> {
        let value = self.record.var(name);
        value.with_context(|| format!("Cargo set no {name} for {:?}", self.record.argv))
    }

    fn package_dir(&self) -> Result<&'a str> {
        self.var("CARGO_MANIFEST_DIR")
    }

    /// The name of the derivation.
    fn name(&self) -> Result<String> {
        let package = self.var("CARGO_PKG_NAME")?;
        let version = self.var("CARGO_PKG_VERSION")?;
        let base = format!("{package}-{version}");
        let Some(target) = &self.target else {
            return Ok(format!("{base}-build-script-run"));
        };
        let suffix = match target.kind {
            TargetKind::Lib | TargetKind::ProcMacro | TargetKind::Cdylib => String::new(),
            TargetKind::BuildScript => "-build-script".to_owned(),
            TargetKind::Bin => format!("-bin-{}", target.name),
            TargetKind::Example => format!("-example-{}", target.name),
            TargetKind::Test => format!("-test-{}", target.name),
            TargetKind::Bench => format!("-bench-{}", target.name),
        };
        let program = Path::new(&self.record.argv[0])
            .file_name()
            .unwrap_or_default();
        let tool = match program.to_str() {
            Some("clippy-driver") => "-clippy",
            Some("rustdoc") => "-doc",
            _ if !self.writes_code() => "-check",
            _ => "",
        };
        Ok(format!("{base}{suffix}{tool}"))
    }

    fn writes_code(&self) -> bool {
        self.record
            .values("--emit")
            .any(|emit| emit.split(',').any(|e| e == "link"))
    }

    /// Cargo's own hash of the unit.
    fn hash(&self) -> String {
        if let Some(extra) = self.record.codegen("extra-filename") {
            return extra.trim_start_matches('-').to_owned();
        }
        // A build script's: target/.../build/PACKAGE-HASH/out.
        let parent = Path::new(&self.out_dir).parent().and_then(Path::file_name);
        let parent = parent.unwrap_or_default().to_string_lossy().into_owned();
        parent
            .rsplit_once('-')
            .map_or(parent.clone(), |(_, hash)| hash.to_owned())
    }

    /// What Cargo set, as the unit is to see it.
    fn env(&self) -> BTreeMap<String, String> {
        let mut env = self.record.env.clone();
        if self.target.is_some() {
            // It names Cargo's own directories and serves only plugins linked dynamically.
            env.remove("LD_LIBRARY_PATH");
        }
        env.retain(|name, _| !self.is_metadata(name));
        for (name, program) in [("RUSTC", "rustc"), ("RUSTDOC", "rustdoc")] {
            if let Some(value) = env.get_mut(name) {
                *value = program.to_owned();
            }
        }
        env
    }

    fn is_metadata(&self, name: &str) -> bool {
        self.target.is_none() && metadata_prefix(name).is_some()
    }

    /// Prefixes of `DEP_*` variables and the `OUT_DIR` of the build scripts that fill them.
    fn metadata(&self) -> BTreeMap<String, String> {
        let vars = self.record.env.iter();
        vars.filter_map(|(name, value)| {
            let prefix = metadata_prefix(name)?;
            Some((prefix.to_owned(), value.clone()))
        })
        .collect()
    }

    /// The order in which Cargo sorts packages: name, version, source.
    fn package_order(&self) -> (String, Option<Version>, String) {
        let get = |name: &str| self.record.var(name).unwrap_or_default().to_owned();
        let version = Version::parse(&get("CARGO_PKG_VERSION")).ok();
        (get("CARGO_PKG_NAME"), version, get("CARGO_MANIFEST_DIR"))
    }
}

fn metadata_prefix(name: &str) -> Option<&str> {
    let rest = name
        .strip_suffix(recorder::METADATA_KEY)?
        .strip_suffix('_')?;
    rest.starts_with("DEP_").then_some(rest)
}

fn target(record: &Record) -> Result<Target> {
    let crate_name = record.values("--crate-name").next();
    let crate_name = crate_name.context("rustc is given no --crate-name")?;
    let types: Vec<&str> = record.values("--crate-type").collect();
    let out_dir = record.values("--out-dir").next().unwrap_or_default();
    let named = |kind, name: &str| Target {
        kind,
        name: name.to_owned(),
    };
    let bin_name = record.var("CARGO_BIN_NAME").unwrap_or(crate_name);
    Ok(if record.has("--test") {
        named(TargetKind::Test, crate_name)
    } else if types.contains(&"proc-macro") {
        named(TargetKind::ProcMacro, crate_name)
    } else if types.contains(&"cdylib") {
        named(TargetKind::Cdylib, crate_name)
    } else if !types.contains(&"bin") {
        named(TargetKind::Lib, crate_name)
    } else if crate_name.starts_with("build_script_") && out_dir.contains("/build/") {
        named(TargetKind::BuildScript, crate_name)
    } else if out_dir.ends_with("/examples") {
        named(TargetKind::Example, crate_name)
    } else {
        named(TargetKind::Bin, bin_name)
    })
}
