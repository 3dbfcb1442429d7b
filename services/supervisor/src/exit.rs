//! How a command's end is told: to the shell, and to the gateway.

use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use fleet::api::{Exit, Outcome};
use jiff::Timestamp;

/// A command that does not exist; the shells' convention.
pub(crate) const NOT_FOUND: u8 = 127;

/// A command that exists and can't be executed; the shells' convention.
pub(crate) const NOT_EXECUTABLE: u8 = 126;

/// The code that tells of this end: the command's own, or 128 and the signal's number.
pub(crate) fn code(status: ExitStatus) -> u8 {
    let code = match outcome(status) {
        Outcome::Code(code) => code,
        Outcome::Signal(signal) => 128 + signal,
    };
    u8::try_from(code).unwrap_or(u8::MAX)
}

/// The code for a command that could not be started.
pub(crate) fn code_of_start(error: &io::Error) -> u8 {
    match error.kind() {
        io::ErrorKind::NotFound => NOT_FOUND,
        _ => NOT_EXECUTABLE,
    }
}

/// This end as the gateway takes it, at the present time.
pub(crate) fn report(status: ExitStatus) -> Exit {
    Exit {
        at: Timestamp::now(),
        outcome: outcome(status),
    }
}

fn outcome(status: ExitStatus) -> Outcome {
    match (status.code(), status.signal()) {
        (Some(code), _) => Outcome::Code(code),
        (None, Some(signal)) => Outcome::Signal(signal),
        // Stopped or continued: never asked for, so never seen.
        (None, None) => Outcome::Code(status.into_raw()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes() {
        assert_eq!(code(ExitStatus::from_raw(0)), 0);
        assert_eq!(code(ExitStatus::from_raw(3 << 8)), 3);
        assert_eq!(code(ExitStatus::from_raw(9)), 137);
        // Signal 6 with a core dump, and the last real-time signal.
        assert_eq!(code(ExitStatus::from_raw(6 | 0x80)), 134);
        assert_eq!(code(ExitStatus::from_raw(64)), 192);
        assert_eq!(code_of_start(&io::ErrorKind::NotFound.into()), 127);
        assert_eq!(code_of_start(&io::ErrorKind::PermissionDenied.into()), 126);
    }
}
