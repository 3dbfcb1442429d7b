//! `assemble build`: builds images and prints their paths.

use crate::image_build::{Compiler, Way, drive};
use anyhow::{Context, Result};
use crateyard_drive::schedule::Order;
use crateyard_flake::{Nix, trusted_user};
use crateyard_nix::Store;
use crateyard_oci::{Image, Layout};
use crateyard_terminal as text;
use crateyard_workspace::described;
use indicatif::HumanBytes;
use serde::Serialize;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Build images and print a line for each
#[derive(clap::Args)]
pub struct Args {
    /// Images to build [default: all images in images.toml]
    #[arg(value_name = "IMAGE")]
    images: Vec<String>,
    /// The workspace: a directory with images.toml, and with flake.nix for Nix
    #[arg(long, value_name = "DIR", default_value = ".")]
    workspace: PathBuf,
    /// The compiler of builds by Nix
    #[arg(long, value_enum, default_value_t)]
    compiler: Compiler,
    /// Use this store instead of the machine's own
    #[arg(long, value_name = "STORE")]
    store: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// After a failure, continue with everything that does not depend on it
    #[arg(long, short)]
    keep_going: bool,
    /// The order in which ready derivations start
    #[arg(long, value_name = "ORDER", value_enum, default_value = "longest-path")]
    order: StartOrder,
    /// Write events to a file as JSON lines; - is standard error
    #[arg(long, value_name = "FILE")]
    events: Option<PathBuf>,
    /// Further arguments for `nix build`
    #[arg(last = true, value_name = "NIX ARGUMENT")]
    nix: Vec<OsString>,
}

/// The order in which ready derivations start.
#[derive(Clone, Copy, clap::ValueEnum)]
enum StartOrder {
    /// The longest path to the end first
    LongestPath,
    /// By name, as Nix does
    Name,
}

impl From<StartOrder> for Order {
    fn from(order: StartOrder) -> Self {
        match order {
            StartOrder::LongestPath => Self::LongestPath,
            StartOrder::Name => Self::Name,
        }
    }
}

/// The output for one platform of one image.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    name: String,
    platform: String,
    digest: String,
    /// Bytes of the manifest, the configuration and the compressed layers.
    size: u64,
    layers: usize,
    path: PathBuf,
}

/// Builds the images by Nix. `nix` holds the settings for Nix that are not among the options, such
/// as binary caches.
///
/// # Errors
/// When images.toml has no such image, or the build fails.
pub fn run(args: &Args, nix: Nix) -> Result<()> {
    run_by(args, |workspace, images| {
        let nix = Nix {
            store: args.store.clone(),
            extra: args.nix.clone(),
            ..nix
        };
        let way = Way {
            prefix: args.compiler.prefix(workspace, args.store.as_deref())?,
            keep_going: args.keep_going,
            order: args.order.into(),
            events: args.events.as_deref(),
        };
        crateyard_flake::isolation::say_less_isolated();
        if args.store.is_none() {
            trusted_user::say_untrusted();
        }
        drive(workspace, images, &nix, &way)
            .inspect_err(|_| crate::findings::explain_failure(workspace))
    })?;
    crate::flake_lock::remind(&args.workspace);
    Ok(())
}

/// Builds the images by a function that takes the workspace and their names, and returns the path
/// of each. Prints a line for each image.
///
/// # Errors
/// When images.toml has no such image, or the build fails.
pub fn run_by(
    args: &Args,
    build: impl FnOnce(&Path, &[String]) -> Result<Vec<PathBuf>>,
) -> Result<()> {
    let began = SystemTime::now();
    let names = described::wanted(&args.workspace, &args.images)?;
    let paths = build(&args.workspace, &names)?;
    let store = Store::new(args.store.clone());
    let mut lines = Vec::new();
    for (name, path) in names.iter().zip(&paths) {
        let place = store.physical(path);
        lines.extend(lines_of(name, path, &place)?);
        crateyard_workspace::history::remember(&args.workspace, name, &place);
        crate::build_times::remember(&args.workspace, &place, began);
    }
    if args.json {
        text::print_json(&lines)
    } else {
        text::print(&describe(&lines))
    }
}

fn lines_of(name: &str, path: &Path, place: &Path) -> Result<Vec<Line>> {
    let layout =
        Layout::open(place).with_context(|| format!("{} is not an image", place.display()))?;
    let images = layout.images()?;
    let containers = images.iter().filter(|image| !image.is_attestation());
    containers
        .map(|image| line(name, path, &layout, image))
        .collect()
}

fn line(name: &str, path: &Path, layout: &Layout, image: &Image) -> Result<Line> {
    let manifest = layout.manifest(&image.descriptor)?;
    let config = layout.config(&manifest)?;
    let layers: u64 = manifest.layers.iter().map(|layer| layer.size).sum();
    Ok(Line {
        name: name.to_owned(),
        platform: config.platform.to_string(),
        digest: image.descriptor.digest.to_string(),
        size: image.descriptor.size + manifest.config.size + layers,
        layers: manifest.layers.len(),
        path: path.to_owned(),
    })
}

/// Formats a line for each image.
fn describe(lines: &[Line]) -> String {
    let width = lines.iter().map(|line| line.name.len()).max().unwrap_or(0);
    let describe = |line: &Line| {
        format!(
            "{:width$}  {}  {}  {:>9}  {} layers  {}\n",
            line.name,
            line.platform,
            line.digest,
            HumanBytes(line.size).to_string(),
            line.layers,
            line.path.display(),
        )
    };
    lines.iter().map(describe).collect()
}
