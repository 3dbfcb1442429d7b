//! Compares builds with the Cargo that a user has, with the same compiler and in one run.
//!
//! Run as `cargo run --release -p e2e --bin measure` on a quiet machine. Both start with sources
//! and toolchain in a separate store, and with nothing compiled. Before each repetition, the
//! outputs of all units, layers and images are deleted from that store.
// No code outside a program can reach its items, so `pub` means the same as `pub(crate)`.
#![allow(unreachable_pub)]

// The tests use more of these modules than the measurements do.
#[allow(dead_code)]
mod checkout;
#[allow(dead_code)]
mod cold;
#[path = "measure/compiler.rs"]
mod compiler;
#[allow(dead_code)]
mod nix;
#[path = "measure/overhead.rs"]
mod overhead;
#[allow(dead_code)]
mod own_cargo;
mod simulated;

use anyhow::{Context, Result, ensure};
use checkout::assemble;
use clap::Parser;
use cold::{Cold, make_deletable, median, nix_store, remove_all, seconds};
use crateyard_plan::Plan;
use own_cargo::{OwnCargo, Side};
use serde::Serialize;
use simulated::Simulated;
use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// The number of measurements of something that takes less than a second.
const SHORT: usize = 5;

/// Measures builds against the machine's own Cargo with the same compiler
#[derive(Parser)]
struct Args {
    /// Builds of each sort
    #[arg(long, value_name = "N", default_value_t = 3)]
    repetitions: usize,
    /// Builds after an edit of each program; default: as many. They are short, and differ by as
    /// much as what is measured
    #[arg(long, value_name = "N")]
    edit_repetitions: Option<usize>,
    /// The workspace: a git repository with a flake; default: this one
    #[arg(long, value_name = "DIR")]
    workspace: Option<PathBuf>,
    /// An image, and a source file of its program to edit, relative to the workspace
    #[arg(
        long = "edit",
        value_name = "IMAGE=FILE",
        default_values = [
            "gateway=services/gateway/src/main.rs",
            "cluster=services/cluster/src/main.rs",
            "supervisor=services/supervisor/src/main.rs",
        ]
    )]
    edits: Vec<Edit>,
    /// The directory for store and clone, kept for the next run; default: a temporary one
    #[arg(long, value_name = "DIR")]
    place: Option<PathBuf>,
    /// Which cold builds are measured, separated by commas
    #[arg(
        long,
        value_name = "SORT",
        value_enum,
        value_delimiter = ',',
        default_value = "driven,remembered,nix,cargo,simulated"
    )]
    only: Vec<Sort>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// An image, and the file that is edited before its build.
#[derive(Clone, Debug)]
struct Edit {
    image: String,
    file: String,
}

impl FromStr for Edit {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (image, file) = text.split_once('=').ok_or("it is not IMAGE=FILE")?;
        Ok(Self {
            image: image.to_owned(),
            file: file.to_owned(),
        })
    }
}

/// A kind of cold build.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Sort {
    /// `assemble build`, nothing remembered
    Driven,
    /// `assemble build` with the durations of the last one
    Remembered,
    /// `assemble build`, one core for each unit
    OneCore,
    /// `assemble build`, all cores for each unit
    AllCores,
    /// `nix build`
    Nix,
    /// `cargo build --release`, typed in a clone
    Cargo,
    /// Both on machines with other numbers of cores; nothing is timed
    Simulated,
}

/// The measurements. All times are in seconds. Lists have an element for each repetition.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Measured {
    cores: usize,
    nix: String,
    units: usize,
    packages: usize,
    /// `assemble build` of all images, nothing remembered.
    cold: Vec<f64>,
    /// The same, with the durations that the first build remembered.
    cold_remembered: Vec<f64>,
    /// `assemble build` with one core for each unit, nothing remembered.
    cold_one_core: Vec<f64>,
    /// `assemble build` with all cores for each unit, nothing remembered.
    cold_all_cores: Vec<f64>,
    /// `nix build` of the same.
    cold_nix: Vec<f64>,
    /// `cargo build --release` of the same binaries.
    cold_cargo: Vec<f64>,
    /// `assemble build` with nothing to do.
    nothing: Vec<f64>,
    /// Evaluation of the images, plan cached, Nix's own cache off.
    evaluation: Vec<f64>,
    /// The same for the workspace `wide`, and the number of packages in its lock.
    evaluation_wide: Vec<f64>,
    packages_wide: usize,
    /// Planning that workspace without a cached plan: the packages and targets, the description,
    /// the plan.
    planning_wide: f64,
    /// Edits of one program each.
    edits: Vec<Edited>,
    /// `assemble build` of all images after an edit of the last program.
    edit_all: Vec<f64>,
    /// The time of rustc and the linker in that build.
    edit_all_compiler: Vec<f64>,
    /// A derivation that does nothing.
    overhead_derivation: Vec<f64>,
    /// The same inside a cell.
    overhead_cell: Vec<f64>,
    /// Simulations of other machines.
    simulated: Vec<Simulated>,
}

