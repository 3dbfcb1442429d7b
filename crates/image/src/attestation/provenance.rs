//! The provenance: an [in-toto statement](https://github.com/in-toto/attestation) whose predicate
//! is [SLSA provenance](https://slsa.dev/spec/v1.0/provenance), version 1.
//!
//! The provenance names every input by content: the workspace's files, crates, Debian packages of
//! toolchain and image, base and nested images, the description, profile and features. A comparison
//! of two shows why two images differ ([`compare`]).

mod difference;
mod invocation;

use std::collections::{BTreeMap, BTreeSet};

use crateyard_oci::{Digest, media_type};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::integrity::Integrity;
use super::{Nested, Subject, purl, sources};
use crate::Result;
use crate::packages::Distribution;
use crate::spec::{BuildInputs, InputsSpec, NpmPackageInput, PackageRole, UnitInput};

pub use difference::{Difference, Kind, compare};
pub use invocation::{BuildMetadata, Invocation, Times, Workflow};

/// The type of the predicate.
pub const PREDICATE_TYPE: &str = "https://slsa.dev/provenance/v1";
/// The type of the build, which defines the parameters: see docs/trust.md.
pub const BUILD_TYPE: &str = "https://github.com/crateyard/crateyard/image/v1";
const BUILDER: &str = "https://github.com/crateyard/crateyard";

/// A statement about an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Statement {
    /// [`media_type::STATEMENT`].
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

/// The parameters that follow from the external ones.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InternalParameters {
    /// The use of each crate, by name and version.
    pub crates: BTreeMap<String, CrateUse>,
    /// The builder's own programs.
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
    fn new(name: Option<&str>, uri: Option<String>, role: &str) -> Resource {
        let role = Some(("role".to_owned(), role.to_owned())).filter(|(_, role)| !role.is_empty());
        Resource {
            name: name.map(str::to_owned),
            uri,
            digest: BTreeMap::new(),
            annotations: role.into_iter().collect(),
        }
    }

    fn digest(mut self, digest: &Digest) -> Resource {
        let (algorithm, hex) = (digest.algorithm().name(), digest.hex());
        self.digest.insert(algorithm.to_owned(), hex.to_owned());
        self
    }

    fn sha256(mut self, hex: Option<&str>) -> Resource {
        let digest = hex.map(|hex| ("sha256".to_owned(), hex.to_owned()));
        self.digest.extend(digest);
        self
    }
}

