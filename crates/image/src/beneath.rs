//! Directories that others could write to, and the files in them.
//!
//! A directory is open while it is used, and every name below it is opened by itself from there
//! (`openat(2)`). No symbolic link is followed on the way. Anyone who puts one there causes an
//! error, and nothing that the link leads to is read, written or removed.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use rustix::fs::{AtFlags, Dir, FileType, FlockOperation, Mode, OFlags, Timespec, Timestamps};
use rustix::io::Errno;

/// An open directory.
#[derive(Debug)]
pub struct Directory {
    descriptor: OwnedFd,
    path: PathBuf,
}

/// A regular file of a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The file's name.
    pub name: OsString,
    /// The file's size in bytes.
    pub size: u64,
    /// The time of the last write.
    pub modified: SystemTime,
}

impl Directory {
    /// Opens the directory at a path that the user named. Follows links that lead there.
    ///
    /// # Errors
    /// When there is no such directory.
    pub fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let descriptor = rustix::fs::open(path, flags, Mode::empty())?;
        let path = path.to_owned();
        Ok(Self { descriptor, path })
    }

    /// Opens a directory like [`Directory::open`], but makes it and its parents if they are
    /// missing.
    ///
    /// # Errors
    /// When the directory can't be made.
    pub fn create(path: &Path) -> io::Result<Self> {
        std::fs::create_dir_all(path)?;
        Self::open(path)
    }

    /// Returns the directory's path, for messages and for programs that need one.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Opens a directory below this one. Returns `None` if there is nothing.
    ///
    /// # Errors
    /// When there is a link or something else in its place.
    pub fn directory(&self, below: impl AsRef<Path>) -> io::Result<Option<Self>> {
        self.walk(below.as_ref(), false)
    }

    /// Opens a directory below this one, or makes it if it is missing.
    ///
    /// # Errors
    /// When there is a link or something else in its place, or the directory can't be made.
    pub fn make_directory(&self, below: impl AsRef<Path>) -> io::Result<Self> {
        let made = self.walk(below.as_ref(), true)?;
        made.ok_or_else(|| ErrorKind::NotFound.into())
    }

    /// Opens a regular file for reading. Returns `None` if there is nothing.
    ///
    /// # Errors
    /// When there is a link or anything but a file in its place.
    pub fn file(&self, below: impl AsRef<Path>) -> io::Result<Option<File>> {
        let (parent, name) = split(below.as_ref())?;
        let Some(parent) = self.walk(parent, false)? else {
            return Ok(None);
        };
        parent.open_file(name, OFlags::RDONLY)
    }

    /// Reads a regular file of at most `limit` bytes. Returns `None` if there is nothing.
    ///
    /// # Errors
    /// When [`Directory::file`] fails, or the file is larger.
    pub fn read(&self, below: impl AsRef<Path>, limit: u64) -> io::Result<Option<Vec<u8>>> {
        let below = below.as_ref();
        let Some(file) = self.file(below)? else {
            return Ok(None);
        };
        let mut bytes = Vec::new();
        file.take(limit + 1).read_to_end(&mut bytes)?;
        match bytes.len() as u64 > limit {
            true => Err(self.refuse(below, &format!("it has more than {limit} bytes"))),
            false => Ok(Some(bytes)),
        }
    }

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
        self.rename(new, name)
    }

    /// Returns the target of a symbolic link in the directory, or `None` if there is none.
    pub fn link_target(&self, name: impl AsRef<OsStr>) -> Option<PathBuf> {
        let target = rustix::fs::readlinkat(&self.descriptor, name.as_ref(), Vec::new()).ok()?;
        Some(OsString::from_vec(target.into_bytes()).into())
    }

    /// Returns the status of a name itself, not of a link's target. Returns `None` if there is
    /// nothing.
    ///
    /// # Errors
    /// When the system refuses to tell.
    pub fn status(&self, name: impl AsRef<OsStr>) -> io::Result<Option<rustix::fs::Stat>> {
        match rustix::fs::statat(&self.descriptor, name.as_ref(), AtFlags::SYMLINK_NOFOLLOW) {
            Ok(status) => Ok(Some(status)),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(error.into()),
        }
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

    /// Returns the names in the directory, sorted.
    ///
    /// # Errors
    /// When the directory can't be read.
    pub fn names(&self) -> io::Result<Vec<OsString>> {
        let mut names = Vec::new();
        for entry in Dir::read_from(&self.descriptor)? {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if name != b"." && name != b".." {
                names.push(OsStr::from_bytes(name).to_owned());
            }
        }
        names.sort();
        Ok(names)
    }

    /// Returns the regular files in the directory, sorted by name. Leaves out links and everything
    /// else.
    ///
    /// # Errors
    /// When the directory can't be read.
    pub fn files(&self) -> io::Result<Vec<Entry>> {
        let mut files = Vec::new();
        for name in self.names()? {
            // Skip a file that has vanished meanwhile.
            let Some(status) = self.status(&name)? else {
                continue;
            };
            if FileType::from_raw_mode(status.st_mode) == FileType::RegularFile {
                files.push(Entry {
                    name,
                    size: status.st_size.unsigned_abs(),
                    modified: modified(&status),
                });
            }
        }
        Ok(files)
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

    /// Walks to a directory below this one.
    fn walk(&self, below: &Path, make: bool) -> io::Result<Option<Self>> {
        let mut here = Self {
            descriptor: self.descriptor.try_clone()?,
            path: self.path.clone(),
        };
        for name in components(below)? {
            match here.enter(name, make)? {
                Some(next) => here = next,
                None => return Ok(None),
            }
        }
        Ok(Some(here))
    }

    fn enter(&self, name: &OsStr, make: bool) -> io::Result<Option<Self>> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let open = || rustix::fs::openat(&self.descriptor, name, flags, Mode::empty());
        let opened = match open() {
            Err(Errno::NOENT) if make => {
                match rustix::fs::mkdirat(&self.descriptor, name, Mode::from_raw_mode(0o777)) {
                    Ok(()) | Err(Errno::EXIST) => open(),
                    Err(error) => Err(error),
                }
            }
            opened => opened,
        };
        match opened {
            Ok(descriptor) => Ok(Some(Self {
                descriptor,
                path: self.path.join(name),
            })),
            Err(Errno::NOENT) => Ok(None),
            Err(Errno::NOTDIR | Errno::LOOP) => Err(self.wrong_kind(name, "a directory")),
            Err(error) => Err(error.into()),
        }
    }

    /// Opens a regular file. Does not wait for anything else, such as a named pipe.
    fn open_file(&self, name: &OsStr, how: OFlags) -> io::Result<Option<File>> {
        let flags = how | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let mode = Mode::from_raw_mode(0o666);
        let file = match rustix::fs::openat(&self.descriptor, name, flags, mode) {
            Ok(descriptor) => File::from(descriptor),
            Err(Errno::NOENT) => return Ok(None),
            Err(Errno::LOOP | Errno::ISDIR | Errno::NXIO) => {
                return Err(self.wrong_kind(name, "a file"));
            }
            Err(error) => return Err(error.into()),
        };
        match file.metadata()?.is_file() {
            true => Ok(Some(file)),
            false => Err(self.wrong_kind(name, "a file")),
        }
    }

    fn replace(&self, name: &OsStr, bytes: &[u8]) -> io::Result<()> {
        let new = temporary();
        let mut file = self.create_file(&new, 0o644)?;
        let written = file
            .write_all(bytes)
            .and_then(|()| file.sync_all())
            .and_then(|()| self.rename(&new, name));
        if written.is_err() {
            // The first error is the one that matters.
            let _ = self.remove_file(&new);
        }
        written
    }

    fn wrong_kind(&self, name: &OsStr, wanted: &str) -> io::Error {
        let what = match self.link_target(name) {
            Some(_) => "a symbolic link, which is not followed".to_owned(),
            None => format!("not {wanted}"),
        };
        self.refuse(Path::new(name), &format!("it is {what}"))
    }

    fn refuse(&self, below: &Path, reason: &str) -> io::Error {
        let path = self.path.join(below);
        io::Error::other(format!("{} is refused: {reason}", path.display()))
    }
}

