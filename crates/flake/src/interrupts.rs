//! Signals that ask the command to end.
//!
//! While a session runs, they are noticed, and the session stops in order. At any other time they
//! end the process, as they do by themselves: after its build, a command may send an image for
//! minutes.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock, Once};

use signal_hook::SigId;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag::{register, register_conditional_default};
use signal_hook::low_level::unregister;

/// Whether no session runs.
static IDLE: LazyLock<Arc<AtomicBool>> = LazyLock::new(Arc::default);
/// Removing an action does not bring back what a signal does by itself, so that stays registered.
static REGISTERED: Once = Once::new();

/// Notices signals until it is dropped. There is one at a time.
#[derive(Debug)]
pub(crate) struct Interrupts {
    flag: Arc<AtomicBool>,
    actions: Vec<SigId>,
}

impl Interrupts {
    /// Starts to notice signals.
    ///
    /// # Errors
    /// When the system refuses the handler.
    pub(crate) fn notice() -> io::Result<Self> {
        IDLE.store(false, Ordering::Relaxed);
        let mut interrupts = Self {
            flag: Arc::default(),
            actions: Vec::new(),
        };
        for signal in [SIGINT, SIGTERM] {
            let action = register(signal, interrupts.flag.clone())?;
            interrupts.actions.push(action);
        }
        let mut registered = Ok(());
        REGISTERED.call_once(|| {
            for signal in [SIGINT, SIGTERM] {
                let action = register_conditional_default(signal, IDLE.clone());
                registered = std::mem::replace(&mut registered, Ok(())).and(action.map(drop));
            }
        });
        registered?;
        Ok(interrupts)
    }

    /// Whether a signal has come.
    pub(crate) fn flag(&self) -> &AtomicBool {
        &self.flag
    }
}

impl Drop for Interrupts {
    fn drop(&mut self) {
        for action in self.actions.drain(..) {
            unregister(action);
        }
        IDLE.store(true, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;
    use std::process::Command;

    use signal_hook::low_level::raise;

    use super::*;

    /// Runs in a process of its own, which it ends.
    #[test]
    #[ignore = "ends the process"]
    fn sessions() {
        for _ in 0..2 {
            let interrupts = Interrupts::notice().unwrap();
            raise(SIGTERM).unwrap();
            assert!(interrupts.flag().load(Ordering::Relaxed));
        }
        raise(SIGTERM).unwrap();
    }

    #[test]
    fn signals_end_the_process_between_sessions() {
        let mut tests = Command::new(std::env::current_exe().unwrap());
        tests.args(["interrupts::tests::sessions", "--exact", "--ignored"]);
        let output = tests.output().unwrap();
        assert_eq!(output.status.signal(), Some(SIGTERM), "{output:?}");
    }
}
