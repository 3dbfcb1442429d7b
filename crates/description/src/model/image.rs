//! An image of the description: its fields, and what each may hold.

use std::collections::BTreeMap;

use crateyard_spec::{ArchiveFormat, Attributes, Compression, Mode, Port};
use toml::Spanned;

use super::{BuildFields, DownloadedPart};
use crate::value::TargetPlatform;

/// `[images.NAME]` or `[images.OF.variants.VARIANT]`. A variant has its image's fields where it has
/// none of its own.
#[derive(Clone, Debug)]
pub struct Image {
    /// `NAME`, or `OF-VARIANT`.
    pub name: Spanned<String>,
    /// The image that it is a variant of.
    pub variant_of: Option<String>,
    /// Its fields.
    pub fields: ImageFields,
}

/// The fields of an image; `None` if the description does not give one.
#[derive(Clone, Debug, Default)]
#[allow(missing_docs)] // Each is the key of that name, which docs/images-toml.md explains.
pub struct ImageFields {
    pub base: Option<Spanned<Base>>,
    pub binaries: Option<Vec<Binary>>,
    pub build: Option<BuildFields>,
    pub packages: Option<Vec<String>>,
    pub files: Option<Vec<File>>,
    pub downloads: Option<Vec<ImageDownload>>,
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
    pub platforms: Option<Vec<Spanned<TargetPlatform>>>,
    pub compression: Option<Compression>,
    pub tags: Option<Vec<String>>,
}

impl ImageFields {
    /// Puts these fields over those of `image`: each replaces the other's; environment and labels
    /// are merged name by name.
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
            downloads: self.downloads.or(under.downloads),
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

    /// Returns all files: those of `files`, and those that are downloaded.
    pub(crate) fn all_files(&self) -> impl Iterator<Item = &File> {
        let downloads = self.downloads.iter().flatten();
        let files = self.files.iter().flatten();
        files.chain(downloads.map(|download| &download.file))
    }

    /// Returns the names of the accounts that the image uses: its user, and the owners of files and
    /// directories.
    pub(crate) fn account_names(&self) -> impl Iterator<Item = &Spanned<String>> {
        let files = self.all_files().map(|file| &file.owner);
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

/// The base of an image: another image, a set of Debian packages, or nothing.
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
        /// The digest of the manifest or index, if the layout has several.
        digest: Option<String>,
    },
    /// An image in a registry.
    Reference {
        /// Registry, repository and tag, without digest.
        reference: String,
        /// The digest of the manifest or index.
        digest: String,
    },
}

impl Base {
    /// Whether the base is a foreign image, whose files and configuration are unknown here.
    pub fn is_foreign(&self) -> bool {
        matches!(self, Base::Layout { .. } | Base::Reference { .. })
    }
}

/// A binary of the workspace.
#[derive(Clone, Debug)]
pub struct Binary {
    /// The package, as in `Cargo.toml`.
    pub package: Spanned<String>,
    /// The binary target; by default, the package's own or only one.
    pub bin: Option<Spanned<String>>,
    /// The path in the image; by default, `/usr/bin/BIN`.
    pub path: Option<Spanned<String>>,
    /// Whether it replaces a file of the base.
    pub replace: bool,
    /// Its capabilities and extended attributes.
    pub attributes: FileAttributes,
}

/// Capabilities and extended attributes of a file.
#[derive(Clone, Debug, Default)]
pub struct FileAttributes {
    /// All by name, with capabilities as `security.capability`.
    pub all: Attributes,
    /// The first of the keys `capabilities` and `xattrs` that gives any.
    pub key: Option<Spanned<&'static str>>,
}

/// The content of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// A file or directory of the workspace.
    Source(String),
    /// A text.
    Text(String),
    /// A part of the flake.
    Part {
        /// Its name.
        name: String,
        /// A path in the part; empty for the whole part.
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
    /// Its mode; for a directory, the mode of the files in it.
    pub mode: Option<Mode>,
    /// Its owner.
    pub owner: Owner,
    /// Whether it replaces a file of the base.
    pub replace: bool,
    /// Its capabilities and extended attributes.
    pub attributes: FileAttributes,
}

/// A download of an image: a part, and the file or directory that it becomes.
#[derive(Clone, Debug)]
pub struct ImageDownload {
    /// The part's name.
    pub name: String,
    /// The part.
    pub part: DownloadedPart,
    /// Its place in the image, with the part as its content.
    pub file: File,
}

/// The owner of a file or directory, as written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
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
    /// Its owner.
    pub owner: Owner,
}

/// A symbolic link.
#[derive(Clone, Debug)]
pub struct Link {
    /// Path in the image.
    pub path: Spanned<String>,
    /// The target of the link.
    pub target: String,
    /// Whether it replaces a file of the base.
    pub replace: bool,
}

/// A Helm chart, packaged.
#[derive(Clone, Debug)]
pub struct Chart {
    /// The chart's directory, relative to the workspace.
    pub source: Spanned<String>,
    /// Path in the image; if it ends in `/`, the directory that receives `NAME-VERSION.tgz`.
    pub path: Spanned<String>,
}

/// Another image of the description, as an archive.
#[derive(Clone, Debug)]
pub struct Bundled {
    /// Its name.
    pub image: Spanned<String>,
    /// Path in the image.
    pub path: Spanned<String>,
    /// The format of the archive.
    pub format: ArchiveFormat,
    /// The image's name in the archive; by default, `IMAGE:TAG`.
    pub reference: Option<String>,
}

/// A command whose changes become a layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Program and arguments; no shell.
    pub run: Vec<String>,
    /// The layers that it runs on.
    pub place: StepPlace,
    /// The working directory, an absolute path in the image.
    pub workdir: String,
    /// Variables besides those that every step has.
    pub environment: BTreeMap<String, String>,
}

/// The layers that a step runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StepPlace {
    /// Packages, accounts, files and parts. An edit of a binary does not run the step again.
    Files,
    /// All other layers of the image.
    Binaries,
}

/// The check by which an engine tells whether the container is healthy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HealthCheck {
    /// No check, even if the base has one.
    None,
    /// A command that the engine runs.
    Command {
        /// Program and arguments; no shell.
        command: Vec<String>,
        /// Nanoseconds between two checks.
        interval: u64,
        /// Nanoseconds after which a check counts as failed.
        timeout: u64,
        /// Nanoseconds at the start in which failures do not count.
        start_period: u64,
        /// Failures in a row that make the container unhealthy.
        retries: u32,
    },
}
