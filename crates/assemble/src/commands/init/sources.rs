//! Finds the sources of a new workspace, which git may not track yet.

use std::collections::BTreeSet;
use std::path::Path;

use crateyard_workspace::git::GitRepository;
use serde_json::Value;

/// Files in the workspace's root that Cargo reads besides manifests.
const SETTINGS: [&str; 4] = [
    ".cargo",
    "build.rs",
    "rust-toolchain",
    "rust-toolchain.toml",
];

/// Returns the files and directories in the workspace's root that hold sources, if git tracks
/// nothing in them and does not ignore them. `metadata` is the output of `cargo metadata
/// --no-deps`.
pub(super) fn untracked(metadata: &Value, repository: &GitRepository) -> Vec<String> {
    let names = names(metadata).into_iter();
    names
        .filter(|name| !repository.tracks(name) && repository.ignoring_line(name).is_none())
        .collect()
}

/// Returns the names of all files and directories in the workspace's root that hold sources.
fn names(metadata: &Value) -> BTreeSet<String> {
    let Some(root) = metadata["workspace_root"].as_str().map(Path::new) else {
        return BTreeSet::new();
    };
    let mut names = BTreeSet::from(["Cargo.toml".to_owned()]);
    let mut add = |path: &Value| {
        let path = path.as_str().map(Path::new);
        let path = path.and_then(|path| path.strip_prefix(root).ok());
        let first = path.and_then(|path| path.iter().next());
        names.extend(first.map(|name| name.to_string_lossy().into_owned()));
    };
    for package in metadata["packages"].as_array().into_iter().flatten() {
        add(&package["manifest_path"]);
        for target in package["targets"].as_array().into_iter().flatten() {
            add(&target["src_path"]);
        }
    }
    let settings = SETTINGS.into_iter().filter(|name| root.join(name).exists());
    names.extend(settings.map(str::to_owned));
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_named_by_what_is_in_the_root() {
        let place = tempfile::tempdir().unwrap();
        let root = place.path();
        std::fs::write(root.join("rust-toolchain.toml"), "").unwrap();
        let package = |directory: &str, sources: &[&str]| {
            let directory = root.join(directory);
            let target = |source: &&str| serde_json::json!({ "src_path": directory.join(source) });
            serde_json::json!({
                "manifest_path": directory.join("Cargo.toml"),
                "targets": sources.iter().map(target).collect::<Vec<_>>(),
            })
        };
        let metadata = serde_json::json!({
            "workspace_root": root,
            "packages": [
                package("", &["src/main.rs", "tests/all.rs"]),
                package("crates/a", &["src/lib.rs", "build.rs"]),
                package("crates/b", &["src/lib.rs"]),
            ],
        });
        let expected = [
            "Cargo.toml",
            "crates",
            "rust-toolchain.toml",
            "src",
            "tests",
        ];
        assert_eq!(Vec::from_iter(names(&metadata)), expected);
    }
}
