//! A docker archive shown as a layout: its `manifest.json` names a configuration and layers by
//! file name; the manifest and index that an OCI layout would have are made up here.

use std::collections::BTreeMap;
use std::io::{self, Read};

use serde::Deserialize;

use super::tarball::Tarball;
use crate::decompress::Format;
use crate::digest::{Algorithm, Digest, HashingReader};
use crate::oci::{self, Descriptor, ImageConfig, Index, Manifest, media_type};
use crate::reference::Reference;
use crate::{Error, Result};

/// The most images and layers that an archive may name.
const LIMIT: usize = 1000;

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

/// The archive with the documents that were made up for it.
#[derive(Debug)]
pub(super) struct DockerArchive {
    tarball: Tarball,
    manifests: Vec<Descriptor>,
    blobs: BTreeMap<Digest, Blob>,
}

#[derive(Debug)]
enum Blob {
    InArchive { offset: u64, size: u64 },
    MadeUp(Vec<u8>),
}

impl DockerArchive {
    pub(super) fn new(tarball: Tarball) -> Result<DockerArchive> {
        let title = tarball.path().display().to_string();
        let images: Vec<DockerImage> = super::parse(
            &format!("manifest.json of {title}"),
            &tarball.read("manifest.json")?,
        )?;
        let too_many = |image: &DockerImage| image.layers.iter().flatten().count() > LIMIT;
        if images.len() > LIMIT || images.iter().any(too_many) {
            let problem = format!("it names more than {LIMIT} images or layers");
            return Err(Error::damaged(title, problem));
        }
        let mut archive = DockerArchive {
            tarball,
            manifests: Vec::new(),
            blobs: BTreeMap::new(),
        };
        for image in &images {
            archive.add_image(image)?;
        }
        Ok(archive)
    }

    pub(super) fn index(&self) -> Index {
        Index::new(self.manifests.clone())
    }

    pub(super) fn blob(&self, digest: &Digest) -> Result<Box<dyn Read + Send + '_>> {
        Ok(match self.find(digest)? {
            Blob::InArchive { offset, size } => Box::new(self.tarball.section(*offset, *size)),
            Blob::MadeUp(bytes) => Box::new(&bytes[..]),
        })
    }

    pub(super) fn blob_size(&self, digest: &Digest) -> Result<u64> {
        Ok(match self.find(digest)? {
            Blob::InArchive { size, .. } => *size,
            Blob::MadeUp(bytes) => bytes.len() as u64,
        })
    }

    fn find(&self, digest: &Digest) -> Result<&Blob> {
        self.blobs.get(digest).ok_or_else(|| Error::NotFound {
            what: format!("blob {digest}"),
            place: self.tarball.path().display().to_string(),
            hint: String::new(),
        })
    }

    fn add_image(&mut self, image: &DockerImage) -> Result<()> {
        let bytes = self.tarball.read(&image.config)?;
        let what = format!("{} of {}", image.config, self.tarball.path().display());
        let config: ImageConfig = super::parse(&what, &bytes)?;
        let names = image.layers.as_deref().unwrap_or_default();
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
        let manifest = Manifest {
            schema_version: 2,
            media_type: Some(media_type::MANIFEST.to_owned()),
            artifact_type: None,
            config: self.make_up(media_type::CONFIG, bytes),
            layers,
            subject: None,
            annotations: None,
        };
        let mut descriptor = self.make_up(media_type::MANIFEST, oci::to_bytes(&manifest)?);
        descriptor.platform = Some(config.platform);
        let tags = image.repo_tags.iter().flatten();
        let references: Vec<Reference> = tags.filter_map(|tag| tag.parse().ok()).collect();
        let named = crate::assemble::named(&descriptor, &references);
        self.manifests.extend(named);
        Ok(())
    }

    /// A layer that is not compressed has its diff id for a digest; whether that is true is for
    /// [`crate::verify`] to find out. One that is compressed must be hashed.
    fn add_layer(&mut self, name: &str, diff_id: &Digest) -> Result<Descriptor> {
        let (offset, size) = self.tarball.place(name)?;
        let failed = |error: io::Error| {
            Error::damaged(
                format!("{name} of {}", self.tarball.path().display()),
                error.to_string(),
            )
        };
        let mut start = Vec::new();
        let head = self
            .tarball
            .section(offset, size.min(6))
            .read_to_end(&mut start);
        head.map_err(failed)?;
        let media_type = match Format::of_bytes(&start) {
            Format::Gzip => media_type::LAYER_GZIP,
            Format::Zstd => media_type::LAYER_ZSTD,
            Format::Xz | Format::None => media_type::LAYER,
        };
        let digest = if media_type == media_type::LAYER {
            diff_id.clone()
        } else {
            let section = self.tarball.section(offset, size);
            let mut reader = HashingReader::new(section, Algorithm::Sha256);
            io::copy(&mut reader, &mut io::sink()).map_err(failed)?;
            reader.finish().1
        };
        self.blobs
            .insert(digest.clone(), Blob::InArchive { offset, size });
        Ok(Descriptor::new(media_type, digest, size))
    }

    fn make_up(&mut self, media_type: &str, bytes: Vec<u8>) -> Descriptor {
        let digest = Digest::of(&bytes);
        let descriptor = Descriptor::new(media_type, digest.clone(), bytes.len() as u64);
        self.blobs.insert(digest, Blob::MadeUp(bytes));
        descriptor
    }
}
