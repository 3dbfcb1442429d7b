//! Waiting times that double.

use std::time::Duration;

/// A sequence of waiting times: each is twice the one before, up to the longest.
#[derive(Clone, Debug)]
pub struct Backoff {
    first: Duration,
    longest: Duration,
    next: Duration,
}

impl Backoff {
    /// Starts at `first`, or at `longest` if that is shorter.
    pub fn new(first: Duration, longest: Duration) -> Self {
        let first = first.min(longest);
        Backoff {
            first,
            longest,
            next: first,
        }
    }

    /// Returns the next waiting time.
    pub fn next_delay(&mut self) -> Duration {
        let delay = self.next;
        self.next = delay.saturating_mul(2).min(self.longest);
        delay
    }

    /// Returns the next waiting time, varied by up to a quarter: for clients that lost the same
    /// server at the same moment.
    pub fn next_delay_with_jitter(&mut self) -> Duration {
        self.next_delay().mul_f64(0.75 + 0.5 * fastrand::f64())
    }

    /// Starts again with the first waiting time.
    pub fn reset(&mut self) {
        self.next = self.first;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn doubles_up_to_the_longest_and_resets() {
        let mut backoff = Backoff::new(SECOND, 5 * SECOND);
        let delays: Vec<_> = (0..5).map(|_| backoff.next_delay().as_secs()).collect();
        assert_eq!(delays, [1, 2, 4, 5, 5]);
        backoff.reset();
        assert_eq!(backoff.next_delay(), SECOND);
    }

    #[test]
    fn the_first_is_never_above_the_longest() {
        assert_eq!(Backoff::new(9 * SECOND, SECOND).next_delay(), SECOND);
    }

    #[test]
    fn jitter_stays_within_a_quarter() {
        let mut backoff = Backoff::new(4 * SECOND, 4 * SECOND);
        for _ in 0..100 {
            let delay = backoff.next_delay_with_jitter();
            assert!((3 * SECOND..=5 * SECOND).contains(&delay), "{delay:?}");
        }
    }

    #[test]
    fn huge_times_do_not_overflow() {
        let mut backoff = Backoff::new(Duration::MAX, Duration::MAX);
        backoff.next_delay();
        assert_eq!(backoff.next_delay(), Duration::MAX);
    }
}
