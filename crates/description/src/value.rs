//! The small languages inside strings: durations, ports, modes, platforms, paths, names.
//!
//! Every function takes what was written and returns what it means, or what is wrong with it as half a sentence that
//! follows the quoted value.

use crateyard_spec::Mode;
use serde::{Deserialize, Serialize};

/// A platform as OCI and Go name it.
///
/// <https://github.com/opencontainers/image-spec/blob/v1.1.0/image-index.md#image-index-property-descriptions>
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Platform {
    /// Always `linux`.
    pub os: String,
    /// `amd64`, `arm64`, …
    pub architecture: String,
    /// `v7` for 32-bit Arm.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub variant: Option<String>,
}

impl Platform {
    /// Debian's name of the architecture.
    pub fn debian(&self) -> &'static str {
        self.machine().debian
    }

    /// The name of the target that rustc compiles for.
    pub fn rust_target(&self) -> &'static str {
        self.machine().rust
    }

    /// What the names of GNU's compilers for it begin with.
    pub fn gnu(&self) -> &'static str {
        self.machine().gnu
    }

    /// The platform of a Debian architecture.
    pub fn of_debian(architecture: &str) -> Option<Platform> {
        let machine = MACHINES.iter().find(|m| m.debian == architecture)?;
        platform(machine.platform).ok()
    }

    fn machine(&self) -> &'static Machine {
        let name = self.to_string();
        let known = MACHINES.iter().find(|machine| machine.platform == name);
        known.unwrap_or(&MACHINES[0])
    }
}

impl std::fmt::Display for Platform {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        match &self.variant {
            Some(variant) => write!(f, "/{variant}"),
            None => Ok(()),
        }
    }
}

/// What Debian, OCI, Rust and GNU call one kind of machine.
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

/// `linux/amd64`, `linux/arm/v7`.
pub(crate) fn platform(text: &str) -> Result<Platform, String> {
    if !MACHINES.iter().any(|machine| machine.platform == text) {
        let names: Vec<&str> = MACHINES.iter().map(|machine| machine.platform).collect();
        return Err(format!("is not a platform; there are {}", names.join(", ")));
    }
    let mut parts = text.split('/').map(str::to_string);
    Ok(Platform {
        os: parts.next().unwrap_or_default(),
        architecture: parts.next().unwrap_or_default(),
        variant: parts.next(),
    })
}

/// The platform of a target as rustc names it: with GNU's C library, or with musl.
pub(crate) fn rust_target(text: &str) -> Result<Platform, String> {
    let gnu = text.replacen("-linux-musl", "-linux-gnu", 1);
    let machine = MACHINES.iter().find(|machine| machine.rust == gnu);
    machine.map_or_else(
        || {
            let names: Vec<&str> = MACHINES.iter().map(|machine| machine.rust).collect();
            let names = names.join(", ");
            Err(format!(
                "is no target that images run on; there are {names}, and each with `musl` for `gnu`"
            ))
        },
        |machine| platform(machine.platform),
    )
}

/// Whether Debian has an architecture of that name that an image can run on.
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

/// The name of a suite of Debian's. It becomes a line of apt's sources and a part of an address.
pub(crate) fn suite(text: &str) -> Result<(), String> {
    let is_name = |part: &str| {
        part.starts_with(|c: char| c.is_ascii_alphanumeric())
            && part
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
    };
    match text.split('/').all(is_name) {
        true => Ok(()),
        false => Err(
            "is not the name of a suite; write it as \"bookworm\" or \"bookworm-security\""
                .to_string(),
        ),
    }
}

/// A duration as `1m30s`, in nanoseconds.
pub(crate) fn duration(text: &str) -> Result<u64, String> {
    const UNITS: &[(&str, u64)] = &[
        ("ms", 1_000_000),
        ("h", 3_600_000_000_000),
        ("m", 60_000_000_000),
        ("s", 1_000_000_000),
    ];
    let wrong = || "is not a duration; write it as \"30s\", \"1m30s\" or \"500ms\"".to_string();
    let mut rest = text;
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let number: u64 = rest[..digits].parse().map_err(|_| wrong())?;
        let (unit, scale) = UNITS
            .iter()
            .find(|(unit, _)| rest[digits..].starts_with(unit))
            .ok_or_else(wrong)?;
        total = number
            .checked_mul(*scale)
            .and_then(|part| total.checked_add(part))
            .filter(|total| *total <= i64::MAX as u64)
            .ok_or_else(|| "is too long".to_string())?;
        rest = &rest[digits + unit.len()..];
    }
    if text.is_empty() {
        Err(wrong())
    } else {
        Ok(total)
    }
}