/// Builds after edits of one program.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Edited {
    image: String,
    /// `assemble build IMAGE`, until the image is written.
    image_written: Vec<f64>,
    /// The time of rustc and the linker in that build.
    compiler: Vec<f64>,
    /// `cargo build --release` after the same edit.
    cargo: Vec<f64>,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let temporary = tempfile::tempdir()?;
    let place = args.place.clone().unwrap_or(temporary.path().join("bench"));
    fs::create_dir_all(&place)?;
    let bench = Bench::new(&args, &place.canonicalize()?)?;
    let edits = args.edit_repetitions.unwrap_or(args.repetitions);
    let measured = bench.measure(args.repetitions, edits)?;
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
    cold: Cold,
    own: OwnCargo,
    edits: Vec<Edit>,
    plan: Plan,
    /// The images' attributes of the flake.
    images: Vec<String>,
    sorts: Vec<Sort>,
}

impl Bench {
    /// Clones the workspace, and builds everything that is not measured: sources, toolchain, plan.
    fn new(args: &Args, place: &Path) -> Result<Self> {
        let workspace = match &args.workspace {
            Some(workspace) => workspace.canonicalize()?,
            None => checkout::repository(),
        };
        let clone = place.join("clone");
        if clone.exists() {
            fs::remove_dir_all(&clone)?;
        }
        duct::cmd!("git", "clone", "--quiet", &workspace, &clone).run()?;
        for Edit { file, .. } in &args.edits {
            ensure!(
                clone.join(file).is_file(),
                "the workspace has no file {file:?}: name one with --edit"
            );
        }
        say("preparing: sources, toolchain, plan");
        let cold = Cold::new(place, clone);
        cold.fetch_crateyard()?;
        cold.fetch(&cold.workspace, &checkout::repository().join("debian.lock"))?;
        let images = cold.images()?;
        let names = images.iter().filter_map(|image| image["name"].as_str());
        let plan = cold.plan()?;
        Ok(Self {
            images: names.map(|name| format!("{name}-image")).collect(),
            own: OwnCargo::new(&cold, &plan, &checkout::repository().join("toolchain.lock"))?,
            plan,
            cold,
            edits: args.edits.clone(),
            sorts: args.only.clone(),
        })
    }

    /// Runs Nix: a command and the images' attributes.
    fn nix(&self, command: &[&str]) -> Result<()> {
        let images: Vec<&str> = self.images.iter().map(String::as_str).collect();
        self.cold.nix(command, &images).map(drop)
    }

    fn measure(&self, repetitions: usize, edits: usize) -> Result<Measured> {
        let mut measured = Measured {
            cores: std::thread::available_parallelism().map_or(1, |n| n.get()),
            nix: nix::nix(&["--version"])?,
            units: self.plan.units.len(),
            packages: locked_packages(&self.cold.workspace)?,
            cold: Vec::new(),
            cold_remembered: Vec::new(),
            cold_one_core: Vec::new(),
            cold_all_cores: Vec::new(),
            cold_nix: Vec::new(),
            cold_cargo: Vec::new(),
            nothing: Vec::new(),
            evaluation: Vec::new(),
            evaluation_wide: Vec::new(),
            packages_wide: locked_packages(&wide())?,
            planning_wide: 0.0,
            edits: Vec::new(),
            edit_all: Vec::new(),
            edit_all_compiler: Vec::new(),
            overhead_derivation: Vec::new(),
            overhead_cell: Vec::new(),
            simulated: Vec::new(),
        };
        for repetition in 0..repetitions {
            self.cold(&mut measured, repetition)?;
        }
        say("nothing to do; evaluation");
        for _ in 0..SHORT {
            measured.nothing.push(self.cold.assemble("first-0")?);
            measured.evaluation.push(self.evaluate()?);
        }
        say("a lock of many packages");
        measured.planning_wide = self.plan_wide()?;
        for _ in 0..SHORT {
            measured.evaluation_wide.push(self.evaluate_wide()?);
        }
        say("overhead of a derivation");
        let overhead = overhead::measure(&self.cold.workspace, &self.cold.store)?;
        measured.overhead_derivation = overhead.derivation;
        measured.overhead_cell = overhead.cell;
        if self.sorts.contains(&Sort::Simulated) {
            say("cargo build --release in a cell, for the simulation");
            let overhead = median(&measured.overhead_cell);
            let report = self.cold.made_by_cargo(&self.plan)?.join("timings.html");
            let report = fs::read_to_string(report)?;
            measured.simulated = simulated::simulated(&self.plan, &report, overhead)?;
        }
        for edit in &self.edits {
            measured.edits.push(self.edit_one(edit, edits)?);
        }
        say("edits of the last program, all images");
        for _ in 0..edits {
            let (seconds, compiler) = self.edit(self.edits.last(), &[])?;
            measured.edit_all.push(seconds);
            measured.edit_all_compiler.push(compiler);
        }
        Ok(measured)
    }

