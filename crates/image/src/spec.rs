//! The files between the Nix side and the `image` program, version 1.
//!
//! Four go in: [`LayerSpec`] for `image layer`, [`ImageSpec`] for `image layout`, [`IndexSpec`]
//! for `image index`, [`BaseSpec`] for `image base`. Two come out beside each layer's blob:
//! [`LayerRecord`] (`layer.json`) and [`LayerEntries`] (`entries.json`). All are JSON objects with
//! `"version": 1`; unknown fields are errors. Paths in the image are absolute
//! (`/usr/bin/gateway`).

mod details;
mod inputs;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crateyard_oci::{Digest, Platform};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::{Error, Result};

pub use crateyard_spec::{
    ArchiveFormat, CaCertificatesSource, ChartSource, Config, CopySource, DebianSource,
    DirectorySource, FileSource, FormatVersion, Healthcheck, ImageArchiveSource, LayerSpec,
    LinkedCrate, LinkedCrates, Mode, SPECIAL_DIRECTORIES, Source, StepSource, SymlinkSource,
    TextSource, TreeSource, VERSION, Variable,
};
pub use details::{LayerPackages, PackageDetails};
pub use inputs::{
    ArchiveInput, ComponentInput, DownloadInput, InputsSpec, NestedImage, NpmInput,
    NpmPackageInput, PackageInput, PackageRole, PartInput, ProgramInput, SourceInput, UnitInput,
};

/// Finds a specification: a path, or `@NAME` for the attribute NAME of the derivation that is being
/// built. Nix wrote the attribute to a file and put the file's name into the variable `NAMEPath`.
/// The file lies in the build directory, which a cell shows as `/build`.
///
/// # Errors
/// When no such attribute was passed as a file.
pub fn locate(argument: &str) -> Result<PathBuf> {
    let Some(name) = argument.strip_prefix('@') else {
        return Ok(PathBuf::from(argument));
    };
    let variable = format!("{name}Path");
    let Some(path) = std::env::var_os(&variable).map(PathBuf::from) else {
        return Err(Error::Spec {
            at: argument.to_owned(),
            problem: format!("the variable {variable} is not set"),
            remedy: format!("put {name:?} into the derivation's passAsFile"),
        });
    };
    match path.file_name() {
        Some(file) if !path.exists() => Ok(Path::new("/build").join(file)),
        _ => Ok(path),
    }
}

/// Reads a specification or record from a file.
///
/// # Errors
/// When the file can't be read, does not match the type, or has another version.
pub fn read<T: DeserializeOwned>(path: &Path) -> Result<T> {
    let bytes = std::fs::read(path).map_err(Error::io("read", path))?;
    let read = serde_json::from_slice(&bytes);
    Ok(read.map_err(crateyard_oci::Error::json(path.display().to_string()))?)
}

/// The facts about a finished layer: `layer.json` beside its `blob`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LayerRecord {
    /// Always 1.
    pub version: FormatVersion,
    /// The blob's media type.
    pub media_type: String,
    /// The blob's digest.
    pub digest: Digest,
    /// The blob's size in bytes.
    pub size: u64,
    /// The digest of the uncompressed tar.
    pub diff_id: Digest,
    /// The size of the uncompressed tar in bytes.
    pub uncompressed_size: u64,
    /// The comment about the layer, from the specification.
    pub comment: String,
    /// The number of entries in the layer.
    pub entries: u64,
    /// The Debian packages whose files are in the layer.
    pub debian_packages: Vec<DebianPackage>,
    /// The packages of lower layers that the status file in the layer also lists.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub also_installed: Vec<DebianPackage>,
}

/// A Debian package.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DebianPackage {
    /// The package's name.
    pub name: String,
    /// The package's version.
    pub version: String,
    /// The package's architecture in Debian's terms.
    pub arch: String,
}

/// The paths in a finished layer: `entries.json` beside its `blob`, in the order of the tar.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LayerEntries {
    /// Always 1.
    pub version: FormatVersion,
    /// The paths.
    pub entries: Vec<EntryRecord>,
}

