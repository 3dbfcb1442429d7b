//! A workspace with its own store, in which it can be built repeatedly from nothing.

use crate::checkout::{assemble, repository};
use crate::nix;
use anyhow::{Context, Result, anyhow, ensure};
use crateyard_plan::Plan;
use crateyard_unit::TargetKind;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Nix's name of the machine's own store.
const MACHINE: &str = "auto";

/// A workspace and its store.
pub struct Cold {
    /// The directory of the store and of remembered durations.
    pub place: PathBuf,
    /// The store's URL for Nix.
    pub store: String,
    /// The workspace: a git repository with a flake.
    pub workspace: PathBuf,
}

impl Cold {
    /// Takes a workspace with the machine's own store. Nothing may be deleted there, so nothing can
    /// be timed.
    pub fn in_machine_store(place: &Path, workspace: PathBuf) -> Self {
        Self {
            place: place.to_owned(),
            store: MACHINE.to_owned(),
            workspace,
        }
    }

    /// Takes a workspace with a store below `place`, which other workspaces may share.
    pub fn new(place: &Path, workspace: PathBuf) -> Self {
        Self {
            place: place.to_owned(),
            store: place.join("store").to_string_lossy().into_owned(),
            workspace,
        }
    }

    /// Fetches into the store the files that a directory's locks pin, with the Debian packages of
    /// `lock`.
    pub fn fetch(&self, directory: &Path, lock: &Path) -> Result<()> {
        let output = duct::cmd!(assemble(), "fetch", "--store", &self.store, "--lock", lock)
            .dir(directory)
            .stdout_null()
            .stderr_capture()
            .unchecked()
            .run()?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "assemble fetch failed:\n{said}");
        Ok(())
    }

    /// Fetches into the store the inputs of Crateyard's own programs.
    pub fn fetch_crateyard(&self) -> Result<()> {
        self.fetch(&repository(), &repository().join("debian.lock"))
    }

    /// Returns the path on this machine of a store path.
    pub fn physical(&self, path: &str) -> PathBuf {
        if self.store == MACHINE {
            return PathBuf::from(path);
        }
        Path::new(&self.store).join(path.trim_start_matches('/'))
    }

    /// Runs Nix: a command and attributes of the workspace.
    pub fn nix(&self, command: &[&str], attributes: &[&str]) -> Result<String> {
        let flakes: Vec<String> = attributes
            .iter()
            .map(|attribute| format!("git+file://{}#{attribute}", self.workspace.display()))
            .collect();
        let mut arguments = command.to_vec();
        arguments.extend(["--store", &self.store]);
        arguments.extend(flakes.iter().map(String::as_str));
        nix::nix(&arguments)
    }

    /// Pins the flake's inputs.
    pub fn lock_flake(&self) -> Result<()> {
        let flake = format!("git+file://{}", self.workspace.display());
        nix::nix(&["flake", "lock", "--store", &self.store, &flake]).map(drop)
    }

    /// Runs `assemble build` of all images with a separate memory for durations. Returns seconds.
    pub fn assemble(&self, memory: &str) -> Result<f64> {
        self.assemble_with(&[], memory)
    }

    /// Runs the same with more arguments, such as the names of images.
    pub fn assemble_with(&self, arguments: &[&str], memory: &str) -> Result<f64> {
        let arguments = [&["build", "--store", &self.store], arguments].concat();
        let build = duct::cmd(assemble(), arguments)
            .dir(&self.workspace)
            .env("XDG_STATE_HOME", self.memory(memory))
            .stdout_null()
            .stderr_capture()
            .unchecked();
        seconds(|| {
            let output = build.run()?;
            let said = String::from_utf8_lossy(&output.stderr);
            ensure!(output.status.success(), "assemble build failed:\n{said}");
            Ok(())
        })
    }

    /// Empties a memory for durations.
    pub fn forget_durations(&self, memory: &str) -> Result<()> {
        remove_all(&self.memory(memory))
    }

    fn memory(&self, name: &str) -> PathBuf {
        self.place.join("state").join(name)
    }

    /// Builds the images, and returns the output of `assemble build --json`.
    pub fn images(&self) -> Result<Vec<serde_json::Value>> {
        let build = duct::cmd!(assemble(), "build", "--json", "--store", &self.store);
        let text = build.dir(&self.workspace).read()?;
        serde_json::from_str(&text).context("assemble build --json printed something else")
    }

    /// Builds everything that is not measured: Crateyard's programs, the description, the plan, the
    /// toolchain, Debian packages.
    pub fn prepare(&self) -> Result<()> {
        self.nix(&["build", "--no-link"], &["evaluation"])?;
        let doomed: BTreeSet<String> = self.counted()?.into_iter().collect();
        let mut needed = BTreeSet::new();
        for path in &doomed {
            let file = self.physical(path);
            let text =
                fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
            let derivation = crateyard_nix::derivation::parse(&text)
                .map_err(|(wrong, at)| anyhow!("{}, byte {at}: {wrong}", file.display()))?;
            let inputs = derivation.input_derivations.into_keys();
            needed.extend(inputs.filter(|input| !doomed.contains(input)));
        }
        self.realise(&[], needed.iter())
    }

    /// Builds all missing units, layers and images with plain Nix and more options.
    pub fn complete(&self, options: &[&str]) -> Result<()> {
        self.realise(options, self.counted()?.iter())
    }

    fn realise<'a>(
        &'a self,
        options: &[&'a str],
        derivations: impl Iterator<Item = &'a String>,
    ) -> Result<()> {
        let mut realise = vec!["--store", &self.store, "--realise"];
        realise.extend(options);
        realise.extend(derivations.map(String::as_str));
        nix_store(&realise).map(drop)
    }

    /// Deletes the outputs of all units, layers and images. Plan, toolchain and Crateyard's own
    /// programs stay.
    pub fn forget(&self) -> Result<()> {
        let outputs = self.outputs()?;
        self.delete(outputs.iter().map(String::as_str))
    }

    /// Deletes paths and everything that refers to them.
    fn delete<'a>(&self, paths: impl Iterator<Item = &'a str>) -> Result<()> {
        let there: Vec<&str> = paths.filter(|path| self.physical(path).exists()).collect();
        if there.is_empty() {
            return Ok(());
        }
        ensure!(
            self.store != MACHINE,
            "nothing is deleted from the machine's store"
        );
        let mut query = vec!["--store", &self.store, "-q", "--referrers-closure"];
        query.extend(there);
        let referrers = nix_store(&query)?;
        let mut delete = vec!["--store", &self.store, "--delete", "--ignore-liveness"];
        delete.extend(referrers.lines());
        nix_store(&delete).map(drop)
    }

    /// Returns the existing outputs of all units, layers and images, with the hashes of their
    /// content.
    pub fn hashes(&self) -> Result<BTreeMap<String, String>> {
        let mut there = self.outputs()?;
        there.retain(|path| self.physical(path).exists());
        nix::hashes(&self.store, &Vec::from_iter(there))
    }

    /// Returns the outputs of all units, layers and images, built or not.
    fn outputs(&self) -> Result<BTreeSet<String>> {
        let derivations = self.counted()?;
        let mut query = vec!["--store", &self.store, "-q", "--outputs"];
        query.extend(derivations.iter().map(String::as_str));
        Ok(nix_store(&query)?.lines().map(str::to_owned).collect())
    }

    /// Returns the `.drv` files of all units, layers and images.
    fn counted(&self) -> Result<Vec<String>> {
        let units: Vec<String> = self.evaluate(
            "builtins.map (unit: unit.drvPath) (builtins.attrValues \
             flake.legacyPackages.x86_64-linux.units)",
        )?;
        let root: String = self.evaluate("flake.packages.x86_64-linux.images.drvPath")?;
        let closure = nix_store(&["--store", &self.store, "-qR", &root])?;
        let is_counted = |path: &&str| {
            let name = nix::name_of(path);
            let is_program = name.contains("-bin-") || name.starts_with("bootstrap-");
            path.ends_with(".drv")
                && !is_program
                && (name.starts_with("layer-") || name.ends_with("-image"))
        };
        let images = closure.lines().filter(is_counted).map(str::to_owned);
        Ok(units.into_iter().chain(images).chain([root]).collect())
    }

    /// Evaluates an expression in which `flake` is the workspace's.
    pub fn evaluate<T: serde::de::DeserializeOwned>(&self, expression: &str) -> Result<T> {
        let expression = nix::in_flake(&self.workspace, expression);
        let eval = ["eval", "--impure", "--json", "--store", &self.store];
        let text = nix::nix(&[&eval[..], &["--expr", &expression]].concat())?;
        serde_json::from_str(&text).context("nix eval printed something else than expected")
    }

    /// Returns the plan.
    pub fn plan(&self) -> Result<Plan> {
        let built = self.nix(&["build", "--no-link", "--json"], &["plan"])?;
        let built: serde_json::Value = serde_json::from_str(&built)?;
        let plan = built[0]["outputs"]["out"].as_str().context("no plan")?;
        let plan = self.physical(plan).join("plan.json");
        Ok(serde_json::from_slice(&fs::read(plan)?)?)
    }

    /// Returns the plan's programs, built by plain Cargo. Builds them if that has not happened yet.
    pub fn made_by_cargo(&self, plan: &Plan) -> Result<PathBuf> {
        self.cargo_with(plan, "")
    }

    /// Returns Cargo's unit graph for the plan's programs.
    pub fn unit_graph(&self, plan: &Plan) -> Result<PathBuf> {
        self.cargo_with(plan, "graphOnly = true;")
    }

    fn cargo_with(&self, plan: &Plan, arguments: &str) -> Result<PathBuf> {
        let expression = self.cargo_expression(plan, arguments);
        let built = self.nix_for(&expression, &["build", "--no-link", "--json"])?;
        let built: serde_json::Value = serde_json::from_str(&built)?;
        let out = built[0]["outputs"]["out"].as_str().context("no output")?;
        Ok(self.physical(out))
    }

    fn nix_for(&self, expression: &str, command: &[&str]) -> Result<String> {
        let rest = ["--impure", "--store", &self.store, "--expr", expression];
        nix::nix(&[command, &rest].concat())
    }

    fn cargo_expression(&self, plan: &Plan, arguments: &str) -> String {
        let programs = plan.programs.iter();
        let binaries: Vec<String> = programs
            .filter(|program| program.kind == TargetKind::Bin)
            .map(|program| {
                format!(
                    "{{ package = \"{}\"; bin = \"{}\"; }}",
                    program.package, program.name
                )
            })
            .collect();
        let expression = format!(
            "let crateyard = flake.inputs.crateyard or flake; in import {} {{ inherit crateyard; \
             src = flake; binaries = [ {} ]; {arguments} }}",
            repository().join("tests/cargo-in-a-cell.nix").display(),
            binaries.join(" "),
        );
        nix::in_flake(&self.workspace, &expression)
    }
}

/// Runs `nix-store`.
pub fn nix_store(arguments: &[&str]) -> Result<String> {
    duct::cmd("nix-store", arguments)
        .env("NIX_CONFIG", nix::configuration())
        .stderr_null()
        .read()
        .with_context(|| format!("nix-store {} failed", arguments[2..4].join(" ")))
}

/// Removes a directory if it is there.
pub fn remove_all(directory: &Path) -> Result<()> {
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}

/// Measures the time that some work takes, and says it: a later failure would lose it.
pub fn seconds(work: impl FnOnce() -> Result<()>) -> Result<f64> {
    let begin = Instant::now();
    work()?;
    let seconds = begin.elapsed().as_secs_f64();
    eprintln!("  {seconds:.2} s");
    Ok(seconds)
}

/// Returns the median, or NaN without values.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Makes a directory removable, because directories of a store are read-only.
pub fn make_deletable(directory: &Path) -> Result<()> {
    Ok(duct::cmd!("chmod", "-R", "u+w", directory)
        .run()
        .map(drop)?)
}
