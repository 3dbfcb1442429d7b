//! Reads the small languages inside strings: durations, modes, platforms, paths, names.
//!
//! Every function takes a written value and returns its meaning. An error is half a sentence that
//! follows the quoted value.

use crateyard_spec::Mode;

mod name;
mod path;
mod platform;

pub use self::name::image_name;
pub(crate) use self::name::{
    account_number, crate_variable, label, package, package_name, part_name, source_name, tag,
    user_name, variable,
};
pub(crate) use self::path::{image_path, inner_path, no_control_character, workspace_path};
pub use self::path::{join_within, last_part};
pub use self::platform::TargetPlatform;
pub(crate) use self::platform::{debian_architecture, platform, rust_target};

/// Checks the name of a Debian suite, which becomes a line of apt's sources and a part of an
/// address.
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

/// Reads a duration such as `1m30s`, in nanoseconds.
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
            .filter(|total| i64::try_from(*total).is_ok())
            .ok_or_else(|| "is too long".to_string())?;
        rest = &rest[digits + unit.len()..];
    }
    if text.is_empty() {
        Err(wrong())
    } else {
        Ok(total)
    }
}

/// Reads a mode in octal digits: `0644`.
pub(crate) fn mode(text: &str) -> Result<Mode, String> {
    let digits = text.strip_prefix("0o").unwrap_or(text);
    let wrong = || "is not a mode; write three or four octal digits, as \"0644\"".to_string();
    let parsed = digits.parse().map_err(|_| wrong());
    parsed.and_then(|mode| match digits.len() {
        3 | 4 => Ok(mode),
        _ => Err(wrong()),
    })
}

/// Checks a signal that stops a container.
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

/// Checks a digest `sha256:…`.
pub(crate) fn digest(text: &str) -> Result<(), String> {
    match text.strip_prefix("sha256:").map(sha256) {
        Some(Ok(())) => Ok(()),
        _ => {
            Err("is not a digest; write `sha256:` and 64 lower-case hexadecimal digits".to_string())
        }
    }
}

/// Checks a SHA-256 in hexadecimal digits.
pub(crate) fn sha256(text: &str) -> Result<(), String> {
    if base16ct::lower::decode_vec(text).is_ok_and(|bytes| bytes.len() == 32) {
        return Ok(());
    }
    Err(
        "is not a SHA-256; write 64 lower-case hexadecimal digits, as `sha256sum` prints them"
            .to_string(),
    )
}

/// Returns host and path of a web address.
pub(crate) fn after_scheme(text: &str) -> Result<&str, String> {
    let rest = ["https://", "http://"]
        .iter()
        .find_map(|scheme| text.strip_prefix(scheme));
    rest.ok_or_else(|| "is not an address that begins with `https://` or `http://`".to_string())
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
        assert_eq!(TargetPlatform::of_debian("armhf"), Some(arm));
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