/// Returns the time of the last write.
pub fn modified(status: &rustix::fs::Stat) -> SystemTime {
    let since = Duration::new(
        u64::try_from(status.st_mtime).unwrap_or(0),
        status.st_mtime_nsec as u32,
    );
    SystemTime::UNIX_EPOCH + since
}

/// Whether the status is that of a directory and not of a link to one.
pub fn is_directory(status: &rustix::fs::Stat) -> bool {
    FileType::from_raw_mode(status.st_mode) == FileType::Directory
}

/// Returns the names that make up a path below a directory. None of them leads up or away.
fn components(below: &Path) -> io::Result<Vec<&OsStr>> {
    let name = |component| match component {
        Component::Normal(name) => Some(Ok(name)),
        Component::CurDir => None,
        _ => Some(Err(leads_away(below))),
    };
    below.components().filter_map(name).collect()
}

fn split(below: &Path) -> io::Result<(&Path, &OsStr)> {
    match (below.parent(), below.components().next_back()) {
        (Some(parent), Some(Component::Normal(name))) => Ok((parent, name)),
        _ => Err(leads_away(below)),
    }
}

/// Returns a name if it is one component.
fn one(name: &OsStr) -> io::Result<&OsStr> {
    match split(Path::new(name))? {
        (parent, only) if parent.as_os_str().is_empty() => Ok(only),
        _ => Err(leads_away(Path::new(name))),
    }
}

