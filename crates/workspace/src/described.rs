//! Reads `images.toml`.

use std::path::Path;

use anyhow::{Context, Result, bail};
use crateyard_description::Description;

use crate::files;

/// The name of the description in a workspace.
const NAME: &str = "images.toml";

/// Reads a description.
///
/// # Errors
/// Fails if it can't be read, or has an error.
pub fn read(path: &Path) -> Result<Description> {
    let text =
        std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(Description::parse(&text, &path.display().to_string())?)
}

/// Returns the images that the workspace describes; none if it has no description.
///
/// # Errors
/// Fails if the description has an error.
pub fn names(workspace: &Path) -> Result<Vec<String>> {
    files::check(workspace)?;
    let file = workspace.join(NAME);
    let Ok(text) = std::fs::read_to_string(&file) else {
        return Ok(Vec::new());
    };
    let description = Description::parse(&text, &file.to_string_lossy())?;
    Ok(description.images.into_keys().collect())
}

/// Returns the requested images, or all images in `images.toml` if none are requested.
///
/// # Errors
/// Fails if `images.toml` can't be read, or has no such image.
pub fn wanted(workspace: &Path, images: &[String]) -> Result<Vec<String>> {
    files::check(workspace)?;
    let file = workspace.join(NAME);
    let text = std::fs::read_to_string(&file).with_context(|| {
        format!(
            "cannot read {}: run this in a workspace that describes its images",
            file.display()
        )
    })?;
    let described = Description::parse(&text, &file.to_string_lossy())?;
    let known: Vec<String> = described.images.into_keys().collect();
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
