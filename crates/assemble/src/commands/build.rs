//! `assemble build`: builds images and prints their paths.

use super::fetch::{self, release};
use crate::caches::CacheArgs;
use crate::connection::ConnectionArgs;
use crate::engine::{self, Engine, Request};
use crate::nix::{Nix, driven, trust};
use crate::place::physical;
use crate::plan_lock;
use crate::state::State;
use crate::text;
use anyhow::{Context, Result, bail};
use crateyard_description::Description;
use crateyard_drive::schedule::Order;
use crateyard_nix::Store;
use crateyard_oci::{Image, Layout};
use indicatif::HumanBytes;
use serde::Serialize;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// Build images and print a line for each
#[derive(clap::Args)]
pub struct Args {
    /// Images to build [default: all images in images.toml]
    #[arg(value_name = "IMAGE")]
    images: Vec<String>,
    /// The workspace: a directory with images.toml, and with flake.nix if Nix builds
    #[arg(long, value_name = "DIR", default_value = ".")]
    workspace: PathBuf,
    /// The engine that builds
    #[arg(long, value_enum, default_value_t)]
    engine: Engine,
    /// The lock of the Debian packages, for engines other than nix [default: debian.lock in the
    /// workspace]
    #[arg(long, value_name = "FILE")]
    debian_lock: Option<PathBuf>,
    /// The compiler, if Nix builds
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
    #[command(flatten)]
    caches: CacheArgs,
    #[command(flatten)]
    connection: ConnectionArgs,
    /// Further arguments for `nix build`
    #[arg(last = true, value_name = "NIX ARGUMENT")]
    nix: Vec<OsString>,
}

/// The compiler.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Compiler {
    /// As the description says: the release that toolchain.lock pins, or Debian's compiler
    #[default]
    Described,
    /// Debian's compiler
    Debian,
    /// The description's compiler if `assemble fetch` could get it, else Debian's
    Available,
}

impl Compiler {
    /// The prefix of attribute names. A flake repeats all attributes below `debian`, built with
    /// Debian's compiler.
    fn prefix(self, workspace: &Path, store: Option<&str>) -> Result<&'static str> {
        let is_debian = match self {
            Self::Described => false,
            Self::Debian => true,
            Self::Available => lacks_release(workspace, store)?,
        };
        Ok(if is_debian { "debian." } else { "" })
    }
}

