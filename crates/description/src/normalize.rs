//! From a [`Description`] and what only the workspace knows to the [`normal::Description`].

use std::collections::{BTreeMap, BTreeSet};

use crateyard_spec::{Attributes, Compression, Port, Variable};

use crate::calls;
use crate::check::{check_paths, claims};
use crate::defaults::cross_set;
use crate::model::*;
use crate::normal;
use crate::problem::{Problem, Problems, nearest, suggestion};
use crate::sources::{Found, Sources};
use crate::value::{Platform, join_within};
use crate::workspace::Workspace;
use crateyard_spec::targets::{Package, Targets};

mod attributes;
mod downloads;
mod parts;

/// Where an image finds programs, unless it says otherwise; Debian's own default.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

impl Description {
    /// Resolves everything.
    ///
    /// # Errors
    /// Packages and binaries that the workspace does not have, sources that are not among its files, things at one path
    /// that only shows now.
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

    /// Checks the sources alone, without the workspace's packages.
    ///
    /// # Errors
    /// Sources that are not there, and things at one path that only shows in the files under directories.
    pub fn check_sources(&self, sources: &Sources) -> Result<(), Problems> {
        let mut problems = self.missing_sources(sources);
        for image in self.images.values() {
            let claims = claims(image, &|_| None, sources);
            check_paths(&self.source, image, claims, &mut problems);
        }
        Problems::or(problems, ())
    }

    /// The targets that images name themselves, as rustc names them, sorted.
    pub fn own_targets(&self) -> Vec<String> {
        let builds = self
            .images
            .values()
            .filter_map(|image| image.fields.build.as_ref());
        let targets = builds.filter_map(|build| build.target.as_ref());
        let names: Vec<String> = targets.map(|target| target.get_ref().0.clone()).collect();
        sorted(&names)
    }

    /// All sets of packages that have to be resolved, by name: those of `[debian.sets]`, `images.NAME` for what an image adds,
    /// `crates.NAME` for what a crate compiles with, `toolchain.linker` for a linker that is asked for.
    pub fn package_sets(&self) -> BTreeMap<String, normal::Set> {
        let named = self.debian.sets.iter().map(|(name, set)| {
            let normal = normal::Set {
                omit: sorted(&set.omit),
                architectures: sorted(
                    set.architectures
                        .as_ref()
                        .unwrap_or(&self.debian.architectures),
                ),
                dependencies: set.dependencies,
                ..self.set_beyond(&set.packages, set.beyond.as_ref().map(Spanned::get_ref))
            };
            (name.clone(), normal)
        });
        let of_linker = self.toolchain.linker.iter().map(|linker| {
            let toolchain = self.toolchain.set.get_ref();
            let mut set = self.set_beyond(std::slice::from_ref(linker), Some(toolchain));
            // Only the architecture that builds links.
            if let Some(builder) = self.debian.architectures.first() {
                set.architectures = vec![builder.clone()];
            }
            (LINKER_SET.to_owned(), set)
        });
        let of_images = self.images.values().filter_map(|image| {
            let packages = image
                .fields
                .packages
                .as_ref()
                .filter(|packages| !packages.is_empty())?;
            let base = self.base(image);
            let beyond = match &base {
                Base::Set(set) => Some(set),
                _ => None,
            };
            let mut set = self.set_beyond(packages, beyond);
            let architectures: Vec<String> = self
                .platforms(image)
                .iter()
                .map(|platform| platform.debian().to_string())
                .collect();
            set.architectures = sorted(&architectures);
            Some((image_set(image.name.get_ref()), set))
        });
        let of_crates = self
            .crates
            .iter()
            .filter(|each| !each.packages.is_empty())
            .map(|each| {
                let toolchain = self.toolchain.set.get_ref();
                let mut set = self.set_beyond(&each.packages, Some(toolchain));
                if let Some(own) = self
                    .debian
                    .sets
                    .get(toolchain)
                    .and_then(|set| set.architectures.as_ref())
                {
                    set.architectures = sorted(own);
                }
                (crate_set(each.name.get_ref()), set)
            });
        named
            .chain(of_linker)
            .chain(of_images)
            .chain(of_crates)
            .collect()
    }

    fn set_beyond(&self, packages: &[String], beyond: Option<&String>) -> normal::Set {
        normal::Set {
            packages: sorted(packages),
            omit: Vec::new(),
            beyond: beyond.cloned(),
            architectures: sorted(&self.debian.architectures),
            dependencies: true,
        }
    }

    /// What an image stands on.
    pub fn base(&self, image: &Image) -> Base {
        let base = image
            .fields
            .base
            .as_ref()
            .map(|base| base.get_ref().clone());
        base.unwrap_or_else(|| Base::Set("base".to_string()))
    }

