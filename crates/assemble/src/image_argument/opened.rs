//! Images that are open for reading, in a layout or a registry.

use std::collections::BTreeMap;

use anyhow::{Result, bail};
use crateyard_attestation::provenance::Statement;
use crateyard_attestation::{PROVENANCE, SBOM};
use crateyard_image::attestation::spdx;
use crateyard_image::packages::Crate;
use crateyard_oci::{
    Blobs, Image, ImageConfig, ImageName, Index, Layout, Manifest, Platform, Reference, choose,
    images, media_type, read_document,
};
use crateyard_signing::IN_TOTO_TYPE;
use tempfile::TempDir;

use crate::inputs;
use crate::remote::Remote;

/// A layout on this machine.
pub struct LocalLayout {
    /// The layout.
    pub layout: Layout,
    /// The reference that the layout was fetched from.
    pub reference: Option<Reference>,
    /// The temporary directory of the layout, if it has one. Dropping the layout removes it.
    pub(super) _directory: Option<TempDir>,
}

impl LocalLayout {
    /// Returns the full names of the only image in the layout: its source, or the names in the
    /// index. A tag alone is not a full name. Returns none if there are several images, which keep
    /// their own names.
    ///
    /// # Errors
    /// When an index is damaged.
    pub fn full_names(&self) -> Result<Vec<ImageName>> {
        if let Some(fetched) = &self.reference {
            let name = fetched.without_version().to_string();
            let tag = fetched
                .tag()
                .or(fetched.digest().is_none().then_some("latest"));
            let reference = tag.and_then(|tag| format!("{name}:{tag}").parse().ok());
            return Ok(reference.into_iter().collect());
        }
        let mut images = self.layout.images()?;
        images.retain(|image| !image.is_attestation());
        let [image] = &images[..] else {
            return Ok(Vec::new());
        };
        let full = image.names.iter().filter(|name| name.contains([':', '/']));
        let mut names: Vec<ImageName> = full.filter_map(|name| name.parse().ok()).collect();
        names.sort();
        names.dedup();
        Ok(names)
    }
}

/// One or more images that were opened.
pub enum Opened {
    /// Images on this machine.
    Layout(Layout),
    /// Images in a registry.
    Remote(Remote),
}

/// One image, with its documents.
pub struct Selected {
    /// The entry in the index.
    pub image: Image,
    /// The manifest.
    pub manifest: Manifest,
    /// The configuration.
    pub config: ImageConfig,
}

impl Opened {
    /// Returns the blobs of the images.
    pub fn blobs(&self) -> &dyn Blobs {
        match self {
            Opened::Layout(layout) => layout,
            Opened::Remote(remote) => remote,
        }
    }

    /// Returns all images, without the statements about them.
    ///
    /// # Errors
    /// When an index is missing or damaged.
    pub fn images(&self) -> Result<Vec<Image>> {
        let mut images = self.entries()?;
        images.retain(|image| !image.is_attestation());
        Ok(images)
    }

    /// Returns all images that a runtime might run. An index can call an image a statement, but a
    /// runtime that chooses by platform runs it all the same. So this leaves out a statement only
    /// if its manifest has neither the configuration nor the layers of a container image.
    ///
    /// # Errors
    /// When an index, or the manifest of a statement, is missing or damaged.
    pub fn runnable(&self) -> Result<Vec<Image>> {
        let mut runnable = Vec::new();
        for image in self.entries()? {
            let may_be_statement =
                image.is_attestation() && image.descriptor.is_manifest_or_index();
            if !may_be_statement || may_run(&self.manifest(&image)?) {
                runnable.push(image);
            }
        }
        Ok(runnable)
    }

    fn entries(&self) -> Result<Vec<Image>> {
        Ok(match self {
            Opened::Layout(layout) => layout.images()?,
            Opened::Remote(remote) => {
                let index = Index::new(vec![remote.root()]);
                let mut images = self.checked(images(remote, &index))?;
                for image in &mut images {
                    image.names = vec![remote.reference().to_string()];
                }
                images
            }
        })
    }

    /// Returns the one image that the options choose, with its documents.
    ///
    /// # Errors
    /// When there is none or more than one, or a document is damaged.
    pub fn select(&self, name: Option<&str>, platform: Option<&Platform>) -> Result<Selected> {
        let image = match self {
            Opened::Layout(layout) => layout.image(name, platform)?,
            Opened::Remote(remote) => choose(&self.images()?, &remote.title(), None, platform)?,
        };
        let selected = self.documents(image)?;
        let has = &selected.config.platform;
        if let Some(wanted) = platform.filter(|wanted| !has.satisfies(wanted)) {
            let title = self.blobs().title();
            bail!("{title} is for {has}, not for {wanted}\n  try: --platform {has}");
        }
        Ok(selected)
    }

