//! The contents of a layer.
//!
//! The types are generic over a path and over a program's list of crates: lowering a description
//! puts a [`Placeholder`](crate::Placeholder) there, and making the layer puts in the path and the
//! list themselves.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::{Attributes, Compression, FormatVersion, Mode, StepSource, base64_values};

/// The specification of one layer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LayerSpec<P = PathBuf, C = LinkedCrates> {
    /// Always 1.
    pub version: FormatVersion,
    /// A name of the layer, for people; it goes into the image's history.
    #[serde(default)]
    pub comment: String,
    /// The compression of the layer.
    #[serde(default)]
    pub compression: Compression,
    /// The time of every entry, in seconds since 1970.
    #[serde(default)]
    pub epoch: u64,
    /// Texts that no file of the layer may hold, such as `/nix/store/`. If a file holds one,
    /// something of the machine that built it has leaked in.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub forbidden: Vec<String>,
    /// The sources of the layer's files. Their order does not matter.
    pub sources: Vec<Source<P, C>>,
}

/// One source of files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Source<P = PathBuf, C = LinkedCrates> {
    /// Debian packages with their metadata.
    Debian(DebianSource<P>),
    /// The bundle of certificate authorities.
    CaCertificates(CaCertificatesSource<P>),
    /// One file.
    File(FileSource<P, C>),
    /// A directory with everything in it.
    Tree(TreeSource<P>),
    /// A file or a directory; its kind shows when the layer is made.
    Copy(CopySource<P>),
    /// A file whose content is in the specification.
    Text(TextSource),
    /// A directory with chosen mode and owner.
    Directory(DirectorySource),
    /// A symbolic link.
    Symlink(SymlinkSource),
    /// A packaged Helm chart.
    Chart(ChartSource<P>),
    /// Another image, as an archive.
    ImageArchive(ImageArchiveSource<P>),
    /// The changes that a command makes.
    Step(StepSource<P>),
}

impl<P, C> Source<P, C> {
    /// Returns the extended attributes that it gives a file.
    pub fn xattrs(&self) -> Option<&Attributes> {
        let xattrs = match self {
            Source::File(source) => &source.xattrs,
            Source::Copy(source) => &source.xattrs,
            Source::Text(source) => &source.xattrs,
            _ => return None,
        };
        Some(xattrs).filter(|xattrs| !xattrs.is_empty())
    }

    /// Returns its path in the image; packages and commands have none.
    pub fn to(&self) -> Option<&str> {
        match self {
            Source::Debian(_) | Source::Step(_) => None,
            Source::CaCertificates(source) => Some(&source.to),
            Source::File(source) => Some(&source.to),
            Source::Tree(source) => Some(&source.to),
            Source::Copy(source) => Some(&source.to),
            Source::Text(source) => Some(&source.to),
            Source::Directory(source) => Some(&source.to),
            Source::Symlink(source) => Some(&source.to),
            Source::Chart(source) => Some(&source.to),
            Source::ImageArchive(source) => Some(&source.to),
        }
    }
}

/// Patterns of files of Debian packages that nothing in an image reads, as a JSON list for
/// [`DebianSource::exclude`]. Nix reads the same list.
pub const UNNEEDED: &str = include_str!("unneeded.json");

/// Returns [`UNNEEDED`] as a list.
pub fn unneeded() -> Vec<String> {
    // The list is part of this program; a test reads it.
    serde_json::from_str(UNNEEDED).unwrap_or_default()
}

/// The usual path of the bundle of certificate authorities.
pub const CA_BUNDLE: &str = "/etc/ssl/certs/ca-certificates.crt";

/// The `PATH` of images that set none; Debian's own default.
pub const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Directories that get another mode than 0755 if no source declares them and something is below
/// them.
pub const SPECIAL_DIRECTORIES: [(&str, Mode); 3] = [
    ("/root", Mode(0o700)),
    ("/tmp", Mode(0o1777)),
    ("/var/tmp", Mode(0o1777)),
];

