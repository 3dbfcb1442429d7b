//! What Debian packages say of themselves: `packages.json` beside a layer's blob.

use serde::{Deserialize, Serialize};

use super::{DebianPackage, Version};
use crate::license::License;

/// The packages of a layer.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LayerPackages {
    /// Always 1.
    pub version: Version,
    /// Those whose files are in it, sorted.
    pub packages: Vec<PackageDetails>,
}

/// A package with what a bill of materials says of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PackageDetails {
    /// Name, version and architecture.
    pub package: DebianPackage,
    /// Who maintains it: `NAME <ADDRESS>`.
    pub maintainer: String,
    /// The source package that it is built from.
    pub source: String,
    /// The source package's version.
    pub source_version: String,
    /// Where the project is; may be empty.
    #[serde(default)]
    pub homepage: String,
    /// The names of the packages that it depends on, alternatives too.
    #[serde(default)]
    pub depends: Vec<String>,
    /// Its licence, where its copyright file says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub license: Option<License>,
    /// The package whose licence it has: packages of one source may share a directory of documents.
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
