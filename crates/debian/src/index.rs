//! `Packages` files: the packages of a suite for one architecture.

use std::collections::BTreeMap;

use crateyard_oci::digest::is_sha256;

use crate::control::{Stanza, stanzas};
use crate::relation::{Relation, parse_list};
use crate::version::Version;

/// A package in one version for one architecture, as an index describes it.
#[derive(Clone, Debug)]
pub struct Package {
    /// Name, as in `gcc-12`.
    pub name: String,
    /// Version.
    pub version: Version,
    /// The architecture that it is built for, or `all`.
    pub architecture: String,
    /// Its importance for a usual system.
    pub priority: Priority,
    /// Whether it serves packages of other architectures.
    pub multi_arch: MultiArch,
    /// `Pre-Depends` and `Depends`, not yet parsed.
    pub depends: String,
    /// `Conflicts` and `Breaks`, not yet parsed.
    pub conflicts: String,
    /// Other names that it provides.
    pub provides: Vec<Relation>,
    /// Path of its file, relative to the mirror: `pool/main/...`.
    pub path: String,
    /// SHA-256 of its file, lower-case hexadecimal.
    pub sha256: String,
    /// Size of its file in bytes.
    pub size: u64,
    /// Index of its suite in the list of suites. A smaller one is preferred.
    pub suite: usize,
}

impl Package {
    /// Returns `name:architecture`, the key of `debian.lock`.
    pub fn key(&self) -> String {
        format!("{}:{}", self.name, self.architecture)
    }
}

/// The field `Priority`, the most important first. It selects the usual one among several
/// providers: `mawk`, not another `awk`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs)]
pub enum Priority {
    Required,
    Important,
    Standard,
    /// Also stands for all other words, and for a missing field.
    Optional,
}

/// The field `Multi-Arch`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MultiArch {
    /// Serves its own architecture only.
    No,
    /// May be installed for several architectures at once, in one version.
    Same,
    /// Serves packages of every architecture.
    Foreign,
    /// Serves every architecture if a relation says `name:any`.
    Allowed,
}

/// The error for an index that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("{name}:{line}: {reason}")]
pub struct IndexError {
    name: String,
    line: usize,
    reason: String,
}

/// Reads a `Packages` file. `name` is the file's name in errors, `suite` the index of its suite.
pub fn parse(text: &str, name: &str, suite: usize) -> Result<Vec<Package>, IndexError> {
    stanzas(text)
        .map(|stanza| {
            parse_package(&stanza, suite).map_err(|reason| IndexError {
                name: name.to_owned(),
                line: stanza.line,
                reason,
            })
        })
        .collect()
}

fn parse_package(stanza: &Stanza<'_>, suite: usize) -> Result<Package, String> {
    let fields: BTreeMap<&str, &str> = stanza
        .fields()
        .map(|field| (field.name, field.value))
        .collect();
    let required = |name: &str| {
        fields
            .get(name)
            .copied()
            .filter(|value| !value.is_empty())
            .ok_or_else(|| format!("a package without `{name}`"))
    };
    let joined = |names: [&str; 2]| {
        let values: Vec<&str> = names
            .iter()
            .filter_map(|name| fields.get(name).copied())
            .collect();
        values.join(", ")
    };
    let name = required("Package")?;
    let in_package = |reason: String| format!("package {name}: {reason}");
    let path = required("Filename")?.trim_start_matches("./");
    if path.starts_with('/') || path.split('/').any(|part| part.is_empty() || part == "..") {
        return Err(in_package(format!("`Filename: {path}` leaves the mirror")));
    }
    let sha256 = required("SHA256")?;
    if !is_sha256(sha256) {
        return Err(in_package(format!("`{sha256}` is not a SHA-256")));
    }
    Ok(Package {
        name: name.to_owned(),
        version: required("Version")?
            .parse()
            .map_err(|e| in_package(format!("{e}")))?,
        architecture: required("Architecture")?.to_owned(),
        priority: priority(fields.get("Priority").copied()),
        multi_arch: multi_arch(fields.get("Multi-Arch").copied()).map_err(in_package)?,
        depends: joined(["Pre-Depends", "Depends"]),
        conflicts: joined(["Conflicts", "Breaks"]),
        provides: parse_list(fields.get("Provides").copied().unwrap_or_default())
            .map_err(|e| in_package(e.to_string()))?,
        path: path.to_owned(),
        sha256: sha256.to_owned(),
        size: required("Size")?
            .parse()
            .map_err(|_| in_package("its `Size` is not a number".to_owned()))?,
        suite,
    })
}

fn priority(field: Option<&str>) -> Priority {
    match field {
        Some("required") => Priority::Required,
        Some("important") => Priority::Important,
        Some("standard") => Priority::Standard,
        _ => Priority::Optional,
    }
}

fn multi_arch(field: Option<&str>) -> Result<MultiArch, String> {
    match field {
        None | Some("no") => Ok(MultiArch::No),
        Some("same") => Ok(MultiArch::Same),
        Some("foreign") => Ok(MultiArch::Foreign),
        Some("allowed") => Ok(MultiArch::Allowed),
        Some(other) => Err(format!(
            "`Multi-Arch: {other}` is none of no, same, foreign, allowed"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STANZA: &str =
        "Package: a\nVersion: 1\nArchitecture: amd64\nFilename: pool/a.deb\nSize: 1\nSHA256: ";

    fn stanza(extra: &str) -> String {
        format!("{STANZA}{}\n{extra}", "0".repeat(64))
    }

    #[test]
    fn reads_a_package() {
        let text =
            stanza("Pre-Depends: b\nDepends: c | d\nProvides: e (= 2), f\nMulti-Arch: same\n");
        let package = &parse(&text, "Packages", 3).expect("an index")[0];
        assert_eq!(package.key(), "a:amd64");
        assert_eq!(package.depends, "b, c | d");
        assert_eq!(package.provides.len(), 2);
        assert_eq!((package.multi_arch, package.suite), (MultiArch::Same, 3));
    }

    #[test]
    fn errors_name_the_place() {
        for (text, expected) in [
            (
                stanza("Multi-Arch: x\n"),
                "Packages:1: package a: `Multi-Arch: x`",
            ),
            (STANZA.to_owned(), "Packages:1: a package without `SHA256`"),
            (
                format!("{}\n\nPackage: b\nVersion: 1\n", stanza("")),
                "Packages:9: a package without `Filename`",
            ),
            (
                stanza("").replace("pool/", "pool/../../"),
                "Packages:1: package a: `Filename: pool/../../a.deb` leaves",
            ),
        ] {
            let error = parse(&text, "Packages", 0)
                .expect_err("bad index")
                .to_string();
            assert!(error.starts_with(expected), "{error}");
        }
    }
}