    /// For which platforms an image is built.
    pub fn platforms(&self, image: &Image) -> Vec<Platform> {
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
                .filter_map(|architecture| Platform::of_debian(architecture))
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

    /// The words after `cargo metadata` that turn on the features of all images.
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

    /// What Cargo is asked for where `fields` say nothing else.
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

    fn targets(&self) -> BTreeMap<String, normal::Target> {
        let platforms = self.images.values().flat_map(|image| self.platforms(image));
        let target = |platform: Platform| normal::Target {
            architecture: platform.debian().to_owned(),
            rust: platform.rust_target().to_owned(),
            gnu: platform.gnu().to_owned(),
            cross: cross_set(platform.debian()),
        };
        platforms
            .map(|platform| (platform.to_string(), target(platform)))
            .collect()
    }

    /// Checks that every table of a crate is about one of `known`, the packages of `Cargo.lock`.
    ///
    /// # Errors
    /// Names the tables that are not, with their places.
    pub fn check_crates(&self, known: &BTreeSet<String>) -> Result<(), Problems> {
        Problems::or(self.unknown_crates(known), ())
    }

    /// Tables of crates that nothing is built from: they would be without effect, and that without a word.
    fn unknown_crates(&self, known: &BTreeSet<String>) -> Vec<Problem> {
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

    fn normal_crates(
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
            "the workspace: the crate is no member of it"
        };
        let help =
            format!("the path is relative to {from}; only files of the workspace can be used");
        self.source.problem(file.span(), message).help(help)
    }

    /// The binaries of each image, by the image's name, in the order of the description.
    fn all_binaries(
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
                    "name the one that is meant, for instance \"{name}/{first}\"; {}",
                    suggestion("", "binaries", package.binaries())
                );
                self.source.problem(span, message).help(help)
            }
        }
    }

    /// Sources that are not there, or not what they must be.
    fn missing_sources(&self, sources: &Sources) -> Vec<Problem> {
        let mut problems = self.attributes_of_directories(sources);
        for image in self.images.values() {
            for file in image.fields.files.iter().flatten() {
                if let Content::Source(source) = file.content.get_ref() {
                    let source = Spanned::new(file.content.span(), source.clone());
                    self.check_source(sources, source.get_ref(), &source, &mut problems);
                }
            }
            for chart in image.fields.charts.iter().flatten() {
                self.check_chart(sources, &chart.source, &mut problems);
            }
            if let Some(base) = &image.fields.base {
                if let Base::Layout { path, .. } = base.get_ref() {
                    let path = Spanned::new(base.span(), path.clone());
                    self.check_directory(
                        sources,
                        &path,
                        "index.json",
                        "an OCI layout",
                        &mut problems,
                    );
                }
            }
        }
        problems
    }

    fn check_source(
        &self,
        sources: &Sources,
        path: &str,
        written: &Spanned<String>,
        problems: &mut Vec<Problem>,
    ) {
        if sources.find(path) != Found::Nothing {
            return;
        }
        let beside = sources.beside(path);
        let help = match beside.is_empty() {
            true => "sources are named relative to the workspace's root".to_string(),
            false => suggestion(path, "files beside it", beside.iter().map(String::as_str)),
        };
        let message = format!("there is no `{path}` in the workspace");
        problems.push(self.source.problem(written.span(), message).help(help));
    }

    fn check_chart(&self, sources: &Sources, chart: &Spanned<String>, problems: &mut Vec<Problem>) {
        self.check_directory(sources, chart, "Chart.yaml", "a Helm chart", problems);
    }

    /// A directory that is known by a file in it.
    fn check_directory(
        &self,
        sources: &Sources,
        path: &Spanned<String>,
        known_by: &str,
        what: &str,
        problems: &mut Vec<Problem>,
    ) {
        match sources.find(path.get_ref()) {
            Found::Unknown => {}
            Found::Nothing => self.check_source(sources, path.get_ref(), path, problems),
            Found::Directory(files) if files.iter().any(|file| file == known_by) => {}
            _ => {
                let message = format!("`{}` is not {what}: it has no `{known_by}`", path.get_ref());
                problems.push(self.source.problem(path.span(), message));
            }
        }
    }
}

/// Where a crate's file is in the workspace: named as seen from a member, for other packages as seen from the workspace.
fn crate_file(member: Option<&Package>, file: &str) -> Option<String> {
    if file.starts_with('/') {
        return None;
    }
    join_within(member.map_or("", Package::directory), file)
}

/// The name of the set with the linker that is asked for.
const LINKER_SET: &str = "toolchain.linker";

/// The name of the set of what an image adds to its base.
pub(crate) fn image_set(image: &str) -> String {
    format!("images.{image}")
}

/// The name of the set of what a crate compiles with.
fn crate_set(name: &str) -> String {
    format!("crates.{name}")
}

fn sorted(names: &[String]) -> Vec<String> {
    let names: BTreeSet<&String> = names.iter().collect();
    names.into_iter().cloned().collect()
}

/// A binary and its path in an image.
pub(crate) struct PlacedBinary {
    /// Its call is known when all binaries of all images are: [`calls::assign`].
    pub(crate) binary: normal::Binary,
    pub(crate) path: String,
    pub(crate) replace: bool,
    pub(crate) xattrs: Attributes,
}

/// Normalizes one image.
pub(crate) struct Normalizer<'a> {
    pub(crate) description: &'a Description,
    pub(crate) targets: &'a Targets,
    pub(crate) image: &'a Image,
    pub(crate) binaries: &'a [PlacedBinary],
    /// The crates that `debian.lock` has the libraries of.
    pub(crate) libraries: &'a BTreeSet<String>,
}

impl Normalizer<'_> {
    fn image(&self, problems: &mut Vec<Problem>) -> normal::Image {
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

    /// The package that the image is about: that of its first binary.
    fn package<'t>(&'t self, image: &Image) -> Option<&'t Package> {
        let binary = image.fields.binaries.iter().flatten().next()?;
        self.targets.package(binary.package.get_ref())
    }

    /// Whether a missing tag is the description's fault, not that of a package already complained about.
    fn named_package_exists(&self) -> bool {
        self.image.fields.binaries.iter().flatten().next().is_none()
    }

    pub(crate) fn tags(&self, image: &Image) -> Vec<String> {
        match &image.fields.tags {
            Some(tags) => tags.clone(),
            // `+` can't be in a tag; `_` stands for it, as Helm does.
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

    /// By number, each once.
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
                .or_insert_with(|| PATH.to_string());
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
            ("source", of(|package| package.repository.clone())),
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
        // An empty value takes a label away that would be filled in.
        labels.retain(|_, value| !value.is_empty());
        labels
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
