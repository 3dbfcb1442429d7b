//! Writes lines to a log, to show that a command has not hung.

use std::io::{IsTerminal, Write, stderr};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::clean;
use crate::commands::disarm;

/// The time between two lines of a log.
pub const INTERVAL: Duration = Duration::from_secs(10);

/// Writes a line to standard error every [`INTERVAL`], until it is dropped.
#[derive(Debug)]
pub struct Pulse {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Pulse {
    /// Starts the lines if standard error is a log: a file, a pipe, or the console of a CI system.
    /// A terminal has bars instead. `line` describes the progress so far.
    pub fn in_log(line: impl Fn() -> String + Send + 'static) -> Option<Pulse> {
        (!stderr().is_terminal()).then(|| {
            // A log that nobody reads any more is not a reason to end the command.
            let write = move || drop(writeln!(stderr(), "{}", disarm(clean(&line()))));
            Pulse::every(INTERVAL, write)
        })
    }

    fn every(interval: Duration, write: impl Fn() + Send + 'static) -> Pulse {
        let (stop, stopped) = channel();
        let beat = move || {
            while stopped.recv_timeout(interval) == Err(RecvTimeoutError::Timeout) {
                write();
            }
        };
        Pulse {
            stop: Some(stop),
            thread: Some(std::thread::spawn(beat)),
        }
    }
}

impl Drop for Pulse {
    fn drop(&mut self) {
        drop(self.stop.take());
        // If a line is being written, this waits for its end.
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Pulse;
    use std::sync::mpsc::channel;
    use std::time::Duration;

    #[test]
    fn lines_come_until_the_pulse_ends() {
        let (sender, receiver) = channel();
        let pulse = Pulse::every(Duration::from_millis(1), move || {
            let _ = sender.send(());
        });
        let patience = Duration::from_secs(60);
        assert!(receiver.recv_timeout(patience).is_ok());
        assert!(receiver.recv_timeout(patience).is_ok());
        drop(pulse);
        // The thread has ended, and has dropped the sender.
        while receiver.try_recv().is_ok() {}
        assert!(receiver.recv_timeout(patience).is_err());
    }
}
