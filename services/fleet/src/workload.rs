//! A small program to supervise: it runs, logs, and misbehaves on request. With it, an image
//! without a shell can be tried out, and a node runs it by default.

use std::process::Command;
use std::time::Duration;

use clap::Args;
use tokio::signal::unix::{SignalKind, signal};
use tracing::info;

use crate::duration;

/// What the workload shall do.
#[derive(Args, Clone, Debug)]
pub struct Workload {
    /// How often to log that it runs
    #[arg(long, value_parser = duration::parse_positive, default_value = "1m")]
    every: Duration,

    /// End after this time; without it, only on a signal
    #[arg(long, value_parser = duration::parse)]
    exit_after: Option<Duration>,

    /// The code to end with after --exit-after
    #[arg(long, default_value_t = 0, requires = "exit_after")]
    exit_code: u8,

    /// Leave this many short-lived orphans behind, for process 1 to reap
    #[arg(long, default_value_t = 0)]
    orphans: u32,

    /// Start a short-lived process and end without waiting for it
    #[arg(long, hide = true)]
    abandon: bool,
}

impl Workload {
    /// Runs until its time is over or SIGTERM or SIGINT comes, and returns the exit code.
    /// `arguments` are the arguments that made the present program run a workload, such as
    /// `["workload"]`.
    pub async fn run(&self, arguments: &[&str]) -> anyhow::Result<u8> {
        if self.abandon {
            itself(arguments)?.args(["--exit-after", "100ms"]).spawn()?;
            return Ok(0);
        }
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        for _ in 0..self.orphans {
            itself(arguments)?.arg("--abandon").status()?;
        }
        info!(pid = std::process::id(), "workload runs");
        let mut ticks = tokio::time::interval(self.every);
        ticks.tick().await;
        let end = async {
            match self.exit_after {
                Some(time) => tokio::time::sleep(time).await,
                None => std::future::pending().await,
            }
        };
        tokio::pin!(end);
        loop {
            tokio::select! {
                _ = ticks.tick() => info!("workload still runs"),
                _ = terminate.recv() => break info!("workload ends: SIGTERM"),
                _ = interrupt.recv() => break info!("workload ends: SIGINT"),
                () = &mut end => {
                    info!(code = self.exit_code, "workload ends: its time is over");
                    return Ok(self.exit_code);
                }
            }
        }
        Ok(0)
    }
}

fn itself(arguments: &[&str]) -> std::io::Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(arguments);
    Ok(command)
}
