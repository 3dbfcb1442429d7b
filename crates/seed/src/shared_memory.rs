//! Directories in the machine's own file system in memory, for cells that may mount none.

use alloc::format;
use alloc::vec::Vec;

use rustix::fd::OwnedFd;
use rustix::fs::{CWD, FlockOperation, Mode, flock, fstat, mkdir, stat, statfs};
use rustix::process::getpid;

use crate::files::{names, open_directory, remove_tree};

const PLACE: &[u8] = b"/dev/shm";
const PREFIX: &[u8] = b".cell-";
/// `TMPFS_MAGIC` (statfs(2)).
const TMPFS: u32 = 0x0102_1994;
/// The least free memory that is worth a try, in bytes. The sources of most packages have less than
/// half of it.
const LEAST: u64 = 16 << 20;

/// A directory that is removed when this is dropped. If this process is killed, another seed
/// removes it.
pub(crate) struct SharedMemory {
    pub(crate) path: Vec<u8>,
    /// A lock on the directory, held while it is in use.
    _lock: OwnedFd,
}

impl SharedMemory {
    /// Makes a directory, if there is memory for it.
    pub(crate) fn make() -> Option<Self> {
        let system = statfs(PLACE).ok()?;
        if system.f_type as u32 != TMPFS {
            return None;
        }
        remove_abandoned();
        let system = statfs(PLACE).unwrap_or(system);
        if system.f_bavail * system.f_bsize as u64 <= LEAST {
            return None;
        }
        (0..100).find_map(|attempt| {
            let name = format!("{}{attempt}", getpid().as_raw_nonzero());
            let path = [PLACE, b"/", PREFIX, name.as_bytes()].concat();
            mkdir(path.as_slice(), Mode::from_raw_mode(0o700)).ok()?;
            let lock = locked(&path)?;
            Some(Self { path, _lock: lock })
        })
    }
}

impl Drop for SharedMemory {
    fn drop(&mut self) {
        remove_tree(CWD, &self.path);
    }
}

/// Removes directories that killed processes have left. Nobody holds their locks.
fn remove_abandoned() {
    let Ok(directory) = open_directory(CWD, PLACE) else {
        return;
    };
    for name in names(directory).unwrap_or_default() {
        if !name.starts_with(PREFIX) {
            continue;
        }
        let path = [PLACE, b"/", name.as_slice()].concat();
        if let Some(_lock) = locked(&path) {
            remove_tree(CWD, &path);
        }
    }
}

/// Locks a directory, if nobody else has locked it and it still exists.
fn locked(path: &[u8]) -> Option<OwnedFd> {
    let directory = open_directory(CWD, path).ok()?;
    flock(&directory, FlockOperation::NonBlockingLockExclusive).ok()?;
    let (open, there) = (fstat(&directory).ok()?, stat(path).ok()?);
    (open.st_ino == there.st_ino).then_some(directory)
}
