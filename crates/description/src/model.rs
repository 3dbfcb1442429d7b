//! What an `images.toml` says, value by value, with the place of everything that later checks may
//! complain about.

use std::collections::BTreeMap;
use std::ops::Range;

use crateyard_spec::{ArchiveFormat, Attributes, Compression, Mode, Port};
pub use toml::Spanned;

use crate::problem::Source;
use crate::value::Platform;

/// A whole description. Made by [`Description::parse`], which has found nothing wrong with it by
/// itself.
#[derive(Clone, Debug)]
pub struct Description {
    /// The text it was read from.
    pub source: Source,
    /// Where Debian packages come from.
    pub debian: Debian,
    /// What Cargo is asked for.
    pub build: Build,
    /// The compiler.
    pub toolchain: Toolchain,
    /// What single crates need beyond their sources, by package name.
    pub crates: Vec<Crate>,
    /// Parts that npm makes, by name.
    pub npm_parts: BTreeMap<String, NpmPart>,
    /// Parts that are downloaded, by name: one download for all architectures, or one for each.
    pub downloads: BTreeMap<String, Vec<Download>>,
    /// Accounts, beyond those built in.
    pub users: Vec<Spanned<User>>,
    /// All images, variants among them, by name.
    pub images: BTreeMap<String, Image>,
}

/// `[debian]`.
#[derive(Clone, Debug)]
pub struct Debian {
    /// Suites in order of preference.
    pub suites: Vec<String>,
    /// Architectures to resolve for, in Debian's words.
    pub architectures: Vec<String>,
    /// Named sets of packages.
    pub sets: BTreeMap<String, Set>,
    /// Other archives, by name.
    pub sources: BTreeMap<String, DebianSource>,
}

/// `[debian.sources.NAME]`: an archive that is not Debian's. Only `assemble lock` reads it; the
/// lock pins what comes of it.
#[derive(Clone, Debug)]
pub struct DebianSource {
    /// Its address, without `/` at its end.
    pub url: String,
    /// A suite, or a directory with `/` at its end.
    pub suite: String,
    /// Components of the suite. A directory has none.
    pub components: Vec<String>,
    /// The file of the workspace with the keys that may sign.
    pub key: Option<String>,
    /// The only key that may sign: upper-case hexadecimal.
    pub fingerprint: Option<String>,
    /// Architectures that it must have.
    pub architectures: Option<Vec<String>>,
}

/// `[debian.sets.NAME]`.
#[derive(Clone, Debug)]
pub struct Set {
    /// What is asked for; dependencies follow by themselves.
    pub packages: Vec<String>,
    /// What is left out although something depends on it.
    pub omit: Vec<String>,
    /// The set whose packages are there already.
    pub beyond: Option<Spanned<String>>,
    /// Architectures to resolve for, where not those of `[debian]`.
    pub architectures: Option<Vec<String>>,
    /// Whether dependencies are taken too.
    pub dependencies: bool,
}

/// `[build]`.
#[derive(Clone, Debug)]
pub struct Build {
    /// Cargo's profile.
    pub profile: String,
    /// Whether `Cargo.lock` must be up to date.
    pub locked: bool,
    /// Features of the selected packages.
    pub features: Vec<String>,
    /// All features of the selected packages.
    pub all_features: bool,
    /// Whether default features are off.
    pub no_default_features: bool,
    /// Whether programs in images carry the list of their crates.
    pub crate_list: bool,
}

/// `build` of an image: what is said there takes the place of what `[build]` says.
#[derive(Clone, Debug, Default)]
#[allow(missing_docs)] // Each is the key of that name, which docs/images-toml.md explains.
pub struct BuildFields {
    pub profile: Option<String>,
    pub features: Option<Vec<String>>,
    pub all_features: Option<bool>,
    pub no_default_features: Option<bool>,
    /// The target as rustc names it, which is for this platform.
    pub target: Option<Spanned<(String, Platform)>>,
}

