//! The files between the Nix side and the `image` program, version 1.
//!
//! Three go in: [`LayerSpec`] for `image layer`, [`ImageSpec`] for `image assemble`, [`IndexSpec`]
//! for `image index`. Two come out beside each layer's blob: [`LayerRecord`] (`layer.json`) and
//! [`LayerEntries`] (`entries.json`). All are JSON objects with `"version": 1`; unknown fields are
//! errors. Paths in the image are absolute (`/usr/bin/gateway`).

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
    DirectorySource, FileSource, Healthcheck, ImageArchiveSource, LayerSpec, LinkedCrate,
    LinkedCrates, Mode, SPECIAL_DIRECTORIES, Source, StepSource, SymlinkSource, TextSource,
    TreeSource, VERSION, Variable, Version,
};
pub use details::{LayerPackages, PackageDetails};
pub use inputs::{
    ArchiveInput, BuildInputs, ComponentInput, DownloadInput, InputsSpec, NestedImage, NpmInput,
    NpmPackageInput, PackageInput, PackageRole, PartInput, ProgramInput, SourceInput, UnitInput,
};

/// Finds a specification: a path, or `@NAME` for the attribute NAME of the derivation that is being
/// built. Nix has put that into a file and named the file in the variable `NAMEPath`; it lies in
/// the build directory, which a cell shows as `/build`.
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
/// When the file can't be read, is not what the type says, or has another version.
pub fn read<T: DeserializeOwned>(path: &Path) -> Result<T> {
    let bytes = std::fs::read(path).map_err(Error::io("cannot read", path))?;
    serde_json::from_slice(&bytes).map_err(|source| {
        let what = path.display().to_string();
        crateyard_oci::Error::Json { what, source }.into()
    })
}

/// What is known of a finished layer: `layer.json` beside its `blob`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LayerRecord {
    /// Always 1.
    pub version: Version,
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
    /// What the layer is, from the specification.
    pub comment: String,
    /// How many entries the layer has.
    pub entries: u64,
    /// The Debian packages whose files are in it.
    pub debian_packages: Vec<DebianPackage>,
    /// Those that the status file in it lists besides, because lower layers hold them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub also_installed: Vec<DebianPackage>,
}

/// A Debian package.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DebianPackage {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Its architecture in Debian's terms.
    pub arch: String,
}

/// The paths in a finished layer: `entries.json` beside its `blob`, in the order of the tar.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LayerEntries {
    /// Always 1.
    pub version: Version,
    /// The paths.
    pub entries: Vec<EntryRecord>,
}

/// One path in a layer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EntryRecord {
    /// The path, without leading slash.
    pub path: String,
    /// What it is.
    pub kind: EntryKind,
    /// Its mode.
    pub mode: Mode,
    /// Its owner.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
    /// The target of a link.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// The libraries that a program says it is linked to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub libraries: Vec<String>,
    /// The compilers that a program says it was made by.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub compilers: Vec<String>,
    /// The digest of a program.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    /// Which source gave it.
    pub origin: String,
    /// Whether it is a directory that nobody asked for, only something below it.
    #[serde(default, skip_serializing_if = "is_false")]
    pub implied: bool,
    /// Whether it is a data base that this layer carries on from those below, such as dpkg's
    /// status: it may replace a lower layer's.
    #[serde(default, skip_serializing_if = "is_false")]
    pub supersedes: bool,
}

fn is_false(value: &bool) -> bool {
    !value
}

/// What a path in a layer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EntryKind {
    /// A regular file.
    File,
    /// A further name of one.
    HardLink,
    /// A symbolic link.
    Symlink,
    /// A directory.
    Directory,
    /// Nothing any more: what lower layers have there is gone.
    Whiteout,
}

/// What makes up an image.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ImageSpec {
    /// Always 1.
    pub version: Version,
    /// The image's name, for messages.
    pub name: String,
    /// What it is called, such as `gateway:0.1.0`.
    #[serde(default)]
    pub references: Vec<String>,
    /// What it runs on.
    pub platform: Platform,
    /// A layout directory whose layers and configuration come first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<PathBuf>,
    /// The layers, lowest first.
    #[serde(default)]
    pub layers: Vec<LayerReference>,
    /// How it is run.
    #[serde(default)]
    pub config: Config,
    /// Annotations of the manifest.
    #[serde(default)]
    pub annotations: BTreeMap<String, String>,
    /// When it was made, in seconds since 1970.
    #[serde(default)]
    pub created: u64,
    /// What it is made of, for its bill of materials and its provenance; without it none are made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inputs: Option<InputsSpec>,
}

/// A layer of an image: the directory alone, or with how it relates to the layers below.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(untagged)]
pub enum LayerReference {
    /// The directory that `image layer` made.
    Path(PathBuf),
    /// The same with more to say.
    Detailed(DetailedLayer),
}

/// A layer of an image with how it relates to the others.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DetailedLayer {
    /// The directory that `image layer` made.
    pub path: PathBuf,
    /// Whether its files may replace those of lower layers.
    #[serde(default)]
    pub may_override: bool,
    /// Paths, each with all below it, whose files replace those of lower layers. Each must be in
    /// one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub replaces: Vec<String>,
    /// Whether it is there for its libraries alone: it is left out where no program of the other
    /// layers is linked to one that only this layer has.
    #[serde(default)]
    pub only_if_linked: bool,
    /// What it adds to the image's [`InputsSpec::packages`] where it is taken.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub packages: Vec<PackageInput>,
}

impl LayerReference {
    /// All that can be said, with what holds where it is not.
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

/// Single-platform layouts to join into one.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct IndexSpec {
    /// Always 1.
    pub version: Version,
    /// The image's name, for messages.
    pub name: String,
    /// What it is called.
    #[serde(default)]
    pub references: Vec<String>,
    /// The layout directories that `image assemble` made, one a platform.
    pub layouts: Vec<PathBuf>,
    /// Annotations of the index.
    #[serde(default)]
    pub annotations: BTreeMap<String, String>,
}