/// A mode in octal digits: `0644`.
pub(crate) fn mode(text: &str) -> Result<Mode, String> {
    let digits = text.strip_prefix("0o").unwrap_or(text);
    let wrong = || "is not a mode; write three or four octal digits, as \"0644\"".to_string();
    let parsed = digits.parse().map_err(|_| wrong());
    parsed.and_then(|mode| match digits.len() {
        3 | 4 => Ok(mode),
        _ => Err(wrong()),
    })
}

/// An absolute path inside an image, as short as it can be written.
pub(crate) fn image_path(text: &str) -> Result<(), String> {
    if !text.starts_with('/') {
        return Err("is not absolute; paths inside an image begin with `/`".to_string());
    }
    if text.contains('\0') {
        return Err("holds a zero byte".to_string());
    }
    let parts = text[1..].trim_end_matches('/').split('/');
    if text != "/"
        && (text.ends_with("//") || parts.clone().any(|part| ["", ".", ".."].contains(&part)))
    {
        let clean = normal_path(text);
        return Err(format!("is not in its shortest form; write `{clean}`"));
    }
    match parts.clone().next() {
        Some(top @ ("proc" | "sys" | "dev")) => Err(format!(
            "would be hidden: engines mount their own `/{top}` over it"
        )),
        _ => Ok(()),
    }
}

/// `/a/./b//c/../d` is `/a/b/d`.
fn normal_path(text: &str) -> String {
    format!("/{}", join_within("", text).unwrap_or_default())
}

/// A path of the workspace, relative to its root and as short as it can be written.
pub(crate) fn workspace_path(text: &str) -> Result<String, String> {
    if text.is_empty() {
        return Err("is empty".to_string());
    }
    if text.starts_with('/') {
        return Err("is absolute; sources are named relative to the workspace's root".to_string());
    }
    join_within("", text)
        .ok_or_else(|| "leaves the workspace; only files inside it can be used".to_string())
}

/// `relative` from `directory`, both of the workspace; nothing where the way leads out of it.
pub fn join_within(directory: &str, relative: &str) -> Option<String> {
    let mut parts: Vec<&str> = Vec::new();
    for part in directory.split('/').chain(relative.split('/')) {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

/// The last part of a path.
pub fn last_part(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// A signal that stops a container.
pub(crate) fn signal(text: &str) -> Result<String, String> {
    const NAMES: &[&str] = &[
        "SIGHUP", "SIGINT", "SIGQUIT", "SIGABRT", "SIGKILL", "SIGUSR1", "SIGUSR2", "SIGALRM",
        "SIGTERM", "SIGCONT", "SIGSTOP", "SIGWINCH", "SIGPWR",
    ];
    let number = text.parse().is_ok_and(|n: u8| (1..=64).contains(&n));
    let realtime = text
        .strip_prefix("SIGRTMIN+")
        .is_some_and(|n| n.parse().is_ok_and(|n: u8| (1..=30).contains(&n)));
    if number || realtime || NAMES.contains(&text) {
        return Ok(text.to_string());
    }
    Err(format!(
        "is not a signal; write a number, SIGRTMIN+N or one of {}",
        NAMES.join(", ")
    ))
}

/// A tag as the distribution specification allows it.
pub(crate) fn tag(text: &str) -> Result<(), String> {
    let first = text
        .chars()
        .next()
        .is_some_and(|c| c.is_ascii_alphanumeric() || c == '_');
    let rest = text
        .chars()
        .all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c));
    if first && rest && text.len() <= 128 {
        return Ok(());
    }
    Err("is not a tag; a tag is up to 128 letters, digits, `_`, `.` and `-`, and begins with none of the last two".to_string())
}

/// A digest `sha256:…`.
pub(crate) fn digest(text: &str) -> Result<(), String> {
    match text.strip_prefix("sha256:").map(sha256) {
        Some(Ok(())) => Ok(()),
        _ => {
            Err("is not a digest; write `sha256:` and 64 lower-case hexadecimal digits".to_string())
        }
    }
}

/// A SHA-256 in hexadecimal digits.
pub(crate) fn sha256(text: &str) -> Result<(), String> {
    if text.len() == 64 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
        return Ok(());
    }
    Err(
        "is not a SHA-256; write 64 lower-case hexadecimal digits, as `sha256sum` prints them"
            .to_string(),
    )
}

/// Host and path of an address of the web.
pub(crate) fn after_scheme(text: &str) -> Result<&str, String> {
    let rest = ["https://", "http://"]
        .iter()
        .find_map(|scheme| text.strip_prefix(scheme));
    rest.ok_or_else(|| "is not an address that begins with `https://` or `http://`".to_string())
}

