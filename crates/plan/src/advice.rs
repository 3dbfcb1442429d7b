//! Says how to mend an error of Cargo whose cause is in Crateyard's part: the release of Rust, the
//! files that the planner sees, and the options for Cargo, which keep it offline and the lock as it
//! is.

use crate::WORKSPACE;
use semver::Version;

/// Cargo writes this before each package that the release is too old for.
const REFUSED: &str = "is not supported by the following package";
/// Cargo writes this between the package and its `rust-version`.
const NEEDS: &str = " requires rustc ";
/// Cargo writes this before the path of a manifest that is not there.
const UNREAD: &str = "failed to read `";

/// Cargo writes one of these if the lock lacks what the manifests ask for. The planner has all
/// packages of the lock and no others, so Cargo looks for a package in vain, or would write the
/// lock. For both it advises to leave out options, which nobody can do here.
const STALE: [&str; 3] = [
    "--locked was passed to prevent this",
    "using offline mode (--offline)",
    "you are in the offline mode (--offline)",
];

/// The cure for a lock that does not match the manifests.
const RENEWED_LOCK: &str = "Cargo.lock does not match the manifests: run `cargo update \
                            --workspace`, then `git add Cargo.lock` and `assemble fetch`";

/// The cure for a workspace with packages outside of its directory.
pub const LARGER_WORKSPACE: &str = "put flake.nix, images.toml and a Cargo.toml with [workspace] \
                                    into a directory above all packages";

/// Returns what a user can do about Cargo's errors, if this module knows it.
pub(crate) fn on(errors: &str) -> Option<String> {
    newer(errors)
        .or_else(|| outside(errors))
        .or_else(|| stale(errors))
}

/// Names the line to add if packages need a newer release.
/// <https://doc.rust-lang.org/cargo/reference/rust-version.html>
fn newer(errors: &str) -> Option<String> {
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

/// Names the way to a larger workspace if a manifest is outside this one.
fn outside(errors: &str) -> Option<String> {
    let (_, rest) = errors.split_once(UNREAD)?;
    let (path, _) = rest.split_once('`')?;
    let is_outside = !path.starts_with(&format!("{WORKSPACE}/")) && path.ends_with("/Cargo.toml");
    is_outside.then(|| {
        format!(
            "a member or a path dependency is outside the workspace's directory, and Crateyard \
             sees nothing there: {LARGER_WORKSPACE}"
        )
    })
}

/// Names the commands that renew the lock if it does not match the manifests.
fn stale(errors: &str) -> Option<String> {
    let is_stale = STALE.iter().any(|text| errors.contains(text));
    is_stale.then(|| RENEWED_LOCK.to_owned())
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
        let advice = on(errors).unwrap();
        assert!(advice.contains("release = \"1.97.0\""), "{advice}");
    }

    #[test]
    fn manifests_outside_the_workspace_are_told_from_missing_ones() {
        let said = |path| on(&format!("Caused by:\n  failed to read `{path}`\n"));
        let advice = said("/common/Cargo.toml").unwrap();
        assert!(advice.contains("outside the workspace"), "{advice}");
        assert_eq!(said("/workspace/common/Cargo.toml"), None);
    }

    #[test]
    fn a_lock_that_does_not_match_is_told() {
        let missing = "\
error: no matching package named `itoa` found
location searched: directory source `/cargo/registry` (which is replacing registry `crates-io`)
required by package `app v0.1.0 (/workspace)`
As a reminder, you're using offline mode (--offline) which can sometimes cause surprising \
resolution failures, if this error is too confusing you may wish to retry without `--offline`.
";
        let locked = "\
error: cannot update the lock file /workspace/Cargo.lock because --locked was passed to prevent this
help: to generate the lock file without accessing the network, remove the --locked flag and use \
--offline instead.
";
        // Cargo 1.85.
        let older = "\
error: the lock file /workspace/Cargo.lock needs to be updated but --locked was passed to prevent \
this
";
        let git = "\
Caused by:
  can't checkout from 'https://example.com/x': you are in the offline mode (--offline)
";
        for errors in [missing, locked, older, git] {
            let advice = on(errors).unwrap_or_else(|| panic!("no advice on {errors}"));
            for command in ["cargo update --workspace", "git add", "assemble fetch"] {
                assert!(advice.contains(command), "{advice}");
            }
        }
    }

    #[test]
    fn other_errors_are_left_alone() {
        assert_eq!(on("error: two packages named x requires rustc 2"), None);
        assert_eq!(on(""), None);
    }
}
