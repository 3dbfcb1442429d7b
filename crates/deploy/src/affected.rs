//! Compares two evaluations of a workspace: the store paths of its images, programs and checks.
//!
//! A store path depends on every input of the image, program or check. So two evaluations show
//! exactly what a change touches, without a build.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

/// The suffix of checks that run tests (`nix/cargo/checks.nix`).
const TEST: &str = "-test";

/// The version of the format of [`StorePaths`].
pub const FORMAT: u32 = 1;

/// The store paths of an evaluation (`nix/store-paths.nix`). Maps that were not requested are
/// empty.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct StorePaths {
    /// The version of the format: [`FORMAT`].
    pub version: u32,
    /// The store path of each image.
    pub images: BTreeMap<String, String>,
    /// For each image, the programs as `PACKAGE/BINARY`, with a store path for each platform.
    pub binaries: BTreeMap<String, BTreeMap<String, BTreeMap<String, String>>>,
    /// The store path of each check: `PACKAGE-test`, `PACKAGE-clippy` and so on.
    pub checks: BTreeMap<String, String>,
}

impl Default for StorePaths {
    fn default() -> Self {
        Self {
            version: FORMAT,
            images: BTreeMap::new(),
            binaries: BTreeMap::new(),
            checks: BTreeMap::new(),
        }
    }
}

/// The images, programs and checks that a change touches. All lists are sorted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Affected {
    /// Images that are new or have other inputs.
    pub images: Vec<String>,
    /// Programs of images that are new or have other inputs.
    pub binaries: Vec<Binary>,
    /// Packages whose tests run again.
    pub tests: Vec<String>,
    /// All checks that run again, including tests: `PACKAGE-KIND`.
    pub checks: Vec<String>,
    /// Images, programs and checks that no longer exist.
    pub removed: Removed,
}

/// A program in images.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Binary {
    /// The package.
    pub package: String,
    /// The name.
    pub name: String,
    /// The images whose program of this name has changed.
    pub images: Vec<String>,
}

/// Images, programs and checks that no longer exist.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Removed {
    /// Images.
    pub images: Vec<String>,
    /// Programs that no image has any longer: `PACKAGE/BINARY`.
    pub binaries: Vec<String>,
    /// Checks.
    pub checks: Vec<String>,
}

impl Affected {
    /// Whether the change touches nothing.
    pub fn is_empty(&self) -> bool {
        *self == Affected::default()
    }
}

/// Compares two evaluations.
pub fn compare(before: &StorePaths, after: &StorePaths) -> Affected {
    let checks = changed(&before.checks, &after.checks);
    Affected {
        images: changed(&before.images, &after.images),
        binaries: binaries(before, after),
        tests: checks
            .iter()
            .filter_map(|check| check.strip_suffix(TEST).map(str::to_owned))
            .collect(),
        removed: Removed {
            images: gone(&before.images, &after.images),
            binaries: gone(&by_binary(before), &by_binary(after)),
            checks: gone(&before.checks, &after.checks),
        },
        checks,
    }
}

fn changed<V: PartialEq>(before: &BTreeMap<String, V>, after: &BTreeMap<String, V>) -> Vec<String> {
    let differs = |(name, value): &(&String, &V)| before.get(*name) != Some(*value);
    after
        .iter()
        .filter(differs)
        .map(|(name, _)| name.clone())
        .collect()
}

fn gone<V>(before: &BTreeMap<String, V>, after: &BTreeMap<String, V>) -> Vec<String> {
    let names = before.keys().filter(|name| !after.contains_key(*name));
    names.cloned().collect()
}

/// Groups the store paths by `PACKAGE/BINARY`, then by image, then by platform.
fn by_binary(paths: &StorePaths) -> BTreeMap<String, BTreeMap<&str, &BTreeMap<String, String>>> {
    let mut binaries: BTreeMap<String, BTreeMap<&str, _>> = BTreeMap::new();
    for (image, programs) in &paths.binaries {
        for (binary, platforms) in programs {
            binaries
                .entry(binary.clone())
                .or_default()
                .insert(image, platforms);
        }
    }
    binaries
}

/// Returns the programs that a change touches: those with a store path that no image had before. An
/// image that takes over another image's program touches none.
fn binaries(before: &StorePaths, after: &StorePaths) -> Vec<Binary> {
    let (before, after) = (by_binary(before), by_binary(after));
    let mut found = Vec::new();
    for (binary, images) in &after {
        let known: BTreeSet<&String> = before
            .get(binary)
            .into_iter()
            .flat_map(|images| images.values().flat_map(|platforms| platforms.values()))
            .collect();
        let is_new = |platforms: &BTreeMap<String, String>| {
            platforms.values().any(|path| !known.contains(path))
        };
        let touched: Vec<String> = images
            .iter()
            .filter(|(_, platforms)| is_new(platforms))
            .map(|(image, _)| (*image).to_owned())
            .collect();
        if !touched.is_empty() {
            let (package, name) = binary.split_once('/').unwrap_or(("", binary));
            found.push(Binary {
                package: package.to_owned(),
                name: name.to_owned(),
                images: touched,
            });
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(text: &str) -> StorePaths {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn what_is_new_other_and_gone_is_told_apart() {
        let before = paths(
            r#"{"images": {"a": "/1", "b": "/2", "old": "/3"},
                "binaries": {
                    "a": {"p/x": {"linux/amd64": "/x1"}},
                    "b": {"p/y": {"linux/amd64": "/y"}},
                    "old": {"q/z": {}}
                },
                "checks": {"p-test": "/t1", "p-fmt": "/f", "q-test": "/t"}}"#,
        );
        let after = paths(
            r#"{"images": {"a": "/9", "b": "/2", "new": "/4"},
                "binaries": {
                    "a": {"p/x": {"linux/amd64": "/x2"}},
                    "b": {"p/y": {"linux/amd64": "/y"}},
                    "new": {"p/y": {"linux/amd64": "/y"}}
                },
                "checks": {"p-test": "/t2", "p-fmt": "/f"}}"#,
        );
        let found = compare(&before, &after);
        assert_eq!(found.images, ["a", "new"]);
        let x = Binary {
            package: "p".into(),
            name: "x".into(),
            images: vec!["a".into()],
        };
        // `b` already has the program that `new` uses.
        assert_eq!(found.binaries, [x]);
        assert_eq!(found.tests, ["p"]);
        assert_eq!(found.checks, ["p-test"]);
        assert_eq!(found.removed.images, ["old"]);
        assert_eq!(found.removed.binaries, ["q/z"]);
        assert_eq!(found.removed.checks, ["q-test"]);
        assert!(compare(&after, &after).is_empty());
    }
}