/// The files of Debian packages as they are in the packages, with merged `/usr`, and dpkg's
/// metadata about them (`/var/lib/dpkg`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DebianSource<P = PathBuf> {
    /// The `.deb` files.
    pub packages: Vec<P>,
    /// Patterns of paths to leave out: `*` and `?` within a component, `**` across components. A
    /// pattern that matches a directory leaves out everything below it. A pattern that starts with
    /// `!` keeps paths that an earlier one left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exclude: Vec<String>,
    /// The `.deb` files of packages that lower layers hold, so that dpkg's status lists them too.
    #[serde(default = "Vec::new", skip_serializing_if = "Vec::is_empty")]
    pub also_installed: Vec<P>,
}

/// The certificates of packages such as `ca-certificates`, as one file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CaCertificatesSource<P = PathBuf> {
    /// The `.deb` files that hold `/usr/share/ca-certificates/**/*.crt`.
    pub packages: Vec<P>,
    /// The path of the bundle in the image.
    #[serde(default = "ca_bundle")]
    pub to: String,
}

fn ca_bundle() -> String {
    CA_BUNDLE.to_owned()
}

/// One file from outside the specification.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FileSource<P = PathBuf, C = LinkedCrates> {
    /// The file.
    pub from: P,
    /// Its path in the image.
    pub to: String,
    /// Its mode; by default, 0755 if it is executable, otherwise 0644.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<Mode>,
    /// Its owner.
    #[serde(default, skip_serializing_if = "is_root")]
    pub uid: u32,
    /// Its group.
    #[serde(default, skip_serializing_if = "is_root")]
    pub gid: u32,
    /// Its extended attributes.
    #[serde(
        default,
        skip_serializing_if = "BTreeMap::is_empty",
        with = "base64_values"
    )]
    pub xattrs: Attributes,
    /// The crates that the file, a program, is linked from. It gets a list of them, as
    /// `cargo auditable` writes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub crates: Option<C>,
}

/// The crates that a program is linked from, by their units' keys in the plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LinkedCrates {
    /// The program's own unit.
    pub root: String,
    /// All units in the program, including its own.
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
    /// Its source, as in `Cargo.lock`; empty for packages of the workspace.
    #[serde(default)]
    pub source: String,
    /// The keys of the libraries that it depends on directly.
    #[serde(default)]
    pub uses: Vec<String>,
}

/// A directory from outside the specification. Directories get mode 0755; symbolic links stay
/// links.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TreeSource<P = PathBuf> {
    /// The directory.
    pub from: P,
    /// Its path in the image.
    pub to: String,
    /// The mode of the files in it; by default, 0755 for executable ones, otherwise 0644.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<Mode>,
    /// The owner of everything in it.
    #[serde(default, skip_serializing_if = "is_root")]
    pub uid: u32,
    /// The group of everything in it.
    #[serde(default, skip_serializing_if = "is_root")]
    pub gid: u32,
}

/// A file or a directory from outside the specification, as in a [`FileSource`] or a
/// [`TreeSource`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CopySource<P = PathBuf> {
    /// The file or the directory.
    pub from: P,
    /// Its path in the image.
    pub to: String,
    /// The mode of the file, or of the files in the directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<Mode>,
    /// The owner of everything in it.
    #[serde(default, skip_serializing_if = "is_root")]
    pub uid: u32,
    /// The group of everything in it.
    #[serde(default, skip_serializing_if = "is_root")]
    pub gid: u32,
    /// The extended attributes of the file. A directory can't have any.
    #[serde(
        default,
        skip_serializing_if = "BTreeMap::is_empty",
        with = "base64_values"
    )]
    pub xattrs: Attributes,
}