impl Statement {
    /// Reads a statement that this crate made.
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

/// Makes the statement about an image.
pub(super) fn statement(
    subject: &Subject<'_>,
    inputs: &InputsSpec,
    nested: &[Nested],
) -> Result<Statement> {
    let image = Resource::new(Some(subject.name), None, "").digest(&subject.manifest.digest);
    let layers = subject.layers.iter();
    let version = ("crateyard".to_owned(), env!("CARGO_PKG_VERSION").to_owned());
    Ok(Statement {
        kind: media_type::STATEMENT.to_owned(),
        subject: vec![image],
        predicate_type: PREDICATE_TYPE.to_owned(),
        predicate: Predicate {
            build_definition: BuildDefinition {
                build_type: BUILD_TYPE.to_owned(),
                external_parameters: ExternalParameters {
                    image: inputs.description.clone(),
                    platform: subject.platform.to_string(),
                    build: inputs.build.clone(),
                    workflow: None,
                    inputs: BTreeMap::new(),
                    variables: BTreeMap::new(),
                },
                internal_parameters: InternalParameters {
                    crates: crates(inputs),
                    tools: inputs.tools.clone(),
                    environment: BTreeMap::new(),
                },
                resolved_dependencies: dependencies(subject, inputs, nested)?,
            },
            run_details: RunDetails {
                builder: Builder {
                    id: BUILDER.to_owned(),
                    version: BTreeMap::from([version]),
                },
                metadata: None,
                byproducts: layers
                    .map(|(name, layer)| {
                        Resource::new(Some(name), None, "layer").digest(&layer.digest)
                    })
                    .collect(),
            },
        },
    })
}

/// Returns files, downloads, npm packages, crates, components of the compiler, packages and images,
/// in this order, each sorted.
fn dependencies(
    subject: &Subject<'_>,
    inputs: &InputsSpec,
    nested: &[Nested],
) -> Result<Vec<Resource>> {
    let mut all: Vec<Resource> = sources::files(&inputs.sources)?
        .iter()
        .map(source)
        .collect();
    all.extend(downloads(inputs));
    all.extend(npm_packages(inputs));
    all.extend(outside_crates(inputs));
    all.extend(components(inputs));
    all.extend(debian_packages(inputs));
    if let Some(base) = subject.base {
        all.push(Resource::new(Some("base"), None, "base").digest(&base.manifest.digest));
    }
    all.extend(nested.iter().map(|image| {
        Resource::new(Some(&image.name), None, "nested-image").digest(&image.manifest.digest)
    }));
    Ok(all)
}

fn source(file: &sources::SourceFile) -> Resource {
    let mut resource = Resource::new(Some(&file.path), None, "source").digest(&file.digest);
    if file.executable {
        resource
            .annotations
            .insert("executable".to_owned(), "true".to_owned());
    }
    resource
}

fn downloads(inputs: &InputsSpec) -> Vec<Resource> {
    let mut downloads = inputs.downloads.clone();
    downloads.sort();
    let downloads = downloads.into_iter().map(|download| {
        let name = format!("part:{}", download.part);
        Resource::new(Some(&name), Some(download.url), "download").sha256(Some(&download.sha256))
    });
    downloads.collect()
}

fn npm_packages(inputs: &InputsSpec) -> Vec<Resource> {
    let npm = inputs.parts.iter().filter_map(|part| part.npm.as_ref());
    let packages: BTreeMap<String, &NpmPackageInput> = npm
        .flat_map(|npm| &npm.packages)
        .map(|package| (purl::npm(package), package))
        .collect();
    let packages = packages.into_iter().map(|(purl, package)| {
        let mut resource = Resource::new(Some(&package.name), Some(purl), "npm");
        let hash = Integrity::parse(&package.integrity);
        resource
            .digest
            .extend(hash.map(|it| (it.algorithm, it.hex)));
        resource
    });
    packages.collect()
}

/// Returns the crates from outside the workspace.
fn outside_crates(inputs: &InputsSpec) -> Vec<Resource> {
    let outside = inputs.units.values().filter(|unit| !unit.source.is_empty());
    let crates: BTreeMap<String, &UnitInput> =
        outside.map(|unit| (purl::of_crate(unit), unit)).collect();
    let crates = crates.into_iter().map(|(purl, unit)| {
        Resource::new(None, Some(purl), "crate").sha256(unit.checksum.as_deref())
    });
    crates.collect()
}

/// Returns the components of the compiler.
fn components(inputs: &InputsSpec) -> Vec<Resource> {
    let mut components = inputs.components.clone();
    components.sort();
    let components = components.iter().map(|component| {
        Resource::new(None, Some(purl::component(component)), "toolchain")
            .sha256(Some(&component.sha256))
    });
    components.collect()
}

fn debian_packages(inputs: &InputsSpec) -> Vec<Resource> {
    let mut packages = inputs.packages.clone();
    packages.sort();
    packages.dedup();
    let packages = packages.iter().map(|package| {
        let role = match package.role {
            PackageRole::Image => "image",
            PackageRole::Library => "library",
            PackageRole::Toolchain => "toolchain",
        };
        let purl = purl::debian(package, &Distribution::debian(None));
        Resource::new(None, Some(purl), role).sha256(Some(&package.sha256))
    });
    packages.collect()
}

/// Returns the use of each crate: for the image's platform if the crate is built for it.
fn crates(inputs: &InputsSpec) -> BTreeMap<String, CrateUse> {
    let mut crates: BTreeMap<String, CrateUse> = BTreeMap::new();
    let compiled =
        |unit: &&UnitInput| unit.kind != "run-build-script" && unit.kind != "build-script";
    for unit in inputs.units.values().filter(compiled) {
        let name = format!("{} {}", unit.package, unit.version);
        let known = crates.entry(name).or_default();
        if unit.for_target && !known.in_program {
            *known = CrateUse {
                in_program: true,
                ..CrateUse::default()
            };
        }
        if known.in_program && !unit.for_target {
            continue;
        }
        known.features.extend(unit.features().map(str::to_owned));
        let others = unit.other_settings().map(|it| format!("cfg({it})"));
        known.options.extend(others);
        known.options.extend(unit.options.iter().cloned());
    }
    crates
}
