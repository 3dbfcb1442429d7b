//! The components of an image that an audit looks up.
//!
//! The components come from the documents beside the image. The bill of materials has the
//! components and the programs that hold them. The provenance has features, and the crates that
//! only ran during the build. Both repeat Cargo's plan. If the image is not built yet,
//! [`Subject::planned`] asks the plan itself.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crateyard_attestation::provenance::Statement;
use crateyard_image::attestation::spdx::{Document, IMAGE_ID, Package};
use crateyard_image::attestation::{self, Purl};
use crateyard_image::spec::{InputsSpec, UnitInput};
use crateyard_oci::{Digest, Platform};

/// The name of the standard library in a bill of materials.
const STD: &str = "rust-std";

/// An image to audit.
#[derive(Debug, Clone)]
pub struct Subject {
    /// The image's name.
    pub name: String,
    /// The digest of the manifest, or `None` for an image that is not built yet.
    pub digest: Option<Digest>,
    /// The image's platform.
    pub platform: Platform,
    /// The supplier in the bill of materials: `Organization: crateyard`.
    pub supplier: Option<String>,
    /// The crates that are linked into the image's programs.
    pub crates: Vec<AuditedCrate>,
    /// The crates that only ran during the build: procedural macros and build scripts.
    pub tools: Vec<AuditedCrate>,
    /// The Debian packages in the image.
    pub packages: Vec<AuditedPackage>,
    /// The standard libraries in the image's programs.
    pub std: Vec<AuditedCrate>,
}

/// A crate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditedCrate {
    /// The crate's name.
    pub name: String,
    /// The crate's version.
    pub version: String,
    /// The crate's package URL.
    pub purl: String,
    /// The crate's origin.
    pub origin: Origin,
    /// The features that the crate was compiled with, or `None` if they are unknown.
    ///
    /// Many entries of a bill of materials may name one crate, and share them.
    pub features: Option<Arc<BTreeSet<String>>>,
    /// The paths of the programs that the crate is linked into.
    pub programs: BTreeSet<String>,
}

/// The origin of a crate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// crates.io, which RustSec's advisories are about.
    CratesIo,
    /// A git repository or another registry, so the version may say nothing about the content.
    Elsewhere,
    /// The workspace. The package may be a copy of the crate with that name on crates.io, or have
    /// nothing to do with it.
    Workspace,
}

/// A Debian package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditedPackage {
    /// The package's name.
    pub name: String,
    /// The package's version.
    pub version: String,
    /// The package URL.
    pub purl: String,
    /// The source package that the package was built from. Debian lists security issues by source
    /// package.
    pub source: String,
    /// The version of the source package.
    pub source_version: String,
    /// The number of the package's Debian release: `12`.
    pub release: Option<String>,
}

impl Subject {
    /// Reads the documents of an image.
    pub fn new(
        digest: &Digest,
        platform: &Platform,
        sbom: &Document,
        provenance: Option<&Statement>,
    ) -> Subject {
        let image = sbom.packages.iter().find(|it| it.spdx_id == IMAGE_ID);
        let graph = Graph::new(sbom);
        let built = provenance.map(Built::new);
        let linked = linked(sbom);
        let read = |(id, programs): (&&str, &BTreeSet<String>)| {
            let package = graph.packages.get(id)?;
            let is_base = !programs.is_disjoint(&graph.base_programs);
            linked_crate(package, programs, built.as_ref().filter(|_| !is_base))
        };
        let crates: Vec<AuditedCrate> = linked.iter().filter_map(read).collect();
        let known: BTreeSet<(&str, &str)> = crates
            .iter()
            .map(|it| (it.name.as_str(), it.version.as_str()))
            .collect();
        let tools = built.iter().flat_map(Built::outside);
        let tools = tools.filter(|it| !known.contains(&(&it.name, &it.version)));
        Subject {
            name: image.map(|it| it.name.clone()).unwrap_or_default(),
            digest: Some(digest.clone()),
            platform: platform.clone(),
            supplier: image
                .and_then(|it| it.supplier.clone())
                .filter(|it| it != "NOASSERTION"),
            tools: tools.collect(),
            packages: sbom.packages.iter().filter_map(debian).collect(),
            std: graph.standard_libraries(),
            crates,
        }
    }
}

