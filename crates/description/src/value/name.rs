//! Names of images, users, packages and variables.

use super::platform::debian_architecture;

/// Checks a tag, as the distribution specification allows it.
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
    Err(
        "is not a tag; a tag is up to 128 letters, digits, `_`, `.` and `-`, and begins with none \
         of the last two"
            .to_string(),
    )
}

/// Checks the name of an image: one path component of a repository, and an attribute of a flake.
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

/// Checks the name of a part: an attribute of a flake that needs no quotes.
pub(crate) fn part_name(text: &str) -> Result<(), String> {
    let first = |c: char| c.is_ascii_alphabetic() || c == '_';
    let rest = |c: char| c.is_ascii_alphanumeric() || "_-".contains(c);
    if text.starts_with(first) && text.chars().all(rest) {
        return Ok(());
    }
    Err("can't name a part; use letters, digits, `_` and `-`, a letter first".to_string())
}

/// Checks the name of a user, as Debian's passwd allows it.
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

/// Reads the number of a user or group, in decimal digits.
pub(crate) fn account_number(text: &str) -> Option<u32> {
    let digits = text.chars().all(|c| c.is_ascii_digit());
    text.parse()
        .ok()
        .filter(|number| digits && *number < u32::MAX)
}

/// Checks the name of a Debian package.
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
    Err(
        "is not the name of a Debian package; those are lower-case letters, digits, `+`, `-` and \
         `.`"
        .to_string(),
    )
}

/// Checks a package to resolve: `gcc`, `libstd-rust-web-dev:arm64`, `cmake (>= 3.20)`,
/// `nginx@vendor` from the archive `[debian.sources.vendor]`.
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
            "has no version relation of Debian's; write `NAME (>= VERSION)` with one of <<, <=, =, \
             >=, >>".to_string(),
        ),
        _ => Ok(()),
    }
}

/// Checks the name of an archive of packages.
pub(crate) fn source_name(text: &str) -> Result<(), String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if text.starts_with(|c: char| c.is_ascii_alphanumeric()) && text.chars().all(fits) {
        return Ok(());
    }
    Err("can't name a source; use letters, digits, `-`, `_` and `.`".to_string())
}

/// Whether `text` is a version relation behind its opening parenthesis: `>= 3.20)`.
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

/// Checks the name of an environment variable.
pub(crate) fn variable(text: &str) -> Result<(), String> {
    if text.is_empty() || text.contains(|c: char| c == '=' || c.is_control()) {
        return Err("can't name an environment variable".to_string());
    }
    Ok(())
}

/// Checks the name of a label.
pub(crate) fn label(text: &str) -> Result<(), String> {
    if text.is_empty() || text.contains(char::is_control) {
        return Err("can't name a label".to_string());
    }
    Ok(())
}

/// Checks the name of a variable of a crate's units: Cargo must not set it itself.
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
