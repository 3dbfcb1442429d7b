//! `assemble build`: builds images and prints their paths.

use anyhow::Result;
use crateyard_build::build;
use crateyard_flake::Nix;

use crate::caches::CacheArgs;
use crate::connection::ConnectionArgs;

/// Build images and print a line for each
#[derive(clap::Args)]
// The group of the inner `Args` has this name.
#[group(skip)]
pub struct Args {
    #[command(flatten)]
    build: build::Args,
    #[command(flatten)]
    caches: CacheArgs,
    #[command(flatten)]
    connection: ConnectionArgs,
}

/// Runs the command.
///
/// # Errors
/// When images.toml has no such image, or the build fails.
pub fn run(args: Args) -> Result<()> {
    if !args.build.is_by_nix() {
        return build::run(args.build, Nix::default());
    }
    // The servers of caches end with this value.
    let substituters = args.caches.start(&args.connection)?;
    build::run(args.build, substituters.nix())
}
