//! Opening images, whatever wrote them: OCI layout directories, OCI archives (a layout as one tar
//! file) and docker archives (`docker save`).
//!
//! Nothing in them is believed. Documents are read up to a limit and against their digest; blobs
//! are found by digest alone, so no path from the input is ever opened; symbolic links are refused.

mod directory;
mod docker;
mod tarball;

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

use crate::digest::{Digest, Hasher};
use crate::oci::{
    Descriptor, ImageConfig, Index, LayoutMarker, Manifest, Platform, annotation, media_type,
};
use crate::reference::Reference;
use crate::{Error, Result};

use directory::Directory;
use docker::DockerArchive;
use tarball::Tarball;

/// The largest document (index, manifest, configuration) that is read.
pub const DOCUMENT_LIMIT: u64 = 8 << 20;
/// How deep indexes may be nested, and how many manifests they may name in all.
const INDEX_DEPTH: usize = 4;
const INDEX_LIMIT: usize = 10_000;

/// What an image was opened from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A directory with `oci-layout`, `index.json` and `blobs`.
    OciDirectory,
    /// The same as one tar file.
    OciArchive,
    /// A tar file with `manifest.json` as `docker save` wrote it before it wrote layouts.
    DockerArchive,
}

/// Something that has blobs: a layout here, a repository of a registry elsewhere.
pub trait Blobs {
    /// Opens a blob. The bytes are as they come; who needs them checked checks them.
    ///
    /// # Errors
    /// When the blob is not there, has another size or can't be read.
    fn open_blob(&self, descriptor: &Descriptor) -> Result<Box<dyn Read + Send + '_>>;

    /// What it is, for messages: a path or a reference.
    fn title(&self) -> String;
}

/// An opened layout or archive.
#[derive(Debug)]
pub struct Layout {
    path: PathBuf,
    store: Store,
    index: Index,
}

#[derive(Debug)]
enum Store {
    Directory(Directory),
    Tarball(Tarball),
    Docker(DockerArchive),
}

/// An image manifest that a layout's index leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// Its descriptor, as the index that names it has it.
    pub descriptor: Descriptor,
    /// The names it goes by in the layout.
    pub names: Vec<String>,
    /// The platform it is for, where the index says so.
    pub platform: Option<Platform>,
}

impl Image {
    /// Whether it is no container image but a statement about one.
    pub fn is_attestation(&self) -> bool {
        self.descriptor.is_attestation()
    }

    fn has_name(&self, wanted: &str) -> bool {
        let spelled_out = wanted.parse::<Reference>().ok();
        self.names.iter().any(|name| {
            name == wanted
                || spelled_out
                    .as_ref()
                    .is_some_and(|full| *name == full.to_string())
        })
    }

    fn title(&self) -> String {
        let name = self.names.first().map_or("", String::as_str);
        let platform = self.platform.as_ref().map(Platform::to_string);
        let platform = platform.unwrap_or_default();
        let parts = [name, &platform, self.descriptor.digest.short()];
        let parts: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
        parts.join(" ")
    }
}

impl Layout {
    /// Opens a layout directory, an OCI archive or a docker archive; which it is shows by itself.
    ///
    /// # Errors
    /// When it is none of these, or its index is damaged.
    pub fn open(path: &Path) -> Result<Layout> {
        let metadata = fs::metadata(path).map_err(Error::io("cannot open", path))?;
        let store = if metadata.is_dir() {
            Store::Directory(Directory::open(path)?)
        } else {
            Self::open_file(path)?
        };
        let index = match &store {
            Store::Directory(directory) => {
                check_marker(path, directory.read("oci-layout")?)?;
                parse(
                    &format!("{}/index.json", path.display()),
                    &directory.read("index.json")?,
                )?
            }
            Store::Tarball(tarball) => {
                check_marker(path, tarball.read("oci-layout")?)?;
                parse(
                    &format!("index.json of {}", path.display()),
                    &tarball.read("index.json")?,
                )?
            }
            Store::Docker(archive) => archive.index(),
        };
        Ok(Layout {
            path: path.to_owned(),
            store,
            index,
        })
    }

    fn open_file(path: &Path) -> Result<Store> {
        let tarball = Tarball::open(path)?;
        if tarball.has("oci-layout") && tarball.has("index.json") {
            return Ok(Store::Tarball(tarball));
        }
        if tarball.has("manifest.json") {
            return Ok(Store::Docker(DockerArchive::new(tarball)?));
        }
        Err(Error::Unsupported {
            what: path.display().to_string(),
            problem: "this is no image: neither oci-layout with index.json (an OCI archive) nor manifest.json (a docker archive) is in it".to_owned(),
        })
    }

    /// The path that was opened.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The content of a file beside index and blobs, of which the format of layouts knows nothing.
    /// Archives have none.
    ///
    /// # Errors
    /// When there is none, or it can't be read.
    pub fn extra_file(&self, name: &str) -> Result<Option<Vec<u8>>> {
        match &self.store {
            Store::Directory(directory) => directory.read(name).map(Some),
            _ => Ok(None),
        }
    }

