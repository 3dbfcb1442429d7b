//! The bill of materials: an [SPDX](https://spdx.github.io/spdx-spec/v2.3/) document, version 2.3.
//!
//! The image contains Debian packages, programs of the workspace and other images; a program depends
//! on the crates that were linked into it. What only ran while a program was built (procedural macros,
//! build scripts) is in the provenance, not here.

use std::collections::{BTreeMap, BTreeSet};

use crateyard_oci::{Descriptor, Digest};
use serde::{Deserialize, Serialize};

use super::{Subject, purl};
use crate::packages::Crate;
use crate::spec::{InputsSpec, PackageInput, PackageRole, ProgramInput, UnitInput};
use crate::time;

/// The media type of the document.
pub const MEDIA_TYPE: &str = "application/spdx+json";
const IMAGE_ID: &str = "SPDXRef-image";
const UNKNOWN: &str = "NOASSERTION";

/// A bill of materials.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Document {
    /// `SPDX-2.3`.
    pub spdx_version: String,
    /// The licence of the document itself.
    pub data_license: String,
    /// The document's own name in it.
    #[serde(rename = "SPDXID")]
    pub spdx_id: String,
    /// What it is about.
    pub name: String,
    /// An address that no other document has.
    pub document_namespace: String,
    /// By what it was made.
    pub creation_info: CreationInfo,
    /// What there is.
    pub packages: Vec<Package>,
    /// How it hangs together.
    pub relationships: Vec<Relationship>,
}

/// By what and when a document was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreationInfo {
    /// The time: always the same, so that the bytes are.
    pub created: String,
    /// Programs.
    pub creators: Vec<String>,
}

/// An image, a program, a crate or a Debian package.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Package {
    /// Its name in the document.
    #[serde(rename = "SPDXID")]
    pub spdx_id: String,
    /// Its name.
    pub name: String,
    /// Its version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version_info: Option<String>,
    /// Where it comes from.
    pub download_location: String,
    /// Whether its files are listed: they are not.
    pub files_analyzed: bool,
    /// What it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub primary_package_purpose: Option<String>,
    /// A program's path in the image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub package_file_name: Option<String>,
    /// Who gave it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub supplier: Option<String>,
    /// Digests of its file.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub checksums: Vec<Checksum>,
    /// The licence that was concluded.
    pub license_concluded: String,
    /// The licence that it declares.
    pub license_declared: String,
    /// Copyright.
    pub copyright_text: String,
    /// Its package URL.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub external_refs: Vec<ExternalRef>,
}

/// A digest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Checksum {
    /// `SHA256`.
    pub algorithm: String,
    /// Hexadecimal digits.
    pub checksum_value: String,
}

/// How others name a package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ExternalRef {
    /// `PACKAGE-MANAGER`.
    pub reference_category: String,
    /// `purl`.
    pub reference_type: String,
    /// The name.
    pub reference_locator: String,
}

/// How two elements hang together.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Relationship {
    /// The one.
    pub spdx_element_id: String,
    /// How.
    pub relationship_type: String,
    /// The other.
    pub related_spdx_element: String,
}

impl Document {
    /// The crates in each program, by the program's path in the image.
    pub fn crates(&self) -> BTreeMap<String, Vec<Crate>> {
        let packages: BTreeMap<&str, &Package> = self
            .packages
            .iter()
            .map(|package| (package.spdx_id.as_str(), package))
            .collect();
        let mut crates: BTreeMap<String, BTreeSet<Crate>> = BTreeMap::new();
        let depends = |it: &&Relationship| it.relationship_type == "DEPENDS_ON";
        for relationship in self.relationships.iter().filter(depends) {
            let program = packages.get(relationship.spdx_element_id.as_str());
            let path = program.and_then(|program| program.package_file_name.as_deref());
            let package = packages.get(relationship.related_spdx_element.as_str());
            let (Some(path), Some(package)) = (path, package) else {
                continue;
            };
            let found = Crate {
                name: package.name.clone(),
                version: package.version_info.clone().unwrap_or_default(),
            };
            crates.entry(path.to_owned()).or_default().insert(found);
        }
        let sorted = crates.into_iter();
        sorted
            .map(|(path, crates)| (path, crates.into_iter().collect()))
            .collect()
    }

