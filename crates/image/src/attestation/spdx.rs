//! The bill of materials: an [SPDX](https://spdx.github.io/spdx-spec/v2.3/) document, version 2.3.
//!
//! The image contains Debian packages, programs of the workspace and other images. A program
//! depends on crates, and those on others, as they were linked into it. Crates that only ran while
//! a program was built (procedural macros, build scripts) are in the provenance, not here. The
//! compilers are here, too (`BUILD_TOOL_OF`).

use std::collections::{BTreeMap, BTreeSet};

use crateyard_oci::Digest;
use serde::{Deserialize, Serialize};

use crate::packages::Crate;

mod write;

pub(super) use write::document;

/// The media type of the document.
pub const MEDIA_TYPE: &str = "application/spdx+json";
/// The identifier of the image in the document.
pub const IMAGE_ID: &str = "SPDXRef-image";
const DOCUMENT_ID: &str = "SPDXRef-DOCUMENT";
const UNKNOWN: &str = "NOASSERTION";
/// The text before the name of a source package.
const SOURCE: &str = "built from the source package ";

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
    /// The name of the document's subject.
    pub name: String,
    /// An address that no other document has.
    pub document_namespace: String,
    /// The creators and the time of the document.
    pub creation_info: CreationInfo,
    /// Documents about images that the image holds.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub external_document_refs: Vec<ExternalDocument>,
    /// The components.
    pub packages: Vec<Package>,
    /// The relations between the components.
    pub relationships: Vec<Relationship>,
    /// The texts of licences that have no SPDX name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub has_extracted_licensing_infos: Vec<ExtractedLicense>,
}

/// Another document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ExternalDocument {
    /// The document's name in this one: `DocumentRef-…`.
    pub external_document_id: String,
    /// The document's digest.
    pub checksum: Checksum,
    /// The document's address.
    pub spdx_document: String,
}

/// A licence given by its text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ExtractedLicense {
    /// `LicenseRef-…`.
    pub license_id: String,
    /// The text.
    pub extracted_text: String,
}

/// The creators and the time of a document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreationInfo {
    /// The time, which is always the same, so that the bytes are, too.
    pub created: String,
    /// The people and programs that made the document.
    pub creators: Vec<String>,
    /// The moment of the image's life.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
}

/// An image, a program, a crate or a Debian package.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Package {
    /// The package's name in the document.
    #[serde(rename = "SPDXID")]
    pub spdx_id: String,
    /// The package's name.
    pub name: String,
    /// The package's version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version_info: Option<String>,
    /// The address that the package comes from.
    pub download_location: String,
    /// Whether the files of the package are listed: they are not.
    pub files_analyzed: bool,
    /// The kind of the package.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub primary_package_purpose: Option<String>,
    /// The path of a program in the image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub package_file_name: Option<String>,
    /// The supplier.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub supplier: Option<String>,
    /// The author.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub originator: Option<String>,
    /// The address of the project.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub homepage: Option<String>,
    /// The source that the package was built from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_info: Option<String>,
    /// A remark.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// The digests of the package's file.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub checksums: Vec<Checksum>,
    /// The licence that the document concludes.
    pub license_concluded: String,
    /// The licence that the package declares.
    pub license_declared: String,
    /// The copyright.
    pub copyright_text: String,
    /// The package URL.
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

/// The name of a package elsewhere.
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

/// The relation of two elements.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Relationship {
    /// The first element.
    pub spdx_element_id: String,
    /// The type of the relation.
    pub relationship_type: String,
    /// The second element.
    pub related_spdx_element: String,
}

impl Package {
    /// Returns the package URL.
    pub fn purl(&self) -> Option<&str> {
        let mut references = self.external_refs.iter();
        let found = references.find(|it| it.reference_type == "purl")?;
        Some(&found.reference_locator)
    }

    /// Returns the name and version of the source package that the package was built from.
    pub fn source(&self) -> Option<(&str, &str)> {
        let said = self.source_info.as_deref()?;
        said.strip_prefix(SOURCE)?.split_once(' ')
    }
}

/// The most bytes that the crates of all programs may take. A hundred programs of two thousand
/// crates each take two thirds of it.
const MAX_GATHERED: usize = 32 << 20;
/// The bytes that a crate of a program takes, besides the program's path.
const GATHERED: usize = 64;
/// The most relations that are followed, for all programs together. A crate has about five of them
/// to others, so a hundred programs of two thousand crates each have a million.
const MAX_FOLLOWED: usize = 4_000_000;

impl Document {
    /// Reads a document, which may be anybody's. A small one can say that each of thousands of
    /// programs contains thousands of crates, and is then refused.
    ///
    /// # Errors
    /// When it is malformed, or too much follows from it.
    pub fn parse(bytes: &[u8]) -> Result<Document, String> {
        let document: Document =
            serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        match document.below_programs() {
            Some(_) => Ok(document),
            None => Err("its programs have too many crates".to_owned()),
        }
    }

    /// Returns the paths of the programs, each with the identifiers of everything that it depends
    /// on. Returns `None` if that is too much.
    pub fn below_programs(&self) -> Option<Vec<(&str, BTreeSet<&str>)>> {
        let mut needs: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        let depends = |it: &&Relationship| it.relationship_type == "DEPENDS_ON";
        for it in self.relationships.iter().filter(depends) {
            let below = needs.entry(&it.spdx_element_id).or_default();
            below.push(&it.related_spdx_element);
        }
        let (mut bytes, mut steps) = (MAX_GATHERED, MAX_FOLLOWED);
        let mut programs = Vec::new();
        for package in &self.packages {
            let Some(path) = package.package_file_name.as_deref() else {
                continue;
            };
            let mut seen = BTreeSet::new();
            let mut pending = vec![package.spdx_id.as_str()];
            while let Some(id) = pending.pop() {
                for below in needs.get(id).into_iter().flatten() {
                    steps = steps.checked_sub(1)?;
                    if seen.insert(*below) {
                        bytes = bytes.checked_sub(GATHERED + path.len())?;
                        pending.push(below);
                    }
                }
            }
            programs.push((path, seen));
        }
        Some(programs)
    }

    /// Returns the crates in each program, by the program's path in the image.
    pub fn crates(&self) -> BTreeMap<String, Vec<Crate>> {
        let packages: BTreeMap<&str, &Package> = self
            .packages
            .iter()
            .map(|package| (package.spdx_id.as_str(), package))
            .collect();
        let crates = |ids: &BTreeSet<&str>| {
            let found = ids.iter().filter_map(|id| packages.get(id));
            let crates: BTreeSet<Crate> = found
                .map(|package| Crate {
                    name: package.name.clone(),
                    version: package.version_info.clone().unwrap_or_default(),
                })
                .collect();
            crates.into_iter().collect::<Vec<_>>()
        };
        let programs = self.below_programs().unwrap_or_default().into_iter();
        programs
            .map(|(path, ids)| (path.to_owned(), crates(&ids)))
            .filter(|(_, crates)| !crates.is_empty())
            .collect()
    }

    /// Whether the document is about the image whose manifest has this digest.
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
