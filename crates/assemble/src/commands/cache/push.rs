//! `assemble cache push`: sends builds from this machine's store to a cache.

use std::collections::BTreeSet;
use std::path::PathBuf;

use anyhow::Result;
use crateyard_cache::packs::PackDirectory;
use crateyard_cache::{Address, Directory};
use crateyard_flake::Nix;
use crateyard_nix::{Closure, Node, StorePath};
use crateyard_terminal::{count, print_json, print_line};
use serde::Serialize;

use self::key::Key;
use self::targets::Push;
use super::{WorkArgs, parse_name};
use crate::caches::CacheArgs;
use crate::connection::{ConnectionArgs, bytes, parse_size};

mod copy;
mod key;
mod targets;

const EXAMPLES: &str = "\
Examples:
  assemble cache push --to /srv/cache --sign-key main.key
  assemble cache push --to 's3://bucket?endpoint=s3.example' --sign-key my.key
  CRATEYARD_SIGN_KEY=… assemble cache push --to pack:.cache/units \\
      --name \"$BRANCH\"
  assemble cache push --to oci://registry.example/cache:main --sign-key main.key
  assemble cache push --to oci://registry.example/cache:pr-7 --sign-key pr.key \\
      --cache oci://registry.example/cache:main --trusted-key main-1:…

The last example does not send paths that the cache of main has.";

/// Send builds to a cache: images, units, toolchain, and everything evaluation reads
///
/// Builds the packages first, unless the store or a cache has them.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(flatten)]
    work: WorkArgs,
    /// The target: a directory, http(s)://…, s3://…, pack:DIR or oci://REGISTRY/REPOSITORY:TAG
    #[arg(long, value_name = "CACHE")]
    to: Address,
    /// The build's name; the cache keeps the build's paths as long as the name exists
    #[arg(long, value_name = "NAME", default_value = "latest", value_parser = parse_name)]
    name: String,
    /// The file with the signing key; without it CRATEYARD_SIGN_KEY holds the key itself
    #[arg(long, value_name = "FILE")]
    sign_key: Option<PathBuf>,
    /// Also send downloads: crates and Debian packages
    #[arg(long)]
    sources: bool,
    /// Send the packages alone, without the units and the toolchain that built them
    #[arg(long, conflicts_with = "sources")]
    packages_only: bool,
    /// The size at which the next pack begins
    #[arg(long, value_name = "SIZE", default_value = "64M", value_parser = parse_size)]
    pack_size: u64,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    caches: CacheArgs,
    #[command(flatten)]
    connection: ConnectionArgs,
}

/// The command's JSON output.
#[derive(Default, Serialize)]
struct Report {
    /// The number of paths in the build.
    paths: usize,
    /// The number of paths that were sent.
    sent: usize,
    /// The number of bytes that were sent; 0 if Nix sent them, because Nix does not report it.
    bytes: u64,
    /// The number of requests to the registry.
    requests: u64,
}

/// Runs the command.
///
/// # Errors
/// When a build fails, the key is missing, or the cache can't be written.
pub fn run(args: Args) -> Result<()> {
    let key = Key::find(args.sign_key.as_deref())?;
    let substituters = args.caches.start(&args.connection)?;
    let nix = args.work.nix(&substituters);
    build(&args.work, &nix)?;
    let closure = args.work.evaluate(&nix)?;
    let wanted = wanted(&closure, &args)?;
    let present = args.work.store().present(&wanted)?;
    let push = Push {
        args: &args,
        key: &key,
        wanted: &wanted,
        present: &present,
    };
    let report = match &args.to {
        Address::Packs(path) => push.to_packs(&PackDirectory::new(path))?,
        Address::Registry(reference) => push.to_registry(reference)?,
        Address::Directory(path) => push.to_directory(&Directory::new(path), &nix)?,
        Address::Http(url) | Address::Nix(url) => push.by_nix(url, &nix, &push.lacking()?)?,
    };
    match args.json {
        true => print_json(&report),
        false => print(&report, &args),
    }
}

fn wanted(closure: &Closure, args: &Args) -> Result<BTreeSet<StorePath>> {
    if args.packages_only {
        let packages = closure.roots.iter().map(|&root| &closure.nodes[root]);
        let outputs = packages.flat_map(Node::outputs);
        return Ok(outputs.map(str::parse).collect::<Result<_, _>>()?);
    }
    let mut wanted = closure.built_outputs()?;
    if args.sources {
        wanted.extend(closure.downloads()?);
    }
    Ok(wanted)
}

fn print(report: &Report, args: &Args) -> Result<()> {
    let sent = match report.bytes {
        0 => String::new(),
        size => format!(", {}", bytes(size)),
    };
    print_line(format!(
        "{} in {}, {} sent{sent}",
        count(report.paths, "path"),
        args.to,
        report.sent
    ))
}

fn build(work: &WorkArgs, nix: &Nix) -> Result<()> {
    let mut command = vec!["build".into(), "--no-link".into()];
    command.extend(
        work.store
            .iter()
            .flat_map(|it| ["--store".into(), it.into()]),
    );
    command.extend(work.installables(nix)?.into_iter().map(Into::into));
    nix.read(command)?;
    Ok(())
}