impl BuildFields {
    /// These fields over those of the image that a variant is of.
    fn over(self, under: BuildFields) -> BuildFields {
        BuildFields {
            profile: self.profile.or(under.profile),
            features: self.features.or(under.features),
            all_features: self.all_features.or(under.all_features),
            no_default_features: self.no_default_features.or(under.no_default_features),
            target: self.target.or(under.target),
        }
    }
}

/// `[toolchain]`.
#[derive(Clone, Debug)]
pub struct Toolchain {
    /// Who provides the compiler: `release` or `debian`.
    pub provider: String,
    /// The release that is asked for, in rustup's words; without it `rust-toolchain.toml` and
    /// `rust-version` say it.
    pub release: Option<Spanned<String>>,
    /// The linker in place of the release's own: `lld` or `mold`.
    pub linker: Option<String>,
    /// The set of Debian packages that has the C toolchain, and the compiler where Debian provides
    /// it.
    pub set: Spanned<String>,
    /// Debian packages that this set has besides those that it lists itself.
    pub packages: Vec<String>,
}

/// `[crates.NAME]`.
#[derive(Clone, Debug)]
pub struct Crate {
    /// The package.
    pub name: Spanned<String>,
    /// Debian packages present while it compiles.
    pub packages: Vec<String>,
    /// Files beyond its sources, as written: relative to a member's directory, for other packages
    /// to the workspace.
    pub files: Vec<Spanned<String>>,
    /// Variables that its units see beside Cargo's.
    pub environment: BTreeMap<String, String>,
    /// Whether its units are told the revision that is built.
    pub revision: bool,
    /// Parts that its units see in the package's directory.
    pub parts: Vec<CratePart>,
}

/// A part in the directory of a package.
#[derive(Clone, Debug)]
pub struct CratePart {
    /// The part's name.
    pub part: Spanned<String>,
    /// Its place, relative to the package's directory.
    pub path: Spanned<String>,
    /// A path in the part; empty for all of it.
    pub from: String,
}

/// `[parts.NAME]` with `npm`. Nix reads the other fields.
#[derive(Clone, Debug)]
pub struct NpmPart {
    /// The directory with `package.json` and `package-lock.json`, relative to the workspace.
    pub directory: String,
}

/// `download` of `[parts.NAME]`, or an element of it. Nix reads the other fields.
#[derive(Clone, Debug)]
pub struct Download {
    /// Debian's name of the architecture that it is for; without it, it is for all.
    pub architecture: Option<String>,
    /// Its address.
    pub url: Spanned<String>,
    /// The SHA-256 of the file, in hexadecimal digits. `assemble lock` adds it.
    pub sha256: Option<String>,
    /// Where the key `url` stands.
    pub(crate) key: Range<usize>,
}

/// `[users.NAME]`, or an account built in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// The name of the account and of its group.
    pub name: String,
    /// User number.
    pub uid: u32,
    /// Number of its group.
    pub gid: u32,
    /// Home directory.
    pub home: String,
    /// Login shell.
    pub shell: String,
}

/// `[images.NAME]` or `[images.OF.variants.VARIANT]`, the latter with its image's fields where it
/// has none of its own.
#[derive(Clone, Debug)]
pub struct Image {
    /// `NAME`, or `OF-VARIANT`.
    pub name: Spanned<String>,
    /// The image that it is a variant of.
    pub variant_of: Option<String>,
    /// What was said of it.
    pub fields: ImageFields,
}

