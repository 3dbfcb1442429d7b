//! Images as one tar file: OCI archives, and docker archives that are also OCI archives.
//!
//! Both hold the layout's blobs unchanged. A docker archive also has `manifest.json`, which every
//! version of `docker load` reads. Its layers stay compressed, which docker accepts.

use std::collections::BTreeMap;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use crateyard_oci::{
    Blobs, Descriptor, Digest, Image, ImageName, Index, Layout, LayoutMarker, Manifest, Platform,
    digest::HashingReader,
    media_type,
    tar::{self, Kind},
    to_bytes, walk,
};
use serde::Serialize;

use crate::output::OutputFile;
pub use crate::spec::ArchiveFormat;
use crate::{Error, Result};

/// Returns what reads an [`ArchiveFormat`] from a command line.
pub fn formats() -> impl TypedValueParser<Value = ArchiveFormat> {
    let oci = PossibleValue::new("oci").help("For containerd, k3s, podman, skopeo");
    let docker = PossibleValue::new("docker").help("Also for docker load");
    PossibleValuesParser::new([oci, docker]).map(|format| match format.as_str() {
        "docker" => ArchiveFormat::Docker,
        _ => ArchiveFormat::Oci,
    })
}

/// The part of a layout that goes into an archive, and the archive's format.
#[derive(Debug, Clone)]
pub struct Selection {
    /// The format.
    pub format: ArchiveFormat,
    /// The image's names in the archive. Without any, the image keeps the names that it has.
    pub references: Vec<ImageName>,
    /// The only platform to take from a layout that has several.
    pub platform: Option<Platform>,
    /// The time of the archive's entries, in seconds since 1970.
    pub epoch: u64,
    /// Whether the documents about the images go along ([`crate::attestation`]). An archive that is
    /// part of another image leaves them out, because that image's digest would depend on them.
    pub documents: bool,
}

/// Writes an archive to a file. A failure leaves no partial file.
///
/// # Errors
/// When the layout is damaged or has no such image, or the disk is full.
pub fn save(layout: &Layout, selection: &Selection, path: &Path) -> Result<()> {
    let mut output = OutputFile::create(path)?;
    let mut buffer = BufWriter::with_capacity(1 << 20, output.file());
    write(layout, selection, &mut buffer)?;
    buffer.flush().map_err(Error::io("write", path))?;
    drop(buffer);
    output.finish()
}

/// Writes an archive: the same bytes for the same layout and selection.
///
/// # Errors
/// When the layout is damaged or has no such image, or the writer fails.
pub fn write(layout: &Layout, selection: &Selection, out: &mut dyn Write) -> Result<()> {
    let roots = roots(layout, selection)?;
    let mut blobs = BTreeMap::new();
    for root in &roots {
        walk(layout, root, &mut |found| {
            blobs.insert(found.digest.blob_path(), found.clone());
            Ok::<(), Error>(())
        })?;
    }
    let mut documents = BTreeMap::new();
    documents.insert("index.json", to_bytes(&Index::new(roots.clone()))?);
    documents.insert("oci-layout", to_bytes(&LayoutMarker::current())?);
    if selection.format == ArchiveFormat::Docker {
        let images = docker_images(layout, &roots, selection)?;
        documents.insert("manifest.json", to_bytes(&images)?);
    }
    let mut writer = Archive {
        tar: tar::Writer::new(out),
        epoch: selection.epoch,
    };
    if selection.documents {
        writer.attestations(layout, &roots)?;
    }
    writer.blobs(layout, &blobs)?;
    for (name, bytes) in &documents {
        writer.file(name, bytes.len() as u64, &mut &bytes[..])?;
    }
    writer
        .tar
        .finish()
        .map(drop)
        .map_err(stream_failed("the archive"))
}

/// Returns the descriptors of the archive's index.
fn roots(layout: &Layout, selection: &Selection) -> Result<Vec<Descriptor>> {
    let index = layout.index();
    let all = match &selection.platform {
        None => index.manifests.clone(),
        Some(platform) => {
            let image = layout.image(None, Some(platform))?;
            let mut descriptor = image.descriptor;
            descriptor.platform.get_or_insert(platform.clone());
            vec![descriptor]
        }
    };
    if selection.references.is_empty() {
        return Ok(all);
    }
    let mut digests: Vec<&Digest> = all.iter().map(|root| &root.digest).collect();
    digests.dedup();
    match (&digests[..], all.first()) {
        ([_], Some(root)) => Ok(root.named(&selection.references)),
        _ => Err(Error::spec(
            layout.title(),
            format!(
                "it has {} images, and a name can go to one only",
                digests.len()
            ),
            "choose one by platform, or save without a name",
        )),
    }
}

/// Returns the images that go into the archive.
fn chosen(layout: &Layout, roots: &[Descriptor]) -> Result<Vec<Image>> {
    let mut images = layout.images()?;
    images.retain(|image| {
        let holds = |root: &Descriptor| {
            media_type::is_index(&root.media_type) || root.digest == image.descriptor.digest
        };
        !image.is_attestation() && roots.iter().any(holds)
    });
    Ok(images)
}

