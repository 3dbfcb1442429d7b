//! Process 1 of a sandbox: starts a command, passes signals on, reaps orphans, restarts the command
//! when it fails, and reports to the gateway.
//!
//! It needs no shell and no write access. If it can't do one of its side jobs (report, open its
//! status socket), it logs that and goes on.

mod child;
mod exit;
mod options;
mod orphans;
mod policy;
mod reporter;
mod signals;
mod status;
mod supervise;

use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;
use options::{Action, Options};

/// The exit code for the supervisor's own failures. The command's own codes are below.
const OWN_FAILURE: u8 = 125;

fn main() -> ExitCode {
    let options = Options::parse();
    match run(&options) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("supervisor: {error:#}");
            ExitCode::from(match options.action {
                Some(Action::Health | Action::Status) => 1,
                _ => OWN_FAILURE,
            })
        }
    }
}

/// Runs the command line. One thread is enough, because a supervisor only waits.
#[tokio::main(flavor = "current_thread")]
async fn run(options: &Options) -> anyhow::Result<u8> {
    options.logs.start()?;
    match &options.action {
        None => supervise::run(&options.supervise).await,
        Some(Action::Health) => status::health(&options.supervise.status_socket).await,
        Some(Action::Status) => status::show(&options.supervise.status_socket).await,
        Some(Action::Workload(workload)) => {
            workload.run(&["workload"]).await.context("workload failed")
        }
    }
}
