//! What the last builds of each image were made of, kept in the workspace so that `explain` can tell
//! what has changed since.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use crateyard_oci::{Layout, Platform, media_type};
use image::attestation::{self, PROVENANCE};

use crate::commands::build::LINKS;

/// The provenance of the last build.
const LAST: &str = "last.json";
/// That of the last one before it that was made of something else.
const BEFORE: &str = "before.json";

/// Remembers what a freshly built image was made of. A workspace that can't be written to is no
/// reason to fail: then there is nothing to compare with later.
pub fn remember(workspace: &Path, name: &str, layout: &Path) {
    if let Err(error) = try_remember(workspace, name, layout) {
        eprintln!("note: what {name} is made of is not remembered: {error:#}");
    }
}

fn try_remember(workspace: &Path, name: &str, layout: &Path) -> Result<()> {
    let layout = Layout::open(layout)?;
    for image in layout.images()? {
        let Some(platform) = platform_of(&layout, &image)? else {
            continue;
        };
        let Some(new) = attestation::read(&layout, &platform, PROVENANCE)? else {
            continue;
        };
        let place = directory(workspace, name, &platform);
        let last = place.join(LAST);
        if fs::read(&last).is_ok_and(|known| known == new) {
            continue;
        }
        fs::create_dir_all(&place).with_context(|| format!("cannot create {}", place.display()))?;
        if last.exists() {
            fs::rename(&last, place.join(BEFORE))
                .with_context(|| format!("cannot rename {}", last.display()))?;
        }
        write(&last, &new).with_context(|| format!("cannot write {}", last.display()))?;
    }
    Ok(())
}

/// The newest provenance that differs from `current`.
pub fn before(
    workspace: &Path,
    name: &str,
    platform: &Platform,
    current: &[u8],
) -> Option<Vec<u8>> {
    let place = directory(workspace, name, platform);
    [LAST, BEFORE]
        .into_iter()
        .filter_map(|file| fs::read(place.join(file)).ok())
        .find(|known| known != current)
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

fn directory(workspace: &Path, name: &str, platform: &Platform) -> PathBuf {
    let platform = platform.to_string().replace('/', "-");
    workspace
        .join(LINKS)
        .join("history")
        .join(name)
        .join(platform)
}

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let directory = path.parent().context("no directory")?;
    let mut file = tempfile::NamedTempFile::new_in(directory)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    Ok(())
}
