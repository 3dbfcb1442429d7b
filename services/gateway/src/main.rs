//! The HTTP API for supervisors: they register, report and are listed.
//!
//! `gateway` serves until SIGTERM or SIGINT; `gateway health` asks the gateway of this machine
//! whether it is well.

mod error;
mod extract;
mod health;
mod metrics;
mod options;
mod roster;
mod routes;
mod server;
mod signals;
mod tls;

use std::process::ExitCode;

use clap::Parser;
use options::{Action, Options};

#[tokio::main]
async fn main() -> ExitCode {
    let options = Options::parse();
    let done = match options.action {
        Some(Action::Health) => health::check(&options.serve).await,
        None => server::run(options).await,
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("gateway: {error:#}");
            ExitCode::FAILURE
        }
    }
}
