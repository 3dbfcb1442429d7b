//! The rules for restarts of a command.

use std::process::ExitStatus;
use std::time::Duration;

use clap::ValueEnum;
use fleet::Backoff;

use crate::options::SuperviseOptions;

/// Which ends of a command lead to a restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Policy {
    /// None: the supervisor ends with the command
    Never,
    /// A code other than 0, or a signal
    OnFailure,
    /// Any
    Always,
}

/// The decision after the end of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// Start the command again after this time.
    RestartAfter(Duration),
    /// End, because the policy asks for no restart.
    End,
    /// End, because there were too many restarts in a row.
    GiveUp,
}

/// Decides about restarts, and counts those in a row.
pub(crate) struct Restarts {
    policy: Policy,
    most_in_a_row: Option<u32>,
    in_a_row: u32,
    backoff: Backoff,
    reset_after: Duration,
}

impl Restarts {
    /// Takes policy and limits from the options.
    pub(crate) fn new(options: &SuperviseOptions) -> Self {
        Restarts {
            policy: options.restart,
            most_in_a_row: options.max_restarts,
            in_a_row: 0,
            backoff: Backoff::new(options.backoff_initial, options.backoff_max),
            reset_after: options.backoff_reset,
        }
    }

    /// Decides what to do after the command ended with `status`, having run for `ran_for`.
    pub(crate) fn decide(&mut self, status: ExitStatus, ran_for: Duration) -> Decision {
        let wanted = match self.policy {
            Policy::Never => false,
            Policy::OnFailure => !status.success(),
            Policy::Always => true,
        };
        if !wanted {
            return Decision::End;
        }
        if ran_for >= self.reset_after {
            self.in_a_row = 0;
            self.backoff.reset();
        }
        if self.most_in_a_row.is_some_and(|most| self.in_a_row >= most) {
            return Decision::GiveUp;
        }
        self.in_a_row += 1;
        Decision::RestartAfter(self.backoff.next_delay())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::Options;
    use clap::Parser;
    use std::os::unix::process::ExitStatusExt;

    const SHORT: Duration = Duration::from_secs(1);
    const LONG: Duration = Duration::from_secs(3600);

    fn restarts(flags: &[&str]) -> Restarts {
        let line = ["supervisor"].iter().chain(flags).chain(&["--", "app"]);
        Restarts::new(&Options::try_parse_from(line).unwrap().supervise)
    }

    fn code(code: i32) -> ExitStatus {
        ExitStatus::from_raw(code << 8)
    }

    fn after(milliseconds: u64) -> Decision {
        Decision::RestartAfter(Duration::from_millis(milliseconds))
    }

    #[test]
    fn policies() {
        let killed = ExitStatus::from_raw(9);
        let cases = [
            ("never", [Decision::End, Decision::End, Decision::End]),
            ("on-failure", [Decision::End, after(500), after(1000)]),
            ("always", [after(500), after(1000), after(2000)]),
        ];
        for (policy, expected) in cases {
            let mut restarts = restarts(&["--restart", policy]);
            let statuses = [code(0), code(3), killed];
            let decisions = statuses.map(|status| restarts.decide(status, SHORT));
            assert_eq!(decisions, expected, "{policy}");
        }
    }

    #[test]
    fn gives_up_after_too_many_in_a_row() {
        let mut restarts = restarts(&["--max-restarts=2"]);
        assert_eq!(restarts.decide(code(1), SHORT), after(500));
        assert_eq!(restarts.decide(code(1), SHORT), after(1000));
        assert_eq!(restarts.decide(code(1), SHORT), Decision::GiveUp);
    }

    #[test]
    fn a_long_run_forgives() {
        let mut restarts = restarts(&["--max-restarts=1"]);
        assert_eq!(restarts.decide(code(1), SHORT), after(500));
        assert_eq!(restarts.decide(code(1), LONG), after(500));
        assert_eq!(restarts.decide(code(1), SHORT), Decision::GiveUp);
    }
}
