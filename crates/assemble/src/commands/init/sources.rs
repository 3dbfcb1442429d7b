//! Finds the sources of a new workspace, which git may not track yet.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crateyard_workspace::git::GitRepository;
use serde_json::Value;

use super::outside::CONFIGURATIONS;

/// Files in the workspace's root that Cargo reads besides manifests.
const SETTINGS: [&str; 4] = [
    ".cargo",
    "build.rs",
    "rust-toolchain",
    "rust-toolchain.toml",
];

/// Returns the files and directories that hold sources, if git tracks nothing in them and does not
/// ignore them: those in the workspace's root, and packages elsewhere. `metadata` is the output of
/// `cargo metadata --no-deps`.
pub(super) fn untracked(metadata: &Value, repository: &GitRepository) -> Vec<String> {
    let Ok(tracked) = repository.tracked_below(".") else {
        return Vec::new();
    };
    let tracked: BTreeSet<String> = tracked.into_iter().collect();
    let is_new = |name: &String| !holds(&tracked, name) && repository.ignoring_line(name).is_none();
    let mut new: Vec<String> = Vec::new();
    // A directory comes before what is in it.
    for name in names(metadata).into_iter().filter(is_new) {
        if !new
            .iter()
            .any(|around| Path::new(&name).starts_with(around))
        {
            new.push(name);
        }
    }
    new
}

/// Whether a name, or something below it, is among others.
fn holds(names: &BTreeSet<String>, name: &str) -> bool {
    let below = format!("{name}/");
    let mut after = names.range(below.clone()..);
    names.contains(name) || after.next().is_some_and(|next| next.starts_with(&below))
}

/// Returns the names of all files and directories in the workspace's root that hold sources, and
/// the directories of all packages.
fn names(metadata: &Value) -> BTreeSet<String> {
    let Some(root) = metadata["workspace_root"].as_str().map(Path::new) else {
        return BTreeSet::new();
    };
    let mut names = BTreeSet::from(["Cargo.toml".to_owned()]);
    let mut add = |path: &Path| {
        let inside = path.strip_prefix(root).ok();
        let first = inside.and_then(|path| path.iter().next());
        names.extend(first.map(|name| name.to_string_lossy().into_owned()));
    };
    let mut packages = BTreeSet::new();
    for package in metadata["packages"].as_array().into_iter().flatten() {
        let manifest = package["manifest_path"].as_str().map(Path::new);
        packages.extend(manifest.and_then(Path::parent).map(Path::to_owned));
        for target in package["targets"].as_array().into_iter().flatten() {
            target["src_path"]
                .as_str()
                .map(Path::new)
                .into_iter()
                .for_each(&mut add);
        }
    }
    let packages = with_local(packages, root);
    packages
        .iter()
        .for_each(|package| add(&package.join("Cargo.toml")));
    let inside = packages
        .iter()
        .filter_map(|package| package.strip_prefix(root).ok());
    let inside = inside.map(|path| path.to_string_lossy().into_owned());
    names.extend(inside.filter(|path| !path.is_empty()));
    let settings = SETTINGS.into_iter().filter(|name| root.join(name).exists());
    names.extend(settings.map(str::to_owned));
    names
}

/// Adds to the directories of members those of the packages in the workspace's directory that
/// manifests name by their paths. Cargo does not list them: they may be excluded, and replace
/// packages of a registry (`[patch]`).
fn with_local(members: BTreeSet<PathBuf>, root: &Path) -> BTreeSet<PathBuf> {
    let settings = CONFIGURATIONS.map(|name| (root.to_owned(), root.join(name)));
    let manifests = members.iter().map(|it| (it.clone(), it.join("Cargo.toml")));
    let mut pending: Vec<(PathBuf, PathBuf)> = manifests.chain(settings).collect();
    pending.push((root.to_owned(), root.join("Cargo.toml")));
    let mut found = members;
    while let Some((directory, file)) = pending.pop() {
        // It would wait forever for a named pipe.
        let text = file.is_file().then(|| fs::read_to_string(file).ok());
        let text = text.flatten().unwrap_or_default();
        let table: toml::Table = toml::from_str(&text).unwrap_or_default();
        for path in paths(&table) {
            let Ok(package) = directory.join(path).canonicalize() else {
                continue;
            };
            let manifest = package.join("Cargo.toml");
            let is_inside = package.starts_with(root) && manifest.is_file();
            if is_inside && found.insert(package.clone()) {
                pending.push((package, manifest));
            }
        }
    }
    found
}

/// Returns the paths that a manifest, or Cargo's configuration, names anywhere.
fn paths(table: &toml::Table) -> Vec<&str> {
    let mut found = Vec::new();
    for (key, value) in table {
        match value {
            toml::Value::Table(inner) => found.extend(paths(inner)),
            toml::Value::Array(all) if key == "paths" => {
                found.extend(all.iter().filter_map(toml::Value::as_str));
            }
            toml::Value::String(path) if key == "path" => found.push(path),
            _ => {}
        }
    }
    found
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
            "crates/a",
            "crates/b",
            "rust-toolchain.toml",
            "src",
            "tests",
        ];
        assert_eq!(Vec::from_iter(names(&metadata)), expected);
    }
    /// Without such a package, the first build fails.
    #[test]
    fn packages_that_are_no_members_are_named() {
        let place = tempfile::tempdir().unwrap();
        let root = place.path().canonicalize().unwrap();
        let write = |path: &str, text: &str| {
            fs::create_dir_all(root.join(path).parent().unwrap()).unwrap();
            fs::write(root.join(path), text).unwrap();
        };
        let manifest = "[workspace]\nmembers = [\"crates/*\"]\nexclude = \
                        [\"vendor\"]\n[patch.crates-io]\nfastrand = { path = \
                        \"vendor/fastrand\" }\n";
        write("Cargo.toml", manifest);
        for path in ["crates/a", "crates/b", "vendor/fastrand", "local/deep"] {
            write(&format!("{path}/Cargo.toml"), "");
        }
        let fastrand = "[lib]\npath = \"lib.rs\"\n[target.'cfg(unix)'.dependencies]\ndeep = { \
                        path = \"../../local/deep\" }\n";
        write("vendor/fastrand/Cargo.toml", fastrand);
        let package = |directory: &str| {
            let directory = root.join(directory);
            let targets = [serde_json::json!({ "src_path": directory.join("src/lib.rs") })];
            let manifest = directory.join("Cargo.toml");
            serde_json::json!({ "manifest_path": manifest, "targets": targets })
        };
        let packages = [package("crates/a"), package("crates/b")];
        let metadata = serde_json::json!({ "workspace_root": root, "packages": packages });
        let git = |arguments: &[&str]| {
            let git = duct::cmd("git", arguments)
                .dir(&root)
                .env("GIT_CONFIG_GLOBAL", "/dev/null");
            git.run().unwrap();
        };
        git(&["init", "--quiet"]);
        let repository = GitRepository::of(&root).unwrap();
        let expected = ["Cargo.toml", "crates", "local", "vendor"];
        assert_eq!(untracked(&metadata, &repository), expected);
        write("vendor/notes.txt", "");
        git(&["add", "Cargo.toml", "crates/a", "vendor/notes.txt"]);
        let expected = ["crates/b", "local", "vendor/fastrand"];
        assert_eq!(untracked(&metadata, &repository), expected);
    }
}