impl Subject {
    /// Reads the specification of an image that is not built yet. The result has no Debian
    /// packages, because the specification does not name their source packages.
    pub fn planned(name: &str, platform: &Platform, inputs: &InputsSpec) -> Subject {
        let mut crates: BTreeMap<(&str, &str, &str), AuditedCrate> = BTreeMap::new();
        let mut linked: BTreeSet<&str> = BTreeSet::new();
        for program in &inputs.programs {
            for key in below(inputs, &program.unit) {
                let Some(unit) = inputs.units.get(key) else {
                    continue;
                };
                linked.insert(key);
                let name = (
                    unit.package.as_str(),
                    unit.version.as_str(),
                    unit.source.as_str(),
                );
                let known = crates.entry(name).or_insert_with(|| planned_crate(unit));
                known.programs.insert(program.path.clone());
                let features = known.features.get_or_insert_default();
                Arc::make_mut(features).extend(unit.features().map(str::to_owned));
            }
        }
        let others = inputs.units.iter().filter(|(key, unit)| {
            let name = (
                unit.package.as_str(),
                unit.version.as_str(),
                unit.source.as_str(),
            );
            !linked.contains(key.as_str()) && !unit.source.is_empty() && !crates.contains_key(&name)
        });
        let tools: BTreeMap<_, AuditedCrate> = others
            .map(|(_, unit)| ((&unit.package, &unit.version), planned_crate(unit)))
            .collect();
        let release = inputs.components.iter().find(|it| it.name == STD);
        let std = release.map(|component| AuditedCrate {
            name: "std".to_owned(),
            version: component.release.clone(),
            purl: attestation::generic_purl(STD, &component.release),
            origin: Origin::CratesIo,
            features: None,
            programs: inputs.programs.iter().map(|it| it.path.clone()).collect(),
        });
        Subject {
            name: name.to_owned(),
            digest: None,
            platform: platform.clone(),
            supplier: None,
            crates: crates.into_values().collect(),
            tools: tools.into_values().collect(),
            packages: Vec::new(),
            std: std.into_iter().collect(),
        }
    }
}

/// Returns the keys of the libraries that a unit is linked from.
fn below<'a>(inputs: &'a InputsSpec, unit: &'a str) -> BTreeSet<&'a str> {
    let mut seen = BTreeSet::new();
    let mut pending = vec![unit];
    while let Some(key) = pending.pop() {
        let uses = inputs.units.get(key).into_iter().flat_map(|it| &it.uses);
        pending.extend(uses.map(String::as_str).filter(|it| seen.insert(*it)));
    }
    seen
}

fn planned_crate(unit: &UnitInput) -> AuditedCrate {
    AuditedCrate {
        name: unit.package.clone(),
        version: unit.version.clone(),
        purl: attestation::crate_purl(unit),
        origin: match unit.source.as_str() {
            "" => Origin::Workspace,
            source if source.contains("crates.io-index") => Origin::CratesIo,
            _ => Origin::Elsewhere,
        },
        features: None,
        programs: BTreeSet::new(),
    }
}

/// The bill of materials as a graph.
struct Graph<'a> {
    packages: BTreeMap<&'a str, &'a Package>,
    /// Relationships, by the first element and the type.
    relations: BTreeMap<(&'a str, &'a str), Vec<&'a str>>,
    /// The paths of the base image's programs.
    base_programs: BTreeSet<String>,
}

impl<'a> Graph<'a> {
    fn new(sbom: &'a Document) -> Graph<'a> {
        let packages: BTreeMap<&str, &Package> = sbom
            .packages
            .iter()
            .map(|it| (it.spdx_id.as_str(), it))
            .collect();
        let mut relations: BTreeMap<_, Vec<&str>> = BTreeMap::new();
        for it in &sbom.relationships {
            let key = (it.spdx_element_id.as_str(), it.relationship_type.as_str());
            let targets = relations.entry(key).or_default();
            targets.push(it.related_spdx_element.as_str());
        }
        let mut graph = Graph {
            packages,
            relations,
            base_programs: BTreeSet::new(),
        };
        let bases: Vec<&str> = graph.targets(IMAGE_ID, "DESCENDANT_OF").collect();
        let programs = bases
            .iter()
            .flat_map(|base| graph.targets(base, "CONTAINS"));
        let paths = programs.filter_map(|id| graph.packages.get(id)?.package_file_name.clone());
        graph.base_programs = paths.collect();
        graph
    }

    fn targets<'b>(&'b self, from: &'b str, how: &'b str) -> impl Iterator<Item = &'a str> + 'b {
        self.relations
            .get(&(from, how))
            .into_iter()
            .flatten()
            .copied()
    }

