//! `assemble cache pull`: copies builds from caches into the store, and builds nothing.

use std::collections::BTreeSet;

use anyhow::{Context, Result, bail};
use crateyard_cache::{Address, Directory};
use crateyard_nix::{StorePath, environment, said};
use crateyard_terminal::{count, print_line};

use super::{WorkArgs, parse_name};
use crate::caches::{CacheArgs, packs};
use crate::connection::ConnectionArgs;

/// Copy packages from caches into the store, and build nothing
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    work: WorkArgs,
    /// Copy all of this named build instead, including units and toolchain
    #[arg(long, value_name = "NAME", value_parser = parse_name)]
    build: Option<String>,
    #[command(flatten)]
    caches: CacheArgs,
    #[command(flatten)]
    connection: ConnectionArgs,
}

/// Runs the command.
///
/// # Errors
/// When no cache has a path with a trusted signature.
pub fn run(args: Args) -> Result<()> {
    if args.caches.addresses().is_empty() {
        bail!("no cache is named\n  try: --cache CACHE --trusted-key KEY");
    }
    let substituters = args.caches.start(&args.connection)?;
    let mut nix = args.work.nix(&substituters);
    // A path that no cache has is an error here, not a reason to build.
    nix.settings += "max-jobs = 0\nbuilders =\n";
    let Some(name) = &args.build else {
        let paths = args.work.installables(&nix)?;
        let mut command = vec!["build".into(), "--no-link".into()];
        command.extend(
            args.work
                .store
                .iter()
                .flat_map(|it| ["--store".into(), it.into()]),
        );
        command.extend(paths.into_iter().map(Into::into));
        nix.read(command).context("the caches lack a part of it")?;
        return Ok(());
    };
    let paths = find_build(&args, name)?;
    let config = nix.config()?;
    let mut command = environment::with_credentials(config.nix_store());
    command.env("NIX_CONFIG", &config.text);
    command.args(args.work.store.iter().flat_map(|it| ["--store", it]));
    command
        .arg("--realise")
        .args(paths.iter().map(StorePath::to_string));
    let output = command.output().context("cannot start nix-store")?;
    if !output.status.success() {
        bail!(
            "the caches lack a part of the build {name:?}: {}",
            said::cause(&String::from_utf8_lossy(&output.stderr))
        );
    }
    print_line(format!(
        "{} of the build {name}",
        count(paths.len(), "path")
    ))
}

fn find_build(args: &Args, name: &str) -> Result<BTreeSet<StorePath>> {
    let (client, _) = args.connection.client()?;
    for address in args.caches.addresses() {
        let found = match address {
            Address::Directory(path) => Directory::new(path).build(name)?,
            _ => crateyard_registry::run(packs(address, &client))?
                .and_then(|packs| Some(packs.index().builds.get(name)?.paths.clone())),
        };
        if let Some(paths) = found {
            return Ok(paths);
        }
    }
    bail!("no cache has a build named {name:?}; caches on web servers and S3 have no named builds")
}
