//! The events of a build, for programs: one JSON object a line. docs/build.md lists them.

use serde::{Deserialize, Serialize};

/// An event.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(
    tag = "event",
    rename_all = "kebab-case",
    rename_all_fields = "camelCase"
)]
pub enum Event {
    /// The build is planned.
    Planned {
        /// The number of derivations to build.
        to_build: usize,
        /// The number of store paths to fetch from caches.
        to_fetch: usize,
        /// The number of builds that run at once.
        jobs: usize,
        /// The total time of all builds in seconds, remembered or guessed.
        work: f64,
        /// The longest path in seconds, remembered or guessed.
        longest_path: f64,
    },
    /// A store path has come from a cache.
    Fetched {
        /// The store path.
        path: String,
        /// The cache.
        from: String,
        /// When it began, in seconds since the beginning.
        start: f64,
        /// When it ended, in seconds since the beginning.
        end: f64,
    },
    /// A build starts.
    Started {
        /// The derivation's name.
        name: String,
        /// The `.drv` file.
        derivation: String,
        /// The slot of the build, from 0.
        slot: usize,
        /// The number of cores that it may use.
        cores: usize,
        /// Seconds since the beginning.
        at: f64,
    },
    /// A build has succeeded.
    Finished {
        /// The derivation's name.
        name: String,
        /// The `.drv` file.
        derivation: String,
        /// Its duration in seconds.
        seconds: f64,
        /// Seconds since the beginning.
        at: f64,
    },
    /// A build has failed.
    Failed {
        /// The derivation's name.
        name: String,
        /// The `.drv` file.
        derivation: String,
        /// Nix's reason.
        message: String,
        /// The builder's whole output, unchanged.
        log: String,
        /// Seconds since the beginning.
        at: f64,
    },
    /// A derivation is not built, because one that it needs has failed.
    Skipped {
        /// The derivation's name.
        name: String,
        /// The name of the derivation that failed.
        because: String,
    },
    /// The progress of the build, for terminals.
    Progress {
        /// The number of builds that have ended.
        done: usize,
        /// The number of all builds.
        of: usize,
        /// The names of running builds, the longest running first.
        running: Vec<String>,
        /// The remaining seconds, from remembered and guessed durations.
        left: f64,
        /// Whether everything waits for a build that takes longer than expected. It takes at least
        /// `left` then.
        overdue: bool,
    },
    /// The build has ended.
    Done {
        /// The number of builds that succeeded.
        built: usize,
        /// The number of builds that failed.
        failed: usize,
        /// The number of skipped derivations.
        skipped: usize,
        /// The number of store paths from caches.
        fetched: usize,
        /// The duration of everything, in seconds.
        seconds: f64,
    },
}
