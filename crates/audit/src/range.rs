//! Version requirements as advisories use them.
//!
//! Cargo lets a pre-release meet a requirement only if the requirement names one. To an advisory,
//! `2.0.0-rc.1` is simply a version before `2.0.0` and after `1.9.9`. So comparisons here follow
//! the [precedence](https://semver.org/#spec-item-11) of versions alone, as RustSec's own tools do.

use std::cmp::Ordering;

use semver::{Comparator, Op, Version, VersionReq};

/// Whether a version meets a requirement.
///
/// ```
/// use semver::{Version, VersionReq};
///
/// let patched: VersionReq = ">= 1.2.3, < 2".parse()?;
/// use crateyard_audit::range::contains;
/// let meets = |version: &str| contains(&patched, &version.parse().unwrap());
/// assert!(meets("1.2.3") && meets("1.3.0-rc.1"));
/// assert!(!meets("1.2.3-rc.1") && !meets("2.0.0"));
/// # Ok::<(), semver::Error>(())
/// ```
pub fn contains(requirement: &VersionReq, version: &Version) -> bool {
    requirement.comparators.iter().all(|it| holds(it, version))
}

fn holds(comparator: &Comparator, version: &Version) -> bool {
    let order = version.cmp_precedence(&lowest(comparator));
    let numbers = (version.major, version.minor, version.patch);
    let is_partial = comparator.patch.is_none();
    match comparator.op {
        Op::Exact | Op::Wildcard if is_partial => order.is_ge() && numbers < next(comparator),
        Op::Exact | Op::Wildcard => order == Ordering::Equal,
        Op::Greater if is_partial => numbers >= next(comparator),
        Op::Greater => order.is_gt(),
        Op::GreaterEq => order.is_ge(),
        Op::Less => order.is_lt(),
        Op::LessEq if is_partial => numbers < next(comparator),
        Op::LessEq => order.is_le(),
        Op::Tilde => order.is_ge() && numbers < after_tilde(comparator),
        Op::Caret => order.is_ge() && numbers < after_caret(comparator),
        // The crate may learn more operators. An unknown one excludes nothing.
        _ => false,
    }
}

/// The lowest version that a comparator names.
fn lowest(comparator: &Comparator) -> Version {
    Version {
        major: comparator.major,
        minor: comparator.minor.unwrap_or(0),
        patch: comparator.patch.unwrap_or(0),
        pre: comparator.pre.clone(),
        build: semver::BuildMetadata::EMPTY,
    }
}

/// The first version after all versions that a partial version (`1`, `1.2`) stands for.
fn next(comparator: &Comparator) -> (u64, u64, u64) {
    match comparator.minor {
        Some(minor) => (comparator.major, minor.saturating_add(1), 0),
        None => (comparator.major.saturating_add(1), 0, 0),
    }
}

fn after_tilde(comparator: &Comparator) -> (u64, u64, u64) {
    next(comparator)
}

fn after_caret(comparator: &Comparator) -> (u64, u64, u64) {
    match (comparator.major, comparator.minor, comparator.patch) {
        (0, Some(0), Some(patch)) => (0, 0, patch.saturating_add(1)),
        (0, Some(minor), _) => (0, minor.saturating_add(1), 0),
        (major, ..) => (major.saturating_add(1), 0, 0),
    }
}

#[cfg(test)]
mod tests {
    use super::contains;

    #[test]
    fn every_operator_means_what_cargo_says_but_for_prereleases() {
        for (requirement, inside, outside) in [
            (
                "^1.2.3",
                &["1.2.3", "1.9.0-rc.1"][..],
                &["1.2.2", "1.2.3-a", "2.0.0-rc.1"][..],
            ),
            ("^0.2.3", &["0.2.3", "0.2.9"], &["0.3.0", "0.2.2"]),
            ("^0.0.3", &["0.0.3"], &["0.0.4", "0.0.2"]),
            ("^0.0", &["0.0.0", "0.0.9"], &["0.1.0"]),
            ("~1.2.3", &["1.2.3", "1.2.9"], &["1.3.0"]),
            ("~1", &["1.9.9"], &["2.0.0", "0.9.0"]),
            (
                "=1.2.3",
                &["1.2.3", "1.2.3+build"],
                &["1.2.4", "1.2.3-rc.1"],
            ),
            ("=1.2", &["1.2.0", "1.2.7"], &["1.3.0", "1.1.9"]),
            ("1.2.*", &["1.2.7"], &["1.3.0"]),
            ("*", &["0.0.1", "9.0.0-a"], &[]),
            ("> 1.2", &["1.3.0"], &["1.2.9"]),
            ("> 1.2.3", &["1.2.4", "1.3.0-a"], &["1.2.3"]),
            ("<= 1.2", &["1.2.9", "0.1.0"], &["1.3.0"]),
            ("< 2.0.0", &["2.0.0-rc.1", "1.9.9"], &["2.0.0"]),
            (">= 1.2.3, < 1.3.0", &["1.2.3"], &["1.3.0", "1.2.2"]),
        ] {
            let parsed = requirement.parse().unwrap();
            for version in inside {
                assert!(
                    contains(&parsed, &version.parse().unwrap()),
                    "{version} in {requirement}"
                );
            }
            for version in outside {
                assert!(
                    !contains(&parsed, &version.parse().unwrap()),
                    "{version} not in {requirement}"
                );
            }
        }
    }
}
