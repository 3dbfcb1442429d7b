//! The files that engines other than Nix keep in `.crateyard`.
//!
//! ```text
//! images/HASH-NAME-image    layouts, under names as the Nix store would give them
//! image-ENGINE-NAME         links to the last of each, as Nix keeps links to its own
//! layers/KEY-layer-NAME     layers, keyed by all that decides about them
//! ```

use std::ffi::OsString;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use crateyard_disk::{Directory, modified};
use crateyard_image::spec::LayerSpec;
use crateyard_oci::{Descriptor, Digest};
use crateyard_workspace::state::State;

use super::Engine;

/// The directories of layouts, layers, and base layouts for the Docker engine.
const IMAGES: &str = "images";
const LAYERS: &str = "layers";
const LAYOUTS: &str = "layouts";
/// The number of digits in a store path's hash.
const DIGITS: usize = 32;
/// Layers that no build has used for this long are removed.
const LAYER_AGE: Duration = Duration::from_secs(7 * 24 * 3600);

/// The part of a workspace's state that belongs to engines.
pub struct Kept {
    state: State,
}

impl Kept {
    /// Opens the state of a workspace, given as an absolute path.
    ///
    /// # Errors
    /// When it can't be created.
    pub fn of(workspace: &Path) -> Result<Kept> {
        let kept = Kept {
            state: State::of(workspace)?,
        };
        for name in [IMAGES, LAYERS, LAYOUTS] {
            kept.open(name)?;
        }
        Ok(kept)
    }

    /// Returns a directory of the state, created if it is missing.
    ///
    /// # Errors
    /// When it can't be created.
    pub fn directory(&self, name: &str) -> Result<PathBuf> {
        Ok(self.open(name)?.path().to_owned())
    }

    fn open(&self, name: &str) -> Result<Directory> {
        let made = self.state.make_directory(name);
        made.with_context(|| format!("cannot use {}", self.state.path().join(name).display()))
    }

    /// Keeps the output that `make` writes to the path it gets, under a name that depends on the
    /// content.
    ///
    /// # Errors
    /// When `make` or the file system fails.
    pub fn image(
        &self,
        name: &str,
        make: impl FnOnce(&Path) -> Result<Descriptor>,
    ) -> Result<PathBuf> {
        let images = self.directory(IMAGES)?;
        let new = tempfile::Builder::new()
            .prefix(".new-")
            .tempdir_in(&images)?;
        let made = new.path().join(name);
        let digest = make(&made)?.digest;
        let path = images.join(format!("{}-{name}-image", short(&digest)));
        match fs::rename(&made, &path) {
            // The same image already exists.
            Err(_) if path.join("oci-layout").exists() => {}
            renamed => {
                renamed.with_context(|| format!("cannot rename to {}", path.display()))?;
            }
        }
        Ok(path)
    }

    /// Updates the link to an engine's last image of a name, and removes the previous image.
    ///
    /// # Errors
    /// When the file system fails.
    pub fn link(&self, engine: Engine, name: &str, image: &Path) -> Result<()> {
        let link = format!("image-{}-{name}", engine.name());
        self.replace_link(&self.state, &link, image)
    }

    /// Makes `layouts/NAME` link to an image that the Docker engine starts from.
    ///
    /// # Errors
    /// When the file system fails.
    pub(crate) fn link_layout(&self, name: &str, image: &Path) -> Result<()> {
        self.replace_link(&self.open(LAYOUTS)?, name, image)
    }

    /// Replaces a link atomically, so that it always leads to the old or the new target. Removes
    /// the old image if no link leads to it any longer.
    fn replace_link(&self, links: &Directory, name: &str, target: &Path) -> Result<()> {
        let before = links.link_target(name);
        links.link(name, target).with_context(|| {
            format!("cannot make the link {}", links.path().join(name).display())
        })?;
        let images = self.open(IMAGES)?;
        let Some(left) = before.and_then(|before| self.left_over(&images, &before)) else {
            return Ok(());
        };
        images
            .remove_all(&left)
            .with_context(|| format!("cannot remove {}", images.path().join(&left).display()))
    }

    /// Returns the name of an image in the image directory that no link leads to. Only direct
    /// entries of that directory belong to this engine.
    fn left_over(&self, images: &Directory, image: &Path) -> Option<OsString> {
        let name = image.file_name()?;
        let links = [self.state.directory("").ok()??, self.open(LAYOUTS).ok()?];
        let mut targets = links.iter().flat_map(|directory| {
            let names = directory.names().unwrap_or_default().into_iter();
            names.filter_map(|name| directory.link_target(name))
        });
        let is_ours = image.parent() == Some(images.path()) && images.status(name).ok()?.is_some();
        let is_left = is_ours && !targets.any(|target| target == image);
        is_left.then(|| name.to_owned())
    }

