//! Locks on files of a directory.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, ErrorKind};

use rustix::fs::{FlockOperation, OFlags};
use rustix::io::Errno;

use super::Directory;
use super::name::one;

impl Directory {
    /// Takes a lock on a file. Makes the file if it is missing, and never empties it. Waits until
    /// nobody else holds the lock.
    ///
    /// # Errors
    /// When there is a link in its place, or the file can't be made.
    pub fn lock(&self, name: impl AsRef<OsStr>) -> io::Result<File> {
        let file = self.lock_file(name.as_ref())?;
        rustix::fs::flock(&file, FlockOperation::LockExclusive)?;
        Ok(file)
    }

    /// Takes a lock without waiting. Returns `None` while somebody else holds it.
    ///
    /// # Errors
    /// When there is a link in its place, or the file can't be made.
    pub fn try_lock(&self, name: impl AsRef<OsStr>) -> io::Result<Option<File>> {
        let file = self.lock_file(name.as_ref())?;
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(file)),
            Err(Errno::WOULDBLOCK) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn lock_file(&self, name: &OsStr) -> io::Result<File> {
        let file = self.open_file(one(name)?, OFlags::RDWR | OFlags::CREATE)?;
        file.ok_or_else(|| ErrorKind::NotFound.into())
    }
}
