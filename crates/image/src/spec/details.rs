//! The details of Debian packages: `packages.json` beside a layer's blob.

use serde::{Deserialize, Serialize};

use super::{DebianPackage, FormatVersion};
use crate::license::License;

/// The packages of a layer.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LayerPackages {
    /// Always 1.
    pub version: FormatVersion,
    /// The packages whose files are in the layer, sorted.
    pub packages: Vec<PackageDetails>,
}

/// A package with its facts for a bill of materials.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PackageDetails {
    /// The name, version and architecture.
    pub package: DebianPackage,
    /// The maintainer: `NAME <ADDRESS>`.
    pub maintainer: String,
    /// The source package that the package is built from.
    pub source: String,
    /// The source package's version.
    pub source_version: String,
    /// The address of the project, which may be empty.
    #[serde(default)]
    pub homepage: String,
    /// The names of the packages that the package depends on, including alternatives.
    #[serde(default)]
    pub depends: Vec<String>,
    /// The licence, if the copyright file states it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub license: Option<License>,
    /// The package with the same licence: packages of one source may share a directory of
    /// documents.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub license_of: Option<String>,
}

impl PackageDetails {
    /// Reads a package's control file, or its paragraph in dpkg's status.
    pub fn new(package: DebianPackage, control: &str) -> PackageDetails {
        let stanza = crateyard_debian::control::Stanza::whole(control);
        let field = |name: &str| stanza.get(name).unwrap_or_default();
        let source = field("Source");
        let (source, version) = source.split_once(' ').unwrap_or((source, ""));
        let version = version.trim_matches(|c: char| c == '(' || c == ')' || c.is_whitespace());
        let or = |text: &str, other: &str| if text.is_empty() { other } else { text }.to_owned();
        let mut depends: Vec<String> = [field("Pre-Depends"), field("Depends")]
            .iter()
            .filter_map(|field| crateyard_debian::relation::parse_groups(field).ok())
            .flatten()
            .flatten()
            .map(|relation| relation.name)
            .collect();
        depends.sort();
        depends.dedup();
        PackageDetails {
            maintainer: field("Maintainer").to_owned(),
            source: or(source, &package.name),
            source_version: or(version, &package.version),
            homepage: field("Homepage").to_owned(),
            depends,
            license: None,
            license_of: None,
            package,
        }
    }
}
