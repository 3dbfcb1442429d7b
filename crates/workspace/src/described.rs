//! Reads `images.toml`.

use std::io::ErrorKind;
use std::path::Path;

use anyhow::{Context, Result, bail};
use crateyard_description::Description;

use crate::files;
use crate::root::{self, DESCRIPTION};

/// Reads a description.
///
/// # Errors
/// Fails if it can't be read, or has an error.
pub fn read(path: &Path) -> Result<Description> {
    let text = match std::fs::read_to_string(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Err(missing(path)),
        read => read.with_context(|| format!("cannot read {}", path.display()))?,
    };
    Ok(Description::parse(&text, &path.display().to_string())?)
}

/// Says that there is no description, and where there is one.
fn missing(path: &Path) -> anyhow::Error {
    let directory = path.parent().unwrap_or(Path::new(""));
    let name = path.file_name().unwrap_or_default();
    root::missing(directory, &name.to_string_lossy(), "assemble init")
}

/// Returns the images that the workspace describes; none if it has no description.
///
/// # Errors
/// Fails if the description has an error.
pub fn names(workspace: &Path) -> Result<Vec<String>> {
    files::check(workspace)?;
    let file = workspace.join(DESCRIPTION);
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
    let file = workspace.join(DESCRIPTION);
    let known: Vec<String> = read(&file)?.images.into_keys().collect();
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_no_description_learns_where_it_is() {
        let place = tempfile::tempdir().unwrap();
        let member = place.path().join("crates/api");
        std::fs::create_dir_all(&member).unwrap();
        let said = || wanted(&member, &[]).unwrap_err().to_string();
        assert!(said().ends_with("crates/api/images.toml; to write it: assemble init"));
        std::fs::write(place.path().join(DESCRIPTION), "version = 1\n").unwrap();
        let root = format!("is in {}\n", place.path().display());
        assert!(said().contains(&root), "{}", said());
    }
}