fn leads_away(below: &Path) -> io::Error {
    let reason = format!(
        "{:?} is not a path below a directory",
        below.display().to_string()
    );
    io::Error::new(ErrorKind::InvalidInput, reason)
}

/// Returns a name that no other process and no other thread of this one uses now.
fn temporary() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    format!(".new-{}-{count}", std::process::id())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    /// Makes a directory, and beside it files that nobody may touch.
    fn scene() -> (tempfile::TempDir, Directory, PathBuf) {
        let scene = tempfile::tempdir().unwrap();
        let other = scene.path().join("other");
        fs::create_dir_all(other.join("inner")).unwrap();
        fs::write(other.join("letter"), "mine").unwrap();
        let directory = Directory::create(&scene.path().join("ours")).unwrap();
        (scene, directory, other)
    }

    #[test]
    fn links_are_followed_neither_on_the_way_nor_at_the_end() {
        let (_scene, ours, other) = scene();
        symlink(&other, ours.path().join("away")).unwrap();
        symlink(other.join("letter"), ours.path().join("letter")).unwrap();
        symlink(other.join("new"), ours.path().join("lock")).unwrap();
        let refused = |result: io::Result<()>| {
            let error = result.unwrap_err().to_string();
            assert!(error.contains("symbolic link"), "{error}");
        };
        refused(ours.directory("away").map(drop));
        refused(ours.make_directory("away/inner").map(drop));
        refused(ours.read("away/letter", 10).map(drop));
        refused(ours.read("letter", 10).map(drop));
        refused(ours.write("away/letter", b"theirs"));
        refused(ours.touch("letter").map(drop));
        refused(ours.lock("letter").map(drop));
        refused(ours.lock("lock").map(drop));
        assert!(ours.files().unwrap().is_empty());
        // Replacing or removing a link leaves its target alone.
        ours.write("letter", b"ours").unwrap();
        ours.remove_all("away").unwrap();
        ours.remove_file("lock").unwrap();
        assert_eq!(fs::read(other.join("letter")).unwrap(), b"mine");
        assert_eq!(
            ours.read("letter", 10).unwrap().as_deref(),
            Some(&b"ours"[..])
        );
        assert!(other.join("inner").is_dir() && !other.join("new").exists());
    }

    #[test]
    fn all_of_a_tree_is_removed_and_nothing_that_it_links_to() {
        let (_scene, ours, other) = scene();
        ours.write("a/b/c", b"").unwrap();
        symlink(&other, ours.path().join("a/b/away")).unwrap();
        ours.remove_all("a").unwrap();
        ours.remove_all("a").unwrap();
        assert!(ours.names().unwrap().is_empty());
        assert!(other.join("letter").exists());
    }

    #[test]
    fn a_path_does_not_lead_up() {
        let (_scene, ours, _) = scene();
        for path in ["../other/letter", "/etc/hostname", "..", "", "a/../../x"] {
            assert!(ours.read(path, 10).is_err(), "{path}");
            assert!(ours.write(path, b"").is_err(), "{path}");
        }
        assert!(ours.remove_all("../other").is_err());
        assert!(ours.rename("a/b", "c").is_err());
    }

    #[test]
    fn what_is_no_file_is_not_waited_for_and_what_is_large_is_not_read() {
        let (_scene, ours, _) = scene();
        let pipe = ours.path().join("pipe");
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &pipe,
            FileType::Fifo,
            Mode::from_raw_mode(0o600),
            0,
        )
        .unwrap();
        assert!(ours.read("pipe", 10).is_err());
        assert!(ours.lock("pipe").is_err());
        ours.write("large", &[0; 11]).unwrap();
        assert!(ours.read("large", 10).is_err());
        assert_eq!(ours.read("large", 11).unwrap().unwrap().len(), 11);
    }

    #[test]
    fn a_lock_is_held_once_and_keeps_its_file() {
        let (_scene, ours, _) = scene();
        ours.write("lock", b"text").unwrap();
        let held = ours.try_lock("lock").unwrap();
        assert!(held.is_some() && ours.try_lock("lock").unwrap().is_none());
        drop(held);
        assert!(ours.try_lock("lock").unwrap().is_some());
        assert_eq!(
            ours.read("lock", 10).unwrap().as_deref(),
            Some(&b"text"[..])
        );
    }
}
