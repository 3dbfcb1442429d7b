//! `assemble build`: builds images and prints their paths.

use std::path::{Path, PathBuf};

use anyhow::Result;
use crateyard_build::build;
use crateyard_engines::{Engine, Request, buildx, cargo};

use crate::caches::CacheArgs;
use crate::connection::ConnectionArgs;

/// Build images and print a line for each
#[derive(clap::Args)]
// The group of the inner `Args` has this name.
#[group(skip)]
pub struct Args {
    #[command(flatten)]
    build: build::Args,
    /// The engine that builds
    #[arg(long, value_enum, default_value_t)]
    engine: Engine,
    /// The lock of the Debian packages, for engines other than nix [default: debian.lock in the
    /// workspace]
    #[arg(long, value_name = "FILE")]
    debian_lock: Option<PathBuf>,
    #[command(flatten)]
    caches: CacheArgs,
    #[command(flatten)]
    connection: ConnectionArgs,
}

impl Args {
    fn request<'a>(&'a self, workspace: &'a Path, images: &'a [String]) -> Request<'a> {
        Request {
            workspace,
            debian_lock: self.debian_lock.as_deref(),
            images,
            vendor: None,
        }
    }
}

/// Runs the command.
///
/// # Errors
/// When images.toml has no such image, or the build fails.
pub fn run(args: Args) -> Result<()> {
    match args.engine {
        Engine::Nix => {
            // The servers of caches end with this value.
            let substituters = args.caches.start(&args.connection)?;
            build::run(&args.build, substituters.nix())
        }
        Engine::Buildx => build::run_by(&args.build, |workspace, images| {
            let request = args.request(workspace, images);
            Ok(buildx::build(&request, buildx::Output::Shown)?.paths)
        }),
        Engine::Cargo => build::run_by(&args.build, |workspace, images| {
            Ok(cargo::build(&args.request(workspace, images))?.paths)
        }),
    }
}
