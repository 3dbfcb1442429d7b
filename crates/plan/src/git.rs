//! Finds the packages of a git repository as Cargo does.

use crate::inherit;
use anyhow::{Context, Result, bail};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Component, Path, PathBuf};
use toml::Table;

/// The packages of one checkout.
#[derive(Debug)]
pub struct Checkout {
    root: PathBuf,
    /// The packages of each name, in the order in which Cargo prefers them.
    packages: BTreeMap<String, Vec<Found>>,
    /// Manifests that could not be read, with the reasons. They matter only if a package is
    /// missing.
    broken: Vec<String>,
}

#[derive(Debug)]
struct Found {
    version: String,
    /// Relative to the checkout.
    directory: PathBuf,
}

impl Checkout {
    /// Reads all manifests of a checkout. Skips broken ones, as Cargo does.
    ///
    /// # Errors
    /// Fails if a directory can't be listed.
    pub fn read(root: &Path) -> Result<Self> {
        let mut checkout = Self {
            root: root.to_owned(),
            packages: BTreeMap::new(),
            broken: Vec::new(),
        };
        let mut later = Vec::new();
        let submodules = submodules(root);
        let is_submodule = |path: &Path| submodules.iter().any(|each| each == path);
        checkout.walk(root, &is_submodule, &mut later)?;
        // Cargo reaches these only through the `path` of another package.
        while let Some(directory) = later.pop() {
            checkout.walk(&directory, &|_| false, &mut later)?;
        }
        Ok(checkout)
    }

    /// Adds the package in `directory` and those below it. Moves hidden directories, `target`, and
    /// those for which `is_apart` holds to `later`.
    fn walk(
        &mut self,
        directory: &Path,
        is_apart: &dyn Fn(&Path) -> bool,
        later: &mut Vec<PathBuf>,
    ) -> Result<()> {
        self.take(directory);
        let mut below = Vec::new();
        let entries = fs::read_dir(directory)
            .with_context(|| format!("cannot list {}", directory.display()))?;
        for entry in entries {
            let entry = entry?;
            let name = entry.file_name();
            if !entry.file_type()?.is_dir() || name == ".git" {
                continue;
            }
            let is_hidden = name.to_string_lossy().starts_with('.');
            if is_hidden || name == "target" || is_apart(&entry.path()) {
                later.push(entry.path());
            } else {
                below.push(entry.path());
            }
        }
        below.sort();
        below
            .iter()
            .try_for_each(|path| self.walk(path, is_apart, later))
    }

    fn take(&mut self, directory: &Path) {
        let manifest = directory.join("Cargo.toml");
        if !manifest.is_file() {
            return;
        }
        match name_and_version(directory, &self.root) {
            Ok(None) => {}
            Ok(Some((name, version))) => {
                let inner = directory.strip_prefix(&self.root);
                let found = Found {
                    version,
                    directory: inner.unwrap_or(directory).to_owned(),
                };
                self.packages.entry(name).or_default().push(found);
            }
            Err(error) => self.broken.push(format!("{error:#}")),
        }
    }

    /// Returns the directory of a package, relative to the checkout.
    ///
    /// # Errors
    /// Fails if there is no such package. The error names the manifests that could not be read.
    pub fn directory(&self, name: &str, version: &str) -> Result<&Path> {
        let all = self.packages.get(name).map_or(&[][..], Vec::as_slice);
        if let Some(found) = all.iter().find(|found| found.version == version) {
            return Ok(&found.directory);
        }
        let others: Vec<&str> = all.iter().map(|found| found.version.as_str()).collect();
        let mut said = match others.as_slice() {
            [] => "the repository has no package of that name".to_owned(),
            others => format!("the repository has only {name} {}", others.join(", ")),
        };
        for broken in &self.broken {
            said += &format!("\n  passed over: {broken}");
        }
        bail!(said)
    }

    /// Returns the path of a directory of the checkout.
    pub fn path(&self, inner: &Path) -> PathBuf {
        self.root.join(inner)
    }

    /// Returns a package's manifest with all inherited values. The package is placed alone, without
    /// the rest of its repository.
    ///
    /// # Errors
    /// Fails if the manifest inherits a value that no workspace defines.
    pub fn manifest(&self, inner: &Path) -> Result<String> {
        inherit::manifest(&self.root.join(inner), &self.root)
    }
}

