//! The processes of a node, by name: starts them, waits for them and ends them.

use std::collections::BTreeMap;
use std::process::ExitStatus;
use std::time::Duration;

use anyhow::Context;
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::Command;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};
use tracing::{info, warn};

/// Running processes.
pub(crate) struct Processes {
    running: BTreeMap<String, Pid>,
    ends: mpsc::UnboundedReceiver<(String, ExitStatus)>,
    sender: mpsc::UnboundedSender<(String, ExitStatus)>,
}

impl Processes {
    /// Begins without processes.
    pub(crate) fn new() -> Self {
        let (sender, ends) = mpsc::unbounded_channel();
        Processes {
            running: BTreeMap::new(),
            ends,
            sender,
        }
    }

    /// Starts a process in a process group of its own. So Ctrl-C in a terminal reaches only the
    /// node, which ends its processes in order.
    ///
    /// # Errors
    /// When the process can't be executed.
    pub(crate) fn start(&mut self, name: &str, mut command: Command) -> anyhow::Result<()> {
        command.process_group(0).kill_on_drop(true);
        let mut child = command
            .spawn()
            .with_context(|| format!("can't start {name}: {:?}", command.as_std()))?;
        let pid = child
            .id()
            .and_then(|pid| Pid::from_raw(pid.try_into().ok()?));
        let pid = pid.with_context(|| format!("{name} has no process id"))?;
        info!(name, pid = pid.as_raw_pid(), "started");
        self.running.insert(name.to_owned(), pid);
        let (name, sender) = (name.to_owned(), self.sender.clone());
        tokio::spawn(async move {
            if let Ok(status) = child.wait().await {
                // The receiver is gone only when the node ends.
                let _ = sender.send((name, status));
            }
        });
        Ok(())
    }

    /// Waits until a process ends, for ever if there is none.
    pub(crate) async fn next_end(&mut self) -> (String, ExitStatus) {
        match self.ends.recv().await {
            Some((name, status)) => {
                self.running.remove(&name);
                (name, status)
            }
            None => std::future::pending().await,
        }
    }

    /// Ends all processes whose name fits, at the same time: with SIGTERM, then after `grace` with
    /// SIGKILL.
    pub(crate) async fn end(&mut self, fits: impl Fn(&str) -> bool, grace: Duration) {
        self.signal(&fits, Signal::TERM);
        let deadline = Instant::now() + grace;
        while self.remain(&fits) {
            if let Ok((name, status)) = timeout_at(deadline, self.next_end()).await {
                info!(name, %status, "ended");
                continue;
            }
            warn!(?grace, "not ended in time: SIGKILL");
            self.signal(&fits, Signal::KILL);
            self.running.retain(|name, _| !fits(name));
        }
    }

    fn remain(&self, fits: impl Fn(&str) -> bool) -> bool {
        self.running.keys().any(|name| fits(name))
    }

    fn signal(&self, fits: impl Fn(&str) -> bool, signal: Signal) {
        for (name, pid) in self.running.iter().filter(|(name, _)| fits(name)) {
            if let Err(error) = kill_process(*pid, signal) {
                warn!(name, %error, "signal not sent");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[tokio::test]
    async fn ends_are_told_by_name() {
        let mut processes = Processes::new();
        processes.start("long", command("sleep 100")).unwrap();
        processes.start("short", command("exit 3")).unwrap();
        let (name, status) = processes.next_end().await;
        assert_eq!((name.as_str(), status.code()), ("short", Some(3)));
        processes.end(|_| true, Duration::from_secs(5)).await;
        assert!(processes.running.is_empty());
    }

    #[tokio::test]
    async fn those_who_do_not_end_are_killed() {
        let mut processes = Processes::new();
        let stubborn = "trap '' TERM; while :; do sleep 0.05; done";
        processes.start("stubborn", command(stubborn)).unwrap();
        processes.start("other", command("exec sleep 100")).unwrap();
        tokio::time::sleep(Duration::from_millis(200)).await;
        let begin = Instant::now();
        let grace = Duration::from_millis(200);
        processes.end(|name| name == "stubborn", grace).await;
        assert!(begin.elapsed() >= grace);
        assert_eq!(processes.running.keys().collect::<Vec<_>>(), ["other"]);
    }
}
