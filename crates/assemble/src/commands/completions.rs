//! `assemble completions` and `assemble man`: generate their output from the parser's definitions.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::{Command, CommandFactory};
use clap_complete::Shell;
use crateyard_terminal::print;

use crate::Cli;

const SHELLS: &str = "\
Examples:
  assemble completions bash > /usr/share/bash-completion/completions/assemble
  assemble completions zsh > ~/.zfunc/_assemble
  assemble completions fish > ~/.config/fish/completions/assemble.fish";

/// Print completions for a shell
#[derive(clap::Args)]
#[command(after_help = SHELLS)]
pub struct Args {
    /// The shell
    #[arg(value_enum, value_name = "SHELL")]
    shell: Shell,
}

const PAGES: &str = "\
Examples:
  assemble man | man -l -
  assemble man --out /usr/local/share/man/man1";

/// Print the man page, or write one for each command
#[derive(clap::Args)]
#[command(after_help = PAGES)]
pub struct ManArgs {
    /// The directory for the pages of all commands
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

/// Prints completions.
///
/// # Errors
/// When standard output can't be written.
pub fn run(args: Args) -> Result<()> {
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "assemble", &mut text);
    print(&String::from_utf8_lossy(&text))
}

/// Prints or writes man pages.
///
/// # Errors
/// When they can't be written.
pub fn run_man(args: ManArgs) -> Result<()> {
    let command = Cli::command();
    let Some(directory) = args.out else {
        let mut text = Vec::new();
        clap_mangen::Man::new(command).render(&mut text)?;
        return print(&String::from_utf8_lossy(&text));
    };
    write_pages(command, &directory)
        .with_context(|| format!("cannot write man pages into {}", directory.display()))
}

fn write_pages(command: Command, directory: &Path) -> Result<()> {
    std::fs::create_dir_all(directory)?;
    clap_mangen::generate_to(command, directory)?;
    Ok(())
}
