//! The outcomes, kept as JSON.

use crate::kept;
use anyhow::Result;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// The outcome of a workspace.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Outcome {
    /// The workspace.
    pub name: String,
    /// The number of packages that its lock pins.
    pub packages: usize,
    /// The images that `assemble init` wrote.
    pub images: Vec<String>,
    /// The image that its last line builds.
    pub main: Option<String>,
    /// The number of units of all images.
    pub units: usize,
    /// Whether `assemble build` built that image.
    #[serde(default)]
    pub is_built: bool,
    /// Whether the built image ran and printed the expected text.
    #[serde(default)]
    pub runs: bool,
    /// The failed command. The other fields then hold earlier results.
    pub failure: Option<Failure>,
}

/// A command that failed.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Failure {
    /// The command, as a user types it.
    pub command: String,
    /// The command's output.
    pub said: String,
}

impl Outcome {
    /// Reads the outcome of an earlier run.
    pub fn load(name: &str, place: &Path) -> Result<Option<Self>> {
        kept::load(&file(name, place))
    }

    /// Writes the file.
    pub fn save(&self, place: &Path) -> Result<()> {
        kept::save(self, &file(&self.name, place))
    }

    /// Whether all commands up to `assemble plan` succeeded.
    pub fn is_planned(&self) -> bool {
        self.failure.is_none() || self.units > 0
    }

    /// Returns a line about it.
    pub fn verdict(&self) -> String {
        match &self.failure {
            Some(failure) => format!("FAILED: {}: {}", failure.command, failure.said),
            None => {
                let built = match (self.is_built, self.runs) {
                    (true, true) => "built and run",
                    (true, false) => "built",
                    _ => "planned",
                };
                let images = self.images.join(", ");
                format!("{built}, {} units, images {images}", self.units)
            }
        }
    }
}

fn file(name: &str, place: &Path) -> PathBuf {
    place.join(format!("results/{name}.json"))
}
