//! Tells which release of Rust a workspace needs, after Cargo has refused the one at hand.

use semver::Version;

/// Cargo writes this before each package that the release is too old for.
const REFUSED: &str = "is not supported by the following package";
/// Cargo writes this between the package and its `rust-version`.
const NEEDS: &str = " requires rustc ";

/// Returns the lines that a user adds, if Cargo's errors say that packages need a newer release.
/// <https://doc.rust-lang.org/cargo/reference/rust-version.html>
pub(crate) fn advice(errors: &str) -> Option<String> {
    let refused = errors.split_once(REFUSED)?.1;
    let versions = refused
        .lines()
        .filter_map(|line| Some(line.split_once(NEEDS)?.1));
    let newest = versions.filter_map(whole).max()?;
    Some(format!(
        "the packages in Cargo.lock need Rust {newest}: write `release = \"{newest}\"` below \
         `[toolchain]` in images.toml, or this channel into rust-toolchain.toml, and run \
         `assemble lock`"
    ))
}

/// Reads a `rust-version`, which may leave out its last numbers.
fn whole(version: &str) -> Option<Version> {
    let version = version.trim();
    let missing = 2usize.checked_sub(version.matches('.').count())?;
    Version::parse(&format!("{version}{}", ".0".repeat(missing))).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_release_that_a_package_needs_is_named() {
        let errors = "\
error: rustc 1.95.0 is not supported by the following packages:
  one@0.14.3 requires rustc 1.97
  two@2.0.5 requires rustc 1.96.1
Either upgrade rustc or select compatible dependency versions with
";
        let advice = advice(errors).unwrap();
        assert!(advice.contains("release = \"1.97.0\""), "{advice}");
    }

    #[test]
    fn other_errors_are_left_alone() {
        assert_eq!(advice("error: two packages named x requires rustc 2"), None);
        assert_eq!(advice(""), None);
    }
}
