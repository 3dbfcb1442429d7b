//! The view that the scenarios have of a workspace.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use crateyard_description::normal::{Description, Image};
use crateyard_dockerfile::Resolved;
use crateyard_engines::resolve;

use crate::lock;
use crate::scenario::Scenario;

/// The workspace's current state.
pub(crate) struct Subject {
    /// The workspace and its description.
    pub(crate) resolved: Resolved,
    /// Packages of the lock by name, with the names of their dependencies.
    pub(crate) locked: BTreeMap<String, BTreeSet<String>>,
    /// Packages of the lock: name and version.
    pub(crate) versions: Vec<(String, String)>,
    pub(crate) services: Vec<String>,
    pub(crate) shared: Option<String>,
    leaf: Option<(String, String)>,
    held: Option<Held>,
}

/// A file to edit, with the images that hold it.
struct Held {
    file: String,
    images: BTreeSet<String>,
}

impl Subject {
    /// Reads a workspace.
    ///
    /// # Errors
    /// When the workspace or its description is wrong.
    pub(crate) fn of(root: &Path, leaf: Option<&str>) -> Result<Subject> {
        let resolved = resolve(root)?;
        let lock_text =
            fs::read_to_string(root.join("Cargo.lock")).context("cannot read Cargo.lock")?;
        let versions = lock::packages(&lock_text)?;
        let leaf = leaf.map(name_and_version).transpose()?;
        let binaries = resolved.description.build.binaries();
        let mut services: Vec<String> = binaries.iter().map(|one| one.package.clone()).collect();
        services.dedup();
        // In a workspace with three images, the first often holds the others.
        let services = services.split_off(services.len().saturating_sub(2));
        let shared = shared(&resolved, &services);
        Ok(Subject {
            locked: lock::edges(&lock_text)?,
            versions,
            services,
            shared,
            leaf,
            held: held(&resolved.description, root),
            resolved,
        })
    }

    /// Returns the reason why a scenario makes no sense for this workspace, if there is one.
    pub(crate) fn lacks(&self, scenario: Scenario) -> Option<String> {
        let lack = match scenario {
            Scenario::SecondService => self.service(1).err(),
            Scenario::SharedCode => self.shared_library().err(),
            Scenario::File => self.file().err(),
            Scenario::LeafBump => self.leaf().err(),
            _ => None,
        };
        lack.map(|error| error.to_string())
    }

    /// Returns the names of all images.
    pub(crate) fn image_names(&self) -> Vec<String> {
        self.images().keys().cloned().collect()
    }

    pub(crate) fn images(&self) -> &BTreeMap<String, Image> {
        &self.resolved.description.images
    }

    pub(crate) fn service(&self, place: usize) -> Result<&str> {
        let service = self.services.get(place).map(String::as_str);
        service.context("images hold programs of fewer packages")
    }

    pub(crate) fn shared_library(&self) -> Result<&str> {
        let shared = self.shared.as_deref();
        let shared = shared.context("no member is used by two services")?;
        let library = self.resolved.project.libraries(shared).first();
        library
            .map(String::as_str)
            .with_context(|| format!("{shared} has no library"))
    }

    pub(crate) fn leaf(&self) -> Result<(&str, &str)> {
        let leaf = self.leaf.as_ref();
        let (name, version) = leaf.context("--leaf names none")?;
        if !self.locked.contains_key(name) {
            bail!("Cargo.lock has no package {name}");
        }
        Ok((name, version))
    }

    /// Returns an image that can get a tag and a variant. It is in the description, is not itself a
    /// variant, and has a program of the first service.
    pub(crate) fn image(&self) -> Option<&str> {
        let service = self.services.first()?;
        let images = self.images().values();
        let mut fitting = images.filter(|image| {
            image.variant_of.is_none()
                && image
                    .programs()
                    .map(|(_, binary)| &binary.package)
                    .any(|package| package == service)
        });
        fitting
            .clone()
            .find(|image| image.name == *service)
            .or_else(|| fitting.next())
            .map(|image| image.name.as_str())
    }

    /// Returns a file that images hold and that can get another line, relative to the workspace.
    pub(crate) fn file(&self) -> Result<&str> {
        let held = self.held.as_ref();
        held.map(|held| held.file.as_str())
            .context("no image holds a chart or a file")
    }

