//! The directories of the cell that no root holds: its top, and the unions of directories that
//! several roots have.

use alloc::vec::Vec;

use rustix::fs::{
    AtFlags, CWD, FileType, Mode, OFlags, Timespec, Timestamps, lstat, mkdir, openat, symlink,
    utimensat,
};
use rustix::io::Errno;

use super::{Kind, View, join, join_path, kind};
use crate::files::{names, open_directory};

impl View {
    /// Fills the top of the cell with the roots' entries, except those that come from elsewhere.
    ///
    /// # Errors
    /// The errors of the system.
    pub(crate) fn fill_top(&mut self, without: &[&[u8]]) -> Result<(), Errno> {
        for root in self.roots.clone() {
            self.copy_names(&root, b"", without)?;
        }
        Ok(())
    }

    /// Makes a directory in the part of the cell that no root holds.
    ///
    /// # Errors
    /// The errors of the system.
    pub(crate) fn make_directory(&self, guest: &[u8]) -> Result<(), Errno> {
        let mut path = self.shadow.clone();
        for name in guest
            .split(|&byte| byte == b'/')
            .filter(|name| !name.is_empty())
        {
            path = join(&path, name);
            match mkdir(path.as_slice(), Mode::from_raw_mode(0o755)) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(errno) => return Err(errno),
            }
        }
        Ok(())
    }

    pub(super) fn is_union(&self, guest: &[u8]) -> bool {
        let directories = self.roots.iter().filter(|root| {
            let path = join_path(root, guest);
            lstat(path.as_slice())
                .is_ok_and(|status| FileType::from_raw_mode(status.st_mode) == FileType::Directory)
        });
        directories.take(2).count() == 2
    }

    /// Makes the union of a directory of several roots, if it does not exist yet. The union has the
    /// names and their kinds.
    pub(super) fn union(&mut self, guest: &[u8]) -> Result<Vec<u8>, Errno> {
        let union = join_path(&self.shadow, guest);
        let of_roots = self.of_roots(guest);
        if self.known.contains_key(&marker(guest)) {
            return Ok(union);
        }
        self.make_directory(guest)?;
        for root in self.roots.clone() {
            if kind(&join_path(&root, guest)).is_some_and(|kind| matches!(kind, Kind::Directory)) {
                self.copy_names(&root, guest, &[])?;
            }
        }
        self.known.insert(marker(guest), of_roots);
        let time = Timespec {
            tv_sec: 1,
            tv_nsec: 0,
        };
        let times = Timestamps {
            last_access: time,
            last_modification: time,
        };
        let _ = utimensat(CWD, union.as_slice(), &times, AtFlags::empty());
        Ok(union)
    }

    /// Puts the names of a root's directory into the shadow, each with an entry of the same kind.
    fn copy_names(&self, root: &[u8], guest: &[u8], without: &[&[u8]]) -> Result<(), Errno> {
        let from = join_path(root, guest);
        let to = join_path(&self.shadow, guest);
        for name in names(open_directory(CWD, from.as_slice())?)? {
            if without.contains(&name.as_slice()) {
                continue;
            }
            let path = join(&to, &name);
            let made = match kind(&join(&from, &name)) {
                Some(Kind::Link(target)) => symlink(target.as_slice(), path.as_slice()),
                Some(Kind::Directory) => mkdir(path.as_slice(), Mode::from_raw_mode(0o755)),
                _ => empty_file(&path),
            };
            match made {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(errno) => return Err(errno),
            }
        }
        Ok(())
    }
}

fn empty_file(path: &[u8]) -> Result<(), Errno> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    openat(CWD, path, flags, Mode::from_raw_mode(0o644)).map(drop)
}

/// Returns the key that marks a directory whose union exists. No path has a zero byte.
fn marker(guest: &[u8]) -> Vec<u8> {
    [guest, b"\0"].concat()
}
