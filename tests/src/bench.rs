//! Measures builds against plain Cargo with the same compiler, side by side in one run.
//!
//! Run as `cargo run --release -p e2e --bin bench` on a quiet machine. Both begin with sources and
//! toolchain in a store of their own, and with nothing compiled. Before each repetition the outputs
//! of all units, layers and images are deleted from that store.

// What the tests need of these, and a measurement does not.
#[allow(dead_code)]
mod checkout;
#[path = "bench/compiler.rs"]
mod compiler;
#[allow(dead_code)]
mod nix;
#[path = "bench/overhead.rs"]
mod overhead;
#[path = "bench/simulated.rs"]
mod simulated;

use anyhow::{Context, Result, ensure};
use checkout::assemble;
use clap::{Parser, ValueEnum};
use serde::{Deserialize, Serialize};
use simulated::Simulated;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// How often what takes less than a second is measured.
const SHORT: usize = 5;

/// Measures builds against plain Cargo with the same compiler
#[derive(Parser)]
struct Args {
    /// Builds of each sort
    #[arg(long, value_name = "N", default_value_t = 3)]
    repetitions: usize,
    /// The workspace: a git repository with a flake; default: this one
    #[arg(long, value_name = "DIR")]
    workspace: Option<PathBuf>,
    /// The file that is edited, relative to the workspace: the main file of a program
    #[arg(
        long,
        value_name = "FILE",
        default_value = "crates/supervisor/src/main.rs"
    )]
    edit: String,
    /// The image that holds that program
    #[arg(long, value_name = "IMAGE", default_value = "supervisor")]
    edited_image: String,
    /// The directory for store and clone, kept for the next run; default: a temporary one
    #[arg(long, value_name = "DIR")]
    place: Option<PathBuf>,
    /// Which cold builds are measured, separated by commas; default: all
    #[arg(long, value_name = "SORT", value_enum, value_delimiter = ',')]
    only: Vec<Sort>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// A sort of cold build.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Sort {
    /// `assemble build`, nothing remembered
    Driven,
    /// `assemble build` with the durations of the last one
    Remembered,
    /// `nix build`
    Nix,
    /// `cargo build --release`
    Cargo,
}

/// What was measured. All times in seconds; lists have an element for each repetition.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Measured {
    cores: usize,
    nix: String,
    units: usize,
    packages: usize,
    /// `assemble build` of all images, nothing remembered.
    cold: Vec<f64>,
    /// The same with what the first remembered.
    cold_remembered: Vec<f64>,
    /// `nix build` of the same.
    cold_nix: Vec<f64>,
    /// `cargo build --release` of the same binaries.
    cold_cargo: Vec<f64>,
    /// `assemble build` with nothing to do.
    nothing: Vec<f64>,
    /// Evaluation of the images, plan cached, Nix's own cache off.
    evaluation: Vec<f64>,
    /// The same for the workspace `wide`, and how many packages its lock has.
    evaluation_wide: Vec<f64>,
    packages_wide: usize,
    /// Planning that workspace, sources there and nothing planned: the packages and targets, the description, the plan.
    planning_wide: f64,
    /// `assemble build IMAGE` after an edit of its program.
    edit_image: Vec<f64>,
    /// How long rustc and the linker ran in it.
    edit_image_compiler: Vec<f64>,
    /// `assemble build` of all images after an edit of one program.
    edit: Vec<f64>,
    /// How long rustc and the linker ran in it.
    edit_compiler: Vec<f64>,
    /// `cargo build --release` after the same edit: rustc and the linker.
    edit_cargo: Vec<f64>,
    /// A derivation that does nothing.
    overhead_derivation: Vec<f64>,
    /// The same inside a cell.
    overhead_cell: Vec<f64>,
    /// Other machines.
    simulated: Vec<Simulated>,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let temporary = tempfile::tempdir()?;
    let place = args.place.clone().unwrap_or(temporary.path().join("bench"));
    fs::create_dir_all(&place)?;
    let bench = Bench::new(&args, place.canonicalize()?)?;
    let measured = bench.measure(args.repetitions)?;
    if args.json {
        println!("{}", serde_json::to_string_pretty(&measured)?);
    } else {
        print!("{}", table(&measured));
    }
    if args.place.is_none() {
        make_deletable(temporary.path())?;
    }
    Ok(())
}

