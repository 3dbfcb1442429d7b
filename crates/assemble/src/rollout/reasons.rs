//! Why an image is another one than what runs: what the two were made of.
//!
//! What was deployed from here is kept in `.crateyard/deployed`. What was deployed elsewhere is asked of the registry,
//! which has it if the image was pushed with `--attest`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Result;
use crateyard_oci::Reference;
use image::attestation::provenance::Statement;

use super::settings::ShipArgs;
use crate::commands::explain::summary;
use crate::place::{Opened, Place};
use crate::remote::Remote;
use crate::state::State;

/// Where it is kept, below the workspace's state.
const PLACE: &str = "deployed";
/// The largest provenance that is read, in bytes.
const MAX_PROVENANCE: u64 = 64 << 20;
/// How many are kept of an image.
const KEPT: usize = 10;

/// What an image was made of, as its layout says.
fn provenance(path: &Path, args: &ShipArgs) -> Result<Option<Vec<u8>>> {
    first(&Place::Path(path.to_owned()).open(&args.connection)?)
}

/// That of the first platform: all are made of the same sources.
fn first(opened: &Opened) -> Result<Option<Vec<u8>>> {
    match opened.select_all()?.first() {
        Some(selected) => opened.provenance(selected),
        None => Ok(None),
    }
}

/// Why an image of the workspace differs from the one that runs, in lines; empty where nobody knows.
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
    // It is worth a line, and no failure.
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
    // What ran may lie in a registry that is no more: a reason is worth no long wait.
    let client = args.connection.impatient_client()?;
    let remote = Remote::open(client, reference, Arc::default())?;
    first(&Opened::Remote(remote))
}

/// Keeps what a deployed image was made of.
///
/// # Errors
/// When the workspace can't be written to.
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