/// One path in a layer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EntryRecord {
    /// The path, without leading slash.
    pub path: String,
    /// The kind of the entry.
    pub kind: EntryKind,
    /// The mode.
    pub mode: Mode,
    /// The owner.
    pub uid: u32,
    /// The group.
    pub gid: u32,
    /// The target of a link.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// The libraries that a program is linked to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub libraries: Vec<String>,
    /// The compilers that made a program.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub compilers: Vec<String>,
    /// The digest of a program.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    /// The source that gave the entry.
    pub origin: String,
    /// Whether the entry is a directory that no source asked for and that is there for something
    /// below it.
    #[serde(default, skip_serializing_if = "is_false")]
    pub implied: bool,
    /// Whether the entry is a database that this layer continues from those below, such as dpkg's
    /// status. It may replace a lower layer's.
    #[serde(default, skip_serializing_if = "is_false")]
    pub supersedes: bool,
}

fn is_false(value: &bool) -> bool {
    !value
}

/// The kind of a path in a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EntryKind {
    /// A regular file.
    File,
    /// A further name of a regular file.
    HardLink,
    /// A symbolic link.
    Symlink,
    /// A directory.
    Directory,
    /// A marker: the entries of lower layers at the path are gone.
    Whiteout,
}

/// The parts of an image.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ImageSpec {
    /// Always 1.
    pub version: FormatVersion,
    /// The image's name, for messages.
    pub name: String,
    /// The image's references, such as `gateway:0.1.0`.
    #[serde(default)]
    pub references: Vec<String>,
    /// The platform that the image runs on.
    pub platform: Platform,
    /// The layout directory of a base, whose layers and configuration come first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<PathBuf>,
    /// The layers, lowest first.
    #[serde(default)]
    pub layers: Vec<LayerReference>,
    /// The way to run the image.
    #[serde(default)]
    pub config: Config,
    /// Annotations of the manifest.
    #[serde(default)]
    pub annotations: BTreeMap<String, String>,
    /// The time of the image, in seconds since 1970.
    #[serde(default)]
    pub created: u64,
    /// The image's inputs, for its bill of materials and its provenance. Without them, neither is
    /// made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inputs: Option<InputsSpec>,
}

/// A layer of an image: the directory alone, or the directory and its relation to the layers below.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(untagged)]
pub enum LayerReference {
    /// The directory that `image layer` made.
    Path(PathBuf),
    /// The directory with more details.
    Detailed(DetailedLayer),
}

/// A layer of an image and its relation to the others.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DetailedLayer {
    /// The directory that `image layer` made.
    pub path: PathBuf,
    /// Whether the layer's files may replace those of lower layers.
    #[serde(default)]
    pub may_override: bool,
    /// Paths whose files, and all files below them, replace those of lower layers. A lower layer
    /// must have each path.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub replaces: Vec<String>,
    /// Whether the layer is only there for its libraries. It is left out if no program of the other
    /// layers is linked to a library that only this layer has.
    #[serde(default)]
    pub only_if_linked: bool,
    /// The packages that the layer adds to the image's [`InputsSpec::packages`] if it is used.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub packages: Vec<PackageInput>,
}

impl LayerReference {
    /// Returns all details, with defaults for those that are missing.
    pub fn detailed(&self) -> DetailedLayer {
        match self {
            LayerReference::Path(path) => DetailedLayer {
                path: path.clone(),
                may_override: false,
                replaces: Vec::new(),
                only_if_linked: false,
                packages: Vec::new(),
            },
            LayerReference::Detailed(layer) => layer.clone(),
        }
    }
}

/// An image to take from a layout.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BaseSpec {
    /// Always 1.
    pub version: FormatVersion,
    /// The layout.
    pub layout: PathBuf,
    /// The digest of a manifest in it, or of an index.
    pub digest: Digest,
}

/// Single-platform layouts to join into one.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct IndexSpec {
    /// Always 1.
    pub version: FormatVersion,
    /// The image's name, for messages.
    pub name: String,
    /// The image's references.
    #[serde(default)]
    pub references: Vec<String>,
    /// The layout directories that `image layout` made, one for each platform.
    pub layouts: Vec<PathBuf>,
    /// Annotations of the index.
    #[serde(default)]
    pub annotations: BTreeMap<String, String>,
}
