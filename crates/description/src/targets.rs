//! The workspace's packages and their targets, as the `plan` program writes them.

use serde::{Deserialize, Serialize};

/// The version of the form that is read here.
pub const TARGETS_FORMAT: u32 = 2;

/// The packages of a workspace (`targets.json`).
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Targets {
    /// Version of this form: [`TARGETS_FORMAT`].
    pub version: u32,
    /// All members.
    pub packages: Vec<Package>,
}

/// A member of the workspace.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Package {
    /// Name.
    pub name: String,
    /// Version.
    pub version: String,
    /// SPDX expression.
    #[serde(default)]
    pub license: Option<String>,
    /// What it is.
    #[serde(default)]
    pub description: Option<String>,
    /// Where its source is.
    #[serde(default)]
    pub repository: Option<String>,
    /// Who wrote it.
    #[serde(default)]
    pub authors: Vec<String>,
    /// Its `Cargo.toml`, relative to the workspace's root.
    pub manifest_path: String,
    /// What it builds.
    #[serde(default)]
    pub targets: Vec<Target>,
}

/// A target of a package.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Target {
    /// `bin`, `lib`, `proc-macro`, …
    pub kind: Vec<String>,
    /// Name.
    pub name: String,
    /// Features without which it is not built.
    #[serde(default)]
    pub required_features: Vec<String>,
}

/// Why a `targets.json` can't be used.
#[derive(Debug)]
pub enum TargetsError {
    /// It is no JSON of the form.
    Form(serde_json::Error),
    /// It is of another version.
    Version(u32),
}

impl std::fmt::Display for TargetsError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            TargetsError::Form(error) => write!(f, "not a list of targets: {error}"),
            TargetsError::Version(version) => write!(
                f,
                "a list of targets of version {version}; this program reads version {TARGETS_FORMAT}"
            ),
        }
    }
}

impl std::error::Error for TargetsError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            TargetsError::Form(error) => Some(error),
            TargetsError::Version(_) => None,
        }
    }
}

impl Targets {
    /// Reads the JSON.
    ///
    /// # Errors
    /// Where it is not of the form above, or of another version.
    pub fn from_json(text: &str) -> Result<Targets, TargetsError> {
        let targets: Targets = serde_json::from_str(text).map_err(TargetsError::Form)?;
        match targets.version {
            TARGETS_FORMAT => Ok(targets),
            other => Err(TargetsError::Version(other)),
        }
    }

    /// The member of that name.
    pub fn package(&self, name: &str) -> Option<&Package> {
        self.packages.iter().find(|package| package.name == name)
    }
}

impl Package {
    /// The names of its binaries.
    pub fn binaries(&self) -> impl Iterator<Item = &str> + Clone {
        self.targets
            .iter()
            .filter(|target| target.kind.iter().any(|kind| kind == "bin"))
            .map(|target| target.name.as_str())
    }

    /// Features that a binary requires.
    pub fn required_features(&self, bin: &str) -> &[String] {
        let mut targets = self.targets.iter();
        let target = targets.find(|it| it.name == bin && it.kind.iter().any(|kind| kind == "bin"));
        target.map_or(&[], |target| &target.required_features)
    }

    /// The binary that is meant where none is named: the one named like the package, or the only one.
    pub fn default_binary(&self) -> Option<&str> {
        let mut binaries = self.binaries();
        binaries.clone().find(|bin| *bin == self.name).or_else(|| {
            let first = binaries.next();
            first.filter(|_| binaries.next().is_none())
        })
    }

    /// Its directory, relative to the workspace's root; empty where it is the root.
    pub fn directory(&self) -> &str {
        self.manifest_path
            .rsplit_once('/')
            .map_or("", |(directory, _)| directory)
    }
}
