//! Decides how many cores each build may use (`NIX_BUILD_CORES`).
//!
//! The number is fixed when a build starts. A unit's runner makes as many jobserver tokens, so
//! rustc never starts more threads. Outputs do not depend on it.

use serde::Serialize;

/// The least share. A build keeps its share when the others are done. With a single thread, it
/// would then leave cores idle; more threads than cores cost nothing.
const LEAST: usize = 2;

/// The rule by which builds share the machine's cores.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Sharing {
    /// Evenly between running and ready builds. Build scripts, and a build that everything else
    /// waits for, get all cores.
    #[default]
    Even,
    /// This many for each build, like `nix build --cores`.
    Fixed(usize),
}

/// The situation when a build starts.
pub(super) struct Moment {
    /// The number of the machine's cores.
    pub cores: usize,
    /// Whether the build runs a build script.
    pub is_script: bool,
    /// The number of builds that run at once.
    pub jobs: usize,
    /// The number of other running builds.
    pub running: usize,
    /// The number of other ready builds.
    pub ready: usize,
    /// The longest path from this build to the end, in seconds.
    pub path: f64,
    /// The remaining work, in seconds.
    pub work: f64,
}

impl Moment {
    /// Returns the build's share of the cores: a power of two, or all. Each process of Nix has a
    /// fixed number, so fewer different numbers need fewer processes.
    pub(super) fn share(&self, sharing: Sharing) -> usize {
        match sharing {
            Sharing::Fixed(cores) => cores.max(1),
            // Most scripts use one core anyway. A script that calls `make -j` may take a minute,
            // and should not be limited to one core after the other builds are done. Cargo also
            // gives scripts all cores.
            Sharing::Even if self.is_script || self.end_waits() => self.cores,
            Sharing::Even => {
                let together = (self.running + 1 + self.ready).min(self.jobs).max(1);
                power_of_two(self.cores / together)
                    .max(LEAST)
                    .min(self.cores)
            }
        }
    }

    /// Whether the path through this build takes longer than all work on all cores.
    fn end_waits(&self) -> bool {
        self.path > self.work / self.cores as f64
    }
}

/// Returns the greatest power of two up to `number`, or 1.
fn power_of_two(number: usize) -> usize {
    match number.checked_ilog2() {
        Some(exponent) => 1 << exponent,
        None => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moment(running: usize, ready: usize, path: f64) -> Moment {
        Moment {
            cores: 16,
            is_script: false,
            jobs: 16,
            running,
            ready,
            path,
            work: 160.0,
        }
    }

    fn share(running: usize, ready: usize, path: f64) -> usize {
        moment(running, ready, path).share(Sharing::Even)
    }

    #[test]
    fn one_of_many_gets_the_least_and_the_last_gets_all() {
        assert_eq!(share(0, 0, 1.0), 16);
        assert_eq!(share(1, 0, 1.0), 8);
        assert_eq!(share(2, 2, 1.0), 2);
        assert_eq!(share(10, 20, 1.0), LEAST);
        assert_eq!(share(10, 20, 11.0), 16);
    }

    #[test]
    fn a_build_script_hears_of_all_cores() {
        let crowded = Moment {
            is_script: true,
            ..moment(10, 20, 1.0)
        };
        assert_eq!(crowded.share(Sharing::Even), 16);
        assert_eq!(crowded.share(Sharing::Fixed(2)), 2);
    }
}