/// The fields of an image; `None` where nothing was said.
#[derive(Clone, Debug, Default)]
#[allow(missing_docs)] // Each is the key of that name, which docs/images-toml.md explains.
pub struct ImageFields {
    pub base: Option<Spanned<Base>>,
    pub binaries: Option<Vec<Binary>>,
    pub build: Option<BuildFields>,
    pub packages: Option<Vec<String>>,
    pub files: Option<Vec<File>>,
    pub directories: Option<Vec<Directory>>,
    pub links: Option<Vec<Link>>,
    pub charts: Option<Vec<Chart>>,
    pub images: Option<Vec<Bundled>>,
    pub steps: Option<Vec<Step>>,
    pub user: Option<Spanned<String>>,
    pub workdir: Option<String>,
    pub entrypoint: Option<Vec<String>>,
    pub command: Option<Vec<String>>,
    pub environment: Option<BTreeMap<String, String>>,
    pub ports: Option<Vec<Port>>,
    pub volumes: Option<Vec<String>>,
    pub labels: Option<BTreeMap<String, String>>,
    pub stop_signal: Option<String>,
    pub health_check: Option<HealthCheck>,
    pub platforms: Option<Vec<Spanned<Platform>>>,
    pub compression: Option<Compression>,
    pub tags: Option<Vec<String>>,
}

impl ImageFields {
    /// These fields over those of `image`: each replaces the other's, environment and labels name
    /// by name.
    pub(crate) fn over(self, image: &ImageFields) -> ImageFields {
        let under = image.clone();
        ImageFields {
            base: self.base.or(under.base),
            binaries: self.binaries.or(under.binaries),
            build: match (self.build, under.build) {
                (Some(own), Some(under)) => Some(own.over(under)),
                (own, under) => own.or(under),
            },
            packages: self.packages.or(under.packages),
            files: self.files.or(under.files),
            directories: self.directories.or(under.directories),
            links: self.links.or(under.links),
            charts: self.charts.or(under.charts),
            images: self.images.or(under.images),
            steps: self.steps.or(under.steps),
            user: self.user.or(under.user),
            workdir: self.workdir.or(under.workdir),
            entrypoint: self.entrypoint.or(under.entrypoint),
            command: self.command.or(under.command),
            environment: merge(self.environment, under.environment),
            ports: self.ports.or(under.ports),
            volumes: self.volumes.or(under.volumes),
            labels: merge(self.labels, under.labels),
            stop_signal: self.stop_signal.or(under.stop_signal),
            health_check: self.health_check.or(under.health_check),
            platforms: self.platforms.or(under.platforms),
            compression: self.compression.or(under.compression),
            tags: self.tags.or(under.tags),
        }
    }

    /// The names of the accounts that the image uses: its user, and owners of files and
    /// directories.
    pub(crate) fn account_names(&self) -> impl Iterator<Item = &Spanned<String>> {
        let files = self.files.iter().flatten().map(|file| &file.owner);
        let directories = self.directories.iter().flatten();
        let owners = files.chain(directories.map(|directory| &directory.owner));
        let names = owners.flat_map(|owner| [&owner.user, &owner.group]);
        names.chain([&self.user]).flatten()
    }
}

type Map = BTreeMap<String, String>;

fn merge(over: Option<Map>, under: Option<Map>) -> Option<Map> {
    match (over, under) {
        (Some(over), Some(mut under)) => {
            under.extend(over);
            Some(under)
        }
        (over, under) => over.or(under),
    }
}

/// What an image stands on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Base {
    /// Nothing.
    None,
    /// A set of Debian packages.
    Set(String),
    /// An OCI layout in the workspace.
    Layout {
        /// Its directory, relative to the workspace.
        path: String,
        /// The manifest or index in it, where it has several.
        digest: Option<String>,
    },
    /// An image in a registry.
    Reference {
        /// Registry, repository and tag, without digest.
        reference: String,
        /// The manifest or index.
        digest: String,
    },
}

impl Base {
    /// Whether the base is somebody else's image, whose files and configuration are not known here.
    pub fn is_foreign(&self) -> bool {
        matches!(self, Base::Layout { .. } | Base::Reference { .. })
    }
}

