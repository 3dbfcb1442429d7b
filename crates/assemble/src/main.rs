//! Crateyard's command line.
// Nothing outside a program can reach its items, so `pub` means the same as `pub(crate)`.
#![allow(unreachable_pub)]
// `crateyard_terminal` prints, and cleans what it prints.
#![warn(clippy::print_stderr, clippy::print_stdout)]

mod attach;
mod caches;
mod changes;
mod commands;
mod connection;
mod image_argument;
mod inputs;
mod native;
mod outgoing;
mod remote;
mod rollout;
mod signer;
mod trust;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use crateyard_build::failure;

/// Build, move and examine container images.
#[derive(Parser)]
#[command(name = "assemble", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Init(commands::init::Args),
    Build(commands::build::Args),
    Plan(commands::plan::Args),
    Report(commands::report::Args),
    Affected(commands::affected::Args),
    Doctor(commands::doctor::Args),
    Dockerfile(commands::dockerfile::Args),
    Push(commands::push::Args),
    Pull(commands::pull::Args),
    Resolve(commands::resolve::Args),
    Deploy(commands::deploy::Args),
    Load(commands::load::Args),
    Save(commands::save::Args),
    Inspect(commands::inspect::Args),
    Ls(commands::ls::Args),
    Cat(commands::cat::Args),
    Diff(commands::diff::Args),
    Compare(commands::compare::Args),
    Explain(commands::explain::Args),
    Audit(commands::audit::Args),
    Rebuild(commands::rebuild::Args),
    Sign(commands::sign::Args),
    Bench(commands::bench::Args),
    Verify(commands::verify::Args),
    Cache(commands::cache::Args),
    Fetch(crateyard_build::fetch::Args),
    Lock(commands::lock::Args),
    Shell(commands::shell::Args),
    Bootstrap(commands::bootstrap::Args),
    Completions(commands::completions::Args),
    Man(commands::completions::ManArgs),
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Init(args) => commands::init::run(args),
        Command::Build(args) => commands::build::run(args),
        Command::Plan(args) => commands::plan::run(args),
        Command::Report(args) => commands::report::run(args),
        Command::Affected(args) => commands::affected::run(args),
        Command::Doctor(args) => return finish(commands::doctor::run(args)),
        Command::Dockerfile(args) => commands::dockerfile::run(args),
        Command::Push(args) => commands::push::run(args),
        Command::Pull(args) => commands::pull::run(args),
        Command::Resolve(args) => commands::resolve::run(args),
        Command::Deploy(args) => commands::deploy::run(args),
        Command::Load(args) => commands::load::run(args),
        Command::Save(args) => commands::save::run(args),
        Command::Inspect(args) => commands::inspect::run(args),
        Command::Ls(args) => commands::ls::run(args),
        Command::Cat(args) => commands::cat::run(args),
        Command::Diff(args) => return finish(commands::diff::run(args)),
        Command::Compare(args) => return finish(commands::compare::run(args)),
        Command::Audit(args) => return finish(commands::audit::run(args)),
        Command::Sign(args) => commands::sign::run(args),
        Command::Explain(args) => commands::explain::run(args),
        Command::Rebuild(args) => return finish(commands::rebuild::run(args)),
        Command::Bench(args) => return finish(commands::bench::run(args)),
        Command::Verify(args) => return finish(commands::verify::run(args)),
        Command::Cache(args) => commands::cache::run(args),
        Command::Fetch(args) => crateyard_build::fetch::run(args),
        Command::Lock(args) => commands::lock::run(args),
        Command::Shell(args) => commands::shell::run(args),
        Command::Bootstrap(args) => commands::bootstrap::run(args),
        Command::Completions(args) => commands::completions::run(args),
        Command::Man(args) => commands::completions::run_man(args),
    };
    finish(result.map(|()| ExitCode::SUCCESS))
}

fn finish(result: anyhow::Result<ExitCode>) -> ExitCode {
    match result {
        Ok(code) => code,
        Err(error) => {
            failure::say(&error);
            ExitCode::from(exit_code(&error))
        }
    }
}

/// The exit code for an invalid reference, as in docs/push.md.
const BAD_REFERENCE: u8 = 2;

/// Returns the exit code for each kind of registry failure, as in docs/push.md, and that of a build
/// for all other errors.
fn exit_code(error: &anyhow::Error) -> u8 {
    let of_registry = |cause: &(dyn std::error::Error + 'static)| match cause.downcast_ref() {
        Some(crateyard_cache::Error::Registry(inner)) => Some(inner.exit_code()),
        _ if cause.is::<crateyard_oci::ParseReferenceError>() => Some(BAD_REFERENCE),
        _ => cause
            .downcast_ref()
            .map(crateyard_registry::Error::exit_code),
    };
    let code = error.chain().find_map(of_registry);
    code.unwrap_or_else(|| failure::exit_code(error))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn no_command_contradicts_itself() {
        Cli::command().debug_assert();
    }
}
