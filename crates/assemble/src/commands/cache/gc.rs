//! `assemble cache gc`: removes everything that no named build needs.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use crateyard_cache::packs::{PACK_SIZE, PackDirectory, PackWriter, Packs, publish};
use crateyard_cache::{Address, Collected, Directory, Retention};
use crateyard_oci::Reference;
use crateyard_registry::Client;
use crateyard_terminal::{count, print_json, print_line};

use super::{parse_age, parse_name};
use crate::connection::{ConnectionArgs, bytes};

/// Remove old builds, and everything that no build needs any more
#[derive(clap::Args)]
pub struct Args {
    /// The cache: a directory, pack:DIR or oci://REGISTRY/REPOSITORY:TAG
    #[arg(value_name = "CACHE")]
    cache: Address,
    /// Remove builds that were pushed longer ago than this (30d, 12h)
    #[arg(long, value_name = "AGE", value_parser = parse_age)]
    older_than: Option<Duration>,
    /// Never remove the build of this name; may be repeated
    #[arg(long, value_name = "NAME", value_parser = parse_name)]
    keep: Vec<String>,
    /// Keep anything younger than this, even if no build needs it: an upload may be running
    #[arg(long, value_name = "AGE", default_value = "1d", value_parser = parse_age)]
    grace: Duration,
    /// Show what would be removed, and change nothing
    #[arg(long, short = 'n')]
    dry_run: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    connection: ConnectionArgs,
}

/// Runs the command.
///
/// # Errors
/// When the cache is damaged or can't be written.
pub fn run(args: Args) -> Result<()> {
    let retention = Retention {
        age: args.older_than,
        keep: args.keep.iter().cloned().collect::<BTreeSet<String>>(),
        grace: args.grace,
        dry_run: args.dry_run,
    };
    let collected = match &args.cache {
        Address::Directory(path) => Directory::new(path).collect(&retention)?,
        Address::Packs(path) => directory(&PackDirectory::new(path), &retention)?,
        Address::Registry(reference) => {
            collect_in_registry(reference, &retention, &args.connection)?
        }
        Address::Http(_) | Address::Nix(_) => bail!(
            "{} can only be collected where its files are\n  try: the directory behind the web \
             server, or a lifecycle rule of the bucket",
            args.cache
        ),
    };
    if args.json {
        return print_json(&collected);
    }
    print(&collected, args.dry_run)
}

fn directory(directory: &PackDirectory, retention: &Retention) -> Result<Collected> {
    let lock = directory.lock()?;
    let Some(packs) = Packs::open_directory(directory.clone())? else {
        return Ok(Collected::default());
    };
    let writer = PackWriter::new(&directory.blobs(), PACK_SIZE);
    let (index, collected) = crateyard_registry::run(packs.collect(retention, writer))?;
    if !retention.dry_run {
        directory.commit(&index)?;
        directory.sweep(&lock)?;
    }
    Ok(collected)
}

fn print(collected: &Collected, is_dry: bool) -> Result<()> {
    let verb = if is_dry { "would give up" } else { "gave up" };
    print_line(format!(
        "{verb} {}, {}, {}",
        count(collected.builds.len(), "build"),
        count(collected.paths, "path"),
        bytes(collected.bytes)
    ))
}

/// Removes the builds from a registry that the retention does not keep.
///
/// The registry's own garbage collection frees blobs that no tag names any longer.
fn collect_in_registry(
    reference: &Reference,
    retention: &Retention,
    connection: &ConnectionArgs,
) -> Result<Collected> {
    let (client, _): (Client, _) = connection.client()?;
    let temporary = tempfile::tempdir().context("cannot make a temporary directory")?;
    let directory = PackDirectory::new(temporary.path());
    let _lock = directory.lock()?;
    crateyard_registry::run(async {
        let Some(packs) = Packs::open_registry(&client, reference).await? else {
            return Ok(Collected::default());
        };
        let (index, collected) = packs
            .collect(retention, PackWriter::new(&directory.blobs(), PACK_SIZE))
            .await?;
        if !retention.dry_run {
            directory.commit(&index)?;
            publish(&client, &directory, reference).await?;
        }
        Ok(collected)
    })
}
