//! The files between the Nix side and the `image` program, version 1.
//!
//! Three go in: [`LayerSpec`] for `image layer`, [`ImageSpec`] for `image assemble`, [`IndexSpec`]
//! for `image index`. Two come out beside each layer's blob: [`LayerRecord`] (`layer.json`) and
//! [`LayerEntries`] (`entries.json`). All are JSON objects with `"version": 1`; unknown fields are
//! errors. Paths in the image are absolute (`/usr/bin/gateway`).

mod details;
mod inputs;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use crateyard_oci::{Digest, Platform};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::compress::Compression;
use crate::{Error, Result};

pub use details::{LayerPackages, PackageDetails};
pub use inputs::{
    BuildInputs, ComponentInput, InputsSpec, NestedImage, PackageInput, PackageRole, ProgramInput,
    SourceInput, UnitInput,
};

/// The version of all specifications and records.
pub const VERSION: u32 = 1;

/// Finds a specification: a path, or `@NAME` for the attribute NAME of the derivation that is being
/// built. Nix has put that into a file and named the file in the variable `NAMEPath`; it lies in the
/// build directory, which a cell shows as `/build`.
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

/// The number 1: anything else is refused when it is read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Version;

impl Serialize for Version {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u32(VERSION)
    }
}

impl<'de> Deserialize<'de> for Version {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Version, D::Error> {
        match u32::deserialize(deserializer)? {
            VERSION => Ok(Version),
            other => Err(serde::de::Error::custom(format!(
                "version {other} is not understood, only version {VERSION}"
            ))),
        }
    }
}

/// Permission bits, written as octal text such as `"0755"` because JSON has no octal numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mode(pub u32);

impl Serialize for Mode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04o}", self.0)
    }
}

impl<'de> Deserialize<'de> for Mode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Mode, D::Error> {
        let text = String::deserialize(deserializer)?;
        let octal = text.bytes().all(|byte| (b'0'..=b'7').contains(&byte));
        match u32::from_str_radix(&text, 8) {
            Ok(mode) if octal && mode <= 0o7777 => Ok(Mode(mode)),
            _ => Err(serde::de::Error::custom(format!(
                "{text:?} is not a mode: write octal digits in quotes, such as \"0755\""
            ))),
        }
    }
}

/// What goes into one layer.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LayerSpec {
    /// Always 1.
    pub version: Version,
    /// What the layer is, for people; goes into the image's history.
    #[serde(default)]
    pub comment: String,
    /// How the layer is compressed.
    #[serde(default)]
    pub compression: Compression,
    /// The time of every entry, in seconds since 1970.
    #[serde(default)]
    pub epoch: u64,
    /// Texts that no file of the layer may hold, such as `/nix/store/`: where one shows, something
    /// of the machine that built the file got into it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub forbidden: Vec<String>,
    /// What to put in. The order does not matter.
    pub sources: Vec<Source>,
}

/// One source of files.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Source {
    /// Debian packages with their metadata.
    Debian(DebianSource),
    /// The bundle of certificate authorities.
    CaCertificates(CaCertificatesSource),
    /// One file.
    File(FileSource),
    /// A directory with all that is in it.
    Tree(TreeSource),
    /// A file whose content stands in the specification.
    Text(TextSource),
    /// A directory with chosen mode and owner.
    Directory(DirectorySource),
    /// A symbolic link.
    Symlink(SymlinkSource),
    /// A packaged Helm chart.
    Chart(ChartSource),
    /// Another image, as an archive.
    ImageArchive(ImageArchiveSource),
    /// `/etc/passwd` and `/etc/group`.
    Users(UsersSource),
}

/// The files of Debian packages as they are in the packages, with merged `/usr`, and what dpkg
/// knows of them (`/var/lib/dpkg`).
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DebianSource {
    /// The `.deb` files.
    pub packages: Vec<PathBuf>,
    /// Patterns of paths to leave out: `*` and `?` within a component, `**` across. What matches
    /// a directory leaves out all below. A pattern that starts with `!` keeps what an earlier one
    /// left out.
    #[serde(default)]
    pub exclude: Vec<String>,
    /// The `.deb` files of packages that lower layers hold, so that dpkg's status lists them too.
    #[serde(default)]
    pub also_installed: Vec<PathBuf>,
}

/// The certificates of packages such as `ca-certificates`, as one file.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CaCertificatesSource {
    /// The `.deb` files that hold `/usr/share/ca-certificates/**/*.crt`.
    pub packages: Vec<PathBuf>,
    /// Where the bundle goes.
    #[serde(default = "ca_bundle")]
    pub to: String,
}

