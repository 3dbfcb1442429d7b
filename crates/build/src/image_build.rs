//! Builds images by Nix, with the machine's settings.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context, Result};
use crateyard_drive::schedule::Order;
use crateyard_fetch::{lock_path, release};
use crateyard_flake::{Nix, driven, plan_lock};
use crateyard_nix::Store;
use crateyard_terminal::note;
use crateyard_workspace::{git, history, state::State};

use crate::{build_times, unseen};

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
    /// Returns the prefix of attribute names. A flake repeats all attributes below `debian`, built
    /// with Debian's compiler.
    ///
    /// # Errors
    /// When the check whether the release is available fails.
    pub fn prefix(self, workspace: &Path, store: Option<&str>) -> Result<&'static str> {
        let is_debian = match self {
            Self::Described => false,
            Self::Debian => true,
            Self::Available => lacks_release(workspace, store)?,
        };
        Ok(if is_debian { "debian." } else { "" })
    }
}

/// Whether the workspace's release is unavailable. If so, prints a warning.
fn lacks_release(workspace: &Path, store: Option<&str>) -> Result<bool> {
    let lock = lock_path(
        &workspace.join(crateyard_toolchain::lock::FILE),
        "toolchainLock",
    )?;
    let store = Store::new(store.map(str::to_owned));
    if !lock.exists() || release::is_there(&lock, &store)? {
        return Ok(false);
    }
    let release = crateyard_toolchain::Lock::load(&lock)?.release;
    note!(
        "Rust {release} is not in {store}, so Debian's compiler builds the images \
         (debian.NAME-image), and their digests differ"
    );
    Ok(true)
}

/// Builds images by Nix with the machine's settings, and returns their paths.
///
/// # Errors
/// When Nix is not installed or a build fails.
pub fn build_by_nix(workspace: &Path, images: &[String]) -> Result<Vec<PathBuf>> {
    let began = SystemTime::now();
    let paths = drive(workspace, images, &Nix::default(), &Way::default())?;
    for (name, path) in images.iter().zip(&paths) {
        history::remember(workspace, name, path);
        build_times::remember(workspace, path, began);
    }
    Ok(paths)
}

/// The line of nix.conf that stops Nix from asking binary caches.
const NO_CACHES: &str = "substitute = false\n";

/// Builds one image by Nix from the files of the workspace, with this compiler and in this store.
/// Nothing comes from a binary cache, because a witness would then only repeat the content of the
/// signer's cache.
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
    let nix = Nix {
        store: store.map(str::to_owned),
        settings: NO_CACHES.to_owned(),
        ..Nix::default()
    };
    let way = Way {
        prefix: compiler.prefix(workspace, store)?,
        ..Way::default()
    };
    let built = drive(workspace, &images, &nix, &way)?.into_iter().next();
    built.with_context(|| format!("nix built no path for {image}"))
}

/// The options for driving Nix.
#[derive(Default)]
pub struct Way<'a> {
    /// The prefix of attribute names.
    pub prefix: &'static str,
    /// Whether to continue after a failure.
    pub keep_going: bool,
    /// The order in which ready derivations start.
    pub order: Order,
    /// The file for events.
    pub events: Option<&'a Path>,
}

/// Builds images by driving Nix, and returns their paths.
///
/// # Errors
/// When Nix is not installed or a build fails.
pub fn drive(
    workspace: &Path,
    images: &[String],
    nix: &Nix,
    way: &Way<'_>,
) -> Result<Vec<PathBuf>> {
    git::check(workspace)?;
    let flake = nix.flake(workspace)?;
    crate::brought::bring(workspace, nix.store.as_deref());
    plan_lock::expect_current(workspace, nix, &flake)?;
    let images = images.iter();
    let attributes: Vec<String> = images.map(|name| format!("{name}-image")).collect();
    let state = State::of(workspace)?;
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
    driven.build().inspect_err(|_| unseen::explain(workspace))
}
