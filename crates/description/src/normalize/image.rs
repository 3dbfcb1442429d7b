//! Resolves one image.

use std::collections::{BTreeMap, BTreeSet};

use crateyard_spec::targets::{Package, Targets};
use crateyard_spec::{Attributes, Compression, DEFAULT_PATH, Port, Variable};

use super::set::sorted;
use crate::model::*;
use crate::normal;
use crate::problem::Problem;

/// A binary and its path in an image.
pub(crate) struct PlacedBinary {
    /// The binary. [`crate::calls::assign`] sets its call when all binaries of all images are
    /// known.
    pub(crate) binary: normal::Binary,
    pub(crate) path: String,
    pub(crate) replace: bool,
    pub(crate) xattrs: Attributes,
}

/// One image, and the data to normalize it.
pub(crate) struct Normalizer<'a> {
    pub(crate) description: &'a Description,
    pub(crate) targets: &'a Targets,
    pub(crate) image: &'a Image,
    pub(crate) binaries: &'a [PlacedBinary],
    /// The crates for which `debian.lock` has libraries.
    pub(crate) libraries: &'a BTreeSet<String>,
}

impl Normalizer<'_> {
    pub(super) fn image(&self, problems: &mut Vec<Problem>) -> normal::Image {
        let fields = &self.image.fields;
        let base = self.description.base(self.image);
        let tags = self.tags(self.image);
        if tags.is_empty() && self.named_package_exists() {
            problems.push(self.no_tag());
        }
        let bundled: BTreeSet<&String> = fields
            .images
            .iter()
            .flatten()
            .map(|each| each.image.get_ref())
            .collect();
        normal::Image {
            name: self.image.name.get_ref().clone(),
            variant_of: self.image.variant_of.clone(),
            platforms: self.description.platforms(self.image),
            compression: fields.compression.unwrap_or(Compression::DEFAULT),
            layers: self.layers(&base),
            images: bundled.into_iter().cloned().collect(),
            config: self.config(&base, &tags),
            references: tags
                .iter()
                .map(|tag| format!("{}:{tag}", self.image.name.get_ref()))
                .collect(),
            tags,
            base: normal_base(base),
        }
    }

    /// Returns the package that the image is about: the one of its first binary.
    fn package<'t>(&'t self, image: &Image) -> Option<&'t Package> {
        let binary = image.fields.binaries.iter().flatten().next()?;
        self.targets.package(binary.package.get_ref())
    }

    /// Whether a missing tag is the description's fault, not that of a package that is already
    /// reported.
    fn named_package_exists(&self) -> bool {
        self.image.fields.binaries.iter().flatten().next().is_none()
    }

    pub(crate) fn tags(&self, image: &Image) -> Vec<String> {
        match &image.fields.tags {
            Some(tags) => tags.clone(),
            // A tag can't have `+`; `_` replaces it, as in Helm.
            None => self
                .package(image)
                .map(|package| package.version.replace('+', "_"))
                .into_iter()
                .collect(),
        }
    }

    fn no_tag(&self) -> Problem {
        let message = format!(
            "the image `{}` has no binary to take its version from, and no `tags`",
            self.image.name.get_ref()
        );
        let problem = self
            .description
            .source
            .problem(self.image.name.span(), message);
        problem.help("add `tags = [\"…\"]`")
    }

    fn config(&self, base: &Base, tags: &[String]) -> normal::Config {
        let fields = &self.image.fields;
        normal::Config {
            user: self.user(base),
            exposed_ports: self.ports(),
            env: self.environment(base),
            entrypoint: self.entrypoint(base),
            cmd: fields.command.clone(),
            volumes: sorted(fields.volumes.as_deref().unwrap_or_default()),
            working_dir: fields.workdir.clone(),
            labels: self.labels(tags),
            stop_signal: fields.stop_signal.clone(),
            healthcheck: fields.health_check.as_ref().map(normal_healthcheck),
        }
    }

    /// Returns the ports by number, each once.
    fn ports(&self) -> Vec<Port> {
        let ports: BTreeSet<Port> = self.image.fields.ports.iter().flatten().copied().collect();
        ports.into_iter().collect()
    }

    fn user(&self, base: &Base) -> Option<String> {
        let name = match &self.image.fields.user {
            Some(name) => name.get_ref().as_str(),
            None if base.is_foreign() => return None,
            None => "nonroot",
        };
        let (uid, gid) = self.description.account(name)?;
        Some(format!("{uid}:{gid}"))
    }

    fn environment(&self, base: &Base) -> Vec<Variable> {
        let mut environment = self.image.fields.environment.clone().unwrap_or_default();
        if !base.is_foreign() {
            environment
                .entry("PATH".to_string())
                .or_insert_with(|| DEFAULT_PATH.to_string());
        }
        let variable = |(name, value)| Variable { name, value };
        environment.into_iter().map(variable).collect()
    }

    fn entrypoint(&self, base: &Base) -> Option<Vec<String>> {
        let given = self.image.fields.entrypoint.clone();
        given.or_else(|| match self.binaries {
            [only] if !base.is_foreign() => Some(vec![only.path.clone()]),
            _ => None,
        })
    }

    /// <https://github.com/opencontainers/image-spec/blob/v1.1.0/annotations.md#pre-defined-annotation-keys>
    fn labels(&self, tags: &[String]) -> BTreeMap<String, String> {
        let package = self.package(self.image);
        let of = |value: fn(&Package) -> Option<String>| package.and_then(value);
        let known = [
            ("title", Some(self.image.name.get_ref().clone())),
            ("version", tags.first().cloned()),
            ("description", of(|package| package.description.clone())),
            ("licenses", of(|package| package.license.clone())),
            (
                "source",
                package.and_then(|package| self.repository(package)),
            ),
            ("authors", of(|package| Some(package.authors.join(", ")))),
            ("base.name", self.base_name(|reference, _| reference)),
            ("base.digest", self.base_name(|_, digest| digest)),
        ];
        let mut labels: BTreeMap<String, String> = known
            .into_iter()
            .filter_map(|(name, value)| {
                let value = value.filter(|value| !value.is_empty())?;
                Some((format!("org.opencontainers.image.{name}"), value))
            })
            .collect();
        labels.extend(self.image.fields.labels.clone().unwrap_or_default());
        // An empty value removes a label that would otherwise be filled in.
        labels.retain(|_, value| !value.is_empty());
        labels
    }

    /// Returns the repository of a package. If the package names none, it is the only one that the
    /// workspace names.
    fn repository(&self, package: &Package) -> Option<String> {
        let all = self.targets.packages.iter();
        let named: BTreeSet<&String> = all.filter_map(|it| it.repository.as_ref()).collect();
        let only = named.first().filter(|_| named.len() == 1);
        package.repository.as_ref().or(only.copied()).cloned()
    }

    fn base_name(&self, part: fn(String, String) -> String) -> Option<String> {
        match self.description.base(self.image) {
            Base::Reference { reference, digest } => Some(part(reference, digest)),
            _ => None,
        }
    }
}

fn normal_base(base: Base) -> normal::Base {
    match base {
        Base::None | Base::Set(_) => normal::Base::None,
        Base::Layout { path, digest } => normal::Base::Layout { path, digest },
        Base::Reference { reference, digest } => normal::Base::Reference { reference, digest },
    }
}

fn normal_healthcheck(check: &HealthCheck) -> normal::Healthcheck {
    match check {
        HealthCheck::None => normal::Healthcheck {
            test: vec!["NONE".to_string()],
            ..normal::Healthcheck::default()
        },
        HealthCheck::Command {
            command,
            interval,
            timeout,
            start_period,
            retries,
        } => normal::Healthcheck {
            test: std::iter::once("CMD".to_string())
                .chain(command.iter().cloned())
                .collect(),
            interval: Some(*interval),
            timeout: Some(*timeout),
            start_period: Some(*start_period).filter(|period| *period > 0),
            start_interval: None,
            retries: Some(u64::from(*retries)),
        },
    }
}
