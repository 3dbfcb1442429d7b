//! The layers of an image, lowered: nix/images.nix, `--engine cargo` and the generated Dockerfile
//! all build from them.
//!
//! Add a new kind of content here and to [`crateyard_spec::Source`]; if only a build knows its
//! path, also to [`Placeholder`].

use std::collections::{BTreeMap, BTreeSet};

use crateyard_spec::{
    CA_BUNDLE, CaCertificatesSource, ChartSource, CopySource, DebianSource, DirectorySource,
    FileSource, ImageArchiveSource, Mode, Packages, Placeholder, SetReference, StepSource,
    SymlinkSource, TextSource, unneeded,
};

use crate::model::*;
use crate::normal::{Layer, Source};
use crate::normalize::{Normalizer, image_set};
use crate::value::last_part;

/// The prefix of paths of the Nix store. If a file holds one, something of the machine that built
/// it has leaked in.
const FORBIDDEN: &str = "/nix/store/";

/// The Debian packages with libraries of the C and C++ compiler itself. A program links to one if a
/// build script says so, and no crate's packages name it.
const COMPILER_LIBRARIES: [&str; 3] = ["libatomic1", "libgomp1", "libstdc++6"];

impl Normalizer<'_> {
    /// Returns the image's layers, from those that change seldom to those that change often.
    pub(crate) fn layers(&self, base: &Base) -> Vec<Layer> {
        let fields = &self.image.fields;
        let mut layers = self.packages(base);
        if !base.is_foreign() {
            add(
                &mut layers,
                "accounts".to_owned(),
                self.accounts(),
                Vec::new(),
            );
        }
        let replaced = self.replaced_files();
        add(&mut layers, "files".to_owned(), self.files(), replaced);
        layers.extend(self.steps(base, StepPlace::Files));
        add(&mut layers, "charts".to_owned(), self.charts(), Vec::new());
        for bundled in fields.images.iter().flatten() {
            let name = format!("image-{}", last_part(bundled.path.get_ref()));
            add(&mut layers, name, vec![self.bundled(bundled)], Vec::new());
        }
        for placed in self.binaries {
            let name = format!("binary-{}", last_part(&placed.path));
            let replaced = placed.replace.then(|| placed.path.clone());
            let file = FileSource {
                from: Placeholder::Program(placed.binary.clone()),
                to: placed.path.clone(),
                mode: Some(Mode(0o755)),
                uid: 0,
                gid: 0,
                xattrs: placed.xattrs.clone(),
                crates: self
                    .description
                    .build
                    .crate_list
                    .then(|| Placeholder::Crates(placed.binary.clone())),
            };
            let replaced = replaced.into_iter().collect();
            add(&mut layers, name, vec![Source::File(file)], replaced);
        }
        layers.extend(self.steps(base, StepPlace::Binaries));
        layers
    }

    /// Returns a layer for each step at `place`, named by its position in `images.toml`.
    fn steps(&self, base: &Base, place: StepPlace) -> Vec<Layer> {
        let steps = self.image.fields.steps.iter().flatten().zip(1..);
        let steps = steps.filter(|(step, _)| step.place == place);
        let layer = |(step, number): (&Step, usize)| Layer {
            name: format!("step-{number}"),
            may_override: true,
            forbidden: vec![FORBIDDEN.to_owned()],
            sources: vec![Source::Step(StepSource {
                below: vec![Placeholder::Below],
                base: match base {
                    Base::Layout { path, digest: None } => Some(workspace(path)),
                    Base::Layout {
                        path,
                        digest: Some(digest),
                    } => Some(Placeholder::Base {
                        path: path.clone(),
                        digest: digest.clone(),
                    }),
                    _ => None,
                },
                run: step.run.clone(),
                workdir: step.workdir.clone(),
                environment: step.environment.clone(),
            })],
            ..Layer::default()
        };
        steps.map(layer).collect()
    }

    /// Returns the layers of Debian packages: the base, the image's own, the libraries of each
    /// crate that its programs are linked from, those of the compiler. A package in several sets
    /// comes from the first of them.
    fn packages(&self, base: &Base) -> Vec<Layer> {
        let set = |name: String| SetReference {
            set: name,
            linked_from: None,
        };
        let mut sets = Vec::new();
        if let Base::Set(name) = base {
            sets.push(("base".to_owned(), set(name.clone())));
        }
        if self.image.fields.packages.iter().flatten().next().is_some() {
            let name = image_set(self.image.name.get_ref());
            sets.push(("packages".to_owned(), set(name)));
        }
        // The libraries in a foreign base are unknown, and an image without a base is there to be
        // copied from.
        let has_libraries = !sets.is_empty() && !self.binaries.is_empty();
        let libraries = self.libraries.iter().filter(|_| has_libraries).map(|name| {
            let set = libraries_set(name);
            let linked_from = Some(name.clone());
            (set.clone(), SetReference { set, linked_from })
        });
        sets.extend(libraries);
        let given: Vec<Packages> = (0..sets.len())
            .map(|at| Packages {
                of: sets[at].1.clone(),
                named: Vec::new(),
                beyond: sets[..at].iter().map(|(_, set)| set.clone()).collect(),
            })
            .collect();
        let mut layers: Vec<Layer> = sets
            .iter()
            .enumerate()
            .map(|(at, (name, set))| Layer {
                name: name.clone(),
                optional: set.linked_from.is_some(),
                sources: match self.is_base(&set.set) {
                    true => base_sources(&given[at]),
                    false => vec![debian(&given[at], others(&given, at))],
                },
                ..Layer::default()
            })
            .collect();
        if has_libraries {
            let compiler = Packages {
                of: set(self.description.toolchain.set.get_ref().clone()),
                named: COMPILER_LIBRARIES.map(str::to_owned).to_vec(),
                beyond: sets.into_iter().map(|(_, set)| set).collect(),
            };
            layers.push(Layer {
                name: libraries_set("compiler"),
                optional: true,
                only_if_linked: true,
                sources: vec![debian(&compiler, given)],
                ..Layer::default()
            });
        }
        layers
    }

    /// Whether `set` goes beyond no other set, so that nothing is below it.
    fn is_base(&self, set: &str) -> bool {
        let sets = self.description.package_sets();
        sets.get(set).is_some_and(|set| set.beyond.is_none())
    }

    /// Returns `/etc/passwd` and `/etc/group` with the built-in accounts and those that the image
    /// uses.
    fn accounts(&self) -> Vec<Source> {
        let used = self.used_names();
        let own = self.description.users.iter().map(|user| user.get_ref());
        let own = own
            .filter(|user| used.contains(user.name.as_str()))
            .cloned();
        let mut users: Vec<User> = crate::parse::built_in_users()
            .into_iter()
            .chain(own)
            .collect();
        users.sort_by_key(|user| user.uid);
        let passwd = users.iter().map(|user| {
            let User {
                name,
                uid,
                gid,
                home,
                shell,
            } = user;
            format!("{name}:x:{uid}:{gid}:{name}:{home}:{shell}\n")
        });
        let group = users
            .iter()
            .map(|user| format!("{}:x:{}:\n", user.name, user.gid));
        let text = |to: &str, text: String| {
            Source::Text(TextSource {
                to: to.to_owned(),
                text,
                mode: Some(Mode(0o644)),
                uid: 0,
                gid: 0,
                xattrs: BTreeMap::new(),
            })
        };
        vec![
            text("/etc/passwd", passwd.collect()),
            text("/etc/group", group.collect()),
        ]
    }

    fn used_names(&self) -> BTreeSet<&str> {
        let names = self.image.fields.account_names();
        names.map(|name| name.get_ref().as_str()).collect()
    }

    fn files(&self) -> Vec<Source> {
        let fields = &self.image.fields;
        let files = fields.all_files().map(|file| {
            let (uid, gid) = self.owner(&file.owner);
            let (to, mode) = (file.destination(), file.mode);
            let xattrs = file.attributes.all.clone();
            match file.content.get_ref() {
                Content::Source(source) => Source::Copy(CopySource {
                    from: workspace(source),
                    to,
                    mode,
                    uid,
                    gid,
                    xattrs,
                }),
                Content::Part { name, from } => Source::Copy(CopySource {
                    from: Placeholder::Part {
                        name: name.clone(),
                        path: from.clone(),
                    },
                    to,
                    mode,
                    uid,
                    gid,
                    xattrs,
                }),
                Content::Text(text) => Source::Text(TextSource {
                    to,
                    text: text.clone(),
                    mode: Some(mode.unwrap_or(Mode(0o644))),
                    uid,
                    gid,
                    xattrs,
                }),
            }
        });
        let directories = fields.directories.iter().flatten().map(|directory| {
            let (uid, gid) = self.owner(&directory.owner);
            Source::Directory(DirectorySource {
                to: directory.path.get_ref().clone(),
                mode: Some(directory.mode),
                uid,
                gid,
            })
        });
        let links = fields.links.iter().flatten().map(|link| {
            Source::Symlink(SymlinkSource {
                to: link.path.get_ref().clone(),
                target: link.target.clone(),
            })
        });
        files.chain(directories).chain(links).collect()
    }

    /// Returns the paths of files and links that replace files of the base.
    fn replaced_files(&self) -> Vec<String> {
        let fields = &self.image.fields;
        let files = fields.all_files().filter(|file| file.replace);
        let links = fields.links.iter().flatten().filter(|link| link.replace);
        let mut paths: Vec<String> = files
            .map(File::destination)
            .chain(links.map(|link| link.path.get_ref().clone()))
            .collect();
        paths.sort();
        paths
    }

    /// Returns the user and group numbers of an owner.
    fn owner(&self, owner: &Owner) -> (u32, u32) {
        let account =
            |name: &Option<Spanned<String>>| self.description.account(name.as_ref()?.get_ref());
        let (uid, own_gid) = account(&owner.user).unwrap_or((0, 0));
        (uid, account(&owner.group).map_or(own_gid, |(_, gid)| gid))
    }

    fn charts(&self) -> Vec<Source> {
        let charts = self.image.fields.charts.iter().flatten();
        let source = |chart: &Chart| {
            Source::Chart(ChartSource {
                from: workspace(chart.source.get_ref()),
                to: chart.path.get_ref().clone(),
                version: None,
                app_version: None,
            })
        };
        charts.map(source).collect()
    }

    fn bundled(&self, bundled: &Bundled) -> Source {
        let name = bundled.image.get_ref();
        let other = self.description.images.get(name);
        let tag = other.and_then(|other| self.tags(other).into_iter().next());
        let tag = tag.as_deref().unwrap_or("latest");
        let reference = bundled.reference.clone();
        Source::ImageArchive(ImageArchiveSource {
            from: Placeholder::Image { name: name.clone() },
            to: bundled.path.get_ref().clone(),
            format: bundled.format,
            reference: reference.unwrap_or_else(|| format!("{name}:{tag}")),
        })
    }
}

