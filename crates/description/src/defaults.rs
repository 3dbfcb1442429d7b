//! The sets of packages that every description has unless it says otherwise.

use std::collections::BTreeMap;

use crate::model::{Debian, Set, Spanned, Toolchain};
use crate::value::TargetPlatform;

/// The suite whose files never vanish from the archive.
pub(crate) const SUITES: [&str; 1] = ["bookworm"];
/// The architectures that packages are resolved for.
pub(crate) const ARCHITECTURES: [&str; 1] = ["amd64"];

/// Compilers for Rust and C, and the programs that build scripts call.
const TOOLCHAIN: [&str; 21] = [
    "bash",
    "cargo-web",
    "cmake",
    "coreutils",
    "dash",
    "diffutils",
    "findutils",
    "g++",
    "gcc",
    "grep",
    "gzip",
    "libc6-dev",
    "make",
    "mawk",
    "patch",
    "perl",
    "pkgconf",
    "rustc-web",
    "sed",
    "tar",
    "xz-utils",
];
/// Only maintainer scripts need these, and those do not run.
const TOOLCHAIN_OMITS: [&str; 6] = [
    "debconf",
    "debianutils",
    "dpkg",
    "init-system-helpers",
    "openssl",
    "procps",
];

/// The standard library as a shared object, which would bring LLVM for a machine that compiles
/// nothing.
const CROSS_OMITS: [&str; 1] = ["libstd-rust-web-1.85"];

/// Packages that a dynamically linked Rust program needs, or that a scanner looks for.
const BASE: [&str; 6] = [
    "base-files",
    "ca-certificates",
    "libc6",
    "libgcc-s1",
    "netbase",
    "tzdata",
];
/// Only maintainer scripts need these.
const BASE_OMITS: [&str; 3] = ["debconf", "mawk", "openssl"];

/// npm, and the programs that scripts of packages call.
const NPM: [&str; 8] = [
    "bash",
    "coreutils",
    "dash",
    "findutils",
    "grep",
    "nodejs",
    "npm",
    "sed",
];

/// Packages left out of the set `npm`. Only compiling add-ons for node needs `gyp`, and Python with
/// it.
const NPM_OMITS: [&str; 4] = ["ca-certificates", "debconf", "gyp", "netbase"];

/// Debian's Rust compilers, each with clippy and rustfmt of the same version.
const LINTS: [(&str, [&str; 2]); 2] = [
    ("rustc", ["rust-clippy", "rustfmt"]),
    ("rustc-web", ["rust-web-clippy", "rustfmt-web"]),
];

impl Default for Debian {
    fn default() -> Debian {
        Debian {
            suites: owned(&SUITES),
            architectures: owned(&ARCHITECTURES),
            sets: BTreeMap::new(),
            sources: BTreeMap::new(),
        }
        .with_default_sets()
    }
}

impl Debian {
    /// Adds the sets `toolchain`, `base` and those that compile for other architectures, unless the
    /// description has them.
    pub(crate) fn with_default_sets(mut self) -> Debian {
        // Only the architecture that builds needs the toolchain.
        let builder: Vec<String> = self.architectures.iter().take(1).cloned().collect();
        self.sets.entry("toolchain".into()).or_insert_with(|| Set {
            omit: owned(&TOOLCHAIN_OMITS),
            architectures: Some(builder.clone()),
            ..set(owned(&TOOLCHAIN))
        });
        self.sets.entry("base".into()).or_insert_with(|| Set {
            omit: owned(&BASE_OMITS),
            ..set(owned(&BASE))
        });
        // The cross sets only fit Debian's own Rust.
        let is_debians = self.sets["toolchain"]
            .packages
            .iter()
            .any(|p| p == "rustc-web");
        for platform in self.architectures.iter().skip(1).filter(|_| is_debians) {
            let Some(platform) = TargetPlatform::of_debian(platform) else {
                continue;
            };
            let name = cross_set(platform.debian());
            self.sets.entry(name).or_insert_with(|| Set {
                omit: owned(&CROSS_OMITS),
                beyond: Some(Spanned::new(0..0, "toolchain".into())),
                architectures: Some(builder.clone()),
                ..set(cross_packages(&platform))
            });
        }
        self
    }

    /// Adds the packages of `[toolchain]` to its set.
    pub(crate) fn with_toolchain(mut self, toolchain: &Toolchain) -> Debian {
        if let Some(set) = self.sets.get_mut(toolchain.set.get_ref()) {
            for package in &toolchain.packages {
                if !set.packages.contains(package) {
                    set.packages.push(package.clone());
                }
            }
        }
        self
    }

    /// Adds the set `lints` unless the description has it: clippy and rustfmt for the compiler of
    /// the set `toolchain`, if that is one of Debian's.
    pub(crate) fn with_lints(mut self, toolchain: &Spanned<String>) -> Debian {
        let Some(compiler) = self.sets.get(toolchain.get_ref()) else {
            return self;
        };
        let of_compiler = |(rustc, _): &&(&str, _)| compiler.packages.iter().any(|p| p == rustc);
        let Some((_, lints)) = LINTS.iter().find(of_compiler) else {
            return self;
        };
        let set = Set {
            packages: owned(lints),
            omit: Vec::new(),
            beyond: Some(toolchain.clone()),
            architectures: compiler.architectures.clone(),
            dependencies: true,
        };
        self.sets.entry("lints".to_owned()).or_insert(set);
        self
    }

    /// Adds the set `npm` if npm makes a part, unless the description has the set.
    pub(crate) fn with_npm(mut self, is_used: bool) -> Debian {
        if is_used {
            let builder: Vec<String> = self.architectures.iter().take(1).cloned().collect();
            self.sets.entry("npm".to_owned()).or_insert_with(|| Set {
                omit: owned(&NPM_OMITS),
                architectures: Some(builder),
                ..set(owned(&NPM))
            });
        }
        self
    }
}

/// Returns the name of the set that compiles for an architecture on a builder of another one.
pub(crate) fn cross_set(architecture: &str) -> String {
    format!("cross-{architecture}")
}

/// Returns Rust's standard library for a platform, and the packages that compile and link C for it.
fn cross_packages(platform: &TargetPlatform) -> Vec<String> {
    let (debian, gnu) = (platform.debian(), platform.gnu());
    vec![
        format!("g++-{gnu}"),
        format!("gcc-{gnu}"),
        format!("libc6-dev-{debian}-cross"),
        format!("libstd-rust-web-dev:{debian}"),
    ]
}

fn set(packages: Vec<String>) -> Set {
    Set {
        packages,
        omit: Vec::new(),
        beyond: None,
        architectures: None,
        dependencies: true,
    }
}

fn owned(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}
