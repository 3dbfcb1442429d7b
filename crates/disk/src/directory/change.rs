//! Changes in a directory.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use rustix::fs::{AtFlags, Mode, OFlags, Timespec, Timestamps};

use super::name::{one, split};
use super::{Directory, is_directory};

impl Directory {
    /// Writes a file in place of the one that is there, whole or not at all. Makes the file's
    /// directory if it is missing.
    ///
    /// # Errors
    /// When there is a link on the way to the file, or the disk is full.
    pub fn write(&self, below: impl AsRef<Path>, bytes: &[u8]) -> io::Result<()> {
        let (parent, name) = split(below.as_ref())?;
        self.make_directory(parent)?.replace(name, bytes)
    }

    /// Makes a new file with a mode.
    ///
    /// # Errors
    /// When the name is taken.
    pub fn create_file(&self, name: impl AsRef<OsStr>, mode: u32) -> io::Result<File> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let name = one(name.as_ref())?;
        let file: File = rustix::fs::openat(&self.descriptor, name, flags, Mode::empty())?.into();
        // The process's mask must not change the mode.
        rustix::fs::fchmod(&file, Mode::from_raw_mode(mode))?;
        Ok(file)
    }

    /// Renames a file within the directory. Replaces the file that has the new name.
    ///
    /// # Errors
    /// When there is no such file.
    pub fn rename(&self, from: impl AsRef<OsStr>, to: impl AsRef<OsStr>) -> io::Result<()> {
        let (from, to) = (one(from.as_ref())?, one(to.as_ref())?);
        Ok(rustix::fs::renameat(
            &self.descriptor,
            from,
            &self.descriptor,
            to,
        )?)
    }

    /// Makes a symbolic link in place of the link or file that is there. Nothing here reads the
    /// link.
    ///
    /// # Errors
    /// When there is a directory in its place, or the disk is full.
    pub fn link(&self, name: impl AsRef<OsStr>, target: &Path) -> io::Result<()> {
        let new = temporary();
        rustix::fs::symlinkat(target, &self.descriptor, new.as_str())?;
        self.put(&new, name.as_ref())
    }

    /// Sets the times of a file. For a link, sets those of the link and not of its target.
    ///
    /// # Errors
    /// When the file is missing or belongs to somebody else.
    pub fn set_time(&self, name: impl AsRef<OsStr>, time: Timespec) -> io::Result<()> {
        let times = Timestamps {
            last_access: time,
            last_modification: time,
        };
        let name = one(name.as_ref())?;
        Ok(rustix::fs::utimensat(
            &self.descriptor,
            name,
            &times,
            AtFlags::SYMLINK_NOFOLLOW,
        )?)
    }

    /// Marks a file as used now. Returns false if it is not there.
    ///
    /// # Errors
    /// When there is a link in its place, or the file belongs to somebody else.
    pub fn touch(&self, name: impl AsRef<OsStr>) -> io::Result<bool> {
        let file = self.open_file(one(name.as_ref())?, OFlags::WRONLY)?;
        file.map_or(Ok(false), |file| {
            file.set_modified(SystemTime::now()).map(|()| true)
        })
    }

    /// Removes a file or a link. The link's target stays.
    ///
    /// # Errors
    /// When the file is missing or is a directory.
    pub fn remove_file(&self, name: impl AsRef<OsStr>) -> io::Result<()> {
        let name = one(name.as_ref())?;
        Ok(rustix::fs::unlinkat(
            &self.descriptor,
            name,
            AtFlags::empty(),
        )?)
    }

    /// Removes a file, link or directory with everything below it. The targets of links stay.
    ///
    /// # Errors
    /// When something can't be removed.
    pub fn remove_all(&self, name: impl AsRef<OsStr>) -> io::Result<()> {
        let name = one(name.as_ref())?;
        match self.status(name)? {
            None => return Ok(()),
            Some(status) if is_directory(&status) => {}
            Some(_) => return self.remove_file(name),
        }
        if let Some(inner) = self.directory(name)? {
            for entry in inner.names()? {
                inner.remove_all(&entry)?;
            }
        }
        Ok(rustix::fs::unlinkat(
            &self.descriptor,
            name,
            AtFlags::REMOVEDIR,
        )?)
    }

    fn replace(&self, name: &OsStr, bytes: &[u8]) -> io::Result<()> {
        let new = temporary();
        let mut file = self.create_file(&new, 0o644)?;
        let written = file.write_all(bytes).and_then(|()| file.sync_all());
        if written.is_err() {
            // The first error is the one that matters.
            let _ = self.remove_file(&new);
        }
        written.and_then(|()| self.put(&new, name))
    }

    /// Gives a finished temporary file its name, or removes it.
    fn put(&self, new: &str, name: &OsStr) -> io::Result<()> {
        self.rename(new, name).inspect_err(|_| {
            let _ = self.remove_file(new);
        })
    }
}

/// Returns a name that no other process and no other thread of this one uses now.
fn temporary() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    format!(".new-{}-{count}", std::process::id())
}
