//! What crates that bind C libraries need from Debian: `native.toml`.

use std::collections::BTreeMap;

use serde::Deserialize;
use toml::Spanned;

use crate::model::{Crate, Description};
use crate::workspace::LockedPackage;

const TABLE: &str = include_str!("native.toml");

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    needed: BTreeMap<String, Native>,
    #[allow(dead_code)] // Nix explains failures with it.
    optional: BTreeMap<String, Native>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Native {
    packages: Vec<String>,
    vendored_by: Option<String>,
}

/// The crates of a `Cargo.lock` that can't be compiled without packages of Debian, and those packages.
pub fn needed(locked: &[LockedPackage]) -> BTreeMap<String, Vec<String>> {
    // The table is part of this program; a test reads it.
    let table: Option<Table> = toml::from_str(TABLE).ok();
    let known = table.map(|table| table.needed).unwrap_or_default();
    let needs = |package: &LockedPackage| {
        let native = known.get(&package.name)?;
        let vendors = |name: &String| {
            let mut names = package.dependencies.iter();
            names.any(|d| d.split(' ').next() == Some(name))
        };
        if native.vendored_by.as_ref().is_some_and(vendors) {
            return None;
        }
        Some((package.name.clone(), native.packages.clone()))
    };
    locked.iter().filter_map(needs).collect()
}

impl Description {
    /// The description with what crates of the lock are known to need, where it says nothing of their packages.
    #[must_use]
    pub fn with_known_crates(mut self, locked: &[LockedPackage]) -> Description {
        for (name, packages) in needed(locked) {
            let described = self.crates.iter_mut().find(|c| *c.name.get_ref() == name);
            match described {
                Some(described) if described.packages.is_empty() => described.packages = packages,
                Some(_) => {}
                None => self.crates.push(Crate {
                    name: Spanned::new(0..0, name),
                    packages,
                    files: Vec::new(),
                }),
            }
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn locked(name: &str, dependencies: &[&str]) -> LockedPackage {
        LockedPackage {
            name: name.into(),
            dependencies: dependencies.iter().map(|d| (*d).to_string()).collect(),
        }
    }

    #[test]
    fn what_compiles_its_own_copy_needs_nothing() {
        let found = needed(&[
            locked("openssl-sys", &["libc", "pkg-config"]),
            locked("libsqlite3-sys", &["cc", "pkg-config"]),
            locked("serde", &[]),
        ]);
        let expected = [("openssl-sys".to_string(), vec!["libssl-dev".to_string()])];
        assert_eq!(found, expected.into());
    }

    #[test]
    fn the_description_has_the_last_word() {
        let text =
            "version = 1\n[crates.openssl-sys]\npackages = [\"libssl-dev\", \"perl\"]\n[images]\n";
        let description = Description::parse(text, "images.toml").unwrap();
        let known =
            description.with_known_crates(&[locked("openssl-sys", &[]), locked("pq-sys", &[])]);
        let packages: Vec<_> = known.crates.iter().map(|c| c.packages.join(" ")).collect();
        assert_eq!(packages, ["libssl-dev perl", "libpq-dev"]);
    }
}