fn ca_bundle() -> String {
    "/etc/ssl/certs/ca-certificates.crt".to_owned()
}

/// One file from outside.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FileSource {
    /// The file.
    pub from: PathBuf,
    /// Its path in the image.
    pub to: String,
    /// Its mode; without it 0755 if it may be executed, else 0644.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<Mode>,
    /// Its owner.
    #[serde(default)]
    pub uid: u32,
    /// Its group.
    #[serde(default)]
    pub gid: u32,
    /// Extended attributes, in base 64.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub xattrs: BTreeMap<String, String>,
    /// The crates that the file, a program, is linked from: it gets a list of them ([`crate::auditable`]).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crates: Option<LinkedCrates>,
}

/// The crates that a program is linked from, by their units' keys in the plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LinkedCrates {
    /// The program's own unit.
    pub root: String,
    /// All units that are in it, its own among them.
    pub units: BTreeMap<String, LinkedCrate>,
}

/// A unit that a program is linked from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LinkedCrate {
    /// The package's name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Its source as `Cargo.lock` has it; empty for packages of the workspace.
    #[serde(default)]
    pub source: String,
    /// The keys of the libraries that it names itself.
    #[serde(default)]
    pub uses: Vec<String>,
}

/// A directory from outside. Directories get mode 0755, files 0755 or 0644 as they may be executed
/// or not; symbolic links stay what they are.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TreeSource {
    /// The directory.
    pub from: PathBuf,
    /// Its path in the image.
    pub to: String,
    /// The owner of all in it.
    #[serde(default)]
    pub uid: u32,
    /// The group of all in it.
    #[serde(default)]
    pub gid: u32,
}

/// A file whose content stands here.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TextSource {
    /// Its path in the image.
    pub to: String,
    /// Its content.
    pub text: String,
    /// Its mode; without it 0644.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<Mode>,
    /// Its owner.
    #[serde(default)]
    pub uid: u32,
    /// Its group.
    #[serde(default)]
    pub gid: u32,
}

/// A directory, empty as far as this source goes.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DirectorySource {
    /// Its path in the image.
    pub to: String,
    /// Its mode; without it 0755.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<Mode>,
    /// Its owner.
    #[serde(default)]
    pub uid: u32,
    /// Its group.
    #[serde(default)]
    pub gid: u32,
}

/// A symbolic link.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SymlinkSource {
    /// Its path in the image.
    pub to: String,
    /// What it points to.
    pub target: String,
}

/// A Helm chart, packaged as `helm package` lays it out.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ChartSource {
    /// The chart's directory, with `Chart.yaml` in it.
    pub from: PathBuf,
    /// Its path in the image; a directory, whose name ends in `/`, gets `NAME-VERSION.tgz`.
    pub to: String,
    /// Stands in for the version in `Chart.yaml`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Stands in for the version of the application in `Chart.yaml`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app_version: Option<String>,
}

/// Another image, as one tar file.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ImageArchiveSource {
    /// The layout directory.
    pub from: PathBuf,
    /// Its path in the image.
    pub to: String,
    /// What kind of archive.
    pub format: ArchiveFormat,
    /// The name under which it is loaded, such as `gateway:0.1.0`.
    pub reference: String,
}

/// The formats of image archives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ArchiveFormat {
    /// An OCI layout as a tar file: containerd, k3s, podman, skopeo.
    Oci,
    /// What `docker load` reads; an OCI layout too.
    Docker,
}

/// Users and groups.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct UsersSource {
    /// The users besides `root` and `nobody`, which are always there.
    pub users: Vec<User>,
    /// Groups besides `root`, `nogroup` and the users' own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<Group>,
    /// Debian's `base-passwd` package, whose users and groups are taken over when it is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<PathBuf>,
}

/// One line of `/etc/passwd`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct User {
    /// The name.
    pub name: String,
    /// The number.
    pub uid: u32,
    /// The number of the primary group; a group of the user's name is made if none has it.
    pub gid: u32,
    /// The home directory; not created by this.
    #[serde(default = "no_home")]
    pub home: String,
    /// The login shell.
    #[serde(default = "no_shell")]
    pub shell: String,
    /// The full name.
    #[serde(default)]
    pub gecos: String,
    /// Names of further groups that the user is in.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
}

fn no_home() -> String {
    "/nonexistent".to_owned()
}