/// The name of an image: one path component of a repository, and an attribute of a flake.
pub fn image_name(text: &str) -> Result<(), String> {
    let allowed = text
        .chars()
        .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "_-".contains(c));
    let edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    if allowed && edge(text.chars().next()) && edge(text.chars().last()) && !text.contains("___") {
        return Ok(());
    }
    Err(
        "can't name an image; use lower-case letters, digits, and `-` or `_` between them"
            .to_string(),
    )
}

/// The name of a part: an attribute of a flake that needs no quotes.
pub(crate) fn part_name(text: &str) -> Result<(), String> {
    let first = |c: char| c.is_ascii_alphabetic() || c == '_';
    let rest = |c: char| c.is_ascii_alphanumeric() || "_-".contains(c);
    if text.starts_with(first) && text.chars().all(rest) {
        return Ok(());
    }
    Err("can't name a part; use letters, digits, `_` and `-`, a letter first".to_string())
}

/// A path below a directory that is known only to a build, as short as it can be written.
pub(crate) fn inner_path(text: &str) -> Result<String, String> {
    if text.starts_with('/') {
        return Err("is absolute; write a relative path".to_string());
    }
    // `=` and line breaks separate such paths where they are handed to a unit.
    if text.contains(|c: char| c == '=' || c.is_control()) {
        return Err("holds `=` or a control character".to_string());
    }
    match join_within("", text) {
        Some(path) if path.is_empty() => {
            Err("names the directory itself; name a path in it".into())
        }
        Some(path) => Ok(path),
        None => Err("leads out of the directory that it is relative to".to_string()),
    }
}

/// A name as Debian's passwd allows it.
pub(crate) fn user_name(text: &str) -> Result<(), String> {
    let first = text
        .chars()
        .next()
        .is_some_and(|c| c.is_ascii_lowercase() || c == '_');
    let rest = text
        .chars()
        .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "_-".contains(c));
    if first && rest && text.len() <= 32 {
        return Ok(());
    }
    Err(
        "can't name a user; use up to 32 lower-case letters, digits, `-` and `_`, a letter first"
            .to_string(),
    )
}

/// The number of a user or group, in decimal digits.
pub(crate) fn account_number(text: &str) -> Option<u32> {
    let digits = text.chars().all(|c| c.is_ascii_digit());
    text.parse()
        .ok()
        .filter(|number| digits && *number < u32::MAX)
}

/// The name of a Debian package.
///
/// <https://www.debian.org/doc/debian-policy/ch-controlfields.html#source>
pub(crate) fn package_name(text: &str) -> Result<(), String> {
    let first = text
        .chars()
        .next()
        .is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
    let rest = text
        .chars()
        .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "+-.".contains(c));
    if first && rest && text.len() >= 2 {
        return Ok(());
    }
    Err("is not the name of a Debian package; those are lower-case letters, digits, `+`, `-` and `.`".to_string())
}

/// A package to resolve: `gcc`, `libstd-rust-web-dev:arm64`, `cmake (>= 3.20)`, `nginx@vendor` from
/// the archive `[debian.sources.vendor]`.
///
/// <https://www.debian.org/doc/debian-policy/ch-relationships.html#syntax-of-relationship-fields>
pub(crate) fn package(text: &str) -> Result<(), String> {
    let (name, relation) = match text.split_once(" (") {
        Some((name, relation)) => (name, Some(relation)),
        None => (text, None),
    };
    let (name, source) = match name.split_once('@') {
        Some((name, source)) => (name, Some(source)),
        None => (name, None),
    };
    let (name, architecture) = match name.split_once(':') {
        Some((name, architecture)) => (name, Some(architecture)),
        None => (name, None),
    };
    package_name(name)?;
    source.map_or(Ok(()), source_name)?;
    architecture.map_or(Ok(()), debian_architecture)?;
    match relation {
        Some(relation) if !is_relation(relation) => Err(
            "has no version relation of Debian's; write `NAME (>= VERSION)` with one of <<, <=, =, >=, >>".to_string(),
        ),
        _ => Ok(()),
    }
}

/// The name of an archive of packages.
pub(crate) fn source_name(text: &str) -> Result<(), String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if text.starts_with(|c: char| c.is_ascii_alphanumeric()) && text.chars().all(fits) {
        return Ok(());
    }
    Err("can't name a source; use letters, digits, `-`, `_` and `.`".to_string())
}

