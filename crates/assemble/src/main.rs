//! Crateyard's command line.
// Nothing outside a program can reach its items, so `pub` means the same as `pub(crate)`.
#![allow(unreachable_pub)]
// `crateyard_terminal` prints, and cleans what it prints.
#![warn(clippy::print_stderr, clippy::print_stdout)]

mod attach;
mod brought;
mod build_times;
mod caches;
mod changes;
mod commands;
mod connection;
mod findings;
mod flake_file;
mod image_argument;
mod image_build;
mod inputs;
mod invocation;
mod native;
mod outgoing;
mod placed;
mod remote;
mod rollout;
mod signer;
mod trust;
mod unseen;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

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
    Fetch(commands::fetch::Args),
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
        Command::Fetch(args) => commands::fetch::run(args),
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
            crateyard_terminal::say("error", &describe(&error));
            ExitCode::from(exit_code(&error))
        }
    }
}

/// What begins a remedy, on a line of its own at the end of an error's text.
const REMEDY: &str = "\n  try: ";

/// Formats an error and its causes, and then the remedies. Leaves out causes that the text of an
/// error already quotes.
fn describe(error: &anyhow::Error) -> String {
    let (mut description, mut remedies) = (String::new(), String::new());
    for text in error.chain().map(ToString::to_string) {
        let at = text.find(REMEDY).unwrap_or(text.len());
        let (cause, remedy) = text.split_at(at);
        if !description.contains(cause) {
            if !description.is_empty() {
                description += ": ";
            }
            description += cause;
        }
        if !remedies.contains(remedy) {
            remedies += remedy.trim_end();
        }
    }
    description.trim_end().to_owned() + &remedies
}

/// The exit code for an invalid reference, as in docs/push.md.
const BAD_REFERENCE: u8 = 2;
/// The exit code that shells report for a program that an interrupt ended.
const INTERRUPTED: u8 = 130;

/// Returns the exit code for each kind of registry failure, as in docs/push.md, and 1 for all other
/// errors.
fn exit_code(error: &anyhow::Error) -> u8 {
    if let Some(crateyard_drive::Error::Interrupted) = error.downcast_ref() {
        return INTERRUPTED;
    }
    let of_registry = |cause: &(dyn std::error::Error + 'static)| match cause.downcast_ref() {
        Some(crateyard_cache::Error::Registry(inner)) => Some(inner.exit_code()),
        _ if cause.is::<crateyard_oci::ParseReferenceError>() => Some(BAD_REFERENCE),
        _ => cause
            .downcast_ref()
            .map(crateyard_registry::Error::exit_code),
    };
    error.chain().find_map(of_registry).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use anyhow::Context;

    use super::*;

    #[test]
    fn remedies_come_last() {
        let error = anyhow::anyhow!("git: fatal\n\n  try: c\n").context("b\n  try: d\n       e");
        let error = error.context("a").context("a\n  try: d\n       e");
        assert_eq!(
            describe(&error),
            "a: b: git: fatal\n  try: d\n       e\n  try: c"
        );
    }

    #[test]
    fn a_cause_is_said_once() {
        let missing = std::path::Path::new("/nonexistent");
        let error = crateyard_registry::Source::open(missing)
            .map(drop)
            .context("cannot push");
        let description = describe(&error.unwrap_err());
        assert_eq!(
            description,
            "cannot push: cannot open /nonexistent: No such file or directory (os error 2)"
        );
    }
}
