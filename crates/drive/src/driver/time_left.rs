//! Estimates how long a build still takes.

/// A running build, in seconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Running {
    /// The longest path from its start to the end of everything.
    pub path: f64,
    /// Its own expected duration.
    pub expected: f64,
    /// The time since its start.
    pub elapsed: f64,
}

impl Running {
    /// Returns the part of its expected duration that has passed.
    pub(super) fn spent(&self) -> f64 {
        self.elapsed.min(self.expected)
    }

    fn left(&self) -> f64 {
        self.path - self.spent()
    }
}

/// The rest of a build.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Left {
    /// The remaining seconds.
    pub seconds: f64,
    /// Whether everything waits for a build that takes longer than expected. The rest then takes at
    /// least `seconds`, and nobody knows how much more.
    pub is_overdue: bool,
}

impl Left {
    /// Estimates the rest from the running builds, the longest path among the waiting ones, and the
    /// remaining work for each slot.
    pub(super) fn of(running: &[Running], waiting: f64, work: f64) -> Self {
        let longest = running.iter().map(Running::left).fold(0.0, f64::max);
        let seconds = longest.max(waiting).max(work);
        let decides = |build: &Running| build.left() >= seconds && build.elapsed > build.expected;
        Self {
            seconds,
            is_overdue: running.iter().any(decides),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn running(path: f64, expected: f64, elapsed: f64) -> Running {
        Running {
            path,
            expected,
            elapsed,
        }
    }

    fn left(running: &[Running], waiting: f64, work: f64) -> (f64, bool) {
        let left = Left::of(running, waiting, work);
        (left.seconds, left.is_overdue)
    }

    #[test]
    fn the_longer_of_path_and_work_is_left() {
        let builds = [running(9.0, 4.0, 1.0), running(3.0, 3.0, 1.0)];
        assert_eq!(left(&builds, 0.0, 5.0), (8.0, false));
        assert_eq!(left(&builds, 9.5, 5.0), (9.5, false));
        assert_eq!(left(&builds, 0.0, 20.0), (20.0, false));
    }

    #[test]
    fn a_build_that_overruns_and_decides_the_end_is_overdue() {
        assert_eq!(left(&[running(2.0, 2.0, 7.0)], 0.0, 0.0), (0.0, true));
        assert_eq!(left(&[running(9.0, 2.0, 7.0)], 0.0, 3.0), (7.0, true));
        // Other work takes longer anyway.
        let builds = [running(2.0, 2.0, 7.0), running(9.0, 9.0, 7.0)];
        assert_eq!(left(&builds, 0.0, 1.0), (2.0, false));
        assert_eq!(left(&builds, 6.0, 1.0), (6.0, false));
        assert_eq!(left(&[], 0.0, 0.0), (0.0, false));
    }
}
