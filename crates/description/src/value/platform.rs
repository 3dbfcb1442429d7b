//! Platforms, by all their names.

use serde::{Deserialize, Serialize};

/// A platform as OCI and Go name it.
///
/// <https://github.com/opencontainers/image-spec/blob/v1.1.0/image-index.md#image-index-property-descriptions>
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TargetPlatform {
    /// Always `linux`.
    pub os: String,
    /// `amd64`, `arm64`, …
    pub architecture: String,
    /// `v7` for 32-bit Arm.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub variant: Option<String>,
}

impl TargetPlatform {
    /// Returns Debian's name of the architecture.
    pub fn debian(&self) -> &'static str {
        self.machine().debian
    }

    /// Returns the name of the target that rustc compiles for.
    pub fn rust_target(&self) -> &'static str {
        self.machine().rust
    }

    /// Returns the prefix of the names of GNU's compilers for it.
    pub fn gnu(&self) -> &'static str {
        self.machine().gnu
    }

    /// Returns the platform of a Debian architecture.
    pub fn of_debian(architecture: &str) -> Option<TargetPlatform> {
        let machine = MACHINES.iter().find(|m| m.debian == architecture)?;
        platform(machine.platform).ok()
    }

    fn machine(&self) -> &'static Machine {
        let name = self.to_string();
        let known = MACHINES.iter().find(|machine| machine.platform == name);
        known.unwrap_or(&MACHINES[0])
    }
}

impl std::fmt::Display for TargetPlatform {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        match &self.variant {
            Some(variant) => write!(f, "/{variant}"),
            None => Ok(()),
        }
    }
}

/// The names that Debian, OCI, Rust and GNU give to one kind of machine.
/// <https://wiki.debian.org/Multiarch/Tuples>
struct Machine {
    debian: &'static str,
    platform: &'static str,
    rust: &'static str,
    gnu: &'static str,
}

const fn machine(
    debian: &'static str,
    platform: &'static str,
    rust: &'static str,
    gnu: &'static str,
) -> Machine {
    Machine {
        debian,
        platform,
        rust,
        gnu,
    }
}

const MACHINES: &[Machine] = &[
    machine(
        "amd64",
        "linux/amd64",
        "x86_64-unknown-linux-gnu",
        "x86_64-linux-gnu",
    ),
    machine(
        "arm64",
        "linux/arm64",
        "aarch64-unknown-linux-gnu",
        "aarch64-linux-gnu",
    ),
    machine(
        "armhf",
        "linux/arm/v7",
        "armv7-unknown-linux-gnueabihf",
        "arm-linux-gnueabihf",
    ),
    machine(
        "i386",
        "linux/386",
        "i686-unknown-linux-gnu",
        "i686-linux-gnu",
    ),
    machine(
        "mips64el",
        "linux/mips64le",
        "mips64el-unknown-linux-gnuabi64",
        "mips64el-linux-gnuabi64",
    ),
    machine(
        "ppc64el",
        "linux/ppc64le",
        "powerpc64le-unknown-linux-gnu",
        "powerpc64le-linux-gnu",
    ),
    machine(
        "riscv64",
        "linux/riscv64",
        "riscv64gc-unknown-linux-gnu",
        "riscv64-linux-gnu",
    ),
    machine(
        "s390x",
        "linux/s390x",
        "s390x-unknown-linux-gnu",
        "s390x-linux-gnu",
    ),
];

/// Reads a platform: `linux/amd64`, `linux/arm/v7`.
pub(crate) fn platform(text: &str) -> Result<TargetPlatform, String> {
    if !MACHINES.iter().any(|machine| machine.platform == text) {
        let names: Vec<&str> = MACHINES.iter().map(|machine| machine.platform).collect();
        return Err(format!("is not a platform; there are {}", names.join(", ")));
    }
    let mut parts = text.split('/').map(str::to_string);
    Ok(TargetPlatform {
        os: parts.next().unwrap_or_default(),
        architecture: parts.next().unwrap_or_default(),
        variant: parts.next(),
    })
}

/// Returns the platform of a target as rustc names it: with GNU's C library, or with musl.
pub(crate) fn rust_target(text: &str) -> Result<TargetPlatform, String> {
    let gnu = text.replacen("-linux-musl", "-linux-gnu", 1);
    let machine = MACHINES.iter().find(|machine| machine.rust == gnu);
    machine.map_or_else(
        || {
            let names: Vec<&str> = MACHINES.iter().map(|machine| machine.rust).collect();
            let names = names.join(", ");
            Err(format!(
                "is not a target that images run on; these are: {names}, each also with `musl` \
                 for `gnu`"
            ))
        },
        |machine| platform(machine.platform),
    )
}

/// Checks that Debian has an architecture of that name that an image can run on.
pub(crate) fn debian_architecture(text: &str) -> Result<(), String> {
    if MACHINES.iter().any(|machine| machine.debian == text) {
        return Ok(());
    }
    let names: Vec<&str> = MACHINES.iter().map(|machine| machine.debian).collect();
    Err(format!(
        "is not an architecture of Debian's; there are {}",
        names.join(", ")
    ))
}
