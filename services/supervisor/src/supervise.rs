//! The main job: keeps the command running until its end or a signal.

use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::Duration;

use anyhow::Context;
use fleet::api::{Report, State};
use rustix::process::{Signal, getpid, set_child_subreaper};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until, timeout};
use tracing::{debug, error, info, warn};

use crate::child::{Child, reap};
use crate::exit;
use crate::options::SuperviseOptions;
use crate::orphans;
use crate::policy::{Decision, Restarts};
use crate::reporter::Reporter;
use crate::signals::{Effect, Event, Signals};
use crate::status::StatusSocket;

/// The longest time that the last report may delay the end.
const LAST_REPORT: Duration = Duration::from_secs(2);

/// Supervises until the command has ended for good. Returns the exit code.
///
/// # Errors
/// When the options are no good, or the system refuses to hand out signals. The command was not
/// started then.
pub(crate) async fn run(options: &SuperviseOptions) -> anyhow::Result<u8> {
    let signals = Signals::listen().context("can't handle signals")?;
    if let Err(error) = set_child_subreaper(Some(getpid())) {
        warn!(%error, "orphans go to process 1, not to this supervisor");
    }
    let (status, watched) = watch::channel(Report::default());
    let reporter = Reporter::new(options, watched.clone())?;
    let reporter = reporter.map(|reporter| tokio::spawn(reporter.run()));
    let _socket = StatusSocket::open(&options.status_socket, watched);
    info!(
        version = env!("CARGO_PKG_VERSION"),
        pid = std::process::id(),
        "supervisor starts"
    );

    let mut supervisor = Supervisor {
        options,
        signals,
        status,
        restarts: Restarts::new(options),
        end_by: None,
    };
    let code = supervisor.keep_running().await;
    supervisor.end_what_remains().await;
    supervisor.tell(|report| report.state = State::Stopped);
    tell_last(reporter).await;
    info!(code, "supervisor ends");
    Ok(code)
}

async fn tell_last(reporter: Option<JoinHandle<()>>) {
    let Some(reporter) = reporter else { return };
    if timeout(LAST_REPORT, reporter).await.is_err() {
        debug!("the gateway did not take the last report in time");
    }
}

struct Supervisor<'a> {
    options: &'a SuperviseOptions,
    signals: Signals,
    status: watch::Sender<Report>,
    restarts: Restarts,
    /// The end of the grace period, once a signal has asked for the end.
    end_by: Option<Instant>,
}

impl Supervisor<'_> {
    /// Starts the command as often as the policy says, and returns the exit code.
    async fn keep_running(&mut self) -> u8 {
        loop {
            let child = match Child::start(&self.options.command) {
                Ok(child) => Some(child),
                Err(error) if is_passing(&error) => {
                    error!(%error, "the command can't be started now");
                    None
                }
                Err(error) => {
                    let command = &self.options.command[0];
                    error!(?command, %error, "the command can't be started");
                    return exit::code_of_start(&error);
                }
            };
            let (status, ran_for) = match &child {
                Some(child) => (self.watch(child).await, child.age()),
                None => (not_started(), Duration::ZERO),
            };
            let code = exit::code(status);
            if self.end_by.is_some() {
                return code;
            }
            match self.restarts.decide(status, ran_for) {
                Decision::End => return code,
                Decision::GiveUp => {
                    error!("the command failed too often in a row: giving up");
                    return code;
                }
                Decision::RestartAfter(delay) => {
                    // The rest of its process group would hold the ports and locks that the next
                    // start needs.
                    if let Some(child) = child {
                        child.signal(Signal::KILL);
                    }
                    if !self.pause(delay).await {
                        return code;
                    }
                }
            }
        }
    }

    /// Waits for the command's end. Meanwhile it passes signals on and reaps orphans.
    async fn watch(&mut self, child: &Child) -> ExitStatus {
        info!(pid = child.pid(), command = ?self.options.command[0], "command started");
        self.tell(|report| {
            report.state = State::Running;
            report.child_pid = Some(child.pid());
        });
        let mut killed = false;
        loop {
            let kill_at = self.end_by.filter(|_| !killed);
            tokio::select! {
                event = self.signals.next() => match event {
                    Event::Signal(signal, effect) => {
                        child.signal(signal);
                        self.note(signal, effect);
                    }
                    Event::ChildEnded => if let Some(status) = self.reap(Some(child)) {
                        return status;
                    }
                },
                () = at(kill_at) => {
                    warn!(grace = ?self.options.grace, "the command did not end in time: SIGKILL");
                    child.signal(Signal::KILL);
                    killed = true;
                }
            }
        }
    }

    /// Waits before a restart. Returns false if a signal asks for the end meanwhile.
    async fn pause(&mut self, delay: Duration) -> bool {
        info!(?delay, "restarting the command");
        self.tell(|report| report.state = State::BackingOff);
        let until = Instant::now() + delay;
        loop {
            tokio::select! {
                event = self.signals.next() => match event {
                    Event::Signal(signal, effect) => self.note(signal, effect),
                    Event::ChildEnded => {
                        self.reap(None);
                    }
                },
                () = sleep_until(until) => break,
            }
            if self.end_by.is_some() {
                return false;
            }
        }
        self.tell(|report| report.restarts += 1);
        true
    }

    /// Records that a signal asked for the end. The first one starts the grace period.
    fn note(&mut self, signal: Signal, effect: Effect) {
        debug!(?signal, "signal passed on");
        if effect == Effect::End && self.end_by.is_none() {
            info!(?signal, grace = ?self.options.grace, "ending");
            self.end_by = Some(Instant::now() + self.options.grace);
            self.tell(|report| report.state = State::Stopping);
        }
    }

    /// Reaps all ended processes. Returns the command's status if it is among them.
    fn reap(&self, child: Option<&Child>) -> Option<ExitStatus> {
        let mut command_status = None;
        for (pid, status) in reap() {
            if child.is_some_and(|child| child.is(pid)) {
                info!(pid = pid.as_raw_pid(), %status, "command ended");
                command_status = Some(status);
                self.tell(|report| {
                    report.child_pid = None;
                    report.last_exit = Some(exit::report(status));
                });
            } else {
                debug!(pid = pid.as_raw_pid(), %status, "orphan reaped");
            }
        }
        command_status
    }

    /// Ends the processes that the command left behind, within the rest of the grace period.
    async fn end_what_remains(&mut self) {
        let new_period = || Instant::now() + self.options.grace;
        let deadline = self.end_by.unwrap_or_else(new_period);
        orphans::end(&mut self.signals, deadline).await;
    }

    fn tell(&self, change: impl FnOnce(&mut Report)) {
        self.status.send_modify(change);
    }
}

/// Whether another start may not meet the error: no memory, too many processes, a busy executable.
fn is_passing(error: &io::Error) -> bool {
    use io::ErrorKind::{ExecutableFileBusy, OutOfMemory, WouldBlock};
    matches!(error.kind(), ExecutableFileBusy | OutOfMemory | WouldBlock)
}

/// Returns the status of a command that could not be started this time.
fn not_started() -> ExitStatus {
    ExitStatus::from_raw(i32::from(exit::NOT_EXECUTABLE) << 8)
}

/// Waits until a time, or for ever without one.
async fn at(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}
