//! What engines other than Nix keep in `.crateyard`.
//!
//! ```text
//! images/HASH-NAME-image    layouts, under names as the Nix store would give them
//! image-ENGINE-NAME         links to the last of each, as Nix keeps links to its own
//! layers/KEY-layer-NAME     layers, keyed by all that decides about them
//! ```

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use crateyard_oci::{Descriptor, Digest};
use image::spec::LayerSpec;

use super::Engine;
use crate::commands::build::LINKS;

/// As many digits of a digest as a store path has.
const DIGITS: usize = 32;
/// A layer that no build has used for so long goes away.
const LAYER_AGE: Duration = Duration::from_secs(7 * 24 * 3600);

/// The directory `.crateyard` of a workspace.
pub struct Kept {
    directory: PathBuf,
}

impl Kept {
    /// That of the workspace, an absolute path.
    ///
    /// # Errors
    /// When it can't be created.
    pub fn of(workspace: &Path) -> Result<Kept> {
        let directory = workspace.join(LINKS);
        for name in ["images", "layers", "layouts"] {
            create(&directory.join(name))?;
        }
        Ok(Kept { directory })
    }

    /// A directory of it, created where it is missing.
    ///
    /// # Errors
    /// When it can't be created.
    pub fn directory(&self, name: &str) -> Result<PathBuf> {
        let path = self.directory.join(name);
        create(&path)?;
        Ok(path)
    }

    /// Keeps what `make` writes to the path it is given, under the name of its content.
    ///
    /// # Errors
    /// When `make` fails or the file system does.
    pub fn image(
        &self,
        name: &str,
        make: impl FnOnce(&Path) -> Result<Descriptor>,
    ) -> Result<PathBuf> {
        let images = self.directory.join("images");
        let new = tempfile::Builder::new()
            .prefix(".new-")
            .tempdir_in(&images)?;
        let made = new.path().join(name);
        let digest = make(&made)?.digest;
        let path = images.join(format!("{}-{name}-image", short(&digest)));
        match fs::rename(&made, &path) {
            // The same image is there already.
            Err(_) if path.join("oci-layout").exists() => {}
            renamed => {
                renamed.with_context(|| format!("cannot rename to {}", path.display()))?;
            }
        }
        Ok(path)
    }

    /// Makes the link to the last image of a name that an engine has built, and removes the image before.
    ///
    /// # Errors
    /// When the file system fails.
    pub fn link(&self, engine: Engine, name: &str, image: &Path) -> Result<()> {
        let link = format!("image-{}-{name}", engine.name());
        self.replace_link(&self.directory.join(link), image)
    }

    /// Makes `layouts/NAME` the link to an image: what the Docker way begins with.
    ///
    /// # Errors
    /// When the file system fails.
    pub fn link_layout(&self, name: &str, image: &Path) -> Result<()> {
        self.replace_link(&self.directory.join("layouts").join(name), image)
    }

    /// The link is there all the time, to the old target or to the new one. What no link leads to any more is removed.
    fn replace_link(&self, link: &Path, target: &Path) -> Result<()> {
        let before = fs::read_link(link).ok();
        let mut new = link.as_os_str().to_owned();
        new.push(format!(".{}", std::process::id()));
        let new = PathBuf::from(new);
        symlink(target, &new)
            .and_then(|()| fs::rename(&new, link))
            .with_context(|| format!("cannot make the link {}", link.display()))?;
        let Some(before) = before.filter(|before| self.is_left_over(before)) else {
            return Ok(());
        };
        fs::remove_dir_all(&before).with_context(|| format!("cannot remove {}", before.display()))
    }

    /// Whether it is an image of ours that no link leads to.
    fn is_left_over(&self, image: &Path) -> bool {
        let links = [self.directory.clone(), self.directory.join("layouts")];
        let entries = links.iter().flat_map(fs::read_dir).flatten().flatten();
        let mut targets = entries.filter_map(|entry| fs::read_link(entry.path()).ok());
        image.starts_with(self.directory.join("images"))
            && image.is_dir()
            && !targets.any(|target| target == image)
    }

    /// The directory of the layer that a specification describes: made now, or there since the last time.
    ///
    /// # Errors
    /// When a source can't be read or the layer can't be made.
    pub fn layer(&self, name: &str, spec: &LayerSpec) -> Result<PathBuf> {
        let key = super::images::key_of(spec)?;
        let path = self
            .directory
            .join("layers")
            .join(format!("{}-layer-{name}", short(&key)));
        if path.join(image::layer::RECORD).exists() {
            // Only how old it looks depends on this.
            let _ = File::open(&path).and_then(|file| file.set_modified(SystemTime::now()));
        } else {
            image::layer::make(spec, &path, image::compress::default_threads())
                .with_context(|| format!("cannot make the layer {name:?}"))?;
        }
        Ok(path)
    }

    /// Removes layers that were not used for a week.
    pub fn remove_old_layers(&self) {
        let entries = fs::read_dir(self.directory.join("layers"))
            .into_iter()
            .flatten();
        for entry in entries.flatten() {
            let age = entry
                .metadata()
                .and_then(|metadata| metadata.modified())
                .map(|time| time.elapsed().unwrap_or_default());
            if age.is_ok_and(|age| age > LAYER_AGE) {
                // It is only a cache: what can't be removed stays.
                let _ = fs::remove_dir_all(entry.path());
            }
        }
    }
}

fn create(directory: &Path) -> Result<()> {
    fs::create_dir_all(directory).with_context(|| format!("cannot create {}", directory.display()))
}

fn short(digest: &Digest) -> String {
    digest.hex().chars().take(DIGITS).collect()
}
