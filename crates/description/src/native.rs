//! The Debian packages that crates with bindings to C libraries need: `debian-by-crate.toml`.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde::de::IgnoredAny;
use toml::Spanned;

use crate::model::{Crate, Description};
use crate::workspace::LockedPackage;

const TABLE: &str = include_str!("debian-by-crate.toml");

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    needed: BTreeMap<String, Native>,
    #[allow(dead_code)] // Nix explains failures with it.
    optional: BTreeMap<String, Native>,
}

#[derive(Clone, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Native {
    packages: Vec<String>,
    vendored_by: Option<String>,
}

/// Returns the crates of a `Cargo.lock` that don't compile without Debian packages, each with those
/// packages.
///
/// `takes` says of each crate of [`undecided`] whether it takes Debian's library.
pub fn needed(
    locked: &[LockedPackage],
    takes: impl Fn(&str) -> bool,
) -> BTreeMap<String, Vec<String>> {
    let wanting = known_among(locked).filter_map(|(package, native)| {
        let wants = !native.is_vendored_by_one_of(&package.dependencies) || takes(&package.name);
        wants.then(|| (package.name.clone(), native.packages))
    });
    wanting.collect()
}

/// Returns the crates of a `Cargo.lock` that compile their own copy of a library if a feature is
/// on, and may have it on. The lock also names the dependencies of features that are off.
pub fn undecided(locked: &[LockedPackage]) -> BTreeSet<String> {
    let vendoring = known_among(locked)
        .filter(|(package, native)| native.is_vendored_by_one_of(&package.dependencies));
    vendoring.map(|(package, _)| package.name.clone()).collect()
}

fn known_among(locked: &[LockedPackage]) -> impl Iterator<Item = (&LockedPackage, Native)> {
    // The table is part of this program; a test reads it.
    let table: Option<Table> = toml::from_str(TABLE).ok();
    let known = table.map(|table| table.needed).unwrap_or_default();
    locked
        .iter()
        .filter_map(move |package| Some((package, known.get(&package.name)?.clone())))
}

impl Native {
    fn is_vendored_by_one_of(&self, dependencies: &[String]) -> bool {
        let mut names = dependencies.iter().filter_map(|d| d.split(' ').next());
        names.any(|name| self.vendored_by.as_deref() == Some(name))
    }
}

/// The fields that this module reads of `cargo metadata --format-version 1`.
#[derive(Deserialize)]
struct Metadata {
    packages: Vec<NamedPackage>,
    resolve: Resolve,
}

#[derive(Deserialize)]
struct NamedPackage {
    id: String,
    name: String,
}

#[derive(Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Deserialize)]
struct Node {
    id: String,
    dependencies: Vec<String>,
}

/// Returns the packages of a lock as `cargo metadata` lists them: with the dependencies of the
/// features that are on, and no others.
///
/// # Errors
/// Fails if the text is not in the format of `cargo metadata`.
pub fn resolved_packages(metadata: &str) -> Result<Vec<LockedPackage>, serde_json::Error> {
    let metadata: Metadata = serde_json::from_str(metadata)?;
    let packages = metadata.packages.into_iter();
    let names: BTreeMap<String, String> = packages.map(|p| (p.id, p.name)).collect();
    let named = |id: &String| names.get(id).cloned();
    let nodes = metadata.resolve.nodes.iter().filter_map(|node| {
        Some(LockedPackage {
            name: named(&node.id)?,
            version: String::new(),
            dependencies: node.dependencies.iter().filter_map(named).collect(),
        })
    });
    Ok(nodes.collect())
}

/// The crates for which a `debian.lock` has sets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pinned {
    /// The crates that compile with Debian packages: the sets `crates.NAME`.
    pub crates: BTreeSet<String>,
    /// The crates with libraries that programs linked from them need: the sets `libraries.NAME`.
    pub libraries: BTreeSet<String>,
}

/// Returns the crates for which a `debian.lock` pins packages.
///
/// # Errors
/// Fails if the text is not JSON of that form.
pub fn pinned(debian_lock: &str) -> Result<Pinned, serde_json::Error> {
    #[derive(Deserialize)]
    struct Lock {
        sets: BTreeMap<String, IgnoredAny>,
    }
    let lock: Lock = serde_json::from_str(debian_lock)?;
    let of = |kind: &str| {
        let names = lock.sets.keys();
        let names = names.filter_map(|name| name.strip_prefix(kind));
        names.map(str::to_owned).collect()
    };
    Ok(Pinned {
        crates: of("crates."),
        libraries: of("libraries."),
    })
}

