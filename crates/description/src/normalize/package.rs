//! Resolves packages: crates with their settings, and programs.

use std::collections::{BTreeMap, BTreeSet};

use crateyard_spec::targets::{Package, Targets};

use super::image::PlacedBinary;
use super::set::crate_set;
use crate::model::*;
use crate::normal;
use crate::problem::{Problem, Problems, nearest, suggestion};
use crate::sources::Sources;
use crate::value::join_within;

/// Returns the path of a crate's file in the workspace. A member names it relative to its
/// directory; other packages, relative to the workspace.
fn crate_file(member: Option<&Package>, file: &str) -> Option<String> {
    if file.starts_with('/') {
        return None;
    }
    join_within(member.map_or("", Package::directory), file)
}

impl Description {
    /// Checks that every table of a crate is about one of `known`, the packages of `Cargo.lock`.
    ///
    /// # Errors
    /// Lists all other tables, with their places.
    pub fn check_crates(&self, known: &BTreeSet<String>) -> Result<(), Problems> {
        Problems::or(self.unknown_crates(known), ())
    }

    /// Reports tables of crates that nothing is built from: they would silently have no effect.
    pub(super) fn unknown_crates(&self, known: &BTreeSet<String>) -> Vec<Problem> {
        let tables = self.crates.iter().map(|each| &each.name);
        let unknown = tables.filter(|name| !known.contains(name.get_ref()));
        let problem = |name: &Spanned<String>| {
            let message = format!("no crate `{}` is built here", name.get_ref());
            let help = match nearest(name.get_ref(), known.iter().map(String::as_str)) {
                Some(near) => format!("did you mean `{near}`?"),
                None => "drop this table; Cargo.lock has no package of that name".to_string(),
            };
            self.source.problem(name.span(), message).help(help)
        };
        unknown.map(problem).collect()
    }

    pub(super) fn normal_crates(
        &self,
        targets: &Targets,
        sources: &Sources,
        problems: &mut Vec<Problem>,
    ) -> BTreeMap<String, normal::Crate> {
        let mut crates = BTreeMap::new();
        for each in &self.crates {
            let member = targets.package(each.name.get_ref());
            let mut files = BTreeSet::new();
            for file in &each.files {
                match crate_file(member, file.get_ref()) {
                    Some(path) => {
                        self.check_source(sources, &path, file, problems);
                        files.insert(path);
                    }
                    None => problems.push(self.crate_file_problem(each, member, file)),
                }
            }
            let set = (!each.packages.is_empty()).then(|| crate_set(each.name.get_ref()));
            let normal = normal::Crate {
                set,
                files: files.into_iter().collect(),
                environment: each.environment.clone(),
                revision: each.revision,
                parts: self.normal_parts(each, problems),
            };
            crates.insert(each.name.get_ref().clone(), normal);
        }
        crates
    }

    fn crate_file_problem(
        &self,
        each: &Crate,
        member: Option<&Package>,
        file: &Spanned<String>,
    ) -> Problem {
        let message = format!(
            "`{}` of the crate `{}` leaves the workspace",
            file.get_ref(),
            each.name.get_ref()
        );
        let from = if member.is_some() {
            "the crate's directory"
        } else {
            "the workspace: the crate is not a member of it"
        };
        let help =
            format!("the path is relative to {from}; only files of the workspace can be used");
        self.source.problem(file.span(), message).help(help)
    }

    /// Returns the binaries of each image, by the image's name, in the order of the description.
    pub(super) fn all_binaries(
        &self,
        targets: &Targets,
        problems: &mut Vec<Problem>,
    ) -> BTreeMap<String, Vec<PlacedBinary>> {
        let of = |image: &Image, problems: &mut Vec<Problem>| {
            let binaries = image.fields.binaries.iter().flatten();
            binaries
                .filter_map(|binary| self.place_binary(binary, targets, problems))
                .collect()
        };
        self.images
            .values()
            .map(|image| (image.name.get_ref().clone(), of(image, problems)))
            .collect()
    }

    fn place_binary(
        &self,
        binary: &Binary,
        targets: &Targets,
        problems: &mut Vec<Problem>,
    ) -> Option<PlacedBinary> {
        let name = binary.package.get_ref();
        let Some(package) = targets.package(name) else {
            let members = targets.packages.iter();
            let members = members.filter(|package| package.binaries().next().is_some());
            let known = members.map(|package| package.name.as_str());
            let message = format!("the workspace has no package `{name}`");
            let problem = self.source.problem(binary.package.span(), message);
            problems.push(problem.help(suggestion(name, "packages with binaries", known)));
            return None;
        };
        let bin = match &binary.bin {
            Some(bin) => package.binaries().find(|name| name == bin.get_ref()),
            None => package.default_binary(),
        };
        let Some(bin) = bin else {
            problems.push(self.binary_problem(binary, package));
            return None;
        };
        let path = binary.path.as_ref().map(|path| path.get_ref().clone());
        Some(PlacedBinary {
            binary: normal::Binary {
                package: name.clone(),
                bin: bin.to_string(),
                call: String::new(),
            },
            path: path.unwrap_or_else(|| format!("/usr/bin/{bin}")),
            replace: binary.replace,
            xattrs: binary.attributes.all.clone(),
        })
    }

    fn binary_problem(&self, binary: &Binary, package: &Package) -> Problem {
        let name = &package.name;
        if let Some(bin) = &binary.bin {
            let message = format!("the package `{name}` has no binary `{}`", bin.get_ref());
            let help = suggestion(bin.get_ref(), "binaries it has", package.binaries());
            return self.source.problem(bin.span(), message).help(help);
        }
        let span = binary.package.span();
        match package.binaries().next() {
            None => {
                let message = format!("the package `{name}` has no binary");
                let help = format!(
                    "add `src/main.rs` or a [[bin]] to {}",
                    package.manifest_path
                );
                self.source.problem(span, message).help(help)
            }
            Some(first) => {
                let message =
                    format!("the package `{name}` has several binaries, and none of its own name");
                let help = format!(
                    "name one of them, for instance \"{name}/{first}\"; {}",
                    suggestion("", "binaries", package.binaries())
                );
                self.source.problem(span, message).help(help)
            }
        }
    }
}