struct Bench {
    place: PathBuf,
    store: String,
    clone: PathBuf,
    edit: String,
    edited_image: String,
    /// The images' attributes of the flake.
    images: Vec<String>,
    /// Packages whose program of the same name is built.
    packages: Vec<String>,
    units: usize,
    /// `plan.json`.
    plan: PathBuf,
    sorts: Vec<Sort>,
}

#[derive(Deserialize)]
struct Plan {
    units: BTreeMap<String, serde_json::Value>,
    programs: Vec<Program>,
}

#[derive(Deserialize)]
struct Program {
    package: String,
    name: String,
    kind: String,
}

impl Bench {
    /// Clones the workspace, and has all built that does not count: sources, toolchain, plan.
    fn new(args: &Args, place: PathBuf) -> Result<Self> {
        let workspace = match &args.workspace {
            Some(workspace) => workspace.canonicalize()?,
            None => checkout::repository(),
        };
        let clone = place.join("clone");
        if clone.exists() {
            fs::remove_dir_all(&clone)?;
        }
        duct::cmd!("git", "clone", "--quiet", &workspace, &clone).run()?;
        let mut bench = Self {
            store: place.join("store").to_string_lossy().into_owned(),
            place,
            clone,
            edit: args.edit.clone(),
            edited_image: args.edited_image.clone(),
            images: Vec::new(),
            packages: Vec::new(),
            units: 0,
            plan: PathBuf::new(),
            sorts: match args.only.is_empty() {
                true => Sort::value_variants().to_vec(),
                false => args.only.clone(),
            },
        };
        ensure!(
            bench.clone.join(&bench.edit).is_file(),
            "the workspace has no file {:?}: name one with --edit",
            bench.edit
        );
        bench.say("preparing: sources, toolchain, plan");
        // Crateyard's own crates, of which its programs are made; and the workspace's.
        for directory in [&checkout::repository(), &bench.clone] {
            let lock = checkout::repository().join("debian.lock");
            duct::cmd!(assemble(), "fetch", "--store", &bench.store, "--lock", lock)
                .dir(directory)
                .stdout_null()
                .run()?;
        }
        bench.images = bench.attributes()?;
        let plan = nix::nix(&bench.nix(&["build", "--no-link", "--json"], &["plan"]))?;
        let plan: serde_json::Value = serde_json::from_str(&plan)?;
        let plan = plan[0]["outputs"]["out"].as_str().context("no plan")?;
        bench.plan = bench.physical(plan).join("plan.json");
        let plan: Plan = serde_json::from_slice(&fs::read(&bench.plan)?)?;
        let programs = plan.programs.iter();
        let same = programs.filter(|p| p.kind == "bin" && p.name == p.package);
        bench.packages = same.map(|p| p.package.clone()).collect();
        bench.units = plan.units.len();
        Ok(bench)
    }

    fn say(&self, text: &str) {
        eprintln!("bench: {text}");
    }

    fn physical(&self, path: &str) -> PathBuf {
        Path::new(&self.store).join(path.trim_start_matches('/'))
    }

