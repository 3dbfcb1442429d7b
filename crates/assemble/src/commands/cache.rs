//! `assemble cache`: shares builds between machines.

use std::collections::BTreeSet;
use std::path::PathBuf;

use anyhow::{Context, Result};
use crateyard_flake::Nix;
use crateyard_nix::{Closure, Store, StorePath};

use crate::caches::Substituters;

mod gc;
mod pull;
mod push;
mod serve;
mod status;

/// Share builds between machines, through binary caches
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    Push(push::Args),
    Pull(pull::Args),
    Status(status::Args),
    Gc(gc::Args),
    Serve(serve::Args),
}

/// Runs the subcommand.
///
/// # Errors
/// When the subcommand fails.
pub fn run(args: Args) -> Result<()> {
    match args.command {
        Command::Push(args) => push::run(args),
        Command::Pull(args) => pull::run(args),
        Command::Status(args) => status::run(args),
        Command::Gc(args) => gc::run(args),
        Command::Serve(args) => serve::run(args),
    }
}

/// The packages and their store: options that `push`, `pull` and `status` share.
#[derive(clap::Args, Clone, Debug)]
struct WorkArgs {
    /// Packages of the flake
    #[arg(value_name = "PACKAGE", default_values = ["images", "evaluation"])]
    packages: Vec<String>,
    /// The workspace: a directory with flake.nix
    #[arg(long, value_name = "DIR", default_value = ".")]
    workspace: PathBuf,
    /// Use this store instead of the machine's own
    #[arg(long, value_name = "STORE")]
    store: Option<String>,
}

impl WorkArgs {
    fn store(&self) -> Store {
        Store::new(self.store.clone())
    }

    fn nix(&self, substituters: &Substituters) -> Nix {
        Nix {
            store: self.store.clone(),
            ..substituters.nix()
        }
    }

    fn installables(&self, nix: &Nix) -> Result<Vec<String>> {
        let flake = nix.flake(&self.workspace)?;
        let packages = self.packages.iter();
        Ok(packages
            .map(|package| format!("{flake}#{package}"))
            .collect())
    }

    /// Returns the derivations of the packages, with all their inputs. Fetches or builds the
    /// derivations that evaluation reads.
    fn evaluate(&self, nix: &Nix) -> Result<Closure> {
        let mut goals = Vec::new();
        for installable in self.installables(nix)? {
            let mut args = vec!["eval".into(), "--raw".into()];
            if let Some(store) = &self.store {
                args.extend(["--store".into(), store.into()]);
            }
            args.push(format!("{installable}.drvPath").into());
            goals.push(nix.read(args)?.trim().to_owned());
        }
        Closure::read(&self.store(), &goals)
            .context("cannot read the derivations that nix eval has just made")
    }
}

/// Lists the names of some paths.
fn listed(paths: &BTreeSet<StorePath>) -> Vec<String> {
    paths.iter().map(|path| path.name().to_owned()).collect()
}

/// Parses an age: `30d`, `12h`, `90m`, `45s`.
fn parse_age(text: &str) -> Result<std::time::Duration, String> {
    let wrong = || format!("{text:?} is not an age such as 30d, 12h, 90m or 45s");
    let (at, unit) = text.char_indices().last().ok_or_else(wrong)?;
    let seconds = match unit {
        'd' => 24 * 60 * 60,
        'h' => 60 * 60,
        'm' => 60,
        's' => 1,
        _ => return Err(wrong()),
    };
    let number: u64 = text[..at].parse().map_err(|_| wrong())?;
    let seconds = number.checked_mul(seconds).ok_or_else(wrong)?;
    Ok(std::time::Duration::from_secs(seconds))
}

/// Checks the name of a build, which is also a file name.
fn parse_name(text: &str) -> Result<String, String> {
    let is_fine = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    match !text.is_empty() && !text.starts_with('.') && text.chars().all(is_fine) {
        true => Ok(text.to_owned()),
        false => Err(format!(
            "{text:?}: a name can only have letters, digits, '-', '_' and '.'"
        )),
    }
}
