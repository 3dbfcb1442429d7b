//! Turns records into units and finds their dependencies.

mod node;

use self::node::Node;
use crate::places::PackagePlaces;
use crate::reads::Reads;
use crate::record::Record;
use crate::sources::Packages;
use crate::{FORMAT, Origin, Package, Plan, Planned, Program, WORKSPACE, recorder};
use anyhow::{Context, Result, bail};
use crateyard_unit::{Action, Product, TargetKind, Unit};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;

/// Makes the plan from the records of one Cargo run.
///
/// # Errors
/// Fails if a record can't be understood; the error quotes it.
pub fn plan(records: &[Record], packages: &Packages) -> Result<Plan> {
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
        places: PackagePlaces::new(),
        members: Vec::new(),
    })
}

/// Returns the origin of the package in a directory.
fn origin(directory: &str, packages: &Packages) -> Result<Origin> {
    if let Ok(inner) = Path::new(directory).strip_prefix(WORKSPACE) {
        let path = inner.to_string_lossy().into_owned();
        return Ok(Origin::Path { path });
    }
    packages.origin(directory)
}

fn program(node: &Node, planned: &Planned) -> Option<Program> {
    let Action::Compile { target, .. } = &planned.unit.action else {
        return None;
    };
    let ends_here = planned.unit.product() == Product::Program || target.kind == TargetKind::Cdylib;
    (ends_here && !target.test).then(|| Program {
        package: planned.package.name.clone(),
        kind: target.kind,
        name: target.name.clone(),
        unit: node.key.clone(),
    })
}

struct Graph<'a> {
    nodes: Vec<Node<'a>>,
    /// The node that writes each file.
    by_file: HashMap<String, usize>,
    /// The node that makes each binary, by the package's directory and the binary's name.
    by_program: HashMap<(String, String), usize>,
    /// The build script that runs with each `OUT_DIR`.
    by_out_dir: HashMap<String, usize>,
    /// The build script that is compiled to each directory.
    scripts: HashMap<String, usize>,
    /// The directories of packages that have a library.
    with_library: BTreeSet<String>,
}

impl<'a> Graph<'a> {
    fn new(records: &'a [Record]) -> Result<Self> {
        let mut nodes = records.iter().map(Node::new).collect::<Result<Vec<_>>>()?;
        nodes.sort_by(|a, b| a.key.cmp(&b.key));
        let mut graph = Self {
            by_file: HashMap::new(),
            by_program: HashMap::new(),
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
            if !node.runs_test() {
                self.by_out_dir.insert(node.out_dir.clone(), index);
            }
            return Ok(());
        };
        if node.tool() != "rustdoc" {
            for file in recorder::outputs(node.record)? {
                self.by_file
                    .insert(file.to_string_lossy().into_owned(), index);
            }
        }
        if target.kind == TargetKind::Bin && !target.test && node.writes_code() {
            let program = (node.package_dir()?.to_owned(), target.name.clone());
            self.by_program.insert(program, index);
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

    fn planned(&self, node: &Node, packages: &Packages) -> Result<Planned> {
        let dir = node.package_dir()?.to_owned();
        let mut dependencies: Vec<String> = self
            .dependencies(node)?
            .into_iter()
            .map(|index| self.nodes[index].key.clone())
            .collect();
        dependencies.sort();
        dependencies.dedup();
        let package = Package {
            name: node.var("CARGO_PKG_NAME")?.to_owned(),
            version: node.var("CARGO_PKG_VERSION")?.to_owned(),
            origin: origin(&dir, packages)?,
        };
        let unit = Unit {
            version: crateyard_unit::FORMAT,
            name: node.name()?,
            source_dir: dir,
            path_in_source: package.origin.path_in_source(),
            cwd: node.record.cwd.clone(),
            env: node.env(),
            action: self.action(node)?,
        };
        Ok(Planned {
            unit,
            package,
            dependencies,
            programs: self.programs(node)?,
            reads: Reads::default(),
        })
    }

    fn action(&self, node: &Node) -> Result<Action> {
        if node.runs_test() {
            let compiled = self.compiled(node)?;
            return Ok(Action::RunTest {
                program: node.record.argv[0].clone(),
                args: node.record.argv[1..].to_vec(),
                build_script: self
                    .own_script(compiled)
                    .map(|i| self.nodes[i].out_dir.clone()),
                scratch: compiled
                    .record
                    .var("CARGO_TARGET_TMPDIR")
                    .map(str::to_owned),
            });
        }
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
        Ok(Action::Compile {
            program: node.tool(),
            args: node.arguments(),
            out_dir: node.out_dir.clone(),
            target: target.clone(),
            build_script: self.own_script(node).map(|i| self.nodes[i].out_dir.clone()),
            native: native
                .iter()
                .map(|&i| self.nodes[i].out_dir.clone())
                .collect(),
            takes_link_libs: is_library || !has_library,
            metadata_only: false,
        })
    }

    /// Returns the units that a unit depends on directly.
    fn dependencies(&self, node: &Node) -> Result<Vec<usize>> {
        if node.runs_test() {
            return Ok(self.own_script(self.compiled(node)?).into_iter().collect());
        }
        if node.target.is_some() {
            let mut all = self.externs(node)?;
            all.extend(self.own_script(node));
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

    /// Returns the libraries that rustc is given.
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

    /// Returns the node that compiled the test that `node` runs.
    fn compiled(&self, node: &Node) -> Result<&Node<'a>> {
        let program = &node.record.argv[0];
        let index = self.by_file.get(program);
        let index = index.with_context(|| format!("no unit of the plan compiles {program}"))?;
        Ok(&self.nodes[*index])
    }

    /// Returns the programs that a test starts: itself, and its package's programs, which
    /// `CARGO_BIN_EXE_*` names.
    fn programs(&self, node: &Node) -> Result<BTreeMap<String, String>> {
        let mut programs = BTreeMap::new();
        if !node.runs_test() {
            return Ok(programs);
        }
        let compiled = self.compiled(node)?;
        programs.insert(node.record.argv[0].clone(), compiled.key.clone());
        for (name, path) in &compiled.record.env {
            let Some(bin) = name.strip_prefix("CARGO_BIN_EXE_") else {
                continue;
            };
            let program = (compiled.package_dir()?.to_owned(), bin.to_owned());
            let index = self.by_program.get(&program);
            let index = index.with_context(|| format!("no unit of the plan makes {path}"))?;
            programs.insert(path.clone(), self.nodes[*index].key.clone());
        }
        Ok(programs)
    }

    /// Returns the run of the package's own build script.
    fn own_script(&self, node: &Node) -> Option<usize> {
        let target = node.target.as_ref()?;
        if target.kind == TargetKind::BuildScript {
            return None;
        }
        self.by_out_dir.get(node.record.var("OUT_DIR")?).copied()
    }

    /// Returns the build scripts whose native libraries a unit may link, in Cargo's order: its own,
    /// then those of its dependencies, sorted by package. Leaves out plugins for the host, because
    /// they are not linked.
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