    pub(crate) fn images_with_file(&self) -> BTreeSet<String> {
        let images = self.held.iter().flat_map(|held| &held.images);
        self.holders(&images.cloned().collect())
    }

    /// Returns the images that have a program of one of the packages, and the images that hold such
    /// an image.
    pub(crate) fn images_of(&self, packages: &BTreeSet<String>) -> BTreeSet<String> {
        let images = self.images().values();
        let with = images.filter(|image| {
            image
                .programs()
                .map(|(_, binary)| &binary.package)
                .any(|one| packages.contains(one))
        });
        self.holders(&with.map(|image| image.name.clone()).collect())
    }

    /// Returns the images, and all images that hold one of them.
    pub(crate) fn holders(&self, images: &BTreeSet<String>) -> BTreeSet<String> {
        let mut found = images.clone();
        loop {
            let holding = self.images().values().filter(|image| {
                let mut inner = image.images.iter();
                inner.any(|inner| found.contains(inner)) && !found.contains(&image.name)
            });
            let more: Vec<String> = holding.map(|image| image.name.clone()).collect();
            if more.is_empty() {
                return found;
            }
            found.extend(more);
        }
    }

    /// Returns an image and its variants, which have its tags too.
    pub(crate) fn with_variants(&self, image: Option<&str>) -> BTreeSet<String> {
        let is_of = |other: &&Image| {
            Some(other.name.as_str()) == image
                || (image.is_some() && other.variant_of.as_deref() == image)
        };
        let images = self.images().values().filter(is_of);
        images.map(|image| image.name.clone()).collect()
    }

    pub(crate) fn members(&self) -> BTreeSet<String> {
        self.resolved.project.members().map(str::to_owned).collect()
    }

    /// Returns the members that the images' programs are built from.
    pub(crate) fn compiled_members(&self) -> BTreeSet<String> {
        let binaries = self.resolved.description.build.binaries().into_iter();
        binaries
            .flat_map(|binary| self.resolved.project.closure(&binary.package))
            .collect()
    }

    /// Returns a package and all its dependents. The lock also lists dependencies of tests, so some
    /// of these may never be compiled.
    pub(crate) fn dependents(&self, package: &str) -> BTreeSet<String> {
        let mut found = BTreeSet::from([package.to_owned()]);
        loop {
            let more: Vec<String> = self
                .locked
                .iter()
                .filter(|(name, needs)| !found.contains(*name) && !needs.is_disjoint(&found))
                .map(|(name, _)| name.clone())
                .collect();
            if more.is_empty() {
                return found;
            }
            found.extend(more);
        }
    }
}

fn name_and_version(leaf: &str) -> Result<(String, String)> {
    let (name, version) = leaf
        .split_once('@')
        .with_context(|| format!("{leaf:?} names no version: write NAME@VERSION"))?;
    Ok((name.to_owned(), version.to_owned()))
}

/// Returns the first member that all services need.
fn shared(resolved: &Resolved, services: &[String]) -> Option<String> {
    let mut closures = services
        .iter()
        .map(|service| resolved.project.closure(service));
    let first = closures.next()?;
    let common = closures.fold(first, |common, closure| &common & &closure);
    let mut candidates = common
        .into_iter()
        .filter(|member| !services.contains(member));
    candidates.next().filter(|_| services.len() > 1)
}

/// Returns the first chart that an image holds, or else the first file.
fn held(description: &Description, root: &Path) -> Option<Held> {
    let images = description.images.values();
    let held: Vec<(&Image, &str, String)> = images
        .flat_map(|image| {
            let charts = image
                .charts()
                .map(|path| (path, format!("{path}/values.yaml")));
            let files = image.copied().map(|path| (path, path.to_owned()));
            let all = charts.chain(files);
            all.map(move |(path, file)| (image, path, file))
        })
        .collect();
    let mut candidates = held.iter().filter(|(_, _, file)| root.join(file).is_file());
    let (_, wanted, file) = candidates
        .clone()
        .find(|(_, path, file)| file != path)
        .or_else(|| candidates.next())?;
    let holding = held.iter().filter(|(_, path, _)| path == wanted);
    Some(Held {
        file: file.clone(),
        images: holding.map(|(image, ..)| image.name.clone()).collect(),
    })
}
