//! Orphans: processes whose parent ended, and that the kernel handed to this process.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::time::{Instant, sleep_until};
use tracing::{info, warn};

use crate::child::reap;
use crate::signals::Signals;

/// The time to wait after SIGKILL. A process ends as soon as the kernel handles the signal; one in
/// an uninterruptible wait may never end.
const KILL_TIME: Duration = Duration::from_secs(1);

/// Ends all children of this process: sends SIGTERM and waits until `deadline`, then sends SIGKILL.
///
/// The children of an ended process may be handed to this process, so it goes on until there are
/// none.
pub(crate) async fn end(signals: &mut Signals, deadline: Instant) {
    let mut asked = BTreeSet::new();
    while remain(&mut asked, Signal::TERM) {
        tokio::select! {
            _ = signals.next() => {}
            () = sleep_until(deadline) => return kill(signals).await,
        }
    }
}

async fn kill(signals: &mut Signals) {
    let deadline = Instant::now() + KILL_TIME;
    let mut killed = BTreeSet::new();
    while remain(&mut killed, Signal::KILL) {
        tokio::select! {
            _ = signals.next() => {}
            () = sleep_until(deadline) => return warn!("processes remain that SIGKILL does not \
                end"),
        }
    }
}

/// Reaps children, and sends the signal to each child that has not had it yet. Returns false if
/// there is no child.
fn remain(have_it: &mut BTreeSet<i32>, signal: Signal) -> bool {
    reap();
    let children = children();
    for pid in &children {
        if have_it.insert(pid.as_raw_pid()) {
            info!(
                pid = pid.as_raw_pid(),
                ?signal,
                "ending a process left behind"
            );
            // The process may have ended just now.
            let _ = kill_process(*pid, signal);
        }
    }
    !children.is_empty()
}

/// Returns the children of this process. Without /proc, it finds none.
fn children() -> Vec<Pid> {
    let own = std::process::id();
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.filter(|pid| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"));
        stat.is_ok_and(|stat| parent(&stat) == Some(own))
    })
    .filter_map(Pid::from_raw)
    .collect()
}

/// Returns the parent's process id in a line of `/proc/PID/stat`: the second field after the name.
/// The name is in parentheses and may contain anything, including parentheses and spaces.
fn parent(stat: &str) -> Option<u32> {
    let (_, fields) = stat.rsplit_once(')')?;
    fields.split_ascii_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parents() {
        assert_eq!(parent("12 (sleep) S 7 12 12 0"), Some(7));
        assert_eq!(parent("12 (a) R 5 (b) S 7 12 12 0"), Some(7));
        assert_eq!(parent("12 sleep"), None);
    }
}
