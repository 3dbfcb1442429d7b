//! Turns records into units and finds their dependencies.

use crate::asks::Asks;
use crate::layout::Layout;
use crate::record::Record;
use crate::recorder::TOOLS;
use crate::sources::Packages;
use crate::{FORMAT, Origin, Package, Plan, Planned, Program, WORKSPACE, recorder};
use anyhow::{Context, Result, bail};
use crateyard_unit::{Action, Product, Target, TargetKind, Unit};
use semver::Version;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;

/// The directory to which examples in documentation are compiled.
const DOC_TESTS: &str = "/cargo/target/doc-tests";

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
        layout: Layout::new(),
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

/// A record and the facts derived from it.
struct Node<'a> {
    record: &'a Record,
    /// The unit's key in the plan.
    key: String,
    /// The target that the record compiles, if it compiles one.
    target: Option<Target>,
    /// The directory that Cargo makes the program write to; empty for a test that runs.
    out_dir: String,
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
            asks: Asks::default(),
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

impl<'a> Node<'a> {
    fn new(record: &'a Record) -> Result<Self> {
        let tool = tool(record);
        let (target, out_dir) =
            if !TOOLS.contains(&tool.as_str()) && !tool.starts_with("build-script-") {
                (None, "")
            } else if tool.starts_with("build-script-") {
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
                // Only examples in documentation have no output directory. They are run.
                (Some(target(record)?), dir.unwrap_or(DOC_TESTS))
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

    fn tool(&self) -> String {
        tool(self.record)
    }

    fn runs_test(&self) -> bool {
        self.target.is_none() && self.out_dir.is_empty()
    }

    /// Returns the tool's arguments. A wrapper gets the compiler's name before them.
    fn arguments(&self) -> Vec<String> {
        let wrapper = self.tool() == "clippy-driver";
        let name = |(index, arg): (usize, &String)| {
            if wrapper && index == 0 {
                "rustc".to_owned()
            } else {
                arg.clone()
            }
        };
        self.record.argv[1..].iter().enumerate().map(name).collect()
    }

    /// Returns the derivation's name.
    fn name(&self) -> Result<String> {
        let package = self.var("CARGO_PKG_NAME")?;
        let version = self.var("CARGO_PKG_VERSION")?;
        let base = format!("{package}-{version}");
        if self.runs_test() {
            // The program `deps/NAME-HASH` tells which of the package's tests this is.
            let program = self.tool();
            let test = program.rsplit_once('-').map_or("", |(name, _)| name);
            return Ok(format!("{base}-run-{test}"));
        }
        let Some(target) = &self.target else {
            return Ok(format!("{base}-build-script-run"));
        };
        let suffix = match target.kind {
            TargetKind::Lib | TargetKind::ProcMacro | TargetKind::Cdylib if target.test => {
                "-test".to_owned()
            }
            TargetKind::Bin if target.test => format!("-test-bin-{}", target.name),
            TargetKind::Lib | TargetKind::ProcMacro | TargetKind::Cdylib => String::new(),
            TargetKind::BuildScript => "-build-script".to_owned(),
            TargetKind::Bin => format!("-bin-{}", target.name),
            TargetKind::Example => format!("-example-{}", target.name),
            TargetKind::Test => format!("-test-{}", target.name),
            TargetKind::Bench => format!("-bench-{}", target.name),
        };
        let tool = match self.tool().as_str() {
            "clippy-driver" => "-clippy",
            "rustdoc" => "-doc",
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

    /// Returns Cargo's own hash of the unit.
    fn hash(&self) -> String {
        if let Some(extra) = self.record.codegen("extra-filename") {
            return extra.trim_start_matches('-').to_owned();
        }
        if self.runs_test() {
            let program = self.tool();
            return program
                .rsplit_once('-')
                .map_or("", |(_, hash)| hash)
                .to_owned();
        }
        if let Some(metadata) = self.record.codegen("metadata") {
            return metadata.to_owned();
        }
        // A build script is in target/.../build/PACKAGE-HASH/out.
        let parent = Path::new(&self.out_dir).parent().and_then(Path::file_name);
        let parent = parent.unwrap_or_default().to_string_lossy().into_owned();
        parent
            .rsplit_once('-')
            .map_or(parent.clone(), |(_, hash)| hash.to_owned())
    }

    /// Returns the variables that Cargo set, as the unit should see them.
    fn env(&self) -> BTreeMap<String, String> {
        let mut env = self.record.env.clone();
        let runs = self.tool() == "rustdoc" && self.target.as_ref().is_some_and(|t| t.test);
        if self.target.is_some() && !runs {
            // It names Cargo's own directories and serves only plugins linked dynamically.
            env.remove("LD_LIBRARY_PATH");
        }
        if self.tool() != "clippy-driver" {
            // Only lints need these. Without them, a unit is the same in every build.
            env.remove("CLIPPY_ARGS");
            env.remove("CARGO_PRIMARY_PACKAGE");
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

    /// Returns the prefixes of `DEP_*` variables, and the `OUT_DIR` of the build scripts that set
    /// them.
    fn metadata(&self) -> BTreeMap<String, String> {
        let vars = self.record.env.iter();
        vars.filter_map(|(name, value)| {
            let prefix = metadata_prefix(name)?;
            Some((prefix.to_owned(), value.clone()))
        })
        .collect()
    }

    /// Returns the key by which Cargo sorts packages: name, version, source.
    fn package_order(&self) -> (String, Option<Version>, String) {
        let get = |name: &str| self.record.var(name).unwrap_or_default().to_owned();
        let version = Version::parse(&get("CARGO_PKG_VERSION")).ok();
        (get("CARGO_PKG_NAME"), version, get("CARGO_MANIFEST_DIR"))
    }
}

/// Returns the file name of the program.
fn tool(record: &Record) -> String {
    recorder::file_name(record.argv.first().map_or("", String::as_str))
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
    let test = record.has("--test");
    let named = |kind, name: &str| Target {
        kind,
        name: name.to_owned(),
        test,
    };
    let bin_name = record.var("CARGO_BIN_NAME").unwrap_or(crate_name);
    // A test has no crate type. Cargo's variables tell which target it tests.
    Ok(if test && record.var("CARGO_TARGET_TMPDIR").is_some() {
        named(TargetKind::Test, crate_name)
    } else if test && record.var("CARGO_BIN_NAME").is_some() {
        named(TargetKind::Bin, bin_name)
    } else if test {
        named(TargetKind::Lib, crate_name)
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
