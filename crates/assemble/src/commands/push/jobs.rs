//! Finds the images to send, and the target of each.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use crateyard_build::image_build::build_by_nix;
use crateyard_oci::Reference;
use crateyard_workspace::described;

use super::Args;
use crate::image_argument;

/// An image and its target.
pub(super) struct Job {
    pub(super) path: PathBuf,
    pub(super) target: Reference,
}

/// The meaning of `--to`.
pub(super) enum Destination {
    /// One repository.
    Repository(Reference),
    /// A repository for each image, below this one.
    Parent { path: String, tag: Option<String> },
}

impl Destination {
    pub(super) fn parse(args: &Args) -> anyhow::Result<Destination> {
        if !args.to.ends_with('/') && args.images.len() == 1 {
            return Ok(Destination::Repository(args.to.parse()?));
        }
        if let Some(path) = args.to.strip_suffix('/') {
            return Ok(Destination::Parent {
                path: path.to_owned(),
                tag: None,
            });
        }
        let parent: Reference = args.to.parse()?;
        if parent.digest().is_some() {
            bail!(
                "--to {}: several images cannot have one digest\n  try: leave @{{digest}} out",
                args.to
            );
        }
        let tag = parent.tag().map(str::to_owned);
        Ok(Destination::Parent {
            path: parent.without_version().to_string(),
            tag,
        })
    }

    fn target(&self, name: &str) -> anyhow::Result<Reference> {
        match self {
            Destination::Repository(reference) => Ok(reference.clone()),
            Destination::Parent { path, tag } => {
                let tag = tag
                    .as_ref()
                    .map(|tag| format!(":{tag}"))
                    .unwrap_or_default();
                Ok(format!("{path}/{name}{tag}").parse()?)
            }
        }
    }
}

/// Finds the images to send. Uses images named by path as they are, and builds images named by
/// name.
pub(super) fn find_images(args: &Args, destination: &Destination) -> anyhow::Result<Vec<Job>> {
    let workspace = Path::new(".");
    let described = described::names(workspace)?;
    let (paths, mut names): (Vec<&String>, Vec<&String>) = args
        .images
        .iter()
        .partition(|image| is_path(image, &described));
    // The description of a flake may be elsewhere, and the flake itself may be in a directory
    // above. Then only Nix knows the names.
    let may_know = described.is_empty() && is_in_flake()?;
    if let Some(unknown) = names
        .iter()
        .find(|name| !may_know && !described.contains(name))
    {
        bail!(image_argument::no_image(unknown, &described, workspace));
    }
    if args.images.is_empty() {
        names = described.iter().collect();
    }
    if paths.is_empty() && names.is_empty() {
        bail!(
            "no images.toml here describes an image\n  try: name a layout or archive by its path"
        );
    }
    let mut jobs = Vec::new();
    for path in paths {
        let stem = Path::new(path)
            .file_name()
            .unwrap_or_default()
            .to_string_lossy();
        let stem = stem.strip_suffix(".tar").unwrap_or(&stem);
        jobs.push(Job {
            path: path.into(),
            target: destination.target(stem)?,
        });
    }
    // Check every target before building the first image.
    let targets = names
        .iter()
        .map(|name| destination.target(name))
        .collect::<anyhow::Result<Vec<_>>>()?;
    jobs.extend(
        build(&names)?
            .into_iter()
            .zip(targets)
            .map(|(path, target)| Job { path, target }),
    );
    Ok(jobs)
}

/// Whether an argument is a path. A directory with an image's name counts only if it is a layout.
fn is_path(image: &str, described: &[String]) -> bool {
    let path = Path::new(image);
    image.contains('/')
        || image.ends_with(".tar")
        || path.is_file()
        || path.join("oci-layout").is_file()
        || path.is_dir() && !described.iter().any(|name| name == image)
}

/// Whether this directory or one above it has a flake.
fn is_in_flake() -> anyhow::Result<bool> {
    let here = std::env::current_dir().context("cannot find the current directory")?;
    Ok(here
        .ancestors()
        .any(|directory| directory.join("flake.nix").is_file()))
}

/// Builds images through Nix, and returns the paths of their layouts in the same order.
fn build(names: &[&String]) -> anyhow::Result<Vec<PathBuf>> {
    if names.is_empty() {
        return Ok(Vec::new());
    }
    // A single call builds all images, so that they are built in parallel.
    let names: Vec<String> = names.iter().map(|&name| name.clone()).collect();
    build_by_nix(Path::new("."), &names)
}
