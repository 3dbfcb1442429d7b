//! What became of a program, kept as a file so that one table can be made of many runs.

use super::compare::Compared;
use super::simulated::Simulated;
use super::table::Program;
use crate::cold::median;
use crate::nix::name_of;
use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// What became of a program.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Outcome {
    /// The package.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Packages that its lock pins.
    pub packages: usize,
    /// What did not work; nothing else is known then, or what was known before.
    pub failure: Option<Failure>,
    /// Units beside Cargo's.
    pub compared: Option<Compared>,
    /// Whether its bytes are those of Cargo's program.
    pub same_bytes: Option<bool>,
    /// What was built twice.
    #[serde(default)]
    pub again: Option<Again>,
    /// Whether it printed what it must.
    pub runs: bool,
    /// Seconds of `assemble build`, cold, until the images are written: one for each repetition.
    pub cold: Vec<f64>,
    /// Seconds of `cargo build --release`, cold, until the programs are there.
    pub cold_cargo: Vec<f64>,
    /// What both would take on other machines.
    #[serde(default)]
    pub simulated: Vec<Simulated>,
    /// The cores that both had.
    pub cores: usize,
}

/// Units, layers and images built more than once.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Again {
    /// Whether once in another directory and another store, with one core for each build; else at the same place, where the
    /// driver gives out cores by what happens to be ready.
    pub elsewhere: bool,
    /// How many outputs the builds have.
    pub outputs: usize,
    /// The names of those that differ, or that not every build has.
    pub differing: BTreeSet<String>,
}

impl Again {
    /// Compares two builds: path to hash.
    pub fn compare(
        one: &BTreeMap<String, String>,
        other: &BTreeMap<String, String>,
        elsewhere: bool,
    ) -> Self {
        let paths: BTreeSet<&String> = one.keys().chain(other.keys()).collect();
        let differing = paths
            .iter()
            .filter(|path| one.get(**path) != other.get(**path));
        Self {
            elsewhere,
            outputs: paths.len(),
            differing: differing.map(|path| name_of(path).to_owned()).collect(),
        }
    }
}

/// A step that failed.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Failure {
    /// Which.
    pub step: Step,
    /// What was said.
    pub said: String,
}

/// A step on the way of a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Step {
    /// Downloading, `assemble init`, `assemble lock`, `assemble fetch`.
    Init,
    /// Crateyard's description and plan, the toolchain and Debian's packages.
    Plan,
    /// `assemble build`.
    Build,
    /// `cargo build` in the cell.
    Cargo,
    /// Comparing the units.
    Compare,
    /// Building all once more elsewhere.
    Again,
    /// Running the program in its image.
    Run,
}

impl Outcome {
    /// An outcome of which nothing is known.
    pub fn new(program: &Program) -> Self {
        Self {
            name: program.name.clone(),
            version: program.version.clone(),
            ..Self::default()
        }
    }

    /// What is known of a program from earlier runs.
    pub fn load(program: &Program, place: &Path) -> Result<Option<Self>> {
        let path = file(program, place);
        if !path.exists() {
            return Ok(None);
        }
        let text = fs::read(&path)?;
        let outcome = serde_json::from_slice(&text);
        outcome.with_context(|| format!("{} is not understood: delete it", path.display()))
    }

    /// Keeps it.
    pub fn save(&self, program: &Program, place: &Path) -> Result<()> {
        let path = file(program, place);
        fs::create_dir_all(path.parent().context("a file has a directory")?)?;
        let new = path.with_extension("new");
        fs::write(&new, serde_json::to_string_pretty(self)?)?;
        Ok(fs::rename(new, path)?)
    }

    /// Adds a comparison of two builds to what is known of others. A second one elsewhere takes the place of the first.
    pub fn add_again(&mut self, mut again: Again) {
        let known = self.again.take();
        if let Some(known) = known.filter(|known| !(known.elsewhere && again.elsewhere)) {
            again.elsewhere |= known.elsewhere;
            again.differing.extend(known.differing);
        }
        self.again = Some(again);
    }

    /// How many times as long as Cargo a cold build takes: medians; none before it was measured.
    pub fn ratio(&self) -> Option<f64> {
        let measured = !self.cold.is_empty() && !self.cold_cargo.is_empty();
        measured.then(|| median(&self.cold) / median(&self.cold_cargo))
    }

    /// The same on a simulated machine.
    pub fn simulated_ratio(&self, cores: usize) -> Option<f64> {
        let mut machines = self.simulated.iter();
        let machine = machines.find(|machine| machine.cores == cores)?;
        Some(machine.driven / machine.cargo)
    }

    /// Whether it is built, runs, and has Cargo's units.
    pub fn is_good(&self) -> bool {
        let same = |compared: &Compared| compared.differing.is_empty();
        let again = self.again.as_ref();
        self.failure.is_none()
            && self.runs
            && self.compared.as_ref().is_some_and(same)
            && again.is_none_or(|again| again.differing.is_empty())
    }
}

fn file(program: &Program, place: &Path) -> PathBuf {
    place.join(format!("results/{}-{}.json", program.name, program.version))
}

impl Failure {
    /// The first line that calls itself an error, else the last one.
    pub fn summary(&self) -> &str {
        let lines = || self.said.lines().map(str::trim).filter(|l| !l.is_empty());
        let error = lines().find(|line| line.to_lowercase().starts_with("error"));
        error
            .or_else(|| lines().next())
            .unwrap_or("it says nothing")
    }
}