/// `>= 3.20)`, what follows the opening parenthesis.
fn is_relation(text: &str) -> bool {
    let Some((operator, version)) = text.split_once(' ') else {
        return false;
    };
    let version = version.strip_suffix(')').unwrap_or("");
    ["<<", "<=", "=", ">=", ">>"].contains(&operator)
        && !version.is_empty()
        && version
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || ".+-:~".contains(c))
}

/// The name of an environment variable.
pub(crate) fn variable(text: &str) -> Result<(), String> {
    if text.is_empty() || text.contains(['=', '\0']) {
        return Err("can't name an environment variable".to_string());
    }
    Ok(())
}

/// A variable of a crate's units: none that Cargo sets itself.
/// <https://doc.rust-lang.org/cargo/reference/environment-variables.html>
pub(crate) fn crate_variable(text: &str) -> Result<(), String> {
    const CARGOS: [&str; 9] = [
        "DEBUG",
        "HOST",
        "NUM_JOBS",
        "OPT_LEVEL",
        "OUT_DIR",
        "PROFILE",
        "RUSTC",
        "RUSTDOC",
        "TARGET",
    ];
    variable(text)?;
    if CARGOS.contains(&text) || text.starts_with("CARGO_") || text.starts_with("DEP_") {
        return Err("is a variable that Cargo sets itself".to_string());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        assert_eq!(duration("10s"), Ok(10_000_000_000));
        assert_eq!(duration("1m30s"), Ok(90_000_000_000));
        assert_eq!(duration("500ms"), Ok(500_000_000));
        assert_eq!(duration("0s"), Ok(0));
        for wrong in ["", "10", "s", "-1s", "1d", "9999999999999h", "1 s"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn modes() {
        assert_eq!(mode("644"), Ok(Mode(0o644)));
        assert_eq!(mode("0o4755"), Ok(Mode(0o4755)));
        for wrong in ["", "0o", "8", "0844", "rwx", "00644"] {
            assert!(mode(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn paths() {
        assert_eq!(image_path("/etc/x"), Ok(()));
        assert_eq!(image_path("/etc/x/"), Ok(()));
        assert_eq!(
            image_path("/etc/../usr//x"),
            Err("is not in its shortest form; write `/usr/x`".to_string())
        );
        for wrong in ["etc/x", "", "/proc/x", "/dev", "/a//"] {
            assert!(image_path(wrong).is_err(), "{wrong}");
        }
        assert_eq!(workspace_path("./a/../b/"), Ok("b".to_string()));
        assert!(workspace_path("../b").is_err());
        assert!(workspace_path("/b").is_err());
    }

    #[test]
    fn a_suite_is_a_name_and_nothing_else() {
        for name in [
            "bookworm",
            "bookworm-security",
            "trixie/updates",
            "stable_1.0",
        ] {
            assert_eq!(suite(name), Ok(()), "{name}");
        }
        for name in [
            "",
            "a b",
            "a\nTypes: deb",
            "a\tb",
            "../a",
            "a/../b",
            "/a",
            "a/",
            "-o",
            "a\u{a0}b",
        ] {
            assert!(suite(name).is_err(), "{name:?}");
        }
    }

    #[test]
    fn platforms_know_their_debian_architecture() {
        let arm = platform("linux/arm/v7").unwrap();
        assert_eq!(
            (arm.debian(), arm.to_string().as_str()),
            ("armhf", "linux/arm/v7")
        );
        assert_eq!(Platform::of_debian("armhf"), Some(arm));
        assert!(platform("windows/amd64").is_err());
    }

    #[test]
    fn names() {
        assert!(image_name("cluster-k3s").is_ok());
        for wrong in ["", "-a", "a-", "A", "a.b", "a___b"] {
            assert!(image_name(wrong).is_err(), "{wrong}");
        }
        assert!(package_name("libstdc++6").is_ok());
        assert!(package_name("libc6:amd64").is_err());
        for right in [
            "gcc",
            "libc6:arm64",
            "cmake (>= 3.20)",
            "x1:amd64 (= 1:2~a+b-3)",
        ] {
            assert_eq!(package(right), Ok(()), "{right}");
        }
        for wrong in [
            "G",
            "libc6:vax",
            "cmake >= 3",
            "cmake (3)",
            "cmake (>= )",
            "a b",
        ] {
            assert!(package(wrong).is_err(), "{wrong}");
        }
        assert!(tag("0.1.0").is_ok() && tag("-x").is_err());
        assert!(
            signal("SIGTERM").is_ok() && signal("SIGRTMIN+3").is_ok() && signal("TERM").is_err()
        );
    }
}
