//! The workspace as Cargo describes it: its members, their sources, and their dependencies.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::Deserialize;
use toml::de::{DeTable, DeValue};

use crateyard_description::normal::Image;
use crateyard_description::{LockedPackage, Package, Target, Targets};
use crateyard_spec::is_crates_io;

/// A workspace.
#[derive(Clone, Debug)]
pub struct Project {
    /// Its packages, by name.
    pub(crate) members: BTreeMap<String, Member>,
    /// The name of Cargo's configuration file, if the workspace has one.
    pub(crate) configuration: Option<String>,
    /// Directories of packages that `[patch]` names.
    pub(crate) patches: BTreeSet<String>,
    /// The sources of locked packages other than crates.io, as `Cargo.lock` names them.
    pub(crate) sources: BTreeSet<String>,
    targets: Targets,
    locked: Vec<LockedPackage>,
}

/// A package of the workspace. All paths are relative to the workspace's root.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    /// Its directory; empty for the root's own package.
    pub(crate) directory: String,
    /// Source files of libraries.
    pub(crate) libraries: Vec<String>,
    /// Source files of programs and build scripts.
    pub(crate) programs: Vec<String>,
    /// The members that it is compiled with.
    pub(crate) needs: BTreeSet<String>,
}

/// The reason why a workspace can't be read, or a Dockerfile can't build it.
#[derive(Debug)]
pub enum ProjectError {
    /// The output of `cargo metadata` has the wrong form.
    Metadata(serde_json::Error),
    /// `Cargo.toml` or `Cargo.lock` is not TOML.
    Toml(String, toml::de::Error),
    /// A path dependency is not a member of the workspace.
    Outside {
        /// The package that has it.
        package: String,
        /// Its name.
        dependency: String,
        /// Its path.
        path: String,
    },
}

impl fmt::Display for ProjectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ProjectError::Metadata(error) => {
                write!(f, "cannot read the output of `cargo metadata`: {error}")
            }
            ProjectError::Toml(file, error) => write!(f, "{file}: {error}"),
            ProjectError::Outside {
                package,
                dependency,
                path,
            } => write!(
                f,
                "the package `{package}` depends on `{dependency}` in `{path}`, which is not a \
                 member of the workspace; a Dockerfile can only copy what is: move it into the \
                 workspace and add it to `members`"
            ),
        }
    }
}

impl std::error::Error for ProjectError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            ProjectError::Metadata(error) => Some(error),
            ProjectError::Toml(_, error) => Some(error),
            ProjectError::Outside { .. } => None,
        }
    }
}

/// The fields that are read from `cargo metadata --no-deps --format-version 1`.
///
/// <https://doc.rust-lang.org/cargo/commands/cargo-metadata.html#json-format>
#[derive(Deserialize)]
struct Metadata {
    packages: Vec<MetadataPackage>,
    workspace_root: String,
}

#[derive(Deserialize)]
struct MetadataPackage {
    name: String,
    version: String,
    license: Option<String>,
    description: Option<String>,
    repository: Option<String>,
    authors: Vec<String>,
    manifest_path: String,
    #[serde(default)]
    edition: String,
    targets: Vec<MetadataTarget>,
    dependencies: Vec<MetadataDependency>,
}

#[derive(Deserialize)]
struct MetadataTarget {
    kind: Vec<String>,
    name: String,
    src_path: String,
    #[serde(default, rename = "required-features")]
    required_features: Vec<String>,
}

#[derive(Deserialize)]
struct MetadataDependency {
    name: String,
    kind: Option<String>,
    path: Option<String>,
}

impl Project {
    /// Reads a workspace from the output of `cargo metadata --no-deps --format-version 1`, the
    /// texts of its `Cargo.toml` and `Cargo.lock`, and the name of Cargo's configuration
    /// (`.cargo/config.toml` or `.cargo/config`), if there is one.
    ///
    /// # Errors
    /// Fails if one of them has the wrong form, or a path dependency is outside the workspace.
    pub fn new(
        metadata: &str,
        manifest: &str,
        lock: &str,
        configuration: Option<&str>,
    ) -> Result<Project, ProjectError> {
        let metadata: Metadata = serde_json::from_str(metadata).map_err(ProjectError::Metadata)?;
        let root = format!("{}/", metadata.workspace_root);
        let relative = |path: &str| path.strip_prefix(&root).unwrap_or(path).to_string();
        let directories: BTreeMap<String, String> = metadata
            .packages
            .iter()
            .map(|package| {
                (
                    directory_of(&relative(&package.manifest_path)),
                    package.name.clone(),
                )
            })
            .collect();
        let mut members = BTreeMap::new();
        for package in &metadata.packages {
            let needs = needs(package, &metadata.workspace_root, &directories)?;
            members.insert(package.name.clone(), member(package, needs, &relative));
        }
        let mut packages: Vec<Package> = metadata
            .packages
            .into_iter()
            .map(|package| listed(package, &relative))
            .collect();
        packages.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(Project {
            members,
            configuration: configuration.map(str::to_string),
            patches: patches(manifest)?,
            sources: sources(lock)?,
            locked: crateyard_description::locked_packages(lock)
                .map_err(|error| ProjectError::Toml("Cargo.lock".to_string(), error))?,
            targets: Targets {
                version: crateyard_description::TARGETS_FORMAT,
                packages,
                places: BTreeMap::new(),
            },
        })
    }

    /// Returns the workspace's packages and targets.
    pub fn targets(&self) -> &Targets {
        &self.targets
    }

