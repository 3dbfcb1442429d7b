//! Keeps the inputs of each image's last builds in the workspace, so that `explain` can show the
//! changes since then.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use crateyard_attestation::PROVENANCE;
use crateyard_disk::Directory;
use crateyard_oci::{Layout, Platform, media_type};
use crateyard_terminal::note;

use crate::state::State;

/// The provenance of the last build.
const LAST: &str = "last.json";
/// The size of the largest provenance that is read, in bytes.
pub const MAX_PROVENANCE: u64 = 64 << 20;
/// The provenance of the last earlier build with other inputs.
const BEFORE: &str = "before.json";

/// Keeps the provenance of a new image. In a read-only workspace it keeps nothing, and does not
/// fail; a later build then has nothing to compare with.
pub fn remember(workspace: &Path, name: &str, layout: &Path) {
    if let Err(error) = try_remember(workspace, name, layout) {
        note!("the inputs of {name} are not saved: {error:#}");
    }
}

fn try_remember(workspace: &Path, name: &str, layout: &Path) -> Result<()> {
    let layout = Layout::open(layout)?;
    for image in layout.images()? {
        let Some(platform) = platform_of(&layout, &image)? else {
            continue;
        };
        let Some(new) = crateyard_attestation::read(&layout, &platform, PROVENANCE)? else {
            continue;
        };
        let place = State::of(workspace)?.make_directory(below(name, &platform))?;
        let keep = || keep(&place, &new);
        keep().with_context(|| format!("cannot write in {}", place.path().display()))?;
    }
    Ok(())
}

fn keep(place: &Directory, new: &[u8]) -> std::io::Result<()> {
    let last = place.read(LAST, MAX_PROVENANCE)?;
    if last.as_deref() == Some(new) {
        return Ok(());
    }
    if last.is_some() {
        place.rename(LAST, BEFORE)?;
    }
    place.write(LAST, new)
}

/// Returns the newest provenance that differs from `current`.
///
/// # Errors
/// Fails if the kept provenance can't be read.
pub fn before(
    workspace: &Path,
    name: &str,
    platform: &Platform,
    current: &[u8],
) -> Result<Option<Vec<u8>>> {
    let Some(state) = State::find(workspace)? else {
        return Ok(None);
    };
    let Some(place) = state.directory(below(name, platform))? else {
        return Ok(None);
    };
    for file in [LAST, BEFORE] {
        let known = place.read(file, MAX_PROVENANCE)?;
        if known.as_deref().is_some_and(|known| known != current) {
            return Ok(known);
        }
    }
    Ok(None)
}

fn platform_of(layout: &Layout, image: &crateyard_oci::Image) -> Result<Option<Platform>> {
    if image.is_attestation() {
        return Ok(None);
    }
    let manifest = layout.manifest(&image.descriptor)?;
    if !media_type::is_config(&manifest.config.media_type) {
        return Ok(None);
    }
    Ok(Some(layout.config(&manifest)?.platform))
}

/// Returns the directory of an image's provenance, below the state.
fn below(name: &str, platform: &Platform) -> PathBuf {
    let platform = platform.to_string().replace('/', "-");
    ["history", name, &platform].iter().collect()
}