    /// Whether it is about the image whose manifest has this digest.
    pub fn is_about(&self, digest: &Digest) -> bool {
        self.packages
            .iter()
            .filter(|package| package.spdx_id == IMAGE_ID)
            .any(|image| {
                image
                    .checksums
                    .iter()
                    .any(|checksum| checksum.checksum_value == digest.hex())
            })
    }
}

/// The document about an image.
pub(super) fn document(
    subject: &Subject<'_>,
    inputs: &InputsSpec,
    nested: &[(String, Descriptor)],
) -> Document {
    let mut writer = Writer::default();
    writer.relate("SPDXRef-DOCUMENT", "DESCRIBES", IMAGE_ID);
    writer.add(image(IMAGE_ID.to_owned(), subject.name, subject.manifest));
    writer.add_debian(inputs);
    for program in &inputs.programs {
        writer.add_program(program, &inputs.units);
    }
    for (name, manifest) in nested {
        let id = id("image", &[name]);
        writer.relate(IMAGE_ID, "CONTAINS", &id);
        writer.add(image(id, name, manifest));
    }
    if let Some(base) = subject.base {
        let id = id("image", &["base"]);
        writer.relate(IMAGE_ID, "DESCENDANT_OF", &id);
        writer.add(image(id, "base", base));
    }
    let digest = &subject.manifest.digest;
    Document {
        spdx_version: "SPDX-2.3".to_owned(),
        data_license: "CC0-1.0".to_owned(),
        spdx_id: "SPDXRef-DOCUMENT".to_owned(),
        name: subject.name.to_owned(),
        document_namespace: format!(
            "https://github.com/crateyard/crateyard/spdx/{}/{}",
            subject.name,
            digest.hex()
        ),
        creation_info: CreationInfo {
            created: time::rfc3339(0),
            creators: vec![format!("Tool: crateyard-{}", env!("CARGO_PKG_VERSION"))],
        },
        packages: writer.packages.into_values().collect(),
        relationships: writer.relationships.into_iter().collect(),
    }
}

/// A document in the making: everything once, and sorted.
#[derive(Default)]
struct Writer {
    packages: BTreeMap<String, Package>,
    relationships: BTreeSet<Relationship>,
}

impl Writer {
    fn add(&mut self, package: Package) {
        self.packages.insert(package.spdx_id.clone(), package);
    }

    fn relate(&mut self, one: &str, how: &str, other: &str) {
        self.relationships.insert(Relationship {
            spdx_element_id: one.to_owned(),
            relationship_type: how.to_owned(),
            related_spdx_element: other.to_owned(),
        });
    }

    fn add_debian(&mut self, inputs: &InputsSpec) {
        let in_image = |package: &&PackageInput| package.role == PackageRole::Image;
        let packages = || inputs.packages.iter().filter(in_image);
        let release = packages()
            .find(|package| package.name == "base-files")
            .and_then(release);
        for package in packages() {
            let id = id(
                "deb",
                &[&package.name, &package.version, &package.architecture],
            );
            self.relate(IMAGE_ID, "CONTAINS", &id);
            self.add(Package {
                version_info: Some(package.version.clone()),
                supplier: Some("Organization: Debian".to_owned()),
                checksums: sha256(Some(&package.sha256)),
                external_refs: purl_reference(purl::debian(package, release)),
                ..blank(id, &package.name)
            });
        }
    }