/// Returns the name of the set with the Debian libraries that a program linked from a crate needs.
fn libraries_set(name: &str) -> String {
    format!("libraries.{name}")
}

fn workspace(path: &str) -> Placeholder {
    let path = path.to_owned();
    Placeholder::Workspace { path }
}

/// Returns the layer sources of a set with nothing below it: its packages, and the certificates
/// among them as one file.
fn base_sources(packages: &Packages) -> Vec<Source> {
    let certificates = Source::CaCertificates(CaCertificatesSource {
        packages: vec![Placeholder::Packages(packages.clone())],
        to: CA_BUNDLE.to_owned(),
    });
    vec![debian(packages, Vec::new()), certificates]
}

fn debian(packages: &Packages, also_installed: Vec<Packages>) -> Source {
    Source::Debian(DebianSource {
        packages: vec![Placeholder::Packages(packages.clone())],
        exclude: unneeded(),
        also_installed: also_installed
            .into_iter()
            .map(Placeholder::Packages)
            .collect(),
    })
}

/// Returns all packages but those at one index.
fn others(all: &[Packages], at: usize) -> Vec<Packages> {
    let numbered = all.iter().enumerate();
    let others = numbered.filter(|(number, _)| *number != at);
    others.map(|(_, packages)| packages.clone()).collect()
}

/// Adds a layer of single things, if there are any.
fn add(layers: &mut Vec<Layer>, name: String, mut sources: Vec<Source>, replaces: Vec<String>) {
    sources.sort_by(|a, b| a.to().cmp(&b.to()));
    if !sources.is_empty() {
        layers.push(Layer {
            name: unique_name(name, layers),
            replaces,
            forbidden: vec![FORBIDDEN.to_owned()],
            sources,
            ..Layer::default()
        });
    }
}

/// Returns `name`, with a number behind it if a layer has that name already (one binary at two
/// paths).
fn unique_name(name: String, layers: &[Layer]) -> String {
    let taken = |name: &String| layers.iter().any(|layer| layer.name == *name);
    let numbered = (2..).map(|number| format!("{name}-{number}"));
    std::iter::once(name.clone())
        .chain(numbered)
        .find(|name| !taken(name))
        .unwrap_or(name)
}