/// Returns the names of a package and of all its dependencies, direct and transitive.
///
/// With the packages of a lock, the result has more than a program is linked from: also the
/// dependencies of build scripts, of tests and of features that are off.
pub fn closure(packages: &[LockedPackage], package: &str) -> BTreeSet<String> {
    let mut reached = BTreeSet::from([package.to_owned()]);
    let mut rest = vec![package.to_owned()];
    while let Some(name) = rest.pop() {
        let found = packages.iter().filter(|package| package.name == name);
        let below = found.flat_map(|package| &package.dependencies);
        for dependency in below.filter_map(|dependency| dependency.split(' ').next()) {
            if reached.insert(dependency.to_owned()) {
                rest.push(dependency.to_owned());
            }
        }
    }
    reached
}

impl Description {
    /// Returns the description with the packages that crates of the lock are known to need, where
    /// it gives no packages itself. `takes` is as for [`needed`].
    #[must_use]
    pub fn with_known_crates(
        mut self,
        locked: &[LockedPackage],
        takes: impl Fn(&str) -> bool,
    ) -> Description {
        for (name, packages) in needed(locked, takes) {
            let described = self.crates.iter_mut().find(|c| *c.name.get_ref() == name);
            match described {
                Some(described) if described.packages.is_empty() => described.packages = packages,
                Some(_) => {}
                None => self.crates.push(Crate {
                    name: Spanned::new(0..0, name),
                    packages,
                    files: Vec::new(),
                    environment: BTreeMap::new(),
                    revision: false,
                    parts: Vec::new(),
                    downloads: BTreeMap::new(),
                }),
            }
        }
        self
    }

    /// Whether the description itself lists the packages that a crate compiles with.
    pub fn has_packages_of(&self, name: &str) -> bool {
        let mut crates = self.crates.iter();
        crates.any(|c| c.name.get_ref() == name && !c.packages.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn locked(name: &str, dependencies: &[&str]) -> LockedPackage {
        LockedPackage {
            name: name.into(),
            version: String::new(),
            dependencies: dependencies.iter().map(|d| (*d).to_string()).collect(),
        }
    }

    #[test]
    fn what_compiles_its_own_copy_needs_nothing() {
        let lock = [
            locked("openssl-sys", &["libc", "pkg-config"]),
            locked("libsqlite3-sys", &["cc", "pkg-config"]),
            locked("serde", &[]),
        ];
        let expected = [("openssl-sys".to_string(), vec!["libssl-dev".to_string()])];
        assert_eq!(needed(&lock, |_| false), expected.into());
        assert_eq!(undecided(&lock), ["libsqlite3-sys".to_string()].into());
    }

    #[test]
    fn what_could_compile_its_own_copy_and_does_not_needs_debians() {
        let lock = [
            locked("pq-sys", &["pq-src", "vcpkg"]),
            locked("libsqlite3-sys", &["cc 1.2.0", "pkg-config"]),
        ];
        let needed = needed(&lock, |name| name == "pq-sys");
        assert_eq!(needed.into_keys().collect::<Vec<_>>(), ["pq-sys"]);
    }

    #[test]
    fn metadata_has_the_dependencies_of_features_that_are_on() {
        let metadata = r#"{
            "packages": [
                {"id": "path+file:///w#0.1.0", "name": "w"},
                {"id": "registry#pq-sys@0.7.0", "name": "pq-sys"}
            ],
            "resolve": {"nodes": [
                {"id": "path+file:///w#0.1.0", "dependencies": ["registry#pq-sys@0.7.0"]},
                {"id": "registry#pq-sys@0.7.0", "dependencies": []}
            ]}
        }"#;
        let packages = resolved_packages(metadata).unwrap();
        assert_eq!(packages[0].dependencies, ["pq-sys"]);
        assert!(undecided(&packages).is_empty());
    }

    #[test]
    fn a_lock_pins_crates() {
        let lock =
            r#"{"version": 1, "sets": {"base": {}, "crates.pq-sys": {}, "libraries.pq-sys": {}}}"#;
        let pinned = pinned(lock).unwrap();
        assert_eq!(pinned.crates, ["pq-sys".to_string()].into());
        assert_eq!(pinned.libraries, ["pq-sys".to_string()].into());
    }

    #[test]
    fn the_description_has_the_last_word() {
        let text =
            "version = 1\n[crates.openssl-sys]\npackages = [\"libssl-dev\", \"perl\"]\n[images]\n";
        let description = Description::parse(text, "images.toml").unwrap();
        let known = description
            .with_known_crates(&[locked("openssl-sys", &[]), locked("pq-sys", &[])], |_| {
                false
            });
        let packages: Vec<_> = known.crates.iter().map(|c| c.packages.join(" ")).collect();
        assert_eq!(packages, ["libssl-dev perl", "libpq-dev"]);
    }
}
