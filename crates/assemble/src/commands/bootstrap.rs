//! `assemble bootstrap`: builds the bootstrap programs of a checkout of Crateyard, and pins their
//! bytes.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use crateyard_disk::Directory;
use crateyard_flake::Nix;
use crateyard_flake::programs;
use crateyard_flake::programs::lock::{FILE, Lock, Pin};
use crateyard_nix::Store;
use crateyard_terminal::{print_line, write_to};

/// Build Crateyard's bootstrap programs from source and write bootstrap.lock
///
/// Only for a checkout of Crateyard, after an edit of crates that these programs use.
#[derive(clap::Args)]
pub struct Args {
    /// The checkout: a directory with bootstrap.lock
    #[arg(long, value_name = "DIR", default_value = ".")]
    workspace: PathBuf,
    /// Leave bootstrap.lock as it is; fail if it is out of date
    #[arg(long)]
    check: bool,
    /// Also write the programs into a directory, under the names that `assemble fetch` asks a
    /// release for
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

/// Runs the command.
///
/// # Errors
/// When the directory is not a checkout of Crateyard, a program can't be built, or, with `--check`,
/// the lock is out of date.
pub fn run(args: Args) -> Result<()> {
    let path = match args.workspace == Path::new(".") {
        true => PathBuf::from(FILE),
        false => args.workspace.join(FILE),
    };
    ensure!(
        path.exists(),
        "there is no {}: only a checkout of Crateyard has bootstrap programs to pin. Other \
         workspaces get them from their input `crateyard`",
        path.display()
    );
    let older = Lock::load(&path)?;
    crateyard_workspace::git::check(&args.workspace)?;
    let attributes = ["bootstrap".to_owned()];
    let nix = Nix::default();
    let built = nix.build(&nix.flake(&args.workspace)?, "", &attributes, None)?;
    let built = read(built.first().context("nix has built nothing")?)?;
    let pins = built.iter();
    let pins: BTreeMap<String, Pin> = pins
        .map(|(name, (source, bytes))| (name.clone(), Pin::new(source, bytes)))
        .collect();
    let mut lock = older.clone();
    let system = format!("{}-linux", std::env::consts::ARCH);
    lock.set(&system, pins.clone());
    ensure!(
        !args.check || lock == older,
        "{} does not match the source in crates/; renew it with: assemble bootstrap",
        path.display()
    );
    if lock != older {
        write_to(&path, &lock.to_text()?)?;
    }
    if let Some(directory) = &args.out {
        write(directory, &built)?;
    }
    for (name, pin) in pins {
        print_line(format!(
            "{name:<12} {:>9} bytes  sha256:{}",
            pin.size, pin.sha256
        ))?;
    }
    Ok(())
}

/// Programs by name: the hash of the source, and the bytes.
type Programs = BTreeMap<String, (String, Vec<u8>)>;

/// Reads the programs that nix/bootstrap/programs.nix has put into a directory.
fn read(built: &Path) -> Result<Programs> {
    let directory = built.join("bin");
    let context = || format!("cannot read {}", directory.display());
    let mut programs = BTreeMap::new();
    for entry in fs::read_dir(&directory).with_context(context)? {
        let name = entry.with_context(context)?.file_name();
        let name = name.to_string_lossy().into_owned();
        let bytes = fs::read(directory.join(&name)).with_context(context)?;
        let source =
            fs::read_to_string(built.join(format!("{name}.source"))).with_context(context)?;
        programs.insert(name, (source.trim().to_owned(), bytes));
    }
    Ok(programs)
}

/// Writes the programs under the last parts of their store paths.
fn write(directory: &Path, built: &Programs) -> Result<()> {
    let context = || format!("cannot write the programs to {}", directory.display());
    let directory = Directory::create(directory).with_context(context)?;
    for (name, (_, bytes)) in built {
        let path = programs::path_of(&Store::default(), name, bytes);
        directory
            .write(programs::base(&path), bytes)
            .with_context(context)?;
    }
    Ok(())
}
