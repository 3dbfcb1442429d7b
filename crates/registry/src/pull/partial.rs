//! A blob that is being received.

use std::io::Read;
use std::path::PathBuf;

use crateyard_oci::{Digest, Hasher};

use super::unnamed::{Unnamed, take};
use crate::error::Error;

/// A blob that is being received, into a file that is this pull's alone.
pub(super) struct Partial {
    /// None when it has got its name, or has none to get.
    file: Option<Unnamed>,
    directory: PathBuf,
    digest: Digest,
    hasher: Hasher,
    /// How many bytes it has.
    pub length: u64,
}

impl Partial {
    /// Goes on with what a pull that failed left, if that is no longer than `size`.
    pub fn open(directory: PathBuf, digest: &Digest, size: u64) -> Result<Partial, Error> {
        let file = Unnamed::create(&directory).map_err(Error::io("write to", &directory))?;
        let mut partial = Partial {
            file: Some(file),
            directory,
            digest: digest.clone(),
            hasher: digest.hasher(),
            length: 0,
        };
        if let Some(mut left) = take(&partial.left_path()) {
            if partial.copy(&mut left, size).is_err() || partial.length > size {
                partial.restart()?;
            }
        }
        Ok(partial)
    }

    /// Hashes while it copies: what gets the digest's name is what was hashed.
    fn copy(&mut self, left: &mut impl Read, size: u64) -> Result<(), Error> {
        let path = self.left_path();
        let mut buffer = vec![0; 256 * 1024];
        while self.length <= size {
            let count = left.read(&mut buffer).map_err(Error::io("read", &path))?;
            if count == 0 {
                return Ok(());
            }
            self.append(&buffer[..count])?;
        }
        Ok(())
    }

    pub fn append(&mut self, bytes: &[u8]) -> Result<(), Error> {
        if let Some(file) = &mut self.file {
            let written = file.append(bytes);
            written.map_err(Error::io("write to", &self.directory))?;
        }
        self.hasher.update(bytes);
        self.length += bytes.len() as u64;
        Ok(())
    }

    /// Forgets what it has.
    pub fn restart(&mut self) -> Result<(), Error> {
        if let Some(file) = &mut self.file {
            file.clear()
                .map_err(Error::io("write to", &self.directory))?;
        }
        self.hasher = self.digest.hasher();
        self.length = 0;
        Ok(())
    }

    /// The digest of what it has.
    pub fn actual(&self) -> Digest {
        self.hasher.clone().finish()
    }

    /// Gives the verified file its name. Where there is a file by that name, from another pull that was faster, that
    /// one's stays if it `is_whole`, and is removed by that question if not.
    pub fn finish(mut self, is_whole: impl Fn() -> Result<bool, Error>) -> Result<(), Error> {
        let path = self.directory.join(self.digest.hex());
        let Some(file) = self.file.take() else {
            return Ok(());
        };
        loop {
            if file.name(&path).map_err(Error::io("write", &path))? || is_whole()? {
                return Ok(());
            }
        }
    }

    /// Leaves nothing: what it has is wrong.
    pub fn discard(mut self) {
        self.file = None;
    }

    /// Where a pull that fails leaves what it has.
    fn left_path(&self) -> PathBuf {
        self.directory
            .join(format!(".partial-{}", self.digest.hex()))
    }
}

impl Drop for Partial {
    /// A pull that fails leaves what it has received to the next one.
    fn drop(&mut self) {
        if let Some(file) = self.file.take().filter(|_| self.length > 0) {
            // Whether it can does not matter.
            let _ = file.link(&self.left_path());
        }
    }
}