    /// Returns the identifiers of the programs with their paths.
    fn programs(&self) -> impl Iterator<Item = (&'a str, &'a str)> + '_ {
        let all = self.packages.iter();
        all.filter_map(|(id, it)| Some((*id, it.package_file_name.as_deref()?)))
    }

    fn standard_libraries(&self) -> Vec<AuditedCrate> {
        let mut programs: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
        for (program, path) in self.programs() {
            for id in self.targets(program, "STATIC_LINK") {
                programs.entry(id).or_default().insert(path.to_owned());
            }
        }
        let found = programs.into_iter().filter_map(|(id, programs)| {
            let package = self.packages.get(id).filter(|it| it.name == STD)?;
            Some(AuditedCrate {
                name: "std".to_owned(),
                version: package.version_info.clone()?,
                purl: package.purl()?.to_owned(),
                origin: Origin::CratesIo,
                features: None,
                programs,
            })
        });
        found.collect()
    }
}

/// Returns the dependencies of programs, each with the paths of those programs.
fn linked(sbom: &Document) -> BTreeMap<&str, BTreeSet<String>> {
    let mut linked: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for (path, ids) in sbom.below_programs().unwrap_or_default() {
        for id in ids {
            linked.entry(id).or_default().insert(path.to_owned());
        }
    }
    linked
}

/// The crates in the provenance.
struct Built<'a> {
    /// The features of each crate, by its name and version.
    features: BTreeMap<&'a str, Arc<BTreeSet<String>>>,
    /// The package URLs of the crates from outside the workspace.
    outside: BTreeSet<&'a str>,
}

impl<'a> Built<'a> {
    fn new(provenance: &'a Statement) -> Built<'a> {
        let definition = &provenance.predicate.build_definition;
        let inputs = definition.resolved_dependencies.iter();
        let is_crate = |role: &&str| *role == "crate";
        let outside = inputs.filter(|it| {
            it.annotations
                .get("role")
                .map(String::as_str)
                .as_ref()
                .is_some_and(is_crate)
        });
        let uses = definition.internal_parameters.crates.iter();
        let features = uses.map(|(name, it)| (name.as_str(), Arc::new(it.features.clone())));
        Built {
            features: features.collect(),
            outside: outside.filter_map(|it| it.uri.as_deref()).collect(),
        }
    }

    fn features(&self, name: &str, version: &str) -> Option<Arc<BTreeSet<String>>> {
        self.features.get(&*format!("{name} {version}")).cloned()
    }

    /// Returns all crates from outside the workspace, for any purpose.
    fn outside(&self) -> Vec<AuditedCrate> {
        let read = |purl: &&str| {
            let parsed = Purl::parse(purl)?;
            Some(AuditedCrate {
                features: self.features(&parsed.name, &parsed.version),
                origin: origin(&parsed),
                name: parsed.name,
                version: parsed.version,
                purl: (*purl).to_owned(),
                programs: BTreeSet::new(),
            })
        };
        self.outside.iter().filter_map(read).collect()
    }
}

fn linked_crate(
    package: &Package,
    programs: &BTreeSet<String>,
    built: Option<&Built<'_>>,
) -> Option<AuditedCrate> {
    let purl = package.purl()?;
    let parsed = Purl::parse(purl).filter(|it| it.kind == "cargo")?;
    // Older documents have no directory in the package URL of a workspace's crate.
    let is_own =
        parsed.is_of_workspace() || built.is_some_and(|built| !built.outside.contains(purl));
    Some(AuditedCrate {
        origin: match is_own {
            true => Origin::Workspace,
            false => origin(&parsed),
        },
        features: built.and_then(|it| it.features(&parsed.name, &parsed.version)),
        name: parsed.name,
        version: parsed.version,
        purl: purl.to_owned(),
        programs: programs.clone(),
    })
}

fn origin(purl: &Purl) -> Origin {
    let is_elsewhere = ["vcs_url", "repository_url"]
        .iter()
        .any(|it| purl.qualifiers.contains_key(*it));
    match is_elsewhere {
        true => Origin::Elsewhere,
        false => Origin::CratesIo,
    }
}

fn debian(package: &Package) -> Option<AuditedPackage> {
    let purl = package.purl()?;
    let parsed = Purl::parse(purl).filter(|it| it.kind == "deb")?;
    let (source, source_version) = package.source().unwrap_or((&package.name, &parsed.version));
    let release = parsed.qualifiers.get("distro");
    Some(AuditedPackage {
        source: source.to_owned(),
        source_version: source_version.to_owned(),
        release: release
            .and_then(|it| it.strip_prefix("debian-"))
            .map(str::to_owned),
        name: parsed.name,
        version: parsed.version,
        purl: purl.to_owned(),
    })
}
