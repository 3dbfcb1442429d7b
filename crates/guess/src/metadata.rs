//! The parts of `cargo metadata --no-deps --format-version 1` that this crate reads.
//!
//! <https://doc.rust-lang.org/cargo/commands/cargo-metadata.html#json-format>

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::Deserialize;

#[derive(Deserialize)]
pub(crate) struct Metadata {
    pub packages: Vec<Package>,
    pub workspace_members: Vec<String>,
    /// The default members. Cargo prints them since 1.71.
    pub workspace_default_members: Option<Vec<String>>,
    pub workspace_root: PathBuf,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Package {
    pub id: String,
    pub name: String,
    pub manifest_path: PathBuf,
    pub targets: Vec<Target>,
    pub default_run: Option<String>,
    pub repository: Option<String>,
    #[serde(default)]
    pub authors: Vec<String>,
    /// The registries that it may be published to. An empty list forbids publishing.
    pub publish: Option<Vec<String>>,
    #[serde(default)]
    pub features: BTreeMap<String, Vec<String>>,
    #[serde(default)]
    pub dependencies: Vec<Dependency>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Target {
    pub kind: Vec<String>,
    pub name: String,
    pub src_path: PathBuf,
    #[serde(default, rename = "required-features")]
    pub required_features: Vec<String>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Dependency {
    pub name: String,
    pub kind: Option<String>,
    #[serde(default)]
    pub optional: bool,
    /// The features that the manifest turns on.
    #[serde(default)]
    pub features: Vec<String>,
    /// The platforms of the dependency. `None` means all.
    pub target: Option<String>,
    pub path: Option<PathBuf>,
}

impl Package {
    /// Whether the manifest names a supplier for bills of materials: an author, or a repository's
    /// owner.
    pub(crate) fn has_supplier(&self) -> bool {
        !self.authors.is_empty() || self.repository.is_some()
    }

    pub(crate) fn directory(&self) -> PathBuf {
        let directory = self.manifest_path.parent();
        directory.unwrap_or(Path::new("/")).to_path_buf()
    }

    pub(crate) fn binaries(&self) -> impl Iterator<Item = &Target> {
        self.targets.iter().filter(|target| target.is_binary())
    }

    /// Returns the main file of its build script, relative to the package.
    pub(crate) fn build_script(&self) -> Option<PathBuf> {
        let mut targets = self.targets.iter();
        Some(self.main_file(targets.find(|target| target.is("custom-build"))?))
    }

    /// Returns the main file of a target, relative to the package.
    pub(crate) fn main_file(&self, target: &Target) -> PathBuf {
        let inside = target.src_path.strip_prefix(self.directory());
        inside.unwrap_or(&target.src_path).to_owned()
    }

    /// Whether a dependency is compiled with the default features.
    pub(crate) fn is_on(&self, dependency: &Dependency) -> bool {
        let on = self.default_features();
        let explicit = format!("dep:{}", dependency.name);
        let name = dependency.name.as_str();
        !dependency.optional || on.contains(name) || on.contains(explicit.as_str())
    }

    /// Whether the package may be published.
    pub(crate) fn is_published(&self) -> bool {
        self.publish
            .as_ref()
            .is_none_or(|registries| !registries.is_empty())
    }

    /// Returns the features that a target requires but that are off by default.
    pub(crate) fn missing_features<'t>(&self, target: &'t Target) -> Vec<&'t str> {
        let on = self.default_features();
        let required = target.required_features.iter().map(String::as_str);
        required.filter(|feature| !on.contains(feature)).collect()
    }

    fn default_features(&self) -> BTreeSet<&str> {
        let mut on = BTreeSet::new();
        let mut pending = vec!["default"];
        while let Some(feature) = pending.pop() {
            if let (true, Some(more)) = (on.insert(feature), self.features.get(feature)) {
                pending.extend(more.iter().map(String::as_str));
            }
        }
        on
    }
}

impl Target {
    fn is(&self, kind: &str) -> bool {
        self.kind.iter().any(|own| own == kind)
    }

    pub(crate) fn is_binary(&self) -> bool {
        self.is("bin")
    }

    pub(crate) fn is_library(&self) -> bool {
        let others = ["bin", "test", "bench", "example", "custom-build"];
        !others.iter().any(|kind| self.is(kind))
    }
}

impl Metadata {
    /// Returns the members that `cargo build` builds in the workspace's root; `None` if it builds
    /// all, or Cargo does not print them.
    pub(crate) fn default_members(&self) -> Option<BTreeSet<&str>> {
        let default = self.workspace_default_members.as_ref()?;
        let default: BTreeSet<&str> = default.iter().map(String::as_str).collect();
        (default.len() < self.workspace_members.len()).then_some(default)
    }

    /// Returns the identifiers of the given packages and of the members that they depend on.
    pub(crate) fn closure<'m>(
        &'m self,
        packages: impl Iterator<Item = &'m Package>,
    ) -> BTreeSet<String> {
        let mut pending: Vec<&Package> = packages.collect();
        let mut reached = BTreeSet::new();
        while let Some(package) = pending.pop() {
            if !reached.insert(package.id.clone()) {
                continue;
            }
            let compiled = package.dependencies.iter();
            let compiled = compiled.filter(|dependency| dependency.kind.as_deref() != Some("dev"));
            for path in compiled.filter_map(|dependency| dependency.path.as_ref()) {
                pending.extend(self.packages.iter().filter(|p| p.directory() == *path));
            }
        }
        reached
    }
}