/// Whether the workspace's release is unavailable. Warns if so.
fn lacks_release(workspace: &Path, store: Option<&str>) -> Result<bool> {
    let lock = fetch::lock_path(
        &workspace.join(crateyard_toolchain::lock::FILE),
        "toolchainLock",
    )?;
    let store = Store::new(store.map(str::to_owned));
    if !lock.exists() || release::is_there(&lock, &store)? {
        return Ok(false);
    }
    let release = crateyard_toolchain::Lock::load(&lock)?.release;
    eprintln!(
        "note: Rust {release} is not in {store}; Debian's compiler builds (the attributes debian.NAME-image), and digests differ"
    );
    Ok(true)
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

/// Builds the images.
///
/// # Errors
/// When images.toml has no such image, or the build fails.
pub fn run(args: Args) -> Result<()> {
    let names = wanted(&args.workspace, &args.images)?;
    let request = Request {
        workspace: &args.workspace,
        debian_lock: args.debian_lock.as_deref(),
        images: &names,
        vendor: None,
    };
    let paths = match args.engine {
        Engine::Nix => {
            let substituters = args.caches.start(&args.connection)?;
            let nix = Nix {
                store: args.store.clone(),
                extra: args.nix.clone(),
                ..substituters.nix()
            };
            let way = Way {
                prefix: args
                    .compiler
                    .prefix(&args.workspace, args.store.as_deref())?,
                keep_going: args.keep_going,
                order: args.order.into(),
                events: args.events.as_deref(),
            };
            crate::isolation::say_less_isolated();
            if args.store.is_none() {
                trust::say_untrusted();
            }
            drive(&request, &nix, &way)
                .inspect_err(|_| super::doctor::explain_failure(&args.workspace))?
        }
        engine => engine::build(engine, &request)?,
    };
    let mut lines = Vec::new();
    for (name, path) in names.iter().zip(&paths) {
        let place = physical(path, args.store.as_deref());
        lines.extend(lines_of(name, path, &place)?);
        crate::history::remember(&args.workspace, name, &place);
    }
    if args.json {
        text::print_json(&lines)
    } else {
        text::print(&describe(&lines))
    }
}

/// Builds images by Nix with the machine's settings, and returns their paths.
///
/// # Errors
/// When Nix is not installed or a build fails.
pub fn build_by_nix(workspace: &Path, images: &[String]) -> Result<Vec<PathBuf>> {
    let request = Request {
        workspace,
        debian_lock: None,
        images,
        vendor: None,
    };
    let paths = build_images(Engine::Nix, &request)?;
    for (name, path) in images.iter().zip(&paths) {
        crate::history::remember(workspace, name, path);
    }
    Ok(paths)
}

/// The line of nix.conf that keeps Nix from asking binary caches.
const NO_CACHES: &str = "substitute = false\n";

/// Builds one image by Nix from what the workspace has, with this compiler and in this store.
/// Nothing comes from a binary cache: otherwise a witness would repeat what the signer's cache
/// says.
///
/// # Errors
/// When Nix is not installed or a build fails.
pub fn build_again(
    workspace: &Path,
    image: &str,
    compiler: Compiler,
    store: Option<&str>,
) -> Result<PathBuf> {
    let images = [image.to_owned()];
    let request = Request {
        workspace,
        debian_lock: None,
        images: &images,
        vendor: None,
    };
    let nix = Nix {
        store: store.map(str::to_owned),
        settings: NO_CACHES.to_owned(),
        ..Nix::default()
    };
    let way = Way {
        prefix: compiler.prefix(workspace, store)?,
        ..Way::default()
    };
    let built = drive(&request, &nix, &way)?.into_iter().next();
    built.with_context(|| format!("nix built no path for {image}"))
}

/// Builds images, and returns their paths.
///
/// # Errors
/// When the engine fails.
pub fn build_images(engine: Engine, request: &Request<'_>) -> Result<Vec<PathBuf>> {
    match engine {
        Engine::Nix => drive(request, &Nix::default(), &Way::default()),
        engine => engine::build(engine, request),
    }
}

/// How Nix is driven.
#[derive(Default)]
struct Way<'a> {
    /// The prefix of attribute names.
    prefix: &'static str,
    keep_going: bool,
    order: Order,
    events: Option<&'a Path>,
}

fn drive(request: &Request<'_>, nix: &Nix, way: &Way<'_>) -> Result<Vec<PathBuf>> {
    crate::git::check(request.workspace)?;
    crate::bootstrap::bring(nix.store.as_deref());
    let flake = nix.flake(request.workspace)?;
    plan_lock::expect_current(request.workspace, nix, &flake)?;
    let images = request.images.iter();
    let attributes: Vec<String> = images.map(|name| format!("{name}-image")).collect();
    let state = State::of(request.workspace)?;
    let driven = driven::Request {
        nix,
        flake: &flake,
        attributes: &attributes,
        prefix: way.prefix,
        state: &state,
        keep_going: way.keep_going,
        order: way.order,
        events: way.events,
    };
    driven.build()
}

/// The requested images, or all images in images.toml.
///
/// # Errors
/// When images.toml can't be read or has no such image.
pub fn wanted(workspace: &Path, images: &[String]) -> Result<Vec<String>> {
    crate::workspace::check(workspace)?;
    let file = workspace.join("images.toml");
    let text = std::fs::read_to_string(&file).with_context(|| {
        format!(
            "cannot read {}: run this in a workspace that describes its images",
            file.display()
        )
    })?;
    let described = Description::parse(&text, &file.to_string_lossy())?;
    let known: Vec<String> = described.images.keys().cloned().collect();
    if images.is_empty() {
        return Ok(known);
    }
    for name in images {
        if !known.contains(name) {
            bail!(
                "{} describes no image {name:?}; it has {}",
                file.display(),
                known.join(", ")
            );
        }
    }
    Ok(images.to_vec())
}

fn lines_of(name: &str, path: &Path, place: &Path) -> Result<Vec<Line>> {
    let layout = Layout::open(place).with_context(|| format!("{} is no image", place.display()))?;
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

/// A line for each image.
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