    /// Returns the directory of a specification's layer, and makes the layer if it does not exist
    /// yet.
    ///
    /// # Errors
    /// When a source can't be read or the layer can't be made.
    pub fn layer(&self, name: &str, spec: &LayerSpec) -> Result<PathBuf> {
        let key = super::images::key_of(spec)?;
        let path = self
            .directory(LAYERS)?
            .join(format!("{}-layer-{name}", short(&key)));
        if path.join(crateyard_image::layer::RECORD).exists() {
            // If this fails, the layer only looks older than it is.
            let _ = File::open(&path).and_then(|file| file.set_modified(SystemTime::now()));
        } else {
            crateyard_image::layer::make(spec, &path, crateyard_image::compress::default_threads())
                .with_context(|| format!("cannot make the layer {name:?}"))?;
        }
        Ok(path)
    }

    /// Removes layers that have not been used for a week.
    pub(crate) fn remove_old_layers(&self) {
        let Ok(layers) = self.open(LAYERS) else {
            return;
        };
        for name in layers.names().unwrap_or_default() {
            let status = layers.status(&name).ok().flatten();
            let age = status.and_then(|status| modified(&status).elapsed().ok());
            if age.is_some_and(|age| age > LAYER_AGE) {
                // The layers are only a cache, so an error here does no harm.
                let _ = layers.remove_all(&name);
            }
        }
    }
}

fn short(digest: &Digest) -> String {
    digest.hex().chars().take(DIGITS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    struct Scene {
        directory: tempfile::TempDir,
    }

    impl Scene {
        fn new() -> Self {
            let directory = tempfile::tempdir().unwrap();
            fs::create_dir(directory.path().join("workspace")).unwrap();
            fs::create_dir(directory.path().join("letters")).unwrap();
            fs::write(directory.path().join("letters/letter"), "mine").unwrap();
            Self { directory }
        }

        fn path(&self, path: &str) -> PathBuf {
            self.directory.path().join(path)
        }

        fn state(&self, path: &str) -> PathBuf {
            self.path("workspace/.crateyard").join(path)
        }

        fn expect_untouched(&self) {
            assert_eq!(fs::read(self.path("letters/letter")).unwrap(), b"mine");
        }
    }

    /// The link to the last image decides which image is removed, so its target must lie among the
    /// images.
    #[test]
    fn what_lies_elsewhere_is_not_removed_as_the_image_before() {
        let scene = Scene::new();
        let kept = Kept::of(&scene.path("workspace")).unwrap();
        for target in [
            scene.path("letters"),
            scene.state("images/../../../letters"),
            scene.state("images"),
            scene.state("images/.."),
        ] {
            symlink(&target, scene.state("image-cargo-x")).unwrap();
            kept.link(Engine::Cargo, "x", &scene.path("new")).unwrap();
            scene.expect_untouched();
            assert!(scene.state("images").is_dir());
            fs::remove_file(scene.state("image-cargo-x")).unwrap();
        }
        let image = scene.state("images/0-x-image");
        fs::create_dir(&image).unwrap();
        kept.link(Engine::Cargo, "x", &image).unwrap();
        kept.link(Engine::Cargo, "x", &scene.path("new")).unwrap();
        assert!(!image.exists());
    }

    #[test]
    fn old_layers_go_and_what_they_link_to_stays() {
        let scene = Scene::new();
        let kept = Kept::of(&scene.path("workspace")).unwrap();
        let old = SystemTime::now() - LAYER_AGE * 2;
        let layer = scene.state("layers/layer");
        fs::create_dir(&layer).unwrap();
        symlink(scene.path("letters"), layer.join("link")).unwrap();
        File::open(&layer).unwrap().set_modified(old).unwrap();
        File::open(scene.path("letters"))
            .unwrap()
            .set_modified(old)
            .unwrap();
        kept.remove_old_layers();
        assert!(!layer.exists());
        scene.expect_untouched();
        fs::remove_dir(scene.state("layers")).unwrap();
        symlink(scene.directory.path(), scene.state("layers")).unwrap();
        kept.remove_old_layers();
        assert!(kept.directory(LAYERS).is_err());
        scene.expect_untouched();
    }
}
