//! Opens images that any program may have written: OCI layout directories, OCI archives (a layout
//! as one tar file) and docker archives (`docker save`).
//!
//! Nothing in the input is trusted. Documents are read up to a limit and against their digest.
//! Blobs are found by digest alone, so no path from the input is ever opened. Symbolic links are
//! refused.

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
pub use docker::DockerEntry;
use tarball::Tarball;

/// The form of an opened image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A directory with `oci-layout`, `index.json` and `blobs`.
    OciDirectory,
    /// A layout as one tar file.
    OciArchive,
    /// A tar file with `manifest.json`, as `docker save` wrote it before it wrote layouts.
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
    /// Opens a layout directory, an OCI archive or a docker archive, and detects which of them it
    /// is.
    ///
    /// # Errors
    /// When the path is none of these, or its index is damaged.
    pub fn open(path: &Path) -> Result<Layout> {
        Layout::open_within(path, Arc::default())
    }

    /// Opens a layout like [`Layout::open`], with a budget that several readers share.
    ///
    /// # Errors
    /// When the path is none of these, or its index is damaged.
    pub fn open_within(path: &Path, budget: Arc<Budget>) -> Result<Layout> {
        let file = open(path)?;
        let metadata = file.metadata().map_err(Error::io("look at", path))?;
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
                    "this is not an image but a pipe, a socket or a device; give a directory or a \
                     file"
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

    /// Returns the path that was opened.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the content of a file beside index and blobs that the layout format does not define.
    /// Returns `None` if there is no such file.
    ///
    /// # Errors
    /// When the file can't be read.
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
            result => {
                let bytes = result?;
                crate::limits::attached(name, &bytes)?;
                Ok(Some(bytes))
            }
        }
    }

    /// Returns the form of the image.
    pub fn kind(&self) -> Kind {
        match self.store {
            Store::Directory(_) => Kind::OciDirectory,
            Store::Tarball(_) => Kind::OciArchive,
            Store::Docker(_) => Kind::DockerArchive,
        }
    }

    /// Returns the index: `index.json`, or the equivalent that this crate makes for a docker
    /// archive.
    pub fn index(&self) -> &Index {
        &self.index
    }

    /// Finds all image manifests that the index leads to, also through further indexes.
    ///
    /// # Errors
    /// When an index is missing, damaged, or nested too deeply.
    pub fn images(&self) -> Result<Vec<Image>> {
        images(self, &self.index)
    }

    /// Chooses the only image that has the name, if given, and best fits the platform, if given.
    ///
    /// # Errors
    /// When no image or more than one fits. The message lists the images that are there.
    pub fn image(&self, name: Option<&str>, platform: Option<&Platform>) -> Result<Image> {
        choose(&self.images()?, &self.title(), name, platform)
    }

    /// Reads a manifest and checks its digest.
    ///
    /// # Errors
    /// When the manifest is missing or damaged, or the content is not a manifest.
    pub fn manifest(&self, descriptor: &Descriptor) -> Result<Manifest> {
        self.document(descriptor)
    }

    /// Reads the configuration of an image and checks its digest.
    ///
    /// # Errors
    /// When the configuration is missing or damaged, or the content is not a configuration.
    pub fn config(&self, manifest: &Manifest) -> Result<ImageConfig> {
        self.document(&manifest.config)
    }

    /// Reads any document that a descriptor points to and checks its digest.
    ///
    /// # Errors
    /// When the document is missing, damaged, too large or not of the type.
    pub fn document<T: DeserializeOwned>(&self, descriptor: &Descriptor) -> Result<T> {
        read_document(self, descriptor)
    }

    /// Reads the bytes of a document, which a push sends, and checks their digest.
    ///
    /// # Errors
    /// When the document is missing, damaged or too large.
    pub fn document_bytes(&self, descriptor: &Descriptor) -> Result<Vec<u8>> {
        read_document_bytes(self, descriptor)
    }

    /// Returns the images that `manifest.json` of an OCI archive names. Some engines read that, and
    /// others the index. Returns none for every other form.
    ///
    /// # Errors
    /// When `manifest.json` is malformed, or names a file that is missing.
    pub fn docker_entries(&self) -> Result<Vec<DockerEntry>> {
        match &self.store {
            Store::Tarball(tarball) => docker::entries(tarball, &self.budget),
            Store::Directory(_) | Store::Docker(_) => Ok(Vec::new()),
        }
    }

    /// Returns an unchanged blob. Checks its size but not its digest.
    ///
    /// # Errors
    /// When the blob is missing, has another size, or is not a regular file.
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
        let problem = format!("it has {size} bytes, but should have {expected}");
        let what = format!("blob {digest} of {}", self.path.display());
        Err(Error::damaged(what, problem))
    }

    /// Returns the blob with a digest, of any size, or `None` if there is none.
    ///
    /// # Errors
    /// When the blob is not a regular file, or can't be opened.
    pub fn stored(&self, digest: &Digest) -> Result<Option<Stored>> {
        match &self.store {
            Store::Directory(directory) => directory.blob(digest),
            Store::Tarball(tarball) => Ok(tarball.entry(&digest.blob_path())),
            Store::Docker(archive) => Ok(archive.blob(digest)),
        }
    }

    /// Returns the names of all files in the directories of blobs, by path in the layout. Files
    /// that no descriptor leads to are among them.
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

/// Opens a path of any kind without waiting for the other end of a pipe.
fn open(path: &Path) -> Result<File> {
    let mut options = OpenOptions::new();
    options
        .read(true)
        .custom_flags(OFlags::NONBLOCK.bits() as i32);
    options.open(path).map_err(Error::io("open", path))
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

/// Opens an archive. If the index is empty, reads `manifest.json` like `docker load`: some versions
/// of docker wrote `null` into the index.
fn open_archive(tarball: Tarball, budget: &Arc<Budget>) -> Result<(Store, Index)> {
    let path = tarball.path().to_owned();
    let is_docker = tarball.has(docker::MANIFEST);
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
        problem: "this is not an image: neither oci-layout with index.json (an OCI archive) nor \
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
            "it is a layout of version {:?}, but only {} is supported",
            marker.version,
            LayoutMarker::VERSION
        ),
    })
}
