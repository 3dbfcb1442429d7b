//! The workspace's packages and their targets (`targets.json`). The program `plan` writes them, and
//! the program `description` checks a description against them.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

/// The version of this form, and of the plan beside it.
pub const TARGETS_FORMAT: u32 = 2;

/// The packages of a workspace.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Targets {
    /// Version of this form: [`TARGETS_FORMAT`].
    pub version: u32,
    /// The members, sorted by name.
    pub packages: Vec<Package>,
    /// The places of the members, and of packages that are not members.
    #[serde(default, rename = "layout")]
    pub places: PackagePlaces,
}

/// A member of the workspace.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Package {
    /// Name.
    pub name: String,
    /// Version.
    pub version: String,
    /// SPDX expression.
    #[serde(default)]
    pub license: Option<String>,
    /// One sentence.
    #[serde(default)]
    pub description: Option<String>,
    /// The address of the source's repository.
    #[serde(default)]
    pub repository: Option<String>,
    /// The authors.
    #[serde(default)]
    pub authors: Vec<String>,
    /// Its `Cargo.toml`, relative to the workspace's root.
    pub manifest_path: String,
    /// The edition of its code.
    #[serde(default)]
    pub edition: String,
    /// The targets that it can build.
    #[serde(default)]
    pub targets: Vec<Target>,
}

/// A target of a package.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Target {
    /// Cargo's kinds: `bin`, `lib`, `proc-macro`, …
    pub kind: Vec<String>,
    /// Name.
    pub name: String,
    /// Features that Cargo requires to build it.
    #[serde(default)]
    pub required_features: Vec<String>,
    /// Its main file, relative to the workspace's root.
    #[serde(default)]
    pub path: String,
}

/// Every package of the workspace by its directory, as Cargo names it: relative to the workspace,
/// empty for its root.
pub type PackagePlaces = BTreeMap<String, PackagePlace>;

/// The place of one package.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PackagePlace {
    /// Its directory without symbolic links, relative to the workspace. Its key in
    /// [`PackagePlaces`] may lead through some.
    pub source: String,
    /// Places outside of it that its links and targets lead to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reaches: Vec<Reach>,
    /// The main file of its library, relative to the package, if it has one there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub library: Option<String>,
    /// Its programs by name, except those whose main file is outside of it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub programs: BTreeMap<String, ProgramPlace>,
}

/// The place of one program in its package. Paths are relative to the package.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ProgramPlace {
    /// Its main file.
    pub root: String,
    /// The file or directory that belongs to this program alone, so that Cargo compiles no other
    /// target again after an edit there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub own: Option<String>,
}

/// A place that Cargo or rustc reaches from a package by a link, or as a target that is not where
/// Cargo would look for it. It may be outside the package, or in a part of it that not all of its
/// units see.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Reach {
    /// The path at which the package looks for it, relative to the workspace.
    pub place: String,
    /// Its real path, without symbolic links.
    pub source: String,
    /// The paths that lead there, relative to the package: links, or directories where Cargo looks
    /// for targets of that kind.
    pub by: BTreeSet<String>,
}

/// The reason why a `targets.json` can't be used.
#[derive(Debug)]
pub enum TargetsError {
    /// It is not JSON of this form.
    Form(serde_json::Error),
    /// It has another version.
    Version(u32),
}

impl std::fmt::Display for TargetsError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            TargetsError::Form(error) => write!(f, "not a list of targets: {error}"),
            TargetsError::Version(version) => write!(
                f,
                "a list of targets of version {version}, but this program reads version \
                 {TARGETS_FORMAT}"
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
    /// Fails if the text is not in the form above, or has another version.
    pub fn from_json(text: &str) -> Result<Targets, TargetsError> {
        let targets: Targets = serde_json::from_str(text).map_err(TargetsError::Form)?;
        match targets.version {
            TARGETS_FORMAT => Ok(targets),
            other => Err(TargetsError::Version(other)),
        }
    }

    /// Returns the member of that name.
    pub fn package(&self, name: &str) -> Option<&Package> {
        self.packages.iter().find(|package| package.name == name)
    }
}

impl Package {
    /// Returns the names of its binaries.
    pub fn binaries(&self) -> impl Iterator<Item = &str> + Clone {
        self.targets
            .iter()
            .filter(|target| target.kind.iter().any(|kind| kind == "bin"))
            .map(|target| target.name.as_str())
    }

    /// Returns the features that a binary requires.
    pub fn required_features(&self, bin: &str) -> &[String] {
        let mut targets = self.targets.iter();
        let target = targets.find(|it| it.name == bin && it.kind.iter().any(|kind| kind == "bin"));
        target.map_or(&[], |target| &target.required_features)
    }

    /// Returns the binary to use if none is named: the one with the package's name, or the only
    /// one.
    pub fn default_binary(&self) -> Option<&str> {
        let mut binaries = self.binaries();
        binaries.clone().find(|bin| *bin == self.name).or_else(|| {
            let first = binaries.next();
            first.filter(|_| binaries.next().is_none())
        })
    }

    /// Returns its directory, relative to the workspace's root; empty for the root itself.
    pub fn directory(&self) -> &str {
        self.manifest_path
            .rsplit_once('/')
            .map_or("", |(directory, _)| directory)
    }
}
