//! A docker archive shown as a layout. Its `manifest.json` names a configuration and layers by file
//! name. This module makes up the manifest and index that an OCI layout would have.

use std::collections::BTreeMap;
use std::io::Read;
use std::sync::Arc;

use serde::Deserialize;

use super::tarball::Tarball;
use crate::compression::CompressionFormat;
use crate::json::{parse, to_bytes};
use crate::{
    Budget, Descriptor, Digest, Error, ImageConfig, ImageName, Index, Manifest, Result, Stored,
    media_type,
};

/// The document of a docker archive.
pub(super) const MANIFEST: &str = "manifest.json";

/// One image in `manifest.json`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DockerImage {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    #[serde(default)]
    layers: Option<Vec<String>>,
}

/// An image that `manifest.json` names in an archive which also has an index.
#[derive(Debug)]
pub struct DockerEntry {
    /// The digest of its configuration.
    pub config: Digest,
    /// The digests of its layers as they are stored, lowest first.
    pub layers: Vec<Digest>,
    /// Its names.
    pub names: Vec<ImageName>,
}

/// Reads `manifest.json` of an archive. Without one, there are no entries.
pub(super) fn entries(tarball: &Tarball, budget: &Arc<Budget>) -> Result<Vec<DockerEntry>> {
    if !tarball.has(MANIFEST) {
        return Ok(Vec::new());
    }
    let digest = |name: &String| match Digest::of_blob_path(name) {
        Some(digest) => Ok(digest),
        None => {
            let found = tarball.find(name)?.digest(&Digest::of(b""));
            let what = || format!("{name} of {}", tarball.path().display());
            found.map_err(|error| Error::damaged(what(), error.to_string()))
        }
    };
    let entry = |image: &DockerImage| {
        Ok(DockerEntry {
            config: digest(&image.config)?,
            layers: image.layers().iter().map(digest).collect::<Result<_>>()?,
            names: image.names(),
        })
    };
    images(tarball, budget)?.iter().map(entry).collect()
}

fn images(tarball: &Tarball, budget: &Arc<Budget>) -> Result<Vec<DockerImage>> {
    let what = format!("{MANIFEST} of {}", tarball.path().display());
    parse(budget, &what, &tarball.read(MANIFEST, budget)?)
}

impl DockerImage {
    fn layers(&self) -> &[String] {
        self.layers.as_deref().unwrap_or_default()
    }

    fn names(&self) -> Vec<ImageName> {
        let tags = self.repo_tags.iter().flatten();
        tags.filter_map(|tag| tag.parse().ok()).collect()
    }
}

/// The archive, with the documents that were made up for it.
#[derive(Debug)]
pub(super) struct DockerArchive {
    tarball: Tarball,
    budget: Arc<Budget>,
    manifests: Vec<Descriptor>,
    blobs: BTreeMap<Digest, Stored>,
    /// The digests of compressed layers by their place in the archive. Each layer is hashed once,
    /// even if it has several names.
    hashed: BTreeMap<u64, Digest>,
}

impl DockerArchive {
    pub(super) fn new(tarball: Tarball, budget: &Arc<Budget>) -> Result<DockerArchive> {
        let images = images(&tarball, budget)?;
        let mut archive = DockerArchive {
            tarball,
            budget: Arc::clone(budget),
            manifests: Vec::new(),
            blobs: BTreeMap::new(),
            hashed: BTreeMap::new(),
        };
        for image in &images {
            archive.add_image(image)?;
        }
        Ok(archive)
    }

    pub(super) fn index(&self) -> Index {
        Index::new(self.manifests.clone())
    }

    pub(super) fn blob(&self, digest: &Digest) -> Option<Stored> {
        self.blobs.get(digest).cloned()
    }

    fn add_image(&mut self, image: &DockerImage) -> Result<()> {
        let bytes = self.tarball.read(&image.config, &self.budget)?;
        let what = format!("{} of {}", image.config, self.tarball.path().display());
        let config: ImageConfig = parse(&self.budget, &what, &bytes)?;
        let names = image.layers();
        let diff_ids = &config.rootfs.diff_ids;
        if names.len() != diff_ids.len() {
            let problem = format!(
                "it names {} layers where manifest.json has {}",
                diff_ids.len(),
                names.len()
            );
            return Err(Error::damaged(what, problem));
        }
        let mut layers = Vec::new();
        for (name, diff_id) in names.iter().zip(diff_ids) {
            layers.push(self.add_layer(name, diff_id)?);
        }
        let manifest = Manifest::new(self.make_up(media_type::CONFIG, bytes)?, layers);
        let mut descriptor = self.make_up(media_type::MANIFEST, to_bytes(&manifest)?)?;
        descriptor.platform = Some(config.platform);
        for named in descriptor.named(&image.names()) {
            self.budget.keep(&what, 1000)?;
            self.manifests.push(named);
        }
        Ok(())
    }

    /// Adds a layer. A layer that is not compressed has its diff id as its digest, and verifying
    /// the image checks that. A compressed layer must be hashed.
    fn add_layer(&mut self, name: &str, diff_id: &Digest) -> Result<Descriptor> {
        let content = self.tarball.find(name)?;
        let failed = |error: std::io::Error| {
            let what = format!("{name} of {}", self.tarball.path().display());
            Error::damaged(what, error.to_string())
        };
        let mut start = Vec::new();
        let head = content.reader().take(6).read_to_end(&mut start);
        head.map_err(failed)?;
        let media_type = match CompressionFormat::of_bytes(&start) {
            CompressionFormat::Gzip => media_type::LAYER_GZIP,
            CompressionFormat::Zstd => media_type::LAYER_ZSTD,
            CompressionFormat::Xz | CompressionFormat::None => media_type::LAYER,
        };
        let digest = match self.hashed.get(&content.start()) {
            _ if media_type == media_type::LAYER => diff_id.clone(),
            Some(known) => known.clone(),
            None => content.digest(&Digest::of(b"")).map_err(failed)?,
        };
        self.budget.keep(name, 1000)?;
        if media_type != media_type::LAYER {
            self.hashed.insert(content.start(), digest.clone());
        }
        let size = content.size();
        self.refuse_other(name, &digest, &content)?;
        self.blobs.insert(digest.clone(), content);
        Ok(Descriptor::new(media_type, digest, size))
    }

    /// Refuses a second file for a digest unless both files have it. Only one of them would be
    /// looked at, and an engine may take the other one.
    fn refuse_other(&self, name: &str, digest: &Digest, content: &Stored) -> Result<()> {
        let Some(known) = self.blobs.get(digest) else {
            return Ok(());
        };
        if known.start() == content.start() {
            return Ok(());
        }
        let what = format!("{name} of {}", self.tarball.path().display());
        for stored in [known, content] {
            let found = stored.digest(digest);
            let found = found.map_err(|error| Error::damaged(&what, error.to_string()))?;
            if found != *digest {
                let problem = format!("it is one of two files for {digest}; one has {found}");
                return Err(Error::damaged(what, problem));
            }
        }
        Ok(())
    }

    fn make_up(&mut self, media_type: &str, bytes: Vec<u8>) -> Result<Descriptor> {
        let descriptor = Descriptor::of(media_type, &bytes);
        self.budget.keep(MANIFEST, bytes.len() as u64 + 1000)?;
        let stored = Stored::bytes(bytes.into());
        self.blobs.insert(descriptor.digest.clone(), stored);
        Ok(descriptor)
    }
}
