//! The normalized description, which builders read. It leaves nothing to decide.
//!
//! Its JSON has the same bytes wherever it is written: fields in the order below, maps sorted by
//! key.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::value::TargetPlatform;

pub use crateyard_spec::lowered::{Layer, Source};
pub use crateyard_spec::{
    Binary, Compression, Config, Healthcheck, Packages, Placeholder, SetReference,
};

/// The version of this form.
pub const VERSION: u32 = 2;

/// Everything that an `images.toml` says, resolved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Description {
    /// Version of this form: [`VERSION`].
    pub version: u32,
    /// The sources of Debian packages.
    pub debian: Debian,
    /// The settings for Cargo.
    pub build: Build,
    /// The compiler.
    pub toolchain: Toolchain,
    /// Extra inputs of single crates, by package name.
    pub crates: BTreeMap<String, Crate>,
    /// All images, variants among them.
    pub images: BTreeMap<String, Image>,
}

impl Description {
    /// Returns the JSON, indented, with a newline at its end.
    pub fn to_json(&self) -> String {
        // Maps with string keys and plain values always have a JSON form.
        let json = serde_json::to_string_pretty(self).unwrap_or_default();
        json + "\n"
    }
}

/// Suites, architectures and sets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Debian {
    /// Suites in order of preference.
    pub suites: Vec<String>,
    /// Architectures, sorted.
    pub architectures: Vec<String>,
    /// Sets by name: those of `[debian.sets]`, `images.NAME` for an image's own packages,
    /// `crates.NAME` for a crate's.
    pub sets: BTreeMap<String, Set>,
}

/// A set of packages to resolve.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Set {
    /// The requested packages, sorted.
    pub packages: Vec<String>,
    /// Packages to leave out, even if another one depends on them, sorted.
    pub omit: Vec<String>,
    /// The set whose packages are already installed, and whose `omit` applies too. This set adds to
    /// it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub beyond: Option<String>,
    /// Architectures to resolve for, sorted.
    pub architectures: Vec<String>,
    /// Whether to include dependencies.
    pub dependencies: bool,
}

/// The settings for Cargo.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Build {
    /// Whether `Cargo.lock` must be up to date.
    pub locked: bool,
    /// Whether programs in images carry the list of their crates, as `cargo auditable` writes it.
    #[serde(default = "yes", skip_serializing_if = "Clone::clone")]
    pub crate_list: bool,
    /// The settings for checks, and for images that give none.
    pub settings: Settings,
    /// The calls that compile the binaries of all images, by name.
    pub calls: BTreeMap<String, Call>,
    /// The platforms of all images, by name.
    pub targets: BTreeMap<String, PlatformNames>,
}

/// The settings of a call of Cargo.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Settings {
    /// Cargo's profile.
    pub profile: String,
    /// Features of the selected packages, sorted.
    pub features: Vec<String>,
    /// Whether all features of the selected packages are on.
    pub all_features: bool,
    /// Whether default features are off.
    pub no_default_features: bool,
    /// The target as rustc names it, if it is not the platform's own.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub target: Option<String>,
}

/// One call of Cargo, for all images with the same settings, so that features are the same for all
/// of them. No two packages of a call share the name of a requested binary: Cargo would put both at
/// one path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Call {
    /// The settings of the images, with the features that the binaries require.
    pub settings: Settings,
    /// The binaries, sorted, each once.
    pub binaries: Vec<Binary>,
}

fn yes() -> bool {
    true
}

/// The names of a platform.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PlatformNames {
    /// Debian's name of the architecture.
    pub architecture: String,
    /// Rust's name of the target.
    pub rust: String,
    /// The prefix of the names of GNU's compilers: `aarch64-linux-gnu` for `aarch64-linux-gnu-gcc`.
    pub gnu: String,
    /// The set that compiles for it on a builder of another architecture, in addition to the
    /// toolchain.
    pub cross: String,
}

impl Build {
    /// Returns the binaries that images hold, sorted, each once.
    pub fn binaries(&self) -> Vec<&Binary> {
        let mut binaries: Vec<&Binary> = self.calls.values().flat_map(|it| &it.binaries).collect();
        binaries.sort();
        binaries
    }
}

impl Settings {
    /// Returns a name of letters, digits and `-`: `release`, `release-postgres`. Other settings may
    /// have the same.
    pub fn name(&self) -> String {
        let flags = [
            (self.all_features, "all-features"),
            (self.no_default_features, "no-default-features"),
        ];
        let flags = flags.into_iter().filter(|(is_on, _)| *is_on);
        let words = std::iter::once(self.profile.as_str())
            .chain(self.features.iter().map(String::as_str))
            .chain(flags.map(|(_, name)| name))
            .chain(self.target.as_deref());
        let name: Vec<&str> = words.collect();
        let allowed = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
        name.join("-").chars().map(allowed).collect()
    }

    /// Returns the name of the profile's directory below Cargo's target directory.
    pub fn profile_directory(&self) -> &str {
        match self.profile.as_str() {
            "dev" | "test" => "debug",
            "bench" => "release",
            other => other,
        }
    }
}

