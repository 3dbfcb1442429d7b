//! Puts a package's source where Cargo would have it.

use crate::files;
use anyhow::{Context, Result, bail};
use flate2::read::GzDecoder;
use std::fs::{self, File};
use std::io::BufReader;
use std::path::{Component, Path};

/// Places `source`, a `.crate` file or a directory, at `place`.
///
/// # Errors
/// When a `.crate` is damaged or an entry of it would land outside of `place`.
pub fn place(source: &Path, place: &Path) -> Result<()> {
    if source.is_dir() {
        place_tree(source, place)
    } else {
        unpack_crate(source, place)
    }
}

/// Below what sources lie in a cell: the workspace's, those of registries, those of repositories.
pub const PLACES: [&str; 3] = ["/workspace", "/cargo/registry", REPOSITORY];

/// Where the repository of a package lies in a cell.
const REPOSITORY: &str = "/cargo/repository";

/// Places a repository, and at `place` a link to the package that lies at `path` in it: as in Cargo's own checkout, a
/// package may read what lies beside it.
///
/// # Errors
/// When something can't be read or written.
pub fn place_within(source: &Path, path: &Path, place: &Path) -> Result<()> {
    let repository = Path::new(REPOSITORY);
    place_tree(source, repository)?;
    if let Some(parent) = place.parent() {
        fs::create_dir_all(parent)?;
    }
    files::link(&repository.join(path), place)
}

/// Copies a file or a directory to `place`. A copy, not a link: a build script that asks for the
/// real path of its directory must not learn a store path.
///
/// # Errors
/// When something can't be read or written.
pub fn place_tree(from: &Path, place: &Path) -> Result<()> {
    let kind = fs::symlink_metadata(from)
        .with_context(|| format!("cannot read {}", from.display()))?
        .file_type();
    if kind.is_dir() {
        fs::create_dir_all(place).with_context(|| format!("cannot create {}", place.display()))?;
        for name in files::names(from)? {
            place_tree(&from.join(&name), &place.join(&name))?;
        }
        return Ok(());
    }
    if let Some(parent) = place.parent() {
        fs::create_dir_all(parent)?;
    }
    if kind.is_symlink() {
        return files::link(&fs::read_link(from)?, place);
    }
    fs::copy(from, place).with_context(|| format!("cannot copy to {}", place.display()))?;
    Ok(())
}

/// A `.crate` is a gzipped tar whose entries all lie in `NAME-VERSION/`.
fn unpack_crate(archive: &Path, place: &Path) -> Result<()> {
    let file = File::open(archive)?;
    let mut tar = tar::Archive::new(GzDecoder::new(BufReader::new(file)));
    fs::create_dir_all(place).with_context(|| format!("cannot create {}", place.display()))?;
    for entry in tar.entries()? {
        let mut entry = entry.context("the archive is damaged")?;
        let path = entry.path()?.into_owned();
        let mut parts = path.components();
        parts.next();
        let inner = parts.as_path();
        if inner
            .components()
            .any(|c| !matches!(c, Component::Normal(_)))
        {
            bail!("entry {} leaves the package", path.display());
        }
        if inner.as_os_str().is_empty() {
            continue;
        }
        let target = place.join(inner);
        if let Some(parent) = target.parent() {
            fs::create_dir_all(parent)?;
        }
        entry
            .unpack(&target)
            .with_context(|| format!("cannot unpack {}", path.display()))?;
    }
    Ok(())
}