    /// Builds each kind once, in an order that changes with each repetition. The durations must be
    /// learned before the build that remembers them.
    fn cold(&self, measured: &mut Measured, repetition: usize) -> Result<()> {
        let mut sorts = vec![
            Sort::Driven,
            Sort::OneCore,
            Sort::AllCores,
            Sort::Nix,
            Sort::Cargo,
        ];
        sorts.retain(|sort| self.sorts.contains(sort) || *sort == Sort::Driven);
        let first = repetition % sorts.len();
        sorts.rotate_left(first);
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
                self.cold.forget()?;
                self.cold.forget_durations(&memory)?;
                say("assemble build, cold, nothing remembered");
                measured.cold.push(self.cold.assemble(&memory)?);
            }
            Sort::Remembered => {
                self.cold.forget()?;
                say("assemble build, cold, durations remembered");
                measured.cold_remembered.push(self.cold.assemble(&memory)?);
            }
            Sort::OneCore | Sort::AllCores => {
                let (times, cores) = match sort {
                    Sort::OneCore => (&mut measured.cold_one_core, 1),
                    _ => (&mut measured.cold_all_cores, measured.cores),
                };
                self.cold.forget()?;
                self.cold.forget_durations("shares")?;
                say(&format!(
                    "assemble build, cold, cores of each unit: {cores}"
                ));
                let arguments = ["--", "--cores", &cores.to_string()];
                times.push(self.cold.assemble_with(&arguments, "shares")?);
            }
            Sort::Nix => {
                self.cold.forget()?;
                say("nix build, cold");
                let build = || self.nix(&["build", "--no-link"]);
                measured.cold_nix.push(seconds(build)?);
            }
            Sort::Cargo => {
                say("cargo build --release, cold");
                measured.cold_cargo.push(self.own.cold()?);
            }
            Sort::Simulated => {}
        }
        Ok(())
    }

    fn evaluate(&self) -> Result<f64> {
        let command = [
            "path-info",
            "--derivation",
            "--option",
            "eval-cache",
            "false",
        ];
        seconds(|| self.nix(&command))
    }

    /// Plans the workspace of many packages, and compiles nothing of it.
    fn plan_wide(&self) -> Result<f64> {
        let copy = self.lock_wide()?;
        self.cold.fetch(&copy, &copy.join("debian.lock"))?;
        let path = |name| self.evaluate_in_wide(&format!("{name}.outPath"));
        let planned = ["plan", "description", "targets"].map(path);
        let planned: Vec<String> = planned.into_iter().collect::<Result<_>>()?;
        let store = ["--store", &self.cold.store];
        let mut delete = [&store[..], &["--delete", "--ignore-liveness"]].concat();
        delete.extend(planned.iter().map(String::as_str));
        nix_store(&delete)?;
        self.evaluate_wide()
    }

    /// Copies that workspace, and pins the Debian packages that its crates need.
    fn lock_wide(&self) -> Result<PathBuf> {
        let copy = self.copy_of_wide();
        remove_all(&copy)?;
        duct::cmd!("cp", "-rT", wide(), &copy).run()?;
        let lock = duct::cmd!(assemble(), "lock").dir(&copy).stdout_null();
        lock.run().context("assemble lock failed")?;
        Ok(copy)
    }

    /// Returns the directory of that copy.
    fn copy_of_wide(&self) -> PathBuf {
        self.cold.place.join("wide")
    }

    fn evaluate_wide(&self) -> Result<f64> {
        seconds(|| self.evaluate_in_wide("images.wide.drvPath").map(drop))
    }

    /// Evaluates an attribute of the copy's images.
    fn evaluate_in_wide(&self, attribute: &str) -> Result<String> {
        self.cold.evaluate(&format!(
            "(((flake.inputs.crateyard or flake).lib.mkImages {{ src = {}; }}).{attribute})",
            self.copy_of_wide().display()
        ))
    }

    /// Edits one program repeatedly. `assemble build` and Cargo build it after each edit, and take
    /// turns in going first.
    fn edit_one(&self, edit: &Edit, repetitions: usize) -> Result<Edited> {
        let Edit { image, file } = edit;
        say(&format!("edits of {file}, image {image}"));
        let mut edited = Edited {
            image: image.clone(),
            image_written: Vec::new(),
            compiler: Vec::new(),
            cargo: Vec::new(),
        };
        for side in (0..repetitions).flat_map(own_cargo::turns) {
            match side {
                Side::Units => {
                    let (seconds, compiler) = self.edit(Some(edit), &[image])?;
                    edited.image_written.push(seconds);
                    edited.compiler.push(compiler);
                }
                Side::Cargo if self.sorts.contains(&Sort::Cargo) => {
                    edited.cargo.push(self.own.edited(file)?);
                }
                Side::Cargo => {}
            }
        }
        Ok(edited)
    }

    /// Builds some images after a new edit. Returns how long the build took, and how long rustc
    /// ran.
    fn edit(&self, edit: Option<&Edit>, images: &[&str]) -> Result<(f64, f64)> {
        let edit = edit.context("no edit is named")?;
        own_cargo::edit(&self.cold.workspace.join(&edit.file))?;
        compiler::beside(|| self.cold.assemble_with(images, "first-0"))
    }
}

