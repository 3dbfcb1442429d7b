//! Turns a [`Description`] into a [`normal::Description`], with the facts that only the workspace
//! knows.

use std::collections::{BTreeMap, BTreeSet};

use self::set::sorted;
use crate::check::{check_paths, claims};
use crate::defaults::cross_set;
use crate::model::*;
use crate::problem::Problems;
use crate::sources::Sources;
use crate::value::TargetPlatform;
use crate::workspace::Workspace;
use crate::{calls, normal};

mod attributes;
mod downloads;
mod image;
mod package;
mod parts;
mod set;
mod source;

pub(crate) use self::image::{Normalizer, PlacedBinary};
pub(crate) use self::set::image_set;

impl Description {
    /// Resolves the whole description.
    ///
    /// # Errors
    /// Lists packages and binaries that the workspace does not have, sources that are not among its
    /// files, and two things at one path that only the workspace reveals.
    pub fn normalize(&self, workspace: &Workspace) -> Result<normal::Description, Problems> {
        let Workspace {
            targets, sources, ..
        } = workspace;
        let mut problems = self.missing_sources(sources);
        if let Some(locked) = &workspace.locked {
            let members = targets.packages.iter().map(|package| package.name.clone());
            let known = locked.iter().cloned().chain(members).collect();
            problems.extend(self.unknown_crates(&known));
        }
        problems.extend(self.unpinned_downloads());
        problems.extend(self.missing_downloads());
        if let Some(known) = &workspace.parts {
            problems.extend(self.unknown_parts(known));
        }
        let crates = self.normal_crates(targets, sources, &mut problems);
        let mut binaries = self.all_binaries(targets, &mut problems);
        let calls = calls::assign(self, targets, &mut binaries);
        let default_bin = |binary: &Binary| {
            let package = targets.package(binary.package.get_ref())?;
            package.default_binary().map(str::to_string)
        };
        let mut images = BTreeMap::new();
        for image in self.images.values() {
            let claims = claims(image, &default_bin, sources);
            check_paths(&self.source, image, claims, &mut problems);
            let normalizer = Normalizer {
                description: self,
                targets,
                image,
                binaries: &binaries[image.name.get_ref()],
                libraries: &workspace.libraries,
            };
            images.insert(
                image.name.get_ref().clone(),
                normalizer.image(&mut problems),
            );
        }
        let normal = normal::Description {
            version: normal::VERSION,
            debian: self.normal_debian(),
            build: self.normal_build(calls),
            toolchain: normal::Toolchain {
                provider: self.toolchain.provider.clone(),
                release: self
                    .toolchain
                    .release
                    .as_ref()
                    .map(|it| it.get_ref().clone()),
                linker: self.toolchain.linker.clone(),
                set: self.toolchain.set.get_ref().clone(),
            },
            crates,
            images,
        };
        Problems::or(problems, normal)
    }

    /// Checks only the sources, without the workspace's packages.
    ///
    /// # Errors
    /// Lists missing sources, and two things at one path that only the files under directories
    /// reveal.
    pub fn check_sources(&self, sources: &Sources) -> Result<(), Problems> {
        let mut problems = self.missing_sources(sources);
        for image in self.images.values() {
            let claims = claims(image, &|_| None, sources);
            check_paths(&self.source, image, claims, &mut problems);
        }
        Problems::or(problems, ())
    }

    /// Returns the targets that images name themselves, as rustc names them, sorted.
    pub fn own_targets(&self) -> Vec<String> {
        let builds = self
            .images
            .values()
            .filter_map(|image| image.fields.build.as_ref());
        let targets = builds.filter_map(|build| build.target.as_ref());
        let names: Vec<String> = targets.map(|target| target.get_ref().0.clone()).collect();
        sorted(&names)
    }

    /// Returns the base of an image, by default the set `base`.
    pub fn base(&self, image: &Image) -> Base {
        let base = image
            .fields
            .base
            .as_ref()
            .map(|base| base.get_ref().clone());
        base.unwrap_or_else(|| Base::Set("base".to_string()))
    }

    /// Returns the platforms that an image is built for.
    pub fn platforms(&self, image: &Image) -> Vec<TargetPlatform> {
        let build = image.fields.build.as_ref();
        let target = build.and_then(|build| build.target.as_ref());
        let target = target.map(|target| target.get_ref().1.clone());
        match &image.fields.platforms {
            Some(platforms) => platforms
                .iter()
                .map(|platform| platform.get_ref().clone())
                .collect(),
            None if target.is_some() => target.into_iter().collect(),
            None => self
                .debian
                .architectures
                .iter()
                .filter_map(|architecture| TargetPlatform::of_debian(architecture))
                .collect(),
        }
    }

    fn normal_debian(&self) -> normal::Debian {
        normal::Debian {
            suites: self.debian.suites.clone(),
            architectures: sorted(&self.debian.architectures),
            sets: self.package_sets(),
        }
    }

    fn normal_build(&self, calls: BTreeMap<String, normal::Call>) -> normal::Build {
        normal::Build {
            locked: self.build.locked,
            settings: self.settings(&BuildFields::default()),
            calls,
            crate_list: self.build.crate_list,
            targets: self.targets(),
        }
    }

    /// Returns the words after `cargo metadata` that turn on the features of all images.
    pub fn metadata_arguments(&self) -> Vec<String> {
        let none = BuildFields::default();
        let images = self
            .images
            .values()
            .filter_map(|image| image.fields.build.as_ref());
        let settings = images.chain([&none]).map(|fields| self.settings(fields));
        let settings: Vec<normal::Settings> = settings.collect();
        let features: BTreeSet<&str> = settings
            .iter()
            .flat_map(|it| it.features.iter().map(String::as_str))
            .collect();
        let mut words = Vec::new();
        if !features.is_empty() {
            let features: Vec<&str> = features.into_iter().collect();
            words.extend(["--features".to_string(), features.join(",")]);
        }
        if settings.iter().any(|it| it.all_features) {
            words.push("--all-features".to_string());
        }
        if settings.iter().all(|it| it.no_default_features) {
            words.push("--no-default-features".to_string());
        }
        words
    }

    /// Returns the settings of `[build]`, with `fields` in place of its own.
    pub(crate) fn settings(&self, fields: &BuildFields) -> normal::Settings {
        let Build {
            profile,
            features,
            all_features,
            no_default_features,
            ..
        } = &self.build;
        let target = fields.target.as_ref().map(|target| &target.get_ref().0);
        normal::Settings {
            profile: fields.profile.as_ref().unwrap_or(profile).clone(),
            features: sorted(fields.features.as_ref().unwrap_or(features)),
            all_features: fields.all_features.unwrap_or(*all_features),
            no_default_features: fields.no_default_features.unwrap_or(*no_default_features),
            target: target.cloned(),
        }
    }

    fn targets(&self) -> BTreeMap<String, normal::PlatformNames> {
        let platforms = self.images.values().flat_map(|image| self.platforms(image));
        let target = |platform: TargetPlatform| normal::PlatformNames {
            architecture: platform.debian().to_owned(),
            rust: platform.rust_target().to_owned(),
            gnu: platform.gnu().to_owned(),
            cross: cross_set(platform.debian()),
        };
        platforms
            .map(|platform| (platform.to_string(), target(platform)))
            .collect()
    }
}
