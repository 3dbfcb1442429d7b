//! Makes the provenance of an image ([`crateyard_attestation::provenance`]).

use std::collections::BTreeMap;

use crateyard_attestation::provenance::{
    BUILD_TYPE, BUILDER, BuildDefinition, Builder, CrateUse, ExternalParameters,
    InternalParameters, PREDICATE_TYPE, Predicate, Resource, RunDetails, Statement,
};
use crateyard_oci::media_type;

use super::integrity::Integrity;
use super::{Nested, Subject, purl, sources};
use crate::Result;
use crate::packages::Distribution;
use crate::spec::{InputsSpec, NpmPackageInput, PackageRole, UnitInput};

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
