//! The provenance: an [in-toto statement](https://github.com/in-toto/attestation) whose predicate
//! is [SLSA provenance](https://slsa.dev/spec/v1.0/provenance), version 1.
//!
//! The provenance names every input by content: the workspace's files, crates, Debian packages of
//! toolchain and image, base and nested images, the description, profile and features. A comparison
//! of two shows why two images differ ([`compare`]).

mod difference;
mod invocation;

use std::collections::{BTreeMap, BTreeSet};

use crateyard_oci::Digest;
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use difference::{Difference, Kind, compare};
pub use invocation::{BuildMetadata, Invocation, Times, Workflow};

/// The type of the predicate.
pub const PREDICATE_TYPE: &str = "https://slsa.dev/provenance/v1";
/// The type of the build, which defines the parameters: see docs/trust.md.
pub const BUILD_TYPE: &str = "https://github.com/crateyard/crateyard/image/v1";
/// The builder's address.
pub const BUILDER: &str = "https://github.com/crateyard/crateyard";

/// A statement about an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Statement {
    /// [`crateyard_oci::media_type::STATEMENT`].
    #[serde(rename = "_type")]
    pub kind: String,
    /// The image: its manifest.
    pub subject: Vec<Resource>,
    /// [`PREDICATE_TYPE`].
    pub predicate_type: String,
    /// The way the image was made.
    pub predicate: Predicate,
}

/// The way an image was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Predicate {
    /// The inputs.
    pub build_definition: BuildDefinition,
    /// The builder and the run.
    pub run_details: RunDetails,
}

/// The inputs of an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BuildDefinition {
    /// [`BUILD_TYPE`].
    pub build_type: String,
    /// The parameters that people chose.
    pub external_parameters: ExternalParameters,
    /// The parameters that follow from those.
    pub internal_parameters: InternalParameters,
    /// All files and packages that were read, by name or address.
    pub resolved_dependencies: Vec<Resource>,
}

/// The parameters that people chose.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ExternalParameters {
    /// The image's entry in the description, with every reference resolved.
    pub image: Value,
    /// The platform that the image runs on.
    pub platform: String,
    /// The options for Cargo.
    pub build: BuildInputs,
    /// The workflow that a CI system ran.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workflow: Option<Workflow>,
    /// The inputs of a workflow that somebody started by hand.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub inputs: BTreeMap<String, Value>,
    /// The variables that people set for a job. Values that may be secret are masked.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub variables: BTreeMap<String, Value>,
}

/// The options for Cargo.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BuildInputs {
    /// Cargo's name of the profile.
    pub profile: String,
    /// The platform, as rustc names it.
    pub target: String,
    /// The features that were asked for.
    #[serde(default)]
    pub features: Vec<String>,
    /// Whether all features were asked for.
    #[serde(default)]
    pub all_features: bool,
    /// Whether default features were switched off.
    #[serde(default)]
    pub no_default_features: bool,
    /// The declared inputs of the programs' crates, by package name. Crates without any are left
    /// out.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub crates: BTreeMap<String, CrateInputs>,
}

/// The inputs that the description declares for a crate, besides files and packages.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CrateInputs {
    /// The variables that its units see besides Cargo's.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub environment: BTreeMap<String, String>,
    /// The revision that its units see, or none if they see none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<Revision>,
}

/// The revision of the workspace that was built.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Revision {
    /// The commit.
    pub commit: String,
    /// The commit's time, in seconds since 1970.
    pub time: i64,
    /// Whether there were changes beyond the commit.
    pub dirty: bool,
}

/// The parameters that follow from the external ones.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InternalParameters {
    /// The use of each crate, by name and version.
    pub crates: BTreeMap<String, CrateUse>,
    /// The builder's own programs, by name, each as the digest of its file.
    pub tools: BTreeMap<String, String>,
    /// The facts that a CI system states about the run, by the names of its variables.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub environment: BTreeMap<String, String>,
}

/// The use of a crate.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CrateUse {
    /// Whether the crate is in a program, or only ran while one was built.
    pub in_program: bool,
    /// The crate's features.
    pub features: BTreeSet<String>,
    /// Code generation options and configuration.
    pub options: BTreeSet<String>,
}

/// The builder and the run of an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RunDetails {
    /// The builder.
    pub builder: Builder,
    /// The run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<BuildMetadata>,
    /// The layers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub byproducts: Vec<Resource>,
}

/// The builder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Builder {
    /// The builder's address.
    pub id: String,
    /// The versions of the builder's parts.
    #[serde(default)]
    pub version: BTreeMap<String, String>,
}

/// A file, package or image: a name or an address, and a digest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Resource {
    /// The path of a file in the workspace, or the name of an image or a layer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The URL of a package.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uri: Option<String>,
    /// Hexadecimal digits by algorithm.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub digest: BTreeMap<String, String>,
    /// The resource's purpose (`role`), and whether it may be executed (`executable`).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

impl Resource {
    /// Describes a resource without a digest, for this role. An empty role is left out.
    pub fn new(name: Option<&str>, uri: Option<String>, role: &str) -> Resource {
        let role = Some(("role".to_owned(), role.to_owned())).filter(|(_, role)| !role.is_empty());
        Resource {
            name: name.map(str::to_owned),
            uri,
            digest: BTreeMap::new(),
            annotations: role.into_iter().collect(),
        }
    }

    /// Adds the digest.
    pub fn digest(mut self, digest: &Digest) -> Resource {
        let (algorithm, hex) = (digest.algorithm().name(), digest.hex());
        self.digest.insert(algorithm.to_owned(), hex.to_owned());
        self
    }

    /// Adds the SHA-256, in hexadecimal, if it is known.
    pub fn sha256(mut self, hex: Option<&str>) -> Resource {
        let digest = hex.map(|hex| ("sha256".to_owned(), hex.to_owned()));
        self.digest.extend(digest);
        self
    }
}

impl Statement {
    /// Reads a statement that Crateyard made.
    ///
    /// # Errors
    /// When the bytes are something else, which the message names.
    pub fn parse(bytes: &[u8]) -> Result<Statement, String> {
        let value: Value =
            serde_json::from_slice(bytes).map_err(|error| format!("no JSON: {error}"))?;
        let build_type = &value["predicate"]["buildDefinition"]["buildType"];
        if value["predicateType"] != PREDICATE_TYPE || *build_type != BUILD_TYPE {
            return Err(format!(
                "predicate {}, build type {build_type}: not {BUILD_TYPE:?}",
                value["predicateType"]
            ));
        }
        serde_json::from_value(value).map_err(|error| error.to_string())
    }

    /// Whether the statement is about the image whose manifest has this digest.
    pub fn is_about(&self, digest: &Digest) -> bool {
        let (algorithm, hex) = (digest.algorithm().name(), digest.hex());
        self.subject
            .iter()
            .any(|subject| subject.digest.get(algorithm).is_some_and(|own| own == hex))
    }
}
