//! The outcome of a program, kept as a file so that one table can cover many runs.

use super::compare::{Compared, Known};
use super::simulated::Simulated;
use super::table::Program;
use crate::cold::median;
use crate::kept;
use crate::nix::name_of;
use anyhow::Result;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// The outcome of a program.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Outcome {
    /// The package.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The number of packages that its lock pins.
    pub packages: usize,
    /// The failed step. The other fields then hold earlier results, if any.
    pub failure: Option<Failure>,
    /// The comparison with Cargo's units.
    pub compared: Option<Compared>,
    /// Whether its bytes equal those of Cargo's program.
    pub same_bytes: Option<bool>,
    /// The comparison of repeated builds.
    #[serde(default)]
    pub again: Option<Again>,
    /// Whether it printed the expected text.
    pub runs: bool,
    /// Seconds of each cold `assemble build`, until the images are written.
    pub cold: Vec<f64>,
    /// Seconds of each cold `cargo build --release`, until the programs are built.
    pub cold_cargo: Vec<f64>,
    /// Seconds of each `assemble build` after an edit of the program's main file.
    #[serde(default)]
    pub edit: Vec<f64>,
    /// Seconds of each `cargo build --release` after such an edit.
    #[serde(default)]
    pub edit_cargo: Vec<f64>,
    /// The predicted times of both on other machines.
    #[serde(default)]
    pub simulated: Vec<Simulated>,
    /// The number of cores that both used.
    pub cores: usize,
}

/// A comparison of units, layers and images that were built more than once.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Again {
    /// Whether one build was in another directory and another store, with one core for each unit.
    /// Otherwise all were in the same place, where the driver assigns cores by the units that
    /// happen to be ready.
    pub elsewhere: bool,
    /// The number of outputs of the builds.
    pub outputs: usize,
    /// The names of outputs that differ, or that not every build has.
    pub differing: BTreeSet<String>,
}

impl Again {
    /// Compares two builds, which map paths to hashes.
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
    /// The step.
    pub step: Step,
    /// The error message.
    pub said: String,
}

/// A step of testing a program.
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
    /// The comparison of units.
    Compare,
    /// The repeated build in another store.
    Again,
    /// Running the program in its image.
    Run,
}

impl Outcome {
    /// Makes an empty outcome.
    pub fn new(program: &Program) -> Self {
        Self {
            name: program.name.clone(),
            version: program.version.clone(),
            ..Self::default()
        }
    }

    /// Reads the outcome of earlier runs.
    pub fn load(program: &Program, place: &Path) -> Result<Option<Self>> {
        kept::load(&file(program, place))
    }

    /// Writes the file.
    pub fn save(&self, program: &Program, place: &Path) -> Result<()> {
        kept::save(self, &file(program, place))
    }

    /// Adds a comparison of two builds to earlier ones. Replaces an earlier one from another store.
    pub fn add_again(&mut self, mut again: Again) {
        let known = self.again.take();
        if let Some(known) = known.filter(|known| !(known.elsewhere && again.elsewhere)) {
            again.elsewhere |= known.elsewhere;
            again.differing.extend(known.differing);
        }
        self.again = Some(again);
    }

    /// Returns the time of a cold build divided by Cargo's, by medians. Returns `None` before both
    /// were measured.
    pub fn ratio(&self) -> Option<f64> {
        let measured = !self.cold.is_empty() && !self.cold_cargo.is_empty();
        measured.then(|| median(&self.cold) / median(&self.cold_cargo))
    }

    /// Returns the same ratio on a simulated machine.
    pub fn simulated_ratio(&self, cores: usize) -> Option<f64> {
        let mut machines = self.simulated.iter();
        let machine = machines.find(|machine| machine.cores == cores)?;
        Some(machine.driven / machine.cargo)
    }

    /// Whether Cargo has built the program, so that its units and bytes are known.
    pub fn is_built_by_cargo(&self) -> bool {
        let compared = self.compared.as_ref();
        compared.is_some_and(|compared| compared.known_from == Known::Build)
    }

    /// Whether nothing failed and no bytes differ. If the units were to be compared, whether it
    /// also runs and has Cargo's units.
    pub fn is_good(&self, is_compared: bool) -> bool {
        let same = |compared: &Compared| compared.differing.is_empty();
        let again = self.again.as_ref();
        let has_cargos_units = || self.runs && self.compared.as_ref().is_some_and(same);
        self.failure.is_none()
            && (!is_compared || has_cargos_units())
            && again.is_none_or(|again| again.differing.is_empty())
    }
}

fn file(program: &Program, place: &Path) -> PathBuf {
    place.join(format!("results/{}-{}.json", program.name, program.version))
}