fn no_shell() -> String {
    "/usr/sbin/nologin".to_owned()
}

/// One line of `/etc/group`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Group {
    /// The name.
    pub name: String,
    /// The number.
    pub gid: u32,
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
    pub config: ConfigSpec,
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
    /// Paths, each with all below it, whose files replace those of lower layers. Each must be in one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub replaces: Vec<String>,
    /// Whether it is there for its libraries alone: it is left out where no program of the other layers is linked to
    /// one that only this layer has.
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

/// How an image is run. What is absent or empty comes from the base image.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ConfigSpec {
    /// User name or number, optionally with `:` and a group.
    pub user: Option<String>,
    /// Ports such as `8080/tcp`; `8080` means TCP.
    pub exposed_ports: Vec<String>,
    /// Environment variables in order.
    pub env: Vec<Variable>,
    /// The program and its first arguments. Setting it drops the base's `cmd`.
    pub entrypoint: Option<Vec<String>>,
    /// The arguments that the caller may replace.
    pub cmd: Option<Vec<String>>,
    /// Paths that are mounted from outside.
    pub volumes: Vec<String>,
    /// The directory to start in.
    pub working_dir: Option<String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// The signal that stops the container.
    pub stop_signal: Option<String>,
    /// How docker and podman find out whether the container works.
    pub healthcheck: Option<HealthcheckSpec>,
}

/// An environment variable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Variable {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: String,
}

/// A health check; durations are nanoseconds.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HealthcheckSpec {
    /// `["CMD", program, …]`, `["CMD-SHELL", command]` or `["NONE"]`.
    pub test: Vec<String>,
    /// Time between two checks.
    #[serde(default)]
    pub interval: Option<u64>,
    /// Time after which a check has failed.
    #[serde(default)]
    pub timeout: Option<u64>,
    /// Time in which failures do not count.
    #[serde(default)]
    pub start_period: Option<u64>,
    /// Time between two checks in the start period.
    #[serde(default)]
    pub start_interval: Option<u64>,
    /// How many failures in a row make it unhealthy.
    #[serde(default)]
    pub retries: Option<u64>,
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

#[cfg(test)]
mod tests {
    use super::*;

    fn layer(text: &str) -> Result<LayerSpec, serde_json::Error> {
        serde_json::from_str(text)
    }

    #[test]
    fn every_source_is_read() {
        let spec = layer(
            r#"{"version":1,"comment":"all","compression":{"algorithm":"zstd","level":3},"epoch":7,"sources":[
            {"kind":"debian","packages":["/a.deb"],"exclude":["usr/share/doc/**"],"alsoInstalled":["/b.deb"]},
            {"kind":"ca-certificates","packages":["/a.deb"]},
            {"kind":"file","from":"/x","to":"/x","mode":"4755","xattrs":{"user.a":"YQ=="}},
            {"kind":"tree","from":"/x","to":"/y","uid":1},
            {"kind":"text","to":"/t","text":"hello"},
            {"kind":"directory","to":"/tmp","mode":"1777"},
            {"kind":"symlink","to":"/l","target":"x"},
            {"kind":"chart","from":"/c","to":"/charts/","appVersion":"2"},
            {"kind":"image-archive","from":"/l","to":"/i.tar","format":"oci","reference":"a:1"},
            {"kind":"users","users":[{"name":"app","uid":10,"gid":10}]}]}"#,
        )
        .unwrap();
        assert_eq!(spec.sources.len(), 10);
        let again = layer(&serde_json::to_string(&spec).unwrap()).unwrap();
        assert_eq!(format!("{spec:?}"), format!("{again:?}"));
    }

    #[test]
    fn mistakes_are_refused() {
        for (text, says) in [
            (r#"{"version":2,"sources":[]}"#, "version 2"),
            (r#"{"version":1,"sources":[],"colour":1}"#, "colour"),
            (
                r#"{"version":1,"sources":[{"kind":"text","to":"/a","text":"","mod":1}]}"#,
                "mod",
            ),
            (
                r#"{"version":1,"sources":[{"kind":"text","to":"/a","text":"","mode":"0999"}]}"#,
                "0999",
            ),
            (
                r#"{"version":1,"sources":[{"kind":"directory","to":"/a","mode":493}]}"#,
                "493",
            ),
            (r#"{"version":1,"sources":[{"kind":"teapot"}]}"#, "teapot"),
        ] {
            let error = layer(text).unwrap_err().to_string();
            assert!(error.contains(says), "{text}: {error}");
        }
    }
}
