//! The values of an `images.toml`, with the place of everything that later checks may complain
//! about.

use std::collections::BTreeMap;
use std::ops::Range;

pub use toml::Spanned;

pub use image::*;

use crate::problem::Source;
use crate::value::TargetPlatform;

mod image;

/// A whole description. [`Description::parse`] makes it, after finding no error in the text by
/// itself.
#[derive(Clone, Debug)]
pub struct Description {
    /// The text that it was read from.
    pub source: Source,
    /// The sources of Debian packages.
    pub debian: Debian,
    /// The settings for Cargo.
    pub build: Build,
    /// The compiler.
    pub toolchain: Toolchain,
    /// Extra inputs of single crates, by package name.
    pub crates: Vec<Crate>,
    /// The parts that npm makes, by name.
    pub npm_parts: BTreeMap<String, NpmPart>,
    /// The parts that are downloaded, by name: those of `[parts]`, and those of images and crates
    /// ([`crate::own_part`]).
    pub downloads: BTreeMap<String, DownloadedPart>,
    /// Accounts, besides the built-in ones.
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
    pub sources: BTreeMap<String, AptSource>,
}

/// `[debian.sources.NAME]`: an archive that is not Debian's. Only `assemble lock` reads it; the
/// lock pins the packages from it.
#[derive(Clone, Debug)]
pub struct AptSource {
    /// The archive's address, without `/` at its end.
    pub url: String,
    /// A suite, or a directory with `/` at its end.
    pub suite: String,
    /// Components of the suite. A directory has none.
    pub components: Vec<String>,
    /// The file of the workspace that holds the keys allowed to sign.
    pub key: Option<String>,
    /// The fingerprint of the only key allowed to sign: upper-case hexadecimal.
    pub fingerprint: Option<String>,
    /// Architectures that the archive must have.
    pub architectures: Option<Vec<String>>,
}

/// `[debian.sets.NAME]`.
#[derive(Clone, Debug)]
pub struct Set {
    /// The requested packages, without their dependencies.
    pub packages: Vec<String>,
    /// Packages to leave out, even if another one depends on them.
    pub omit: Vec<String>,
    /// The set whose packages are already installed.
    pub beyond: Option<Spanned<String>>,
    /// Architectures to resolve for, if they differ from those of `[debian]`.
    pub architectures: Option<Vec<String>>,
    /// Whether to include dependencies.
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
    /// Whether all features of the selected packages are on.
    pub all_features: bool,
    /// Whether default features are off.
    pub no_default_features: bool,
    /// Whether programs in images carry the list of their crates.
    pub crate_list: bool,
}

/// `build` of an image: its fields replace those of `[build]`.
#[derive(Clone, Debug, Default)]
#[allow(missing_docs)] // Each is the key of that name, which docs/images-toml.md explains.
pub struct BuildFields {
    pub profile: Option<String>,
    pub features: Option<Vec<String>>,
    pub all_features: Option<bool>,
    pub no_default_features: Option<bool>,
    /// The target as rustc names it, and its platform.
    pub target: Option<Spanned<(String, TargetPlatform)>>,
}

impl BuildFields {
    /// Puts the fields of a variant over those of its image.
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
    /// The requested release, in rustup's words; without it, `rust-toolchain.toml` and
    /// `rust-version` decide.
    pub release: Option<Spanned<String>>,
    /// The linker that replaces the release's own: `lld` or `mold`.
    pub linker: Option<String>,
    /// The set of Debian packages with the C toolchain, and with the compiler if Debian provides
    /// it.
    pub set: Spanned<String>,
    /// Debian packages to add to this set.
    pub packages: Vec<String>,
}

/// `[crates.NAME]`.
#[derive(Clone, Debug)]
pub struct Crate {
    /// The name of the package.
    pub name: Spanned<String>,
    /// Debian packages that are installed while it compiles.
    pub packages: Vec<String>,
    /// Files besides its sources, as written: relative to the directory of a member; for other
    /// packages, to the workspace.
    pub files: Vec<Spanned<String>>,
    /// Variables that its units see besides Cargo's.
    pub environment: BTreeMap<String, String>,
    /// Whether its units see the revision that is built.
    pub revision: bool,
    /// Parts that its units see in the package's directory, also those of `downloads`.
    pub parts: Vec<CratePart>,
    /// The parts that its `downloads` make, by name.
    pub downloads: BTreeMap<String, DownloadedPart>,
}

/// A part in the directory of a package.
#[derive(Clone, Debug)]
pub struct CratePart {
    /// The part's name.
    pub part: Spanned<String>,
    /// Its place, relative to the package's directory.
    pub path: Spanned<String>,
    /// A path in the part; empty for the whole part.
    pub from: String,
}

/// `[parts.NAME]` with `npm`. Nix reads the other fields.
#[derive(Clone, Debug)]
pub struct NpmPart {
    /// The directory with `package.json` and `package-lock.json`, relative to the workspace.
    pub directory: String,
}

/// A part that is downloaded: `[parts.NAME]` with `download`, or all elements of `downloads` of an
/// image or a crate that are for one path.
#[derive(Clone, Debug)]
pub struct DownloadedPart {
    /// Its place for messages: `[parts.NAME]`, or the path in quotes.
    pub place: String,
    /// The name of its file in the store, after `download-`.
    pub file: String,
    /// One download for all architectures, or one for each.
    pub downloads: Vec<Download>,
}

impl DownloadedPart {
    /// Whether the part is the content of an archive for at least one architecture.
    pub(crate) fn is_unpacked(&self) -> bool {
        self.downloads.iter().any(|download| download.unpack)
    }
}

/// `download` of `[parts.NAME]`, or an element of it or of `downloads`. Nix reads the other fields.
#[derive(Clone, Debug)]
pub struct Download {
    /// Debian's name of the architecture that the download is for; without it, it is for all.
    pub architecture: Option<String>,
    /// The address of the file.
    pub url: Spanned<String>,
    /// The SHA-256 of the file, in hexadecimal digits. `assemble lock` adds it.
    pub sha256: Option<String>,
    /// Whether the part is the content of the file, an archive.
    pub(crate) unpack: bool,
    /// The place of the key `url`.
    pub(crate) key: Range<usize>,
}

/// `[users.NAME]`, or a built-in account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// The name of the account and of its group.
    pub name: String,
    /// User number.
    pub uid: u32,
    /// Group number.
    pub gid: u32,
    /// Home directory.
    pub home: String,
    /// Login shell.
    pub shell: String,
}
