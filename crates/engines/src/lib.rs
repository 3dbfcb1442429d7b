//! The engines that build images: Nix, docker buildx, and the machine's own Cargo. All of them
//! write output of the same form to the same place.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::ValueEnum;
use crateyard_dockerfile::Resolved;
use crateyard_workspace::cargo::Cargo;
use serde::{Deserialize, Serialize};

pub mod buildx;
pub mod cargo;
mod images;
pub mod kept;
mod packages;
mod parents;

/// The engine that builds.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    ValueEnum,
    Serialize,
    Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Engine {
    /// Nix: a derivation for each unit, hermetic
    #[default]
    Nix,
    /// docker buildx with Dockerfile.images
    Buildx,
    /// The machine's Cargo: quick, not hermetic; images are marked accordingly
    Cargo,
}

impl Engine {
    /// Returns the engine's name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Engine::Nix => "nix",
            Engine::Buildx => "buildx",
            Engine::Cargo => "cargo",
        }
    }
}

/// The inputs of a build without Nix.
pub struct Request<'a> {
    /// The workspace.
    pub workspace: &'a Path,
    /// The lock with the Debian packages of images [default: debian.lock in the workspace].
    pub debian_lock: Option<&'a Path>,
    /// The names of images.
    pub images: &'a [String],
    /// For buildx, the sources of all dependencies, as `cargo vendor --versioned-dirs` writes them.
    /// Without them, the bake file decides.
    pub vendor: Option<&'a Path>,
}

/// The results of a build.
pub struct Built {
    /// The layout of each requested image.
    pub paths: Vec<PathBuf>,
    /// The package of each compiled unit, if the engine reports them.
    pub compiled: Vec<String>,
    /// Bytes of blobs from caches, layouts and registries, if the engine reports them.
    pub fetched: u64,
}

/// Reads a workspace and its description.
///
/// # Errors
/// When one of them is wrong, or Cargo fails.
pub fn resolve(root: &Path) -> Result<Resolved> {
    let metadata = Cargo::of(root)?.metadata(&crateyard_dockerfile::METADATA)?;
    Ok(crateyard_dockerfile::resolve(root, &metadata)?)
}

/// Generates the files that `assemble dockerfile` writes for a workspace.
///
/// # Errors
/// The errors of [`resolve`].
pub fn generated(root: &Path) -> Result<crateyard_dockerfile::Files> {
    let metadata = Cargo::of(root)?.metadata(&crateyard_dockerfile::METADATA)?;
    Ok(crateyard_dockerfile::for_workspace(root, &metadata)?)
}

impl Request<'_> {
    /// Returns the absolute path of the workspace, and the workspace with its description.
    fn resolve(&self) -> Result<(PathBuf, Resolved)> {
        let workspace = self.workspace.canonicalize();
        let workspace =
            workspace.with_context(|| format!("there is no {}", self.workspace.display()))?;
        let resolved = resolve(&workspace)?;
        Ok((workspace, resolved))
    }

    fn debian_lock(&self, workspace: &Path) -> PathBuf {
        match self.debian_lock {
            Some(path) => path.to_owned(),
            None => workspace.join("debian.lock"),
        }
    }
}