    /// Returns all container images with their documents. Skips other artifacts.
    ///
    /// # Errors
    /// When there is no container image, or a document is missing or damaged.
    pub fn select_all(&self) -> Result<Vec<Selected>> {
        let images = self.images()?;
        let is_alone = images.len() == 1;
        let mut selected = Vec::new();
        for image in images {
            let manifest = self.manifest(&image)?;
            if is_alone || media_type::is_config(&manifest.config.media_type) {
                selected.push(self.with_config(image, manifest)?);
            }
        }
        if selected.is_empty() {
            bail!("{} has no container images", self.blobs().title());
        }
        Ok(selected)
    }

    fn documents(&self, image: Image) -> Result<Selected> {
        let manifest = self.manifest(&image)?;
        self.with_config(image, manifest)
    }

    fn manifest(&self, image: &Image) -> Result<Manifest> {
        self.checked(read_document(self.blobs(), &image.descriptor))
    }

    fn with_config(&self, image: Image, manifest: Manifest) -> Result<Selected> {
        let kind = &manifest.config.media_type;
        if !media_type::is_config(kind) {
            bail!(
                "{} of {} is not a container image but an artifact of type {kind:?}\n  try: \
                 --name or \
                 --platform of an image",
                image.descriptor.digest,
                self.blobs().title()
            );
        }
        let config = self.checked(read_document(self.blobs(), &manifest.config))?;
        Ok(Selected {
            image,
            manifest,
            config,
        })
    }

    /// Reads the provenance beside an image, or the one that refers to it in a registry.
    ///
    /// # Errors
    /// When it can't be read.
    pub fn provenance(&self, selected: &Selected) -> Result<Option<Vec<u8>>> {
        self.provenance_with(selected, |it| inputs::commit(it).is_some())
    }

    /// Reads the first provenance that `is_preferred` accepts, or the first one if it accepts none.
    /// Each run of a CI system that pushes an image attaches its own.
    ///
    /// # Errors
    /// When it can't be read.
    pub fn provenance_with(
        &self,
        selected: &Selected,
        is_preferred: impl Fn(&Statement) -> bool,
    ) -> Result<Option<Vec<u8>>> {
        let digest = &selected.image.descriptor.digest;
        let parse = |bytes: &[u8]| {
            Statement::parse(bytes)
                .ok()
                .filter(|it| it.is_about(digest))
        };
        let find = |is_it: &dyn Fn(&Statement) -> bool| {
            let is_it = |bytes: &[u8]| parse(bytes).is_some_and(|it| is_it(&it));
            self.document(selected, PROVENANCE, IN_TOTO_TYPE, is_it)
        };
        match find(&is_preferred)? {
            None => find(&|_| true),
            found => Ok(found),
        }
    }

    /// Returns the crates in each program, from the bill of materials beside the image or from the
    /// one that refers to it in a registry.
    ///
    /// # Errors
    /// When it can't be read.
    pub fn crates(&self, selected: &Selected) -> Result<BTreeMap<String, Vec<Crate>>> {
        let sbom = self.sbom(selected)?;
        Ok(sbom.map(|sbom| sbom.crates()).unwrap_or_default())
    }

    /// Reads the bill of materials beside an image, or the one that refers to it in a registry.
    ///
    /// # Errors
    /// When it can't be read.
    pub fn sbom(&self, selected: &Selected) -> Result<Option<spdx::Document>> {
        let digest = &selected.image.descriptor.digest;
        let parse = |bytes: &[u8]| spdx::Document::parse(bytes).ok();
        let is_it = |bytes: &[u8]| parse(bytes).is_some_and(|it| it.is_about(digest));
        let found = self.document(selected, SBOM, spdx::MEDIA_TYPE, is_it)?;
        Ok(found.and_then(|bytes| parse(&bytes)))
    }

    /// Finds a document about an image: by its name beside a layout, by its type in a registry.
    fn document(
        &self,
        selected: &Selected,
        name: &str,
        artifact_type: &str,
        is_it: impl Fn(&[u8]) -> bool,
    ) -> Result<Option<Vec<u8>>> {
        match self {
            Opened::Layout(layout) => {
                let found = crateyard_attestation::read(layout, &selected.config.platform, name)?;
                Ok(found.filter(|bytes| is_it(bytes)))
            }
            Opened::Remote(remote) => {
                let digest = &selected.image.descriptor.digest;
                Ok(remote.document(digest, artifact_type, is_it)?)
            }
        }
    }

    /// Replaces an error that only means that a registry stopped sending by the registry's own
    /// error.
    ///
    /// # Errors
    /// The registry's error, or the error of `result`.
    pub fn checked<T, E>(&self, result: Result<T, E>) -> Result<T>
    where
        E: std::error::Error + Send + Sync + 'static,
    {
        if let Opened::Remote(remote) = self {
            if let Some(failure) = remote.take_failure() {
                return Err(failure.into());
            }
        }
        Ok(result?)
    }
}

/// Whether a manifest has a part of a container image.
fn may_run(manifest: &Manifest) -> bool {
    let mut layers = manifest.layers.iter();
    media_type::is_config(&manifest.config.media_type)
        || layers.any(|layer| media_type::is_layer(&layer.media_type))
}
