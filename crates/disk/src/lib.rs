//! Files of the machine: written whole or not at all, in directories that others may share.
//!
//! A [`Directory`] is open while it is used, and every name below it is opened by itself from there
//! (`openat(2)`). No symbolic link is followed on the way. Anyone who puts one there causes an
//! error, and nothing that the link leads to is read, written or removed.
//!
//! Large files are written to without a name until they are complete ([`unnamed`]).
//!
//! ```
//! # let place = tempfile::tempdir()?;
//! use crateyard_disk::Directory;
//!
//! let directory = Directory::create(&place.path().join("state"))?;
//! directory.write("images/gateway", b"sha256:...")?;
//! assert_eq!(directory.read("images/gateway", 100)?.unwrap(), b"sha256:...");
//! assert!(directory.read("../secret", 100).is_err());
//! # Ok::<(), std::io::Error>(())
//! ```
#![forbid(unsafe_code)]

mod directory;
pub mod unnamed;

pub use directory::{Directory, Entry, is_directory, modified};

use std::io;
use std::path::Path;

/// Writes a file at a path that the user named, in place of the one that is there, whole or not at
/// all. The file is on the disk when this returns, and everyone may read it.
///
/// # Errors
/// Fails if the file's directory is missing, or the disk is full. The old file is then unchanged.
pub fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let parent = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    let directory = Directory::open(parent.unwrap_or(Path::new(".")))?;
    match path.file_name() {
        Some(name) => directory.write(name, bytes),
        None => Err(io::ErrorKind::IsADirectory.into()),
    }
}
