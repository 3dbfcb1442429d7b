//! Opening images, whatever wrote them: OCI layout directories, OCI archives (a layout as one tar
//! file) and docker archives (`docker save`).
//!
//! Nothing in them is believed. Documents are read up to a limit and against their digest; blobs
//! are found by digest alone, so no path from the input is ever opened; symbolic links are refused.

mod directory;
mod docker;
mod tarball;

use std::fs::{File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::OFlags;
use serde::de::DeserializeOwned;

use crate::json::parse;
use crate::{
    Blobs, Budget, Descriptor, Digest, Error, Image, ImageConfig, Index, LayoutMarker, Manifest,
    Platform, Result, Stored, choose, images, read_document, read_document_bytes,
};

use directory::Directory;
use docker::DockerArchive;
use tarball::Tarball;

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

/// An opened layout or archive.
#[derive(Debug)]
pub struct Layout {
    path: PathBuf,
    store: Store,
    index: Index,
    budget: Arc<Budget>,
}

#[derive(Debug)]
enum Store {
    Directory(Directory),
    Tarball(Tarball),
    Docker(DockerArchive),
}

impl Layout {
    /// Opens a layout directory, an OCI archive or a docker archive; which it is shows by itself.
    ///
    /// # Errors
    /// When it is none of these, or its index is damaged.
    pub fn open(path: &Path) -> Result<Layout> {
        Layout::open_within(path, Arc::default())
    }

    /// As [`Layout::open`], with a budget that several readers share.
    ///
    /// # Errors
    /// When it is none of these, or its index is damaged.
    pub fn open_within(path: &Path, budget: Arc<Budget>) -> Result<Layout> {
        let file = open(path)?;
        let metadata = file.metadata().map_err(Error::io("cannot look at", path))?;
        let (store, index) = if metadata.is_dir() {
            let directory = Directory::new(path, file);
            let read = |name: &str| directory.read(name, &budget);
            let index = read_index(path, &budget, read)?;
            (Store::Directory(directory), index)
        } else if metadata.is_file() {
            open_archive(Tarball::open(path, file, &budget)?, &budget)?
        } else {
            return Err(Error::Unsupported {
                what: path.display().to_string(),
                problem:
                    "this is no image but a pipe, a socket or a device; give a directory or a file"
                        .to_owned(),
            });
        };
        Ok(Layout {
            path: path.to_owned(),
            store,
            index,
            budget,
        })
    }

    /// The path that was opened.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The content of a file beside index and blobs, of which the format of layouts knows nothing.
    /// `None` where there is none.
    ///
    /// # Errors
    /// When it can't be read.
    pub fn extra_file(&self, name: &str) -> Result<Option<Vec<u8>>> {
        let read = match &self.store {
            Store::Directory(directory) => directory.read(name, &self.budget),
            Store::Tarball(tarball) => tarball.read(name, &self.budget),
            Store::Docker(_) => return Ok(None),
        };
        match read {
            Err(Error::NotFound { .. }) => Ok(None),
            Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
                Ok(None)
            }
            result => result.map(Some),
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
        images(self, &self.index)
    }

    /// The one image that has the name and does best for the platform, where given.
    ///
    /// # Errors
    /// When there is none, or more than one; the message lists what there is.
    pub fn image(&self, name: Option<&str>, platform: Option<&Platform>) -> Result<Image> {
        choose(&self.images()?, &self.title(), name, platform)
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
    /// When it is missing, damaged or too large.
    pub fn document_bytes(&self, descriptor: &Descriptor) -> Result<Vec<u8>> {
        read_document_bytes(self, descriptor)
    }

    /// A blob as it is; its size is checked, its digest is not.
    ///
    /// # Errors
    /// When it is missing, has another size, or is no regular file.
    pub fn blob(&self, descriptor: &Descriptor) -> Result<Stored> {
        let digest = &descriptor.digest;
        let blob = self.stored(digest)?.ok_or_else(|| Error::NotFound {
            what: format!("blob {digest}"),
            place: self.title(),
            hint: String::new(),
        })?;
        let (size, expected) = (blob.size(), descriptor.size);
        if size == expected {
            return Ok(blob);
        }
        let problem = format!("it has {size} bytes and should have {expected}");
        let what = format!("blob {digest} of {}", self.path.display());
        Err(Error::damaged(what, problem))
    }

    /// The blob with a digest, of whatever size; `None` where there is none.
    ///
    /// # Errors
    /// When it is no regular file, or can't be opened.
    pub fn stored(&self, digest: &Digest) -> Result<Option<Stored>> {
        match &self.store {
            Store::Directory(directory) => directory.blob(digest),
            Store::Tarball(tarball) => Ok(tarball.entry(&digest.blob_path())),
            Store::Docker(archive) => Ok(archive.blob(digest)),
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
            Store::Directory(directory) => directory.blob_paths(&self.budget),
            Store::Tarball(tarball) => Ok(tarball.paths_below("blobs/")),
            Store::Docker(_) => Ok(Vec::new()),
        }
    }
}

impl Blobs for Layout {
    fn open_blob(&self, descriptor: &Descriptor) -> Result<Box<dyn Read + Send + '_>> {
        Ok(self.blob(descriptor)?.reader())
    }

    fn title(&self) -> String {
        self.path.display().to_string()
    }

    fn budget(&self) -> &Arc<Budget> {
        &self.budget
    }
}

/// Opens whatever it is without waiting for the other end of a pipe.
fn open(path: &Path) -> Result<File> {
    let mut options = OpenOptions::new();
    options
        .read(true)
        .custom_flags(OFlags::NONBLOCK.bits() as i32);
    options.open(path).map_err(Error::io("cannot open", path))
}

fn read_index(
    path: &Path,
    budget: &Budget,
    read: impl Fn(&str) -> Result<Vec<u8>>,
) -> Result<Index> {
    check_marker(path, budget, &read("oci-layout")?)?;
    let what = path.join("index.json").display().to_string();
    parse(budget, &what, &read("index.json")?)
}

/// An archive is what `docker load` reads where its index names nothing: some versions of docker
/// wrote `null` there.
fn open_archive(tarball: Tarball, budget: &Arc<Budget>) -> Result<(Store, Index)> {
    let path = tarball.path().to_owned();
    let is_docker = tarball.has("manifest.json");
    if tarball.has("oci-layout") && tarball.has("index.json") {
        let index = read_index(&path, budget, |name| tarball.read(name, budget))?;
        if !index.manifests.is_empty() || !is_docker {
            return Ok((Store::Tarball(tarball), index));
        }
    }
    if is_docker {
        let archive = DockerArchive::new(tarball, budget)?;
        let index = archive.index();
        return Ok((Store::Docker(archive), index));
    }
    Err(Error::Unsupported {
        what: path.display().to_string(),
        problem: "this is no image: neither oci-layout with index.json (an OCI archive) nor \
                  manifest.json (a docker archive) is in it"
            .to_owned(),
    })
}

fn check_marker(path: &Path, budget: &Budget, bytes: &[u8]) -> Result<()> {
    let what = path.join("oci-layout").display().to_string();
    let marker: LayoutMarker = parse(budget, &what, bytes)?;
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
