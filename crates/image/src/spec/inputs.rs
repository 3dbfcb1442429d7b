//! The inputs of an image, as `nix/image/inputs.nix` writes them.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crateyard_attestation::provenance::BuildInputs;
use serde::{Deserialize, Serialize};

/// All inputs that decide the bytes of an image.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct InputsSpec {
    /// The image's entry in the description, with every reference resolved.
    pub description: serde_json::Value,
    /// The options for Cargo.
    pub build: BuildInputs,
    /// The builder's own programs, by name, each as the digest of its file.
    #[serde(default)]
    pub tools: BTreeMap<String, String>,
    /// Debian packages.
    #[serde(default)]
    pub packages: Vec<PackageInput>,
    /// Components of the Rust project's release that compiled, or none if the compiler is Debian's.
    #[serde(default)]
    pub components: Vec<ComponentInput>,
    /// The units of the programs, by their keys in the plan.
    #[serde(default)]
    pub units: BTreeMap<String, UnitInput>,
    /// The programs that were built for the image.
    #[serde(default)]
    pub programs: Vec<ProgramInput>,
    /// Files and directories of the workspace.
    #[serde(default)]
    pub sources: Vec<SourceInput>,
    /// Files that were downloaded for parts.
    #[serde(default)]
    pub downloads: Vec<DownloadInput>,
    /// Parts that the image holds, or its crates embed.
    #[serde(default)]
    pub parts: Vec<PartInput>,
    /// Other images inside this one.
    #[serde(default)]
    pub images: Vec<NestedImage>,
}

/// A Debian package.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PackageInput {
    /// The package's purpose.
    pub role: PackageRole,
    /// The package's name.
    pub name: String,
    /// The package's architecture in Debian's terms.
    pub architecture: String,
    /// The package's version.
    pub version: String,
    /// The SHA-256 of the package's file, in hexadecimal.
    pub sha256: String,
    /// The archive that the package comes from, unless that is Debian's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub archive: Option<ArchiveInput>,
}

/// An archive of Debian packages that is not Debian's.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ArchiveInput {
    /// The archive's name in the description: `[debian.sources.NAME]`.
    pub name: String,
    /// The archive's address.
    pub url: String,
}

/// A component of a release of the Rust project.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ComponentInput {
    /// The component's name: `rustc`, `rust-std`.
    pub name: String,
    /// The compiler's version.
    pub release: String,
    /// The platform in rustc's terms, or empty if the component is the same for all.
    pub platform: String,
    /// The path of the component's archive below the address of a distribution server.
    pub archive: String,
    /// The SHA-256 of the archive, in hexadecimal.
    pub sha256: String,
}

/// The purpose of a Debian package.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PackageRole {
    /// The image holds the package.
    Image,
    /// A crate links the package.
    Library,
    /// The package is part of the toolchain.
    Toolchain,
}

/// One call of rustc, or one run of a build script.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct UnitInput {
    /// The package's name.
    pub package: String,
    /// The package's version.
    pub version: String,
    /// The package's directory in the workspace. Empty if it is outside, or the root.
    #[serde(default)]
    pub origin: String,
    /// The package's source in `Cargo.lock`, or empty for packages of the workspace.
    #[serde(default)]
    pub source: String,
    /// The SHA-256 of the `.crate` file, or none for git and the workspace.
    #[serde(default)]
    pub checksum: Option<String>,
    /// The licence in the manifest, which may be empty.
    #[serde(default)]
    pub license: String,
    /// The kind of the unit: `lib`, `bin`, `proc-macro`, `build-script` or `run-build-script`.
    pub kind: String,
    /// Whether the unit is compiled for the image's platform and not for the machine that builds.
    pub for_target: bool,
    /// Code generation options (`-C`).
    #[serde(default)]
    pub options: Vec<String>,
    /// Configuration (`--cfg`), features among them.
    #[serde(default)]
    pub settings: Vec<String>,
    /// The authors in the manifest: `NAME <ADDRESS>`, separated by colons. May be empty.
    #[serde(default)]
    pub authors: String,
    /// The address of the repository in the manifest, which may be empty.
    #[serde(default)]
    pub repository: String,
    /// The `.crate` file, or the directory, of a package whose licence is in a file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub license_source: Option<PathBuf>,
    /// The path of the licence's file in the package.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub license_file: Option<String>,
    /// The keys of the libraries that the unit names itself.
    #[serde(default)]
    pub uses: Vec<String>,
    /// The output of the package's build script, if the package has one (`crateyard_unit::output`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub build_output: Option<PathBuf>,
}

impl UnitInput {
    /// Returns the features that the unit is compiled with.
    pub fn features(&self) -> impl Iterator<Item = &str> {
        self.settings.iter().filter_map(|it| feature(it))
    }

    /// Returns the other settings that the unit is compiled with (`--cfg`).
    pub(crate) fn other_settings(&self) -> impl Iterator<Item = &str> {
        let others = self.settings.iter().filter(|it| feature(it).is_none());
        others.map(String::as_str)
    }
}

/// Returns `std` for `feature="std"`.
fn feature(setting: &str) -> Option<&str> {
    setting.strip_prefix("feature=\"")?.strip_suffix('"')
}

/// A program of the workspace.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ProgramInput {
    /// The program's path in the image.
    pub path: String,
    /// The program's package.
    pub package: String,
    /// The program's name as a target.
    pub bin: String,
    /// The key of the program's own unit.
    pub unit: String,
    /// The keys of all units that the program was built from.
    pub units: Vec<String>,
}

/// A file or a directory of the workspace.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SourceInput {
    /// The source's path in the workspace.
    pub path: String,
    /// The place of the source on this machine.
    pub from: PathBuf,
}

/// A file that was downloaded for a part.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DownloadInput {
    /// The part's name.
    pub part: String,
    /// The address in the description.
    pub url: String,
    /// The SHA-256 of the file, in hexadecimal.
    pub sha256: String,
}

/// A part, or the used path of one.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PartInput {
    /// The part's name.
    pub name: String,
    /// A path in the part, or empty for all of it.
    #[serde(default)]
    pub path: String,
    /// The place of the part on this machine.
    pub from: PathBuf,
    /// Whether the image itself holds it.
    #[serde(default)]
    pub in_image: bool,
    /// The packages that are compiled with it.
    #[serde(default)]
    pub crates: Vec<String>,
    /// The npm packages that the part was made from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub npm: Option<NpmInput>,
}

/// The npm packages of a part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NpmInput {
    /// Whether a command made the part from the packages. Otherwise the part holds them unchanged.
    pub is_built: bool,
    /// The packages that npm installed.
    pub packages: Vec<NpmPackageInput>,
}

/// A package that npm installed, as in `package-lock.json`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NpmPackageInput {
    /// The package's name, with its scope.
    pub name: String,
    /// The package's version.
    pub version: String,
    /// The address of the tarball.
    pub url: String,
    /// The hash of the tarball, such as `sha512-BASE64`
    /// (<https://www.w3.org/TR/SRI/#the-integrity-attribute>).
    pub integrity: String,
    /// The package's licence, which may be empty.
    #[serde(default)]
    pub license: String,
    /// Whether the package is only there for development.
    #[serde(default)]
    pub dev: bool,
}

/// Another image inside this one, as an archive.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NestedImage {
    /// The image's name in the description.
    pub name: String,
    /// The image's layout.
    pub layout: PathBuf,
}
