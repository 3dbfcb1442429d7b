//! The signals that a supervisor passes on to its command.

use std::io;

use rustix::process::Signal;
use tokio::signal::unix::{self, SignalKind, signal};
use tokio::sync::mpsc;

/// Each signal with its effect. All others keep their default effect, and SIGKILL and SIGSTOP can't
/// be caught.
const PASSED_ON: [(Signal, Effect); 9] = [
    (Signal::TERM, Effect::End),
    (Signal::INT, Effect::End),
    (Signal::QUIT, Effect::End),
    (Signal::HUP, Effect::None),
    (Signal::USR1, Effect::None),
    (Signal::USR2, Effect::None),
    (Signal::ALARM, Effect::None),
    (Signal::WINCH, Effect::None),
    (Signal::CONT, Effect::None),
];

/// The effect of a signal on the supervisor itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// The command ends, and the supervisor after it.
    End,
    /// No effect: the signal is for the command alone.
    None,
}

/// Incoming signals.
pub(crate) struct Signals {
    passed_on: mpsc::UnboundedReceiver<(Signal, Effect)>,
    child_ended: unix::Signal,
}

impl Signals {
    /// Catches these signals. From now on they only arrive here.
    ///
    /// # Errors
    /// When the system refuses a handler.
    pub(crate) fn listen() -> io::Result<Self> {
        let (sender, passed_on) = mpsc::unbounded_channel();
        for (number, effect) in PASSED_ON {
            let mut arrivals = signal(SignalKind::from_raw(number.as_raw()))?;
            let sender = sender.clone();
            tokio::spawn(async move {
                while arrivals.recv().await.is_some() && sender.send((number, effect)).is_ok() {}
            });
        }
        Ok(Signals {
            passed_on,
            child_ended: signal(SignalKind::child())?,
        })
    }

    /// Waits for the next event.
    pub(crate) async fn next(&mut self) -> Event {
        tokio::select! {
            Some((signal, effect)) = self.passed_on.recv() => Event::Signal(signal, effect),
            _ = self.child_ended.recv() => Event::ChildEnded,
        }
    }
}

/// An event that wakes the supervisor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// A signal for the command.
    Signal(Signal, Effect),
    /// SIGCHLD: at least one process can be reaped.
    ChildEnded,
}