    /// What it is.
    pub fn kind(&self) -> Kind {
        match self.store {
            Store::Directory(_) => Kind::OciDirectory,
            Store::Tarball(_) => Kind::OciArchive,
            Store::Docker(_) => Kind::DockerArchive,
        }
    }

    /// The index: `index.json`, or one that says the same of a docker archive.
    pub fn index(&self) -> &Index {
        &self.index
    }

    /// All image manifests that the index leads to, through further indexes too.
    ///
    /// # Errors
    /// When an index is missing, damaged, or nested too deeply.
    pub fn images(&self) -> Result<Vec<Image>> {
        let mut images = Vec::new();
        self.collect_images(&self.index, &[], 0, &mut images)?;
        Ok(images)
    }

    fn collect_images(
        &self,
        index: &Index,
        names_above: &[String],
        depth: usize,
        images: &mut Vec<Image>,
    ) -> Result<()> {
        for descriptor in &index.manifests {
            let mut names = names_above.to_vec();
            names.extend(names_of(descriptor));
            if !media_type::is_index(&descriptor.media_type) {
                self.add_image(descriptor, names, images)?;
                continue;
            }
            if depth >= INDEX_DEPTH {
                return Err(Error::damaged(
                    self.title(),
                    format!("indexes are nested more than {INDEX_DEPTH} deep"),
                ));
            }
            let nested: Index = self.document(descriptor)?;
            self.collect_images(&nested, &names, depth + 1, images)?;
        }
        Ok(())
    }

    /// Several entries for one manifest are one image with several names.
    fn add_image(
        &self,
        descriptor: &Descriptor,
        names: Vec<String>,
        images: &mut Vec<Image>,
    ) -> Result<()> {
        let known = images
            .iter_mut()
            .find(|image| image.descriptor.digest == descriptor.digest);
        if let Some(image) = known {
            image.names.extend(names);
            return Ok(());
        }
        if images.len() >= INDEX_LIMIT {
            return Err(Error::damaged(
                self.title(),
                format!("its indexes name more than {INDEX_LIMIT} manifests"),
            ));
        }
        images.push(Image {
            descriptor: descriptor.clone(),
            names,
            platform: descriptor.platform.clone(),
        });
        Ok(())
    }

    /// The one image that has the name and platform, where given.
    ///
    /// # Errors
    /// When there is none, or more than one; the message lists what there is.
    pub fn image(&self, name: Option<&str>, platform: Option<&Platform>) -> Result<Image> {
        let all = self.images()?;
        let candidates: Vec<&Image> = all
            .iter()
            .filter(|image| !image.is_attestation())
            .filter(|image| name.is_none_or(|name| image.has_name(name)))
            .filter(|image| match (&image.platform, platform) {
                (Some(has), Some(wanted)) => has.satisfies(wanted),
                _ => true,
            })
            .collect();
        let listed = |images: &[&Image]| {
            let titles: Vec<String> = images.iter().take(20).map(|image| image.title()).collect();
            titles.join("; ")
        };
        let wanted = [name.map(str::to_owned), platform.map(Platform::to_string)];
        let wanted: Vec<String> = wanted.into_iter().flatten().collect();
        match candidates[..] {
            [image] => Ok(image.clone()),
            [] => Err(Error::NotFound {
                what: format!("an image {}", wanted.join(" for "))
                    .trim_end()
                    .to_owned(),
                place: self.title(),
                hint: format!("; it has: {}", listed(&all.iter().collect::<Vec<_>>())),
            }),
            _ => Err(Error::spec(
                self.title(),
                format!("it has several images: {}", listed(&candidates)),
                "choose one by name or platform",
            )),
        }
    }

    /// A manifest, read and checked against its digest.
    ///
    /// # Errors
    /// When it is missing, damaged or no manifest.
    pub fn manifest(&self, descriptor: &Descriptor) -> Result<Manifest> {
        self.document(descriptor)
    }

    /// The configuration of an image, read and checked against its digest.
    ///
    /// # Errors
    /// When it is missing, damaged or no image configuration.
    pub fn config(&self, manifest: &Manifest) -> Result<ImageConfig> {
        self.document(&manifest.config)
    }

    /// Any document that a descriptor points to, read and checked against its digest.
    ///
    /// # Errors
    /// When it is missing, damaged, too large or not of the type.
    pub fn document<T: DeserializeOwned>(&self, descriptor: &Descriptor) -> Result<T> {
        read_document(self, descriptor)
    }

    /// The bytes of a document, checked against its digest: what a push sends.
    ///
    /// # Errors
    /// When it is missing, damaged or larger than [`DOCUMENT_LIMIT`].
    pub fn document_bytes(&self, descriptor: &Descriptor) -> Result<Vec<u8>> {
        read_document_bytes(self, descriptor)
    }

