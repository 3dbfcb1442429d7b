//! What a cache keeps: what named builds reach, and what is young.

use std::collections::{BTreeSet, HashSet};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Serialize;

use crate::path::StorePath;

/// What is kept.
#[derive(Clone, Debug)]
pub struct Retention {
    /// Builds that were pushed longer ago are given up; without it none is.
    pub age: Option<Duration>,
    /// Builds that are never given up.
    pub keep: BTreeSet<String>,
    /// What is younger is kept though no build reaches it: an upload may be under way.
    pub grace: Duration,
    /// Find out what would be given up, and change nothing.
    pub dry_run: bool,
}

/// What was given up.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Collected {
    /// Names of builds.
    pub builds: BTreeSet<String>,
    /// How many paths.
    pub paths: usize,
    /// How many bytes.
    pub bytes: u64,
}

impl Retention {
    /// The builds that are given up, of those with a name and the time when they were pushed.
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

    /// Whether something that was written then is kept, whoever needs it.
    pub fn is_young(&self, written: SystemTime) -> bool {
        written.elapsed().is_ok_and(|age| age < self.grace)
    }
}

/// Seconds since 1970.
pub fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |passed| passed.as_secs())
}

/// Hashes of the paths that some paths refer to, themselves included.
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