/// A file whose content is given here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TextSource {
    /// Its path in the image.
    pub to: String,
    /// Its content.
    pub text: String,
    /// Its mode; by default, 0644.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<Mode>,
    /// Its owner.
    #[serde(default, skip_serializing_if = "is_root")]
    pub uid: u32,
    /// Its group.
    #[serde(default, skip_serializing_if = "is_root")]
    pub gid: u32,
    /// Its extended attributes.
    #[serde(
        default,
        skip_serializing_if = "BTreeMap::is_empty",
        with = "base64_values"
    )]
    pub xattrs: Attributes,
}

/// A directory. This source puts nothing into it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DirectorySource {
    /// Its path in the image.
    pub to: String,
    /// Its mode; by default, 0755.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<Mode>,
    /// Its owner.
    #[serde(default, skip_serializing_if = "is_root")]
    pub uid: u32,
    /// Its group.
    #[serde(default, skip_serializing_if = "is_root")]
    pub gid: u32,
}

/// A symbolic link.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SymlinkSource {
    /// Its path in the image.
    pub to: String,
    /// The target of the link.
    pub target: String,
}

/// A Helm chart, packaged as `helm package` lays it out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ChartSource<P = PathBuf> {
    /// The chart's directory, with `Chart.yaml` in it.
    pub from: P,
    /// Its path in the image; if it ends in `/`, it is a directory that gets `NAME-VERSION.tgz`.
    pub to: String,
    /// Replaces the version in `Chart.yaml`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Replaces the version of the application in `Chart.yaml`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app_version: Option<String>,
}

/// Another image, as one tar file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ImageArchiveSource<P = PathBuf> {
    /// The layout directory.
    pub from: P,
    /// Its path in the image.
    pub to: String,
    /// The format of the archive.
    pub format: ArchiveFormat,
    /// The name that it has when loaded, such as `gateway:0.1.0`.
    pub reference: String,
}

/// The formats of image archives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ArchiveFormat {
    /// An OCI layout as a tar file, for containerd, k3s, podman and skopeo.
    Oci,
    /// The format of `docker load`, which is also an OCI layout.
    Docker,
}

fn is_root(id: &u32) -> bool {
    *id == 0
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
            r#"{"version":1,"comment":"all","compression":{"algorithm":"zstd","level":3},"epoch":7,
            "sources":[
            {"kind":"debian","packages":["/a.deb"],"exclude":["usr/share/doc/**"],
                "alsoInstalled":["/b.deb"]},
            {"kind":"ca-certificates","packages":["/a.deb"]},
            {"kind":"file","from":"/x","to":"/x","mode":"4755","xattrs":{"user.a":"YQ=="}},
            {"kind":"tree","from":"/x","to":"/y","uid":1},
            {"kind":"copy","from":"/x","to":"/z","mode":"0600","xattrs":{"user.a":"YQ=="}},
            {"kind":"text","to":"/t","text":"hello","xattrs":{"user.a":"YQ=="}},
            {"kind":"directory","to":"/tmp","mode":"1777"},
            {"kind":"symlink","to":"/l","target":"x"},
            {"kind":"chart","from":"/c","to":"/charts/","appVersion":"2"},
            {"kind":"image-archive","from":"/l","to":"/i.tar","format":"oci","reference":"a:1"},
            {"kind":"step","below":["/l"],"run":["/bin/true"],"workdir":"/",
                "environment":{"A":"1"}}]}"#,
        )
        .unwrap();
        assert_eq!(spec.sources.len(), 11);
        let again = layer(&serde_json::to_string(&spec).unwrap()).unwrap();
        assert_eq!(spec, again);
    }

    #[test]
    fn the_list_of_what_is_left_out_is_read() {
        assert!(unneeded().contains(&"usr/share/doc/**".to_owned()));
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
            (
                r#"{"version":1,"sources":[
                    {"kind":"text","to":"/a","text":"","xattrs":{"user.a":"?"}}]}"#,
                "the value of \"user.a\" is not base 64",
            ),
            (r#"{"version":1,"sources":[{"kind":"teapot"}]}"#, "teapot"),
        ] {
            let error = layer(text).unwrap_err().to_string();
            assert!(error.contains(says), "{text}: {error}");
        }
    }
}
