//! Writes a layout: blobs that are checked on the way, then the index.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use crateyard_oci::digest::HashingReader;
use crateyard_oci::{Descriptor, Digest, DigestAlgorithm, Index, Layout, LayoutMarker};

use crate::output::{self, OutputDir};
use crate::{Error, Result};

/// A layout that is being written.
pub(crate) struct Writer {
    pub(crate) output: OutputDir,
}

/// The directory of the blobs that this crate writes.
const BLOBS: &str = "blobs/sha256";

impl Writer {
    pub(crate) fn create(out: &Path) -> Result<Writer> {
        let output = OutputDir::create(out)?;
        let blobs = output.path().join(BLOBS);
        fs::create_dir_all(&blobs).map_err(Error::io("create", &blobs))?;
        Ok(Writer { output })
    }

    /// Adds a document as a blob.
    pub(crate) fn add_json<T: serde::Serialize>(
        &mut self,
        media_type: &str,
        document: &T,
    ) -> Result<Descriptor> {
        let bytes = crateyard_oci::to_bytes(document)?;
        let digest = Digest::of(&bytes);
        self.output.write(&digest.blob_path(), &bytes)?;
        Ok(Descriptor::new(media_type, digest, bytes.len() as u64))
    }

    /// Copies a blob of another layout, unless it is there already, and checks it on the way.
    pub(crate) fn copy(&mut self, layout: &Layout, descriptor: &Descriptor) -> Result<()> {
        let blob = layout.blob(descriptor)?;
        self.copy_from(blob.reader(), descriptor, &descriptor.digest.to_string())
    }

    /// Copies a file as a blob and checks it on the way.
    pub(crate) fn copy_file(&mut self, path: &Path, descriptor: &Descriptor) -> Result<()> {
        let file = File::open(path).map_err(Error::io("open", path))?;
        self.copy_from(file, descriptor, &path.display().to_string())
    }

    fn copy_from(
        &mut self,
        source: impl io::Read,
        descriptor: &Descriptor,
        what: &str,
    ) -> Result<()> {
        let path = self.output.path().join(descriptor.digest.blob_path());
        if path.exists() {
            return Ok(());
        }
        if descriptor.digest.algorithm() != DigestAlgorithm::Sha256 {
            let blobs = path.parent().unwrap_or(&path);
            fs::create_dir_all(blobs).map_err(Error::io("create", blobs))?;
        }
        let mut reader = HashingReader::new(source, descriptor.digest.algorithm());
        let mut file = File::create(&path).map_err(Error::io("create", &path))?;
        copy_buffered(&mut reader, &mut file, what, &path)?;
        let (_, digest, size) = reader.finish();
        if digest != descriptor.digest || size != descriptor.size {
            let expected = format!("{} ({} bytes)", descriptor.digest, descriptor.size);
            let problem = format!("it is {digest} ({size} bytes) and should be {expected}");
            return Err(Error::damaged(what, problem));
        }
        output::sync(&file, &path)
    }

    /// Writes the index and the marker, and gives the layout its name.
    pub(crate) fn finish(self, manifests: &[Descriptor]) -> Result<()> {
        let index = crateyard_oci::to_bytes(&Index::new(manifests.to_vec()))?;
        self.output.write("index.json", &index)?;
        let marker = crateyard_oci::to_bytes(&LayoutMarker::current())?;
        self.output.finish("oci-layout", &marker)
    }
}

/// Copies a blob. Tells failures of reading from failures of writing.
fn copy_buffered(
    source: &mut impl io::Read,
    file: &mut File,
    what: &str,
    path: &Path,
) -> Result<()> {
    let mut buffer = vec![0; 1 << 20];
    loop {
        let read = match source.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(Error::damaged(what, error.to_string())),
        };
        io::Write::write_all(file, &buffer[..read]).map_err(Error::io("write", path))?;
    }
}
