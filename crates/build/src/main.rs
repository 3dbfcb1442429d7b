//! `fetch-and-build`: what `make images` runs.

use std::process::ExitCode;

use clap::Parser;
use crateyard_build::{build, failure, fetch};
use crateyard_flake::Nix;

/// Fetch what the locks pin, and build images
#[derive(Parser)]
#[command(version, max_term_width = 100)]
enum Command {
    Fetch(fetch::Args),
    Build(build::Args),
}

fn main() -> ExitCode {
    let result = match Command::parse() {
        Command::Fetch(args) => fetch::run(args),
        Command::Build(args) => build::run(&args, Nix::default()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            failure::say(&error);
            ExitCode::from(failure::exit_code(&error))
        }
    }
}
