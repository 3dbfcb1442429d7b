//! Random moments that can be repeated.

use std::time::{Duration, Instant};

/// Random moments to kill something, until there were enough or the time is up.
pub struct Moments {
    /// The source of random numbers.
    pub random: fastrand::Rng,
    seed: u64,
    left: usize,
    end: Instant,
}

impl Moments {
    /// Draws `count` moments within `time`. `KILL_SEED` repeats those of an earlier run, and
    /// `KILL_MOMENTS` changes their number.
    pub fn new(test: &str, count: usize, time: Duration) -> Moments {
        let variable = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
        let seed = variable("KILL_SEED").unwrap_or_else(|| fastrand::u64(..));
        let count = variable("KILL_MOMENTS").map_or(count, |count: u64| count as usize);
        eprintln!("{test}: KILL_SEED={seed} repeats these {count} moments");
        Moments {
            random: fastrand::Rng::with_seed(seed),
            seed,
            left: count,
            end: Instant::now() + time,
        }
    }

    /// Whether there is another moment.
    pub fn another(&mut self) -> bool {
        if self.left > 0 && Instant::now() > self.end {
            eprintln!("the time is up: leaving out {} moments", self.left);
            self.left = 0;
        }
        let is_one = self.left > 0;
        self.left = self.left.saturating_sub(1);
        is_one
    }

    /// Fails the test if no moment hit its target. `hit` is the number of hits.
    pub fn require(&self, hit: usize, what: &str) {
        assert!(hit > 0, "no moment hit {what}; KILL_SEED={}", self.seed);
        eprintln!("{hit} moments hit {what}");
    }
}

/// Kills a process without warning, like a power cut. `id` is 0 before the process is started.
pub fn kill(id: u32) {
    if let Ok(id @ 1..) = i32::try_from(id) {
        // SAFETY: no memory is involved; the process is a child that was not waited for.
        unsafe { libc::kill(id, libc::SIGKILL) };
    }
}
