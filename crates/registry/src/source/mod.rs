//! Where an image comes from: an OCI layout, in a directory or in an archive.

mod archive;
mod attached;
mod layout;

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;

use crate::content::{Descriptor, MAX_MANIFEST_SIZE, Manifest};
use crate::digest::Digest;
use crate::error::Error;

pub use archive::Archive;
pub use attached::Attached;
pub use layout::Layout;

/// A set of blobs with an index on top: what an OCI image layout is, wherever its bytes are.
pub trait Source: Send + Sync {
    /// The path or name that messages quote.
    fn place(&self) -> String;

    /// The bytes of `index.json`.
    ///
    /// # Errors
    /// When it is missing, too large, or cannot be read.
    fn index(&self) -> Result<Bytes, Error>;

    /// The blob with this digest, or `None` where the source has none.
    ///
    /// # Errors
    /// When it is there but is no plain file, or cannot be read.
    fn blob(&self, digest: &Digest) -> Result<Option<Blob>, Error>;
}

/// Part of an open file: read from any position, by any number of readers, without loading it.
#[derive(Clone, Debug)]
pub struct Blob {
    file: Arc<File>,
    start: u64,
    size: u64,
}

impl Blob {
    /// The `size` bytes of `file` from `start` on.
    pub fn new(file: Arc<File>, start: u64, size: u64) -> Blob {
        Blob { file, start, size }
    }

    /// The size in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Fills `buffer` with the bytes from `offset` on.
    ///
    /// # Errors
    /// When the file cannot be read, or has become shorter since it was opened.
    pub fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        if offset
            .checked_add(buffer.len() as u64)
            .is_none_or(|end| end > self.size)
        {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.file.read_exact_at(buffer, self.start + offset)
    }

    /// Computes the digest of the whole blob with `like`'s algorithm.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn digest(&self, like: &Digest) -> io::Result<Digest> {
        let mut hasher = like.hasher();
        let mut buffer = vec![0; 256 * 1024];
        let mut offset = 0;
        while offset < self.size {
            let length = buffer
                .len()
                .min(usize::try_from(self.size - offset).unwrap_or(usize::MAX));
            self.read_exact_at(&mut buffer[..length], offset)?;
            hasher.update(&buffer[..length]);
            offset += length as u64;
        }
        Ok(hasher.finish())
    }
}

/// Opens the OCI layout at `path`, which is a directory or a tar archive.
///
/// # Errors
/// When it is neither.
pub fn open(path: &Path) -> Result<Arc<dyn Source>, Error> {
    let metadata = std::fs::metadata(path).map_err(Error::io("open", path))?;
    if metadata.is_dir() {
        Ok(Arc::new(Layout::open(path)?))
    } else {
        Ok(Arc::new(Archive::open(path)?))
    }
}

/// Reads a manifest of `source` and checks its size and digest.
pub(crate) fn manifest(source: &dyn Source, descriptor: &Descriptor) -> Result<Manifest, Error> {
    let damaged = |reason: String| Error::Source {
        place: format!("{}: manifest {}", source.place(), descriptor.digest),
        reason,
        remedy: "write the layout again; it is damaged".to_owned(),
    };
    let blob = source
        .blob(&descriptor.digest)?
        .ok_or_else(|| damaged("missing".to_owned()))?;
    if blob.size() != descriptor.size {
        return Err(damaged(format!(
            "{} bytes long, its descriptor says {}",
            blob.size(),
            descriptor.size
        )));
    }
    let bytes = read_small(&blob).map_err(|error| damaged(error.to_string()))?;
    if !descriptor.digest.matches(&bytes) {
        return Err(damaged("its bytes do not have its digest".to_owned()));
    }
    Manifest::parse(
        bytes,
        descriptor.digest.clone(),
        Some(&descriptor.media_type),
    )
    .map_err(damaged)
}

/// Reads a blob that has to be small, as manifests and indexes are.
fn read_small(blob: &Blob) -> io::Result<Bytes> {
    if blob.size() > MAX_MANIFEST_SIZE {
        let message = format!(
            "{} bytes long; at most {MAX_MANIFEST_SIZE} are read",
            blob.size()
        );
        return Err(io::Error::new(io::ErrorKind::InvalidData, message));
    }
    let mut bytes = vec![0; usize::try_from(blob.size()).unwrap_or(0)];
    blob.read_exact_at(&mut bytes, 0)?;
    Ok(bytes.into())
}

fn not_a_layout(place: String, reason: String) -> Error {
    let remedy = "give an OCI image layout (a directory with oci-layout, index.json and blobs/) or an uncompressed tar \
                  archive of one"
        .to_owned();
    Error::Source {
        place,
        reason,
        remedy,
    }
}
