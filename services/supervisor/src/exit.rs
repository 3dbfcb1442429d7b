//! The end of a command, as the shell and the gateway expect it.

use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use fleet::api::{Exit, Outcome};
use jiff::Timestamp;

/// The code for a command that does not exist, by the shells' convention.
pub(crate) const NOT_FOUND: u8 = 127;

/// The code for a command that exists but can't be executed, by the shells' convention.
pub(crate) const NOT_EXECUTABLE: u8 = 126;

/// Returns the exit code for this end: the command's own, or 128 plus the signal's number.
pub(crate) fn code(status: ExitStatus) -> u8 {
    let code = match outcome(status) {
        Outcome::Code(code) => code,
        Outcome::Signal(signal) => 128 + signal,
    };
    u8::try_from(code).unwrap_or(u8::MAX)
}

/// Returns the code for a command that could not be started.
pub(crate) fn code_of_start(error: &io::Error) -> u8 {
    match error.kind() {
        io::ErrorKind::NotFound => NOT_FOUND,
        _ => NOT_EXECUTABLE,
    }
}

/// Returns this end in the gateway's format, at the present time.
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
        // Stopped or continued: these are never asked for, so they never occur.
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