    /// A blob as it is; its size is checked, its digest is not.
    ///
    /// # Errors
    /// When it is missing, has another size, or is no regular file.
    pub fn blob(&self, descriptor: &Descriptor) -> Result<Box<dyn Read + Send + '_>> {
        let size = self.blob_size(&descriptor.digest)?;
        if size != descriptor.size {
            let problem = format!("it has {size} bytes and should have {}", descriptor.size);
            return Err(Error::damaged(self.blob_title(&descriptor.digest), problem));
        }
        match &self.store {
            Store::Directory(directory) => directory.blob(&descriptor.digest),
            Store::Tarball(tarball) => tarball.open_entry(&descriptor.digest.blob_path()),
            Store::Docker(archive) => archive.blob(&descriptor.digest),
        }
    }

    /// The size of a blob that is there.
    ///
    /// # Errors
    /// When it is missing or no regular file.
    pub fn blob_size(&self, digest: &Digest) -> Result<u64> {
        match &self.store {
            Store::Directory(directory) => directory.blob_size(digest),
            Store::Tarball(tarball) => tarball.size(&digest.blob_path()),
            Store::Docker(archive) => archive.blob_size(digest),
        }
    }

    /// The file of a blob, where blobs are files of their own: for those who send or link it.
    pub fn blob_file(&self, digest: &Digest) -> Option<PathBuf> {
        match &self.store {
            Store::Directory(_) => Some(self.path.join(digest.blob_path())),
            Store::Tarball(_) | Store::Docker(_) => None,
        }
    }

    /// The names of all files where blobs are expected, by path in the layout: what no descriptor
    /// leads to is among them too.
    ///
    /// # Errors
    /// When the directory can't be listed.
    pub fn blob_paths(&self) -> Result<Vec<String>> {
        match &self.store {
            Store::Directory(directory) => directory.blob_paths(),
            Store::Tarball(tarball) => Ok(tarball.paths_below("blobs/")),
            Store::Docker(_) => Ok(Vec::new()),
        }
    }

    fn blob_title(&self, digest: &Digest) -> String {
        format!("blob {digest} of {}", self.path.display())
    }
}

impl Blobs for Layout {
    fn open_blob(&self, descriptor: &Descriptor) -> Result<Box<dyn Read + Send + '_>> {
        self.blob(descriptor)
    }

    fn title(&self) -> String {
        self.path.display().to_string()
    }
}

/// Reads a document from anything that has blobs, up to [`DOCUMENT_LIMIT`] and against its digest.
///
/// # Errors
/// When it is missing, damaged, too large or not of the type.
pub fn read_document<T: DeserializeOwned>(blobs: &dyn Blobs, descriptor: &Descriptor) -> Result<T> {
    let bytes = read_document_bytes(blobs, descriptor)?;
    parse(
        &format!("blob {} of {}", descriptor.digest, blobs.title()),
        &bytes,
    )
}

/// The bytes that [`read_document`] reads.
///
/// # Errors
/// When it is missing, damaged or too large.
pub fn read_document_bytes(blobs: &dyn Blobs, descriptor: &Descriptor) -> Result<Vec<u8>> {
    let what = format!("blob {} of {}", descriptor.digest, blobs.title());
    if descriptor.size > DOCUMENT_LIMIT {
        let problem = format!("{} bytes are too many for a document", descriptor.size);
        return Err(Error::damaged(what, problem));
    }
    let mut bytes = Vec::new();
    let mut reader = blobs.open_blob(descriptor)?.take(descriptor.size + 1);
    reader
        .read_to_end(&mut bytes)
        .map_err(|error| Error::damaged(&what, error.to_string()))?;
    let mut hasher = Hasher::new(descriptor.digest.algorithm());
    hasher.update(&bytes);
    let digest = hasher.finish();
    if digest != descriptor.digest {
        return Err(Error::damaged(
            what,
            format!("its content has the digest {digest}"),
        ));
    }
    Ok(bytes)
}

fn parse<T: DeserializeOwned>(what: &str, bytes: &[u8]) -> Result<T> {
    serde_json::from_slice(bytes).map_err(|source| Error::Json {
        what: what.to_owned(),
        source,
    })
}

fn check_marker(path: &Path, bytes: Vec<u8>) -> Result<()> {
    let marker: LayoutMarker = parse(&format!("oci-layout of {}", path.display()), &bytes)?;
    if marker.version == LayoutMarker::VERSION {
        return Ok(());
    }
    Err(Error::Unsupported {
        what: path.display().to_string(),
        problem: format!(
            "it is a layout of version {:?}, only {} is known",
            marker.version,
            LayoutMarker::VERSION
        ),
    })
}

/// The names that an index gives a manifest: the full one first, then the tag.
fn names_of(descriptor: &Descriptor) -> Vec<String> {
    let keys = [annotation::CONTAINERD_NAME, annotation::REF_NAME];
    let names = keys.iter().filter_map(|key| descriptor.annotation(key));
    names.map(str::to_owned).collect()
}
