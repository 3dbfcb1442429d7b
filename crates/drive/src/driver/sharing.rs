//! How many cores a build is told to use (`NIX_BUILD_CORES`).
//!
//! It is told when it starts, and a unit's runner makes as many jobserver tokens of it, so rustc
//! never starts more threads. No byte of an output depends on it.

use serde::Serialize;

/// How the machine's cores are shared between builds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Sharing {
    /// Evenly between what builds and what could; all for a build that the end waits for, and for build scripts.
    #[default]
    Even,
    /// This many for each, as `nix build --cores` has it.
    Fixed(usize),
}

/// What is known when a build starts.
pub(super) struct Moment {
    /// The machine's cores.
    pub cores: usize,
    /// Whether the build is the run of a build script.
    pub is_script: bool,
    /// Builds at once.
    pub jobs: usize,
    /// How many build, this one not counted.
    pub running: usize,
    /// How many more are ready.
    pub ready: usize,
    /// The longest path from this build to the end, in seconds.
    pub path: f64,
    /// All that is not done yet, in seconds.
    pub work: f64,
}

impl Moment {
    /// The build's share. A power of two or all cores, so that a few processes of Nix are enough:
    /// each is started with its number.
    pub fn share(&self, sharing: Sharing) -> usize {
        match sharing {
            Sharing::Fixed(cores) => cores.max(1),
            // Most use one core whatever they are told. One that calls `make -j` may take a minute, and would keep to one
            // core when the others have long gone; Cargo tells scripts of all cores, too.
            Sharing::Even if self.is_script || self.end_waits() => self.cores,
            Sharing::Even => {
                let together = (self.running + 1 + self.ready).min(self.jobs).max(1);
                power_of_two(self.cores / together)
            }
        }
    }

    /// Whether the path through this build is longer than all work takes on all cores.
    fn end_waits(&self) -> bool {
        self.path > self.work / self.cores as f64
    }
}

/// The greatest power of two that is not greater; at least 1.
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
    fn one_of_many_gets_one_core_and_the_last_gets_all() {
        assert_eq!(share(0, 0, 1.0), 16);
        assert_eq!(share(1, 0, 1.0), 8);
        assert_eq!(share(2, 2, 1.0), 2);
        assert_eq!(share(10, 20, 1.0), 1);
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