/// Returns the platforms of the images that go into the archive.
fn platforms(layout: &Layout, roots: &[Descriptor]) -> Result<Vec<Platform>> {
    let mut platforms = Vec::new();
    for image in chosen(layout, roots)? {
        let manifest = layout.manifest(&image.descriptor)?;
        if media_type::is_config(&manifest.config.media_type) {
            platforms.push(layout.config(&manifest)?.platform);
        }
    }
    platforms.sort();
    platforms.dedup();
    Ok(platforms)
}

/// One image in docker's `manifest.json`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct DockerImage {
    config: String,
    repo_tags: Vec<String>,
    layers: Vec<String>,
}

fn docker_images(
    layout: &Layout,
    roots: &[Descriptor],
    selection: &Selection,
) -> Result<Vec<DockerImage>> {
    let mut images = Vec::new();
    for image in chosen(layout, roots)? {
        let manifest = layout.manifest(&image.descriptor)?;
        images.push(docker_image(&manifest, &image.names, selection));
    }
    if images.len() > 1 && !selection.references.is_empty() {
        return Err(Error::spec(
            layout.title(),
            format!("it has {} platforms, and docker loads one", images.len()),
            "choose one by platform",
        ));
    }
    Ok(images)
}

fn docker_image(manifest: &Manifest, names: &[String], selection: &Selection) -> DockerImage {
    let own = || {
        names
            .iter()
            .filter_map(|name| name.parse::<ImageName>().ok())
    };
    let tags: Vec<String> = if selection.references.is_empty() {
        own().map(|reference| reference.familiar()).collect()
    } else {
        selection
            .references
            .iter()
            .map(ImageName::familiar)
            .collect()
    };
    DockerImage {
        config: manifest.config.digest.blob_path(),
        repo_tags: tags,
        layers: manifest
            .layers
            .iter()
            .map(|layer| layer.digest.blob_path())
            .collect(),
    }
}

/// A tar file that is being written.
struct Archive<'a> {
    tar: tar::Writer<&'a mut dyn Write>,
    epoch: u64,
}

impl Archive<'_> {
    fn blobs(&mut self, layout: &Layout, blobs: &BTreeMap<String, Descriptor>) -> Result<()> {
        self.directory("blobs")?;
        let mut directory = String::new();
        for (path, descriptor) in blobs {
            let algorithm = format!("blobs/{}", descriptor.digest.algorithm().name());
            if algorithm != directory {
                self.directory(&algorithm)?;
                directory = algorithm;
            }
            let blob = layout.blob(descriptor)?;
            let mut blob = HashingReader::new(blob.reader(), descriptor.digest.algorithm());
            self.file(path, descriptor.size, &mut blob)?;
            let (_, digest, _) = blob.finish();
            if digest != descriptor.digest {
                let what = format!("{path} of {}", layout.title());
                return Err(Error::damaged(
                    what,
                    format!("its content has the digest {digest}"),
                ));
            }
        }
        Ok(())
    }

    /// Adds the documents about the images, if the layout has them.
    fn attestations(&mut self, layout: &Layout, roots: &[Descriptor]) -> Result<()> {
        let mut documents = BTreeMap::new();
        for platform in platforms(layout, roots)? {
            for name in crateyard_attestation::DOCUMENTS {
                if let Some(bytes) = crateyard_attestation::read(layout, &platform, name)? {
                    documents.insert(crateyard_attestation::path(&platform, name), bytes);
                }
            }
        }
        let mut directory = String::new();
        for (path, bytes) in &documents {
            if directory.is_empty() {
                self.directory(crateyard_attestation::DIRECTORY)?;
            }
            let parent = path.rsplit_once('/').map_or("", |(parent, _)| parent);
            if parent != directory {
                self.directory(parent)?;
                directory = parent.to_owned();
            }
            self.file(path, bytes.len() as u64, &mut &bytes[..])?;
        }
        Ok(())
    }

    fn directory(&mut self, path: &str) -> Result<()> {
        self.entry(path, Kind::Directory, 0o755, 0, &mut io::empty())
    }

    fn file(&mut self, path: &str, size: u64, content: &mut dyn io::Read) -> Result<()> {
        self.entry(path, Kind::File, 0o644, size, content)
    }

    fn entry(
        &mut self,
        path: &str,
        kind: Kind,
        mode: u32,
        size: u64,
        content: &mut dyn io::Read,
    ) -> Result<()> {
        let header = tar::Header {
            path,
            kind,
            mode,
            uid: 0,
            gid: 0,
            mtime: self.epoch,
            size,
            link: "",
            xattrs: &BTreeMap::new(),
        };
        let appended = self.tar.append(&header, content);
        appended.map_err(stream_failed(path))
    }
}

fn stream_failed(what: &str) -> impl FnOnce(io::Error) -> Error {
    Error::io("write to the archive:", Path::new(what))
}
