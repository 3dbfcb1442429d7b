//! Crateyard's command line.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod commands;
mod nix;

/// Builds the container images of a Cargo workspace.
#[derive(Parser)]
#[command(name = "assemble", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Build(commands::build::Args),
    Dockerfile(commands::dockerfile::Args),
    Fetch(commands::fetch::Args),
    Lock(commands::lock::Args),
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Build(args) => commands::build::run(args),
        Command::Dockerfile(args) => commands::dockerfile::run(args),
        Command::Fetch(args) => commands::fetch::run(args),
        Command::Lock(args) => commands::lock::run(args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