    fn add_program(&mut self, program: &ProgramInput, units: &BTreeMap<String, UnitInput>) {
        let program_id = id("program", &[&program.path]);
        let linked = program
            .units
            .iter()
            .filter_map(|key| units.get(key))
            .filter(|unit| unit.for_target);
        let own = linked
            .clone()
            .find(|unit| unit.package == program.package && unit.kind == "bin");
        self.relate(IMAGE_ID, "CONTAINS", &program_id);
        self.add(Package {
            version_info: own.map(|unit| unit.version.clone()),
            primary_package_purpose: Some("APPLICATION".to_owned()),
            package_file_name: Some(program.path.clone()),
            license_declared: own.map_or(UNKNOWN.to_owned(), license),
            external_refs: own
                .map(|unit| purl_reference(purl::of_crate(unit)))
                .unwrap_or_default(),
            ..blank(program_id.clone(), &program.bin)
        });
        for unit in linked.filter(|unit| unit.kind != "bin") {
            let id = crate_id(unit);
            self.relate(&program_id, "DEPENDS_ON", &id);
            self.add(Package {
                version_info: Some(unit.version.clone()),
                primary_package_purpose: Some("LIBRARY".to_owned()),
                checksums: sha256(unit.checksum.as_deref()),
                license_declared: license(unit),
                external_refs: purl_reference(purl::of_crate(unit)),
                ..blank(id, &unit.package)
            });
        }
    }
}

/// Debian's number: `base-files` has it in its version, `12.4+deb12u15`.
fn release(base_files: &PackageInput) -> Option<&str> {
    let number = base_files.version.split(['.', '+']).next()?;
    number
        .bytes()
        .all(|byte| byte.is_ascii_digit())
        .then_some(number)
}

fn image(id: String, name: &str, manifest: &Descriptor) -> Package {
    Package {
        primary_package_purpose: Some("CONTAINER".to_owned()),
        checksums: sha256(Some(manifest.digest.hex())),
        external_refs: purl_reference(purl::image(name, &manifest.digest)),
        ..blank(id, name)
    }
}

fn blank(spdx_id: String, name: &str) -> Package {
    Package {
        spdx_id,
        name: name.to_owned(),
        download_location: UNKNOWN.to_owned(),
        license_concluded: UNKNOWN.to_owned(),
        license_declared: UNKNOWN.to_owned(),
        copyright_text: UNKNOWN.to_owned(),
        ..Package::default()
    }
}

fn crate_id(unit: &UnitInput) -> String {
    match unit.source.contains("crates.io-index") || unit.source.is_empty() {
        true => id("crate", &[&unit.package, &unit.version]),
        // Two registries may have crates of one name.
        false => {
            let source = Digest::of(unit.source.as_bytes());
            id("crate", &[&unit.package, &unit.version, &source.hex()[..8]])
        }
    }
}

/// Manifests may say `MIT/Apache-2.0`, an old way to write `OR`.
fn license(unit: &UnitInput) -> String {
    match unit.license.as_str() {
        "" => UNKNOWN.to_owned(),
        text => text.replace(" / ", " OR ").replace('/', " OR "),
    }
}

fn sha256(hex: Option<&str>) -> Vec<Checksum> {
    let checksum = |hex: &str| Checksum {
        algorithm: "SHA256".to_owned(),
        checksum_value: hex.to_owned(),
    };
    hex.map(checksum).into_iter().collect()
}

fn purl_reference(purl: String) -> Vec<ExternalRef> {
    vec![ExternalRef {
        reference_category: "PACKAGE-MANAGER".to_owned(),
        reference_type: "purl".to_owned(),
        reference_locator: purl,
    }]
}

/// A name of letters, digits, dots and dashes.
fn id(kind: &str, parts: &[&str]) -> String {
    let text: String = parts.join("-");
    let allowed = |c: char| {
        if c.is_ascii_alphanumeric() || c == '.' {
            c
        } else {
            '-'
        }
    };
    format!(
        "SPDXRef-{kind}-{}",
        text.trim_start_matches('/')
            .chars()
            .map(allowed)
            .collect::<String>()
    )
}