/// Returns the workspace of many packages.
fn wide() -> PathBuf {
    checkout::repository().join("tests/workspaces/wide")
}

fn say(text: &str) {
    eprintln!("bench: {text}");
}

fn locked_packages(workspace: &Path) -> Result<usize> {
    let lock = fs::read_to_string(workspace.join("Cargo.lock"))?;
    Ok(lock.lines().filter(|line| *line == "[[package]]").count())
}

fn table(measured: &Measured) -> String {
    let cargo = median(&measured.cold_cargo);
    let cold = |values: &[f64]| {
        (
            median(values),
            format!("{:.2} × cargo", median(values) / cargo),
        )
    };
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
    let fixed = [
        ("cold: cargo build --release", (cargo, String::new())),
        (
            "cold: assemble build, nothing remembered",
            cold(&measured.cold),
        ),
        (
            "cold: assemble build, durations remembered",
            cold(&measured.cold_remembered),
        ),
        (
            "cold: assemble build, one core for each unit",
            cold(&measured.cold_one_core),
        ),
        (
            "cold: assemble build, all cores for each unit",
            cold(&measured.cold_all_cores),
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
    ];
    let fixed = fixed.into_iter();
    let mut rows: Vec<_> = fixed.map(|(name, row)| (name.to_owned(), row)).collect();
    for edit in &measured.edits {
        rows.push((
            format!("edit of {}: cargo build --release", edit.image),
            (median(&edit.cargo), String::new()),
        ));
        rows.push((
            format!("edit of {}: assemble build, image written", edit.image),
            edited(&edit.image_written, &edit.compiler),
        ));
        let pairs = edit.image_written.iter().zip(&edit.cargo);
        let more: Vec<f64> = pairs.map(|(ours, cargo)| ours - cargo).collect();
        rows.push((
            format!("edit of {}: more than Cargo, of each pair", edit.image),
            (median(&more), String::new()),
        ));
    }
    rows.push((
        "the last of these edits: assemble build, all images".to_owned(),
        edited(&measured.edit_all, &measured.edit_all_compiler),
    ));
    let mut text = format!(
        "{} · {} cores · {} units · {} locked packages · medians\n",
        measured.nix, measured.cores, measured.units, measured.packages
    );
    // Measurements that were not requested have no median.
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
            "simulated, {cores:>2} cores: cargo {cargo:.1} s, assemble build {driven:.2} ×, in \
             Nix's order {by_name:.2} ×\n"
        );
    }
    text
}
