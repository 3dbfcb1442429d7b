//! The command as a running process, in a process group of its own.

use std::ffi::OsString;
use std::io;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, ExitStatus};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitOptions, kill_process_group, wait};

/// A started command. Only [`reap`] waits for it, together with the orphans.
pub(crate) struct Child {
    pid: Pid,
    started: Instant,
}

impl Child {
    /// Starts the command, with the supervisor's own standard streams and environment.
    ///
    /// # Errors
    /// When it can't be executed.
    pub(crate) fn start(command: &[OsString]) -> io::Result<Child> {
        let (program, arguments) = command
            .split_first()
            .ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
        let process = Command::new(program)
            .args(arguments)
            .process_group(0)
            .spawn()?;
        Ok(Child {
            pid: Pid::from_child(&process),
            started: Instant::now(),
        })
    }

    /// Returns the command's process id.
    pub(crate) fn pid(&self) -> u32 {
        self.pid.as_raw_nonzero().get().unsigned_abs()
    }

    /// Whether this is the reaped process.
    pub(crate) fn is(&self, pid: Pid) -> bool {
        self.pid == pid
    }

    /// Returns the time since the start.
    pub(crate) fn age(&self) -> Duration {
        self.started.elapsed()
    }

    /// Sends a signal to the command's process group, if the group still exists.
    pub(crate) fn signal(&self, signal: Signal) {
        if let Err(error) = kill_process_group(self.pid, signal) {
            tracing::debug!(pid = self.pid(), ?signal, %error, "signal not sent");
        }
    }
}

/// Reaps all processes that have ended: the command, and the orphans of this process.
pub(crate) fn reap() -> Vec<(Pid, ExitStatus)> {
    let ended = std::iter::from_fn(|| wait(WaitOptions::NOHANG).ok().flatten());
    ended
        .map(|(pid, status)| (pid, ExitStatus::from_raw(status.as_raw())))
        .collect()
}