    /// Returns the crates that the programs of an image may be linked from: all dependencies of
    /// their packages in `Cargo.lock`. These include the dependencies of build scripts, tests and
    /// disabled features.
    pub fn linked(&self, image: &Image) -> BTreeSet<String> {
        let packages = image.programs().map(|(_, binary)| &binary.package);
        let closures =
            packages.map(|package| crateyard_description::closure(&self.locked, package));
        closures.flatten().collect()
    }

    /// Returns the names of its packages.
    pub fn members(&self) -> impl Iterator<Item = &str> {
        self.members.keys().map(String::as_str)
    }

    /// Returns the root source files of a package's libraries, relative to the workspace's root.
    pub fn libraries(&self, package: &str) -> &[String] {
        let member = self.members.get(package);
        member.map_or(&[], |member| &member.libraries)
    }

    /// Returns the root source files of a package's programs and of its build script.
    pub fn programs(&self, package: &str) -> &[String] {
        let member = self.members.get(package);
        member.map_or(&[], |member| &member.programs)
    }

    /// Returns `package` and all members that it is compiled with, directly or indirectly.
    pub fn closure(&self, package: &str) -> BTreeSet<String> {
        let mut reached = BTreeSet::from([package.to_string()]);
        let mut rest = vec![package.to_string()];
        while let Some(member) = rest.pop().and_then(|name| self.members.get(&name)) {
            let new: Vec<String> = member.needs.difference(&reached).cloned().collect();
            reached.extend(new.iter().cloned());
            rest.extend(new);
        }
        reached
    }
}

fn directory_of(manifest: &str) -> String {
    manifest
        .rsplit_once('/')
        .map_or("", |(directory, _)| directory)
        .to_string()
}

fn needs(
    package: &MetadataPackage,
    root: &str,
    directories: &BTreeMap<String, String>,
) -> Result<BTreeSet<String>, ProjectError> {
    let built = package
        .dependencies
        .iter()
        .filter(|each| each.kind.as_deref() != Some("dev"));
    let mut needs = BTreeSet::new();
    for dependency in built {
        let Some(path) = &dependency.path else {
            continue;
        };
        let inside = path
            .strip_prefix(root)
            .map(|inside| inside.trim_start_matches('/'));
        match inside.and_then(|inside| directories.get(inside)) {
            Some(name) => needs.insert(name.clone()),
            None => {
                return Err(ProjectError::Outside {
                    package: package.name.clone(),
                    dependency: dependency.name.clone(),
                    path: path.clone(),
                });
            }
        };
    }
    Ok(needs)
}

fn member(
    package: &MetadataPackage,
    needs: BTreeSet<String>,
    relative: &dyn Fn(&str) -> String,
) -> Member {
    let of = |wanted: fn(&str) -> bool| {
        let targets = package.targets.iter();
        let wanted = targets.filter(|target| target.kind.iter().any(|kind| wanted(kind)));
        let paths: BTreeSet<String> = wanted.map(|target| relative(&target.src_path)).collect();
        paths.into_iter().collect()
    };
    Member {
        directory: directory_of(&relative(&package.manifest_path)),
        libraries: of(|kind| kind.ends_with("lib") || kind == "proc-macro"),
        programs: of(|kind| kind == "bin" || kind == "custom-build"),
        needs,
    }
}

fn listed(package: MetadataPackage, relative: &dyn Fn(&str) -> String) -> Package {
    let targets = package.targets.into_iter().map(|target| Target {
        kind: target.kind,
        name: target.name,
        required_features: target.required_features,
        path: relative(&target.src_path),
    });
    Package {
        name: package.name,
        version: package.version,
        license: package.license,
        description: package.description,
        repository: package.repository,
        authors: package.authors,
        manifest_path: relative(&package.manifest_path),
        edition: package.edition,
        targets: targets.collect(),
    }
}

/// Returns the values of a table.
fn values<'i>(table: &DeValue<'i>) -> Vec<DeValue<'i>> {
    let table = table.as_table().into_iter();
    table
        .flat_map(|table| table.values().map(|value| value.get_ref().clone()))
        .collect()
}

/// Returns the paths in `[patch.SOURCE]`.
fn patches(manifest: &str) -> Result<BTreeSet<String>, ProjectError> {
    let document = DeTable::parse(manifest)
        .map_err(|error| ProjectError::Toml("Cargo.toml".to_string(), error))?;
    let patch = document
        .get_ref()
        .get("patch")
        .map(|patch| values(patch.get_ref()));
    let packages = patch
        .into_iter()
        .flatten()
        .flat_map(|source| values(&source));
    let path = |package: DeValue| Some(package.get("path")?.get_ref().as_str()?.to_string());
    let clean = |path: String| crateyard_description::join_within("", &path);
    Ok(packages.filter_map(path).filter_map(clean).collect())
}

fn sources(lock: &str) -> Result<BTreeSet<String>, ProjectError> {
    let document = DeTable::parse(lock)
        .map_err(|error| ProjectError::Toml("Cargo.lock".to_string(), error))?;
    let packages = document
        .get_ref()
        .get("package")
        .and_then(|packages| packages.get_ref().as_array());
    let source = |package: &toml::Spanned<DeValue>| {
        let source = package.get_ref().get("source")?.get_ref().as_str()?;
        Some(source.to_string())
    };
    let sources = packages.into_iter().flatten().filter_map(source);
    Ok(sources.filter(|source| !is_crates_io(source)).collect())
}
