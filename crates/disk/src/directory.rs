//! An open directory: reading from it, and looking at what is in it.

mod change;
mod lock;
mod name;

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags};
use rustix::io::Errno;

use self::name::{components, split};

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
