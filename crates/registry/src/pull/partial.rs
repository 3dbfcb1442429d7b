//! A blob that is being received.

use std::io::{Read, Write as _};
use std::path::PathBuf;

use crateyard_disk::unnamed::{Unnamed, take};
use crateyard_oci::{Digest, Hasher};

use super::destination::PREFIX;
use crate::error::Error;

/// A blob that is being received. Only this pull writes to its file.
pub(super) struct Partial {
    /// `None` once the file has its name or was discarded.
    file: Option<Unnamed>,
    directory: PathBuf,
    digest: Digest,
    hasher: Hasher,
    /// The number of received bytes.
    pub length: u64,
}

impl Partial {
    /// Continues the file of a failed pull, if it is not longer than `size`.
    pub(super) fn open(directory: PathBuf, digest: &Digest, size: u64) -> Result<Partial, Error> {
        let file =
            Unnamed::create(&directory, PREFIX).map_err(Error::io("write to", &directory))?;
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

    /// Copies and hashes in one pass, so that exactly the hashed bytes get the digest's name.
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

    pub(super) fn append(&mut self, bytes: &[u8]) -> Result<(), Error> {
        if let Some(file) = &mut self.file {
            let written = file.file().write_all(bytes);
            written.map_err(Error::io("write to", &self.directory))?;
        }
        self.hasher.update(bytes);
        self.length += bytes.len() as u64;
        Ok(())
    }

    /// Drops the received bytes.
    pub(super) fn restart(&mut self) -> Result<(), Error> {
        if let Some(file) = &mut self.file {
            file.clear()
                .map_err(Error::io("write to", &self.directory))?;
        }
        self.hasher = self.digest.hasher();
        self.length = 0;
        Ok(())
    }

    /// Returns the digest of the received bytes.
    pub(super) fn actual(&self) -> Digest {
        self.hasher.clone().finish()
    }

    /// Gives the verified file its name. A faster pull may have taken the name: `is_whole` then
    /// returns whether its file is intact, and removes it if not.
    pub(super) fn finish(
        mut self,
        is_whole: impl Fn() -> Result<bool, Error>,
    ) -> Result<(), Error> {
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

    /// Drops the file, because its bytes are wrong.
    pub(super) fn discard(mut self) {
        self.file = None;
    }

    /// Returns the path where a failed pull keeps the received bytes.
    fn left_path(&self) -> PathBuf {
        self.directory
            .join(format!(".partial-{}", self.digest.hex()))
    }
}

impl Drop for Partial {
    /// Keeps the received bytes for the next pull.
    fn drop(&mut self) {
        if let Some(file) = self.file.take().filter(|_| self.length > 0) {
            // If this fails, the next pull only receives more.
            let _ = file.link(&self.left_path());
        }
    }
}
