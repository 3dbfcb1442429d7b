//! Retention: a cache keeps the paths that named builds reach, and young ones.

use std::collections::{BTreeSet, HashSet};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crateyard_nix::StorePath;
use serde::Serialize;

/// The rules of retention.
#[derive(Clone, Debug)]
pub struct Retention {
    /// The age at which builds are dropped. Without it, none is dropped.
    pub age: Option<Duration>,
    /// Builds that are never dropped.
    pub keep: BTreeSet<String>,
    /// The age up to which files are kept although no build reaches them, because an upload may be
    /// under way.
    pub grace: Duration,
    /// Whether to only find out what would be removed.
    pub dry_run: bool,
}

/// The result of a collection.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Collected {
    /// The names of dropped builds.
    pub builds: BTreeSet<String>,
    /// The number of removed paths.
    pub paths: usize,
    /// The number of removed bytes.
    pub bytes: u64,
}

impl Retention {
    /// Returns the builds to drop. `builds` are names with the time of the push.
    pub fn expired<'a>(&self, builds: impl Iterator<Item = (&'a str, u64)>) -> BTreeSet<String> {
        let Some(age) = self.age else {
            return BTreeSet::new();
        };
        let oldest = now().saturating_sub(age.as_secs());
        builds
            .filter(|(name, pushed)| *pushed < oldest && !self.keep.contains(*name))
            .map(|(name, _)| name.to_owned())
            .collect()
    }

    /// Whether something that was written at that time is still young.
    pub(crate) fn is_young(&self, written: SystemTime) -> bool {
        written.elapsed().is_ok_and(|age| age < self.grace)
    }
}

/// Returns the current time, in seconds since 1970.
pub fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |passed| passed.as_secs())
}

/// Returns the hashes of some paths and of all paths that they refer to.
pub(crate) fn reachable<'a>(
    roots: impl Iterator<Item = &'a StorePath>,
    references: impl Fn(&str) -> Option<Vec<StorePath>>,
) -> HashSet<String> {
    let mut open: Vec<String> = roots.map(|path| path.hash().to_owned()).collect();
    let mut seen = HashSet::new();
    while let Some(hash) = open.pop() {
        if seen.contains(&hash) {
            continue;
        }
        if let Some(references) = references(&hash) {
            open.extend(references.iter().map(|path| path.hash().to_owned()));
        }
        seen.insert(hash);
    }
    seen
}