impl Call {
    /// Returns the words after `cargo build` that choose profile, features, target, packages and
    /// binaries.
    pub fn cargo_arguments(&self) -> Vec<String> {
        let settings = &self.settings;
        let mut words = vec!["--profile".to_string(), settings.profile.clone()];
        if !settings.features.is_empty() {
            words.extend(["--features".to_string(), settings.features.join(",")]);
        }
        if settings.all_features {
            words.push("--all-features".to_string());
        }
        if settings.no_default_features {
            words.push("--no-default-features".to_string());
        }
        if let Some(target) = &settings.target {
            words.extend(["--target".to_string(), target.clone()]);
        }
        let packages: BTreeSet<&String> = self.binaries.iter().map(|one| &one.package).collect();
        let bins: BTreeSet<&String> = self.binaries.iter().map(|one| &one.bin).collect();
        let options = |option: &str, names: BTreeSet<&String>| {
            let pairs = names
                .into_iter()
                .map(|name| [option.to_string(), name.clone()]);
            pairs.flatten().collect::<Vec<_>>()
        };
        words.extend(options("--package", packages));
        words.extend(options("--bin", bins));
        words
    }
}

/// The compiler.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Toolchain {
    /// `release` or `debian`.
    pub provider: String,
    /// The release that `images.toml` asks for.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub release: Option<String>,
    /// The linker that replaces the release's own.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub linker: Option<String>,
    /// The set with the C toolchain, and with the compiler if Debian provides it.
    pub set: String,
}

/// Extra inputs of a crate: Debian packages, files of the workspace, variables, the revision,
/// parts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Crate {
    /// The set of its Debian packages, if it has any.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub set: Option<String>,
    /// Files and directories, relative to the workspace.
    pub files: Vec<String>,
    /// Variables that its units see besides Cargo's.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    pub environment: BTreeMap<String, String>,
    /// Whether its units see the revision that is built.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub revision: bool,
    /// Parts that its units see in the package's directory, sorted by place.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub parts: Vec<CratePart>,
}

/// A part in the directory of a package.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CratePart {
    /// The part's name.
    pub part: String,
    /// Its place, relative to the package's directory.
    pub path: String,
    /// A path in the part; empty for the whole part.
    #[serde(skip_serializing_if = "String::is_empty", default)]
    pub from: String,
}

/// An image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Image {
    /// Its name.
    pub name: String,
    /// The image that it is a variant of.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub variant_of: Option<String>,
    /// Its base.
    pub base: Base,
    /// The platforms that it is built for.
    pub platforms: Vec<TargetPlatform>,
    /// The compression of its layers.
    pub compression: Compression,
    /// Its tags, the main one first.
    pub tags: Vec<String>,
    /// Its references: its name with each of its tags.
    pub references: Vec<String>,
    /// Its layers from the bottom up, lowered, without those of a foreign base.
    pub layers: Vec<Layer>,
    /// The images in it, sorted, each once.
    pub images: Vec<String>,
    /// Its configuration. Over a foreign base, the base gives all values that are missing here.
    pub config: Config,
}

impl Image {
    /// Returns the sources of all its layers.
    pub fn sources(&self) -> impl Iterator<Item = &Source> {
        self.layers.iter().flat_map(|layer| &layer.sources)
    }

    /// Returns its programs with their paths in it.
    pub fn programs(&self) -> impl Iterator<Item = (&str, &Binary)> {
        self.sources().filter_map(|source| match source {
            Source::File(file) => match &file.from {
                Placeholder::Program(binary) => Some((file.to.as_str(), binary)),
                _ => None,
            },
            _ => None,
        })
    }

    /// Returns the files and directories of the workspace that it holds, without charts.
    pub fn copied(&self) -> impl Iterator<Item = &str> {
        self.sources().filter_map(|source| match source {
            Source::Copy(copy) => copy.from.workspace_path(),
            _ => None,
        })
    }

    /// Returns the names of the parts that it holds.
    pub fn parts(&self) -> impl Iterator<Item = &str> {
        self.sources().filter_map(|source| match source {
            Source::Copy(copy) => copy.from.part(),
            _ => None,
        })
    }

    /// Returns the commands whose changes it holds.
    pub fn steps(&self) -> impl Iterator<Item = &[String]> {
        self.sources().filter_map(|source| match source {
            Source::Step(step) => Some(&step.run[..]),
            _ => None,
        })
    }

    /// Returns the directories of the charts that it holds.
    pub fn charts(&self) -> impl Iterator<Item = &str> {
        self.sources().filter_map(|source| match source {
            Source::Chart(chart) => chart.from.workspace_path(),
            _ => None,
        })
    }
}

/// The base of an image: an OCI layout, an image in a registry, or nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "camelCase", deny_unknown_fields)]
pub enum Base {
    /// No other image. A Debian base is the first of the layers.
    None,
    /// An OCI layout in the workspace.
    Layout {
        /// Its directory, relative to the workspace.
        path: String,
        /// The digest of the manifest or index in it.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        digest: Option<String>,
    },
    /// An image in a registry.
    Reference {
        /// Registry, repository and tag.
        reference: String,
        /// The digest of the manifest or index.
        digest: String,
    },
}
