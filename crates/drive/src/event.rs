//! What happens during a build, for programs: one JSON object a line. docs/build.md lists them.

use serde::Serialize;

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(
    tag = "event",
    rename_all = "kebab-case",
    rename_all_fields = "camelCase"
)]
pub enum Event {
    /// It is known what is to be done.
    Planned {
        /// Derivations to build.
        to_build: usize,
        /// Store paths to fetch from caches.
        to_fetch: usize,
        /// Builds at once.
        jobs: usize,
        /// All builds one after another, in seconds: remembered or guessed.
        work: f64,
        /// The longest path, in seconds: remembered or guessed.
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
        /// The place among those that build at once, from 0.
        slot: usize,
        /// How many cores it is told to use.
        cores: usize,
        /// Seconds since the beginning.
        at: f64,
    },
    /// A build has ended well.
    Finished {
        /// The derivation's name.
        name: String,
        /// The `.drv` file.
        derivation: String,
        /// How long it took.
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
        /// All that the builder wrote, as it wrote it.
        log: String,
        /// Seconds since the beginning.
        at: f64,
    },
    /// A derivation is not built, since one that it needs has failed.
    Skipped {
        /// The derivation's name.
        name: String,
        /// The name of what failed.
        because: String,
    },
    /// Where the build stands. For lines that people watch.
    Progress {
        /// Builds that have ended.
        done: usize,
        /// Builds in all.
        of: usize,
        /// What is building, the longest first.
        running: Vec<String>,
        /// Seconds until the end, from remembered and guessed durations.
        left: f64,
    },
    /// The end.
    Done {
        /// Builds that ended well.
        built: usize,
        /// Builds that failed.
        failed: usize,
        /// Derivations that were not built.
        skipped: usize,
        /// Store paths that came from caches.
        fetched: usize,
        /// How long it all took.
        seconds: f64,
    },
}