    /// Arguments for Nix: a command and attributes of the workspace.
    fn nix<'a>(&'a self, command: &[&'a str], attributes: &[&str]) -> Vec<&'a str> {
        let mut arguments = command.to_vec();
        arguments.extend(["--store", &self.store]);
        for attribute in attributes {
            let flake = format!("git+file://{}#{attribute}", self.clone.display());
            arguments.push(Box::leak(flake.into_boxed_str()));
        }
        arguments
    }

    /// Runs `assemble build` of all images with a memory of its own for durations.
    fn assemble(&self, memory: &str) -> Result<f64> {
        self.assemble_some(&[], memory)
    }

    fn assemble_some(&self, images: &[&str], memory: &str) -> Result<f64> {
        let arguments = [&["build", "--store", &self.store], images].concat();
        let build = duct::cmd(assemble(), arguments)
            .dir(&self.clone)
            .env("XDG_STATE_HOME", self.place.join("state").join(memory))
            .stdout_null();
        seconds(|| Ok(build.run().map(drop)?))
    }

    fn measure(&self, repetitions: usize) -> Result<Measured> {
        let mut measured = Measured {
            cores: std::thread::available_parallelism().map_or(1, |n| n.get()),
            nix: nix::nix(&["--version"])?,
            units: self.units,
            packages: locked_packages(&self.clone)?,
            cold: Vec::new(),
            cold_remembered: Vec::new(),
            cold_nix: Vec::new(),
            cold_cargo: Vec::new(),
            nothing: Vec::new(),
            evaluation: Vec::new(),
            evaluation_wide: Vec::new(),
            packages_wide: locked_packages(&wide())?,
            planning_wide: 0.0,
            edit_image: Vec::new(),
            edit_image_compiler: Vec::new(),
            edit: Vec::new(),
            edit_compiler: Vec::new(),
            edit_cargo: Vec::new(),
            overhead_derivation: Vec::new(),
            overhead_cell: Vec::new(),
            simulated: Vec::new(),
        };
        for repetition in 0..repetitions {
            self.cold(&mut measured, repetition)?;
        }
        self.say("nothing to do; evaluation");
        for _ in 0..SHORT {
            measured.nothing.push(self.assemble("first-0")?);
            measured.evaluation.push(self.evaluate()?);
        }
        self.say("a lock of many packages");
        measured.planning_wide = self.plan_wide()?;
        for _ in 0..SHORT {
            measured.evaluation_wide.push(self.evaluate_wide()?);
        }
        self.say("overhead of a derivation");
        let overhead = overhead::measure(&self.clone, &self.store)?;
        measured.overhead_derivation = overhead.derivation;
        measured.overhead_cell = overhead.cell;
        if self.sorts.contains(&Sort::Cargo) {
            let overhead = median(&measured.overhead_cell);
            let report = fs::read_to_string(self.timings())?;
            measured.simulated = simulated::simulated(&fs::read(&self.plan)?, &report, overhead)?;
        }
        for repetition in 0..repetitions {
            self.say("an edit of one program, its image; another edit, all images");
            let (seconds, compiler) = self.edit(repetition, &[&self.edited_image])?;
            measured.edit_image.push(seconds);
            measured.edit_image_compiler.push(compiler);
            let (seconds, compiler) = self.edit(repetition, &[])?;
            measured.edit.push(seconds);
            measured.edit_compiler.push(compiler);
        }
        Ok(measured)
    }

    /// Each sort once, in an order that changes from one repetition to the next. What is remembered has to be learnt
    /// before.
    fn cold(&self, measured: &mut Measured, repetition: usize) -> Result<()> {
        let mut sorts = vec![Sort::Driven, Sort::Nix, Sort::Cargo];
        sorts.rotate_left(repetition % 3);
        for sort in sorts {
            self.cold_sort(sort, measured, repetition)?;
            if sort == Sort::Driven {
                self.cold_sort(Sort::Remembered, measured, repetition)?;
            }
        }
        Ok(())
    }

    fn cold_sort(&self, sort: Sort, measured: &mut Measured, repetition: usize) -> Result<()> {
        if !self.sorts.contains(&sort) {
            return Ok(());
        }
        let memory = format!("first-{repetition}");
        match sort {
            Sort::Driven => {
                self.forget()?;
                let _ = fs::remove_dir_all(self.place.join("state").join(&memory));
                self.say("assemble build, cold, nothing remembered");
                measured.cold.push(self.assemble(&memory)?);
            }
            Sort::Remembered => {
                self.forget()?;
                self.say("assemble build, cold, durations remembered");
                measured.cold_remembered.push(self.assemble(&memory)?);
            }
            Sort::Nix => {
                self.forget()?;
                self.say("nix build, cold");
                let images: Vec<&str> = self.images.iter().map(String::as_str).collect();
                let arguments = self.nix(&["build", "--no-link"], &images);
                let build = || nix::nix(&arguments).map(drop);
                measured.cold_nix.push(seconds(build)?);
            }
            Sort::Cargo => {
                self.say("cargo build --release, cold, then after an edit");
                let (cold, edit) = self.cargo()?;
                measured.cold_cargo.push(cold);
                measured.edit_cargo.push(edit);
            }
        }
        Ok(())
    }

    /// The images' attributes of the flake.
    fn attributes(&self) -> Result<Vec<String>> {
        let build = duct::cmd!(assemble(), "build", "--json", "--store", &self.store);
        let images: serde_json::Value = serde_json::from_str(&build.dir(&self.clone).read()?)?;
        let images = images.as_array().context("no images")?.iter();
        let names = images.filter_map(|image| image["name"].as_str());
        Ok(names.map(|name| format!("{name}-image")).collect())
    }

    /// Deletes the outputs of all units, layers and images. Plan, toolchain and Crateyard's own
    /// programs stay.
    fn forget(&self) -> Result<()> {
        let units: Vec<String> = self.evaluate_json(
            "builtins.map (unit: unit.outPath) (builtins.attrValues flake.legacyPackages.x86_64-linux.units)",
        )?;
        let attributes = self.images.join("\" \"");
        let roots: Vec<String> = self.evaluate_json(&format!(
            "builtins.map (name: flake.packages.x86_64-linux.${{name}}.drvPath) [ \"{attributes}\" ]"
        ))?;
        let layers = roots.iter().map(|root| self.layers_of(root));
        let layers: Vec<Vec<String>> = layers.collect::<Result<_>>()?;
        let mut doomed: BTreeSet<String> = units.into_iter().chain(layers.concat()).collect();
        doomed.retain(|path| self.physical(path).exists());
        let mut query = vec!["--store", &self.store, "-q", "--referrers-closure"];
        query.extend(doomed.iter().map(String::as_str));
        if !doomed.is_empty() {
            let referrers = nix_store(&query)?;
            doomed.extend(referrers.lines().map(str::to_owned));
            let mut delete = vec!["--store", &self.store, "--delete", "--ignore-liveness"];
            delete.extend(doomed.iter().map(String::as_str));
            nix_store(&delete)?;
        }
        Ok(())
    }

    /// The outputs of layers and images in the closure of a `.drv` file.
    fn layers_of(&self, root: &str) -> Result<Vec<String>> {
        let closure = nix_store(&["--store", &self.store, "-qR", root])?;
        let wanted = |path: &&str| {
            let name = nix::name_of(path);
            let is_program = name.contains("-bin-");
            path.ends_with(".drv")
                && !is_program
                && (name.starts_with("layer-") || name.ends_with("-image"))
        };
        let derivations: Vec<&str> = closure.lines().filter(wanted).collect();
        let mut query = vec!["--store", &self.store, "-q", "--outputs"];
        query.extend(derivations);
        let outputs = nix_store(&query)?;
        Ok(outputs.lines().map(str::to_owned).collect())
    }

    fn evaluate_json<T: serde::de::DeserializeOwned>(&self, expression: &str) -> Result<T> {
        let expression = nix::in_flake(&self.clone, expression);
        let arguments = [
            "eval",
            "--impure",
            "--json",
            "--store",
            &self.store,
            "--expr",
        ];
        let text = nix::nix(&[&arguments[..], &[&expression]].concat())?;
        serde_json::from_str(&text).context("nix eval printed something else than expected")
    }

    fn evaluate(&self) -> Result<f64> {
        let command = [
            "path-info",
            "--derivation",
            "--option",
            "eval-cache",
            "false",
        ];
        let images: Vec<&str> = self.images.iter().map(String::as_str).collect();
        let arguments = self.nix(&command, &images);
        seconds(|| nix::nix(&arguments).map(drop))
    }

    /// Plans the workspace of many packages, which nothing is compiled of.
    fn plan_wide(&self) -> Result<f64> {
        let lock = checkout::repository().join("debian.lock");
        duct::cmd!(assemble(), "fetch", "--store", &self.store, "--lock", lock)
            .dir(wide())
            .stdout_null()
            .run()?;
        let planned: Vec<String> = ["plan", "description", "targets"]
            .iter()
            .map(|name| self.evaluate_json(&in_wide(&format!("{name}.outPath"))))
            .collect::<Result<_>>()?;
        let mut delete = vec!["--store", &self.store, "--delete", "--ignore-liveness"];
        delete.extend(planned.iter().map(String::as_str));
        nix_store(&delete)?;
        self.evaluate_wide()
    }

    fn evaluate_wide(&self) -> Result<f64> {
        let expression = in_wide("images.wide.drvPath");
        seconds(|| self.evaluate_json::<String>(&expression).map(drop))
    }

    /// Cargo in a cell: seconds until the programs are there, and after an edit.
    fn cargo(&self) -> Result<(f64, f64)> {
        let packages = self.packages.join("\" \"");
        let cell = checkout::repository().join("tests/cargo-in-a-cell.nix");
        let expression = format!(
            "let crateyard = flake.inputs.crateyard or flake; in import {} {{ inherit crateyard; src = flake; \
             packages = [ \"{packages}\" ]; edited = \"{}\"; }}",
            cell.display(),
            self.edit
        );
        let expression = nix::in_flake(&self.clone, &expression);
        let build = [
            "build",
            "--impure",
            "--no-link",
            "--json",
            "--store",
            &self.store,
            "--expr",
        ];
        let arguments = [&build[..], &[expression.as_str()]].concat();
        let instantiate = [
            "path-info",
            "--impure",
            "--derivation",
            "--store",
            &self.store,
            "--expr",
        ];
        let derivation = nix::nix(&[&instantiate[..], &[expression.as_str()]].concat())?;
        let out = nix_store(&["--store", &self.store, "-q", "--outputs", derivation.trim()])?;
        if self.physical(&out).exists() {
            nix_store(&[
                "--store",
                &self.store,
                "--delete",
                "--ignore-liveness",
                &out,
            ])?;
        }
        let whole = seconds(|| nix::nix(&arguments).map(drop))?;
        let edit = fs::read_to_string(self.physical(&out).join("edit-milliseconds"))?;
        let edit = edit.trim().parse::<f64>()? / 1000.0;
        fs::copy(self.physical(&out).join("timings.html"), self.timings())?;
        Ok((whole - edit, edit))
    }

    /// What Cargo says of how long each unit took.
    fn timings(&self) -> PathBuf {
        self.place.join("timings.html")
    }

    /// Builds some images after an edit: how long all of it took, and how long rustc ran.
    fn edit(&self, repetition: usize, images: &[&str]) -> Result<(f64, f64)> {
        let file = self.clone.join(&self.edit);
        let text = fs::read_to_string(&file)?;
        fs::write(&file, format!("{text}\n// edited {repetition}\n"))?;
        compiler::beside(|| self.assemble_some(images, "first-0"))
    }
}

/// The workspace of many packages.
fn wide() -> PathBuf {
    checkout::repository().join("tests/workspaces/wide")
}

/// An attribute of its images, as an expression.
fn in_wide(attribute: &str) -> String {
    format!(
        "(((flake.inputs.crateyard or flake).lib.mkImages {{ src = {}; }}).{attribute})",
        wide().display()
    )
}

fn nix_store(arguments: &[&str]) -> Result<String> {
    duct::cmd("nix-store", arguments)
        .stderr_null()
        .read()
        .with_context(|| format!("nix-store {} failed", arguments[2..4].join(" ")))
}

fn seconds(work: impl FnOnce() -> Result<()>) -> Result<f64> {
    let begin = Instant::now();
    work()?;
    Ok(begin.elapsed().as_secs_f64())
}

fn locked_packages(workspace: &Path) -> Result<usize> {
    let lock = fs::read_to_string(workspace.join("Cargo.lock"))?;
    Ok(lock.lines().filter(|line| *line == "[[package]]").count())
}

/// Directories of a store can't be written to.
fn make_deletable(directory: &Path) -> Result<()> {
    Ok(duct::cmd!("chmod", "-R", "u+w", directory)
        .run()
        .map(drop)?)
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}

fn table(measured: &Measured) -> String {
    let cargo = median(&measured.cold_cargo);
    let cold = |values: &[f64]| {
        (
            median(values),
            format!("{:.2} × cargo", median(values) / cargo),
        )
    };
    let edit_cargo = median(&measured.edit_cargo);
    let each = |values: &[f64]| {
        (
            median(values),
            format!("{:.0} ms each", median(values) * 1e3),
        )
    };
    let edited = |values: &[f64], compiler: &[f64]| {
        let rest: Vec<f64> = values.iter().zip(compiler).map(|(v, c)| v - c).collect();
        let (compiler, rest) = (median(compiler), median(&rest));
        let note = format!("rustc and linker {compiler:.2} s + {rest:.2} s");
        (median(values), note)
    };
    let rows = [
        ("cold: cargo build --release", (cargo, String::new())),
        (
            "cold: assemble build, nothing remembered",
            cold(&measured.cold),
        ),
        (
            "cold: assemble build, durations remembered",
            cold(&measured.cold_remembered),
        ),
        ("cold: nix build", cold(&measured.cold_nix)),
        (
            "nothing to do: assemble build",
            (median(&measured.nothing), String::new()),
        ),
        (
            "evaluation, plan cached",
            (median(&measured.evaluation), String::new()),
        ),
        (
            "evaluation of the lock of many packages, plan cached",
            (
                median(&measured.evaluation_wide),
                format!("{} packages", measured.packages_wide),
            ),
        ),
        (
            "planning that lock",
            (measured.planning_wide, String::new()),
        ),
        (
            "a derivation that does nothing",
            each(&measured.overhead_derivation),
        ),
        ("the same inside a cell", each(&measured.overhead_cell)),
        ("edit: cargo build --release", (edit_cargo, String::new())),
        (
            "edit: assemble build of its image, until it is written",
            edited(&measured.edit_image, &measured.edit_image_compiler),
        ),
        (
            "edit: assemble build of all images",
            edited(&measured.edit, &measured.edit_compiler),
        ),
    ];
    let mut text = format!(
        "{} · {} cores · {} units · {} locked packages · medians\n",
        measured.nix, measured.cores, measured.units, measured.packages
    );
    // What was not asked for has no median.
    for (name, (seconds, note)) in rows.into_iter().filter(|(_, (s, _))| !s.is_nan()) {
        text += format!("{name:<54} {seconds:>8.2} s  {note}").trim_end();
        text.push('\n');
    }
    for Simulated {
        cores,
        cargo,
        driven,
        by_name,
    } in &measured.simulated
    {
        let (driven, by_name) = (driven / cargo, by_name / cargo);
        text += &format!(
            "simulated, {cores:>2} cores: cargo {cargo:.1} s, assemble build {driven:.2} ×, in Nix's order {by_name:.2} ×\n"
        );
    }
    text
}