/// A binary of the workspace.
#[derive(Clone, Debug)]
pub struct Binary {
    /// Package, as in `Cargo.toml`.
    pub package: Spanned<String>,
    /// Binary target; where not given, the package's own or only one.
    pub bin: Option<Spanned<String>>,
    /// Path in the image; where not given, `/usr/bin/BIN`.
    pub path: Option<Spanned<String>>,
    /// Whether it takes the place of a file of the base.
    pub replace: bool,
    /// Its capabilities and extended attributes.
    pub attributes: FileAttributes,
}

/// Capabilities and extended attributes of a file.
#[derive(Clone, Debug, Default)]
pub struct FileAttributes {
    /// All by name, with capabilities as `security.capability`.
    pub all: Attributes,
    /// The first key that gives any: `capabilities` or `xattrs`.
    pub key: Option<Spanned<&'static str>>,
}

/// Where a file's content comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// A file or directory of the workspace.
    Source(String),
    /// The text itself.
    Text(String),
    /// A part of the flake's.
    Part {
        /// Its name.
        name: String,
        /// A path in it; empty for all of it.
        from: String,
    },
}

/// A file, or all files under a directory.
#[derive(Clone, Debug)]
pub struct File {
    /// Path in the image.
    pub path: Spanned<String>,
    /// Its content.
    pub content: Spanned<Content>,
    /// Mode, of a directory that of the files in it.
    pub mode: Option<Mode>,
    /// Who owns it.
    pub owner: Owner,
    /// Whether it takes the place of a file of the base.
    pub replace: bool,
    /// Its capabilities and extended attributes.
    pub attributes: FileAttributes,
}

/// Owner as written.
#[derive(Clone, Debug, Default)]
pub struct Owner {
    /// User.
    pub user: Option<Spanned<String>>,
    /// Group.
    pub group: Option<Spanned<String>>,
}

/// A directory.
#[derive(Clone, Debug)]
pub struct Directory {
    /// Path in the image.
    pub path: Spanned<String>,
    /// Mode.
    pub mode: Mode,
    /// Who owns it.
    pub owner: Owner,
}

/// A symbolic link.
#[derive(Clone, Debug)]
pub struct Link {
    /// Path in the image.
    pub path: Spanned<String>,
    /// What it points at.
    pub target: String,
    /// Whether it takes the place of a file of the base.
    pub replace: bool,
}

/// A Helm chart, packaged.
#[derive(Clone, Debug)]
pub struct Chart {
    /// The chart's directory, relative to the workspace.
    pub source: Spanned<String>,
    /// Path in the image; with `/` at its end the directory that receives `NAME-VERSION.tgz`.
    pub path: Spanned<String>,
}

/// Another image of the description, as an archive.
#[derive(Clone, Debug)]
pub struct Bundled {
    /// Its name.
    pub image: Spanned<String>,
    /// Path in the image.
    pub path: Spanned<String>,
    /// The archive's form.
    pub format: ArchiveFormat,
    /// The name that the archive gives it; where not given, `IMAGE:TAG`.
    pub reference: Option<String>,
}

/// A command whose changes are a layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Program and arguments; no shell.
    pub run: Vec<String>,
    /// Which files it sees.
    pub place: StepPlace,
    /// Where it starts, an absolute path in the image.
    pub workdir: String,
    /// Variables besides those that every step has.
    pub environment: BTreeMap<String, String>,
}

/// Which layers a step stands on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StepPlace {
    /// Packages, accounts, files and parts. An edit of a binary runs it not again.
    Files,
    /// All of the image's others.
    Binaries,
}

/// How an engine asks whether the container is well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HealthCheck {
    /// It does not ask, whatever the base says.
    None,
    /// It runs a command.
    Command {
        /// Program and arguments; no shell.
        command: Vec<String>,
        /// Nanoseconds between two checks.
        interval: u64,
        /// Nanoseconds after which a check has failed.
        timeout: u64,
        /// Nanoseconds at the start in which failures do not count.
        start_period: u64,
        /// Failures in a row that make the container unhealthy.
        retries: u32,
    },
}