/// Returns none if a manifest has only a workspace.
fn name_and_version(directory: &Path, root: &Path) -> Result<Option<(String, String)>> {
    let path = directory.join("Cargo.toml");
    let text = fs::read_to_string(&path)?;
    let at = || format!("{} is malformed", path.display());
    let table: Table = toml::from_str(&text).with_context(at)?;
    let Some(package) = table.get("package").or_else(|| table.get("project")) else {
        return Ok(None);
    };
    let name = package.get("name").and_then(|name| name.as_str());
    let Some(name) = name else {
        bail!("{} gives its package no name", path.display());
    };
    let version = match package.get("version") {
        Some(toml::Value::String(version)) => version.clone(),
        None => "0.0.0".to_owned(),
        Some(_) => inherit::version(directory, root, &table)?,
    };
    Ok(Some((name.to_owned(), version)))
}

/// Returns the directories of submodules. Cargo finds a package in them only through the `path` of
/// another package.
fn submodules(root: &Path) -> Vec<PathBuf> {
    let text = fs::read_to_string(root.join(".gitmodules")).unwrap_or_default();
    let values = text.lines().filter_map(|line| {
        let (key, value) = line.split_once('=')?;
        (key.trim() == "path").then(|| value.trim().trim_matches('"').to_owned())
    });
    let inside = values.filter(|path| {
        Path::new(path)
            .components()
            .all(|part| matches!(part, Component::Normal(_)))
    });
    inside.map(|path| root.join(path)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checkout(files: &[(&str, &str)]) -> (tempfile::TempDir, Checkout) {
        let directory = tempfile::tempdir().unwrap();
        for (file, text) in files {
            let path = directory.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let checkout = Checkout::read(directory.path()).unwrap();
        (directory, checkout)
    }

    fn package(name: &str, version: &str) -> String {
        format!("[package]\nname = \"{name}\"\nversion = {version}\n")
    }

    #[test]
    fn two_versions_of_one_name_are_told_apart() {
        let inherited = "[package]\nname = \"wire\"\nversion.workspace = true\n";
        let (_kept, checkout) = checkout(&[
            (
                "Cargo.toml",
                "[workspace]\n[workspace.package]\nversion = \"2.0.0\"\n",
            ),
            ("old/Cargo.toml", &package("wire", "\"1.4.0\"")),
            ("wire/Cargo.toml", inherited),
        ]);
        let of = |version| checkout.directory("wire", version).unwrap();
        assert_eq!(of("1.4.0"), Path::new("old"));
        assert_eq!(of("2.0.0"), Path::new("wire"));
        let error = checkout.directory("wire", "3.0.0").unwrap_err().to_string();
        assert!(error.contains("only wire 1.4.0, 2.0.0"), "{error}");
    }

    #[test]
    fn broken_manifests_matter_only_where_a_package_is_missing() {
        let (_kept, checkout) = checkout(&[
            ("fixtures/bad/Cargo.toml", "[package\nname = "),
            ("templates/Cargo.toml", "[package]\nname = {{ name }}\n"),
            ("wire/Cargo.toml", &package("wire", "\"1.0.0\"")),
        ]);
        assert_eq!(
            checkout.directory("wire", "1.0.0").unwrap(),
            Path::new("wire")
        );
        let error = checkout.directory("else", "1.0.0").unwrap_err().to_string();
        assert!(error.contains("fixtures/bad/Cargo.toml"), "{error}");
    }

    #[test]
    fn submodules_and_what_is_hidden_come_last() {
        let (_kept, checkout) = checkout(&[
            (
                ".gitmodules",
                "[submodule \"a\"]\n\tpath = a-copy\n\turl = x\n",
            ),
            (".ci/Cargo.toml", &package("wire", "\"1.0.0\"")),
            ("a-copy/Cargo.toml", &package("wire", "\"1.0.0\"")),
            ("a-copy/inner/Cargo.toml", &package("inner", "\"1.0.0\"")),
            ("wire/Cargo.toml", &package("wire", "\"1.0.0\"")),
        ]);
        let of = |name| checkout.directory(name, "1.0.0").unwrap();
        assert_eq!(of("wire"), Path::new("wire"));
        assert_eq!(of("inner"), Path::new("a-copy/inner"));
    }
}
