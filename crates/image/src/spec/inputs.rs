//! What an image is made of, as `nix/image/inputs.nix` writes it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Everything that decides about an image's bytes.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct InputsSpec {
    /// The image's entry in the description, with everything resolved.
    pub description: serde_json::Value,
    /// What Cargo was asked to build.
    pub build: BuildInputs,
    /// The builder's own programs, by name, each as the name of its store path.
    #[serde(default)]
    pub tools: BTreeMap<String, String>,
    /// Debian packages.
    #[serde(default)]
    pub packages: Vec<PackageInput>,
    /// Components of the release of the Rust project that compiled; none where the compiler is
    /// Debian's.
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
    /// Other images that this one holds.
    #[serde(default)]
    pub images: Vec<NestedImage>,
}

/// What Cargo was asked to build.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BuildInputs {
    /// Cargo's name of the profile.
    pub profile: String,
    /// The platform, as rustc names it.
    pub target: String,
    /// Features that were asked for.
    #[serde(default)]
    pub features: Vec<String>,
    /// Whether all features were asked for.
    #[serde(default)]
    pub all_features: bool,
    /// Whether default features were switched off.
    #[serde(default)]
    pub no_default_features: bool,
}

/// A Debian package.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PackageInput {
    /// What it is there for.
    pub role: PackageRole,
    /// Its name.
    pub name: String,
    /// Its architecture in Debian's terms.
    pub architecture: String,
    /// Its version.
    pub version: String,
    /// The SHA-256 of its file, in hexadecimal.
    pub sha256: String,
    /// The archive that it comes from, unless that is Debian's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub archive: Option<ArchiveInput>,
}

/// An archive of Debian packages that is not Debian's.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ArchiveInput {
    /// Its name in the description: `[debian.sources.NAME]`.
    pub name: String,
    /// Its address.
    pub url: String,
}

/// A component of a release of the Rust project.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ComponentInput {
    /// Its name: `rustc`, `rust-std`.
    pub name: String,
    /// The compiler's version.
    pub release: String,
    /// The platform, as rustc names it; empty where it is the same for all.
    pub platform: String,
    /// The path of its archive below the address of a distribution server.
    pub archive: String,
    /// The SHA-256 of the archive, in hexadecimal.
    pub sha256: String,
}

/// What a Debian package is there for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PackageRole {
    /// It is in the image.
    Image,
    /// A crate links it.
    Library,
    /// It compiles.
    Toolchain,
}

/// One call of rustc, or one run of a build script.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct UnitInput {
    /// The package's name.
    pub package: String,
    /// Its version.
    pub version: String,
    /// Its directory in the workspace; empty if it does not lie there, or is the root.
    #[serde(default)]
    pub origin: String,
    /// Its source as `Cargo.lock` has it; empty for packages of the workspace.
    #[serde(default)]
    pub source: String,
    /// The SHA-256 of its `.crate` file; none for git and the workspace.
    #[serde(default)]
    pub checksum: Option<String>,
    /// Its licence as its manifest has it; may be empty.
    #[serde(default)]
    pub license: String,
    /// What is made: `lib`, `bin`, `proc-macro`, `build-script` or `run-build-script`.
    pub kind: String,
    /// Whether it is compiled for the image's platform, not for the machine that builds.
    pub for_target: bool,
    /// Code generation options (`-C`).
    #[serde(default)]
    pub options: Vec<String>,
    /// Configuration (`--cfg`), features among them.
    #[serde(default)]
    pub settings: Vec<String>,
    /// Who wrote it, as its manifest has it: `NAME <ADDRESS>`, separated by colons; may be empty.
    #[serde(default)]
    pub authors: String,
    /// The address of its repository, as its manifest has it; may be empty.
    #[serde(default)]
    pub repository: String,
    /// The `.crate` file, or the directory, of a package whose licence is in a file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub license_source: Option<PathBuf>,
    /// That file's path in the package.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub license_file: Option<String>,
    /// The keys of the libraries that it names itself.
    #[serde(default)]
    pub uses: Vec<String>,
    /// What its package's build script left, where it has one (`crateyard_unit::output`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub build_output: Option<PathBuf>,
}

impl UnitInput {
    /// The features that it is compiled with.
    pub fn features(&self) -> impl Iterator<Item = &str> {
        self.settings.iter().filter_map(|it| feature(it))
    }

    /// What else it is compiled with (`--cfg`).
    pub fn other_settings(&self) -> impl Iterator<Item = &str> {
        let others = self.settings.iter().filter(|it| feature(it).is_none());
        others.map(String::as_str)
    }
}

/// `std` of `feature="std"`.
fn feature(setting: &str) -> Option<&str> {
    setting.strip_prefix("feature=\"")?.strip_suffix('"')
}

/// A program of the workspace.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ProgramInput {
    /// Its path in the image.
    pub path: String,
    /// Its package.
    pub package: String,
    /// Its name as a target.
    pub bin: String,
    /// The key of its own unit.
    pub unit: String,
    /// The keys of all units that it was built from.
    pub units: Vec<String>,
}

/// A file or a directory of the workspace.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SourceInput {
    /// Its path in the workspace.
    pub path: String,
    /// Where it is.
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

/// A part, or what is used of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PartInput {
    /// Its name.
    pub name: String,
    /// A path in it; empty for all of it.
    #[serde(default)]
    pub path: String,
    /// Where it is.
    pub from: PathBuf,
    /// Whether the image itself holds it.
    #[serde(default)]
    pub in_image: bool,
    /// The packages that are compiled with it.
    #[serde(default)]
    pub crates: Vec<String>,
    /// How npm made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub npm: Option<NpmInput>,
}

/// How npm made a part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NpmInput {
    /// Whether a command made it of the packages; else it holds them as they are.
    pub is_built: bool,
    /// What npm has installed.
    pub packages: Vec<NpmPackageInput>,
}

/// A package that npm has installed, as `package-lock.json` has it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NpmPackageInput {
    /// Its name, with its scope.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The address of its tarball.
    pub url: String,
    /// The hash of its tarball, such as `sha512-BASE64`
    /// (<https://www.w3.org/TR/SRI/#the-integrity-attribute>).
    pub integrity: String,
    /// Its licence; may be empty.
    #[serde(default)]
    pub license: String,
    /// Whether it is there for development alone.
    #[serde(default)]
    pub dev: bool,
}

/// Another image, held as an archive.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NestedImage {
    /// Its name in the description.
    pub name: String,
    /// Its layout.
    pub layout: PathBuf,
}
