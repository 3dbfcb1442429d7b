//! Finds out why an image differs from the running one, by comparing their inputs.
//!
//! The provenance of images deployed from here is kept in `.crateyard/deployed`. The provenance of
//! other images comes from the registry, if the image was pushed with `--attest`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Result;
use crateyard_attestation::provenance::Statement;
use crateyard_oci::Reference;
use crateyard_workspace::history::MAX_PROVENANCE;
use crateyard_workspace::state::State;

use super::settings::ShipArgs;
use crate::image_argument::{Opened, Place};
use crate::inputs::summary;
use crate::remote::Remote;

/// The directory of kept provenance, below the workspace's state.
const PLACE: &str = "deployed";
/// The number of provenance files to keep for each image.
const KEPT: usize = 10;

/// Reads the inputs of an image from its layout.
fn provenance(path: &Path, args: &ShipArgs) -> Result<Option<Vec<u8>>> {
    first(&Place::Path(path.to_owned()).open(&args.connection)?)
}

/// Reads the provenance of the first platform. All platforms have the same sources.
fn first(opened: &Opened) -> Result<Option<Vec<u8>>> {
    match opened.select_all()?.first() {
        Some(selected) => opened.provenance(selected),
        None => Ok(None),
    }
}

/// Explains in lines why an image of the workspace differs from the running one. Returns no lines
/// if the reason is unknown.
pub fn why(args: &ShipArgs, image: &str, path: &Path, running: &str) -> Vec<String> {
    let found = || -> Result<Option<(Statement, Statement)>> {
        let Some(now) = provenance(path, args)? else {
            return Ok(None);
        };
        let Some(before) = before(args, image, running)? else {
            return Ok(None);
        };
        let parse = |bytes: &[u8]| Statement::parse(bytes).ok();
        Ok(parse(&before).zip(parse(&now)))
    };
    // An error here is worth a message, but not a failure.
    match found() {
        Ok(Some((before, now))) => summary(&before, &now),
        _ => Vec::new(),
    }
}

fn before(args: &ShipArgs, image: &str, running: &str) -> Result<Option<Vec<u8>>> {
    let Ok(reference) = running.parse::<Reference>() else {
        return Ok(None);
    };
    let Some(digest) = reference.digest() else {
        return Ok(None);
    };
    if let Some(state) = State::find(&args.workspace)? {
        let kept = state.read(file(image, digest.hex()), MAX_PROVENANCE)?;
        if kept.is_some() {
            return Ok(kept);
        }
    }
    // The registry of the running image may be gone, and a reason is not worth a long wait.
    let client = args.connection.impatient_client()?;
    let remote = Remote::open(client, reference, Arc::default())?;
    first(&Opened::Remote(remote))
}

/// Saves the inputs of a deployed image.
///
/// # Errors
/// When the workspace is not writable.
pub fn remember(args: &ShipArgs, image: &str, path: &Path, digest: &str) -> Result<()> {
    let Some(bytes) = provenance(path, args)? else {
        return Ok(());
    };
    let state = State::of(&args.workspace)?;
    state.write(file(image, digest), &bytes)?;
    let place = state.make_directory(Path::new(PLACE).join(image))?;
    let mut files = place.files()?;
    files.sort_by_key(|file| file.modified);
    for old in files.iter().take(files.len().saturating_sub(KEPT)) {
        place.remove_file(&old.name)?;
    }
    Ok(())
}

fn file(image: &str, digest: &str) -> PathBuf {
    [PLACE, image, &format!("{digest}.json")].iter().collect()
}
