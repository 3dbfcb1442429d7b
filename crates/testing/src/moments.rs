//! Random moments that can be repeated.
//!
//! Each test draws a hundred. `KILL_MOMENTS=10` draws few.

use std::process::Child;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use crate::proxy::Proxy;

/// The number of moments in each test.
const MOMENTS: usize = 100;
/// A test that has missed its target with all of them goes on for as many times this number.
const PATIENCE: usize = 10;

/// Random moments at which to kill something.
pub struct Moments {
    /// The source of random numbers.
    pub random: fastrand::Rng,
    seed: u64,
    count: usize,
    drawn: usize,
}

impl Moments {
    /// Draws moments for a test. `KILL_SEED` repeats those of an earlier run, and `KILL_MOMENTS`
    /// changes their number.
    pub fn new(test: &str) -> Moments {
        let variable = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
        let seed = variable("KILL_SEED").unwrap_or_else(|| fastrand::u64(..));
        let count = variable("KILL_MOMENTS").map_or(MOMENTS, |count: u64| count as usize);
        eprintln!("{test}: KILL_SEED={seed} repeats these {count} moments");
        Moments {
            random: fastrand::Rng::with_seed(seed),
            seed,
            count,
            drawn: 0,
        }
    }

    /// Whether there is another moment. `hits` is the number of those that hit what the test needs;
    /// while it is 0, there are more moments than usual.
    pub fn another(&mut self, hits: usize) -> bool {
        let limit = match hits {
            0 => self.count * PATIENCE,
            _ => self.count,
        };
        self.drawn += 1;
        self.drawn <= limit
    }

    /// Starts a client of a proxy, and kills it when the proxy sees one of its first `count`
    /// requests, or a little later. Returns whether that interrupted an upload.
    pub fn kill_client(
        &mut self,
        proxy: &Proxy,
        count: usize,
        start: impl FnOnce() -> Child,
    ) -> bool {
        let (at, delay) = (self.random.usize(..count), self.random.u64(..3000));
        let (client, hit) = (
            Arc::new(AtomicU32::new(0)),
            Arc::new(AtomicBool::new(false)),
        );
        let (shared, shared_hit) = (client.clone(), hit.clone());
        let mut seen = 0;
        proxy.rule(move |head| {
            if seen == at {
                shared_hit.store(head.is_upload(), Ordering::SeqCst);
                std::thread::sleep(Duration::from_micros(delay));
                kill(shared.load(Ordering::SeqCst));
            }
            seen += 1;
            None
        });
        let mut child = start();
        client.store(child.id(), Ordering::SeqCst);
        let is_killed = !child.wait().unwrap().success();
        proxy.heal();
        is_killed && hit.load(Ordering::SeqCst)
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
