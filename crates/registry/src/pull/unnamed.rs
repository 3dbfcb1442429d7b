//! Files that get their name only when they are complete. If the process is killed before, they
//! vanish.

use std::ffi::CString;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

/// The prefix of temporary names, for file systems without unnamed files.
pub(super) const PREFIX: &str = ".new-";

/// A file without a name, which no other process can open.
pub(super) struct Unnamed {
    directory: PathBuf,
    file: File,
    /// Its temporary name, on file systems without unnamed files.
    named: Option<NamedTempFile>,
}

impl Unnamed {
    /// Creates an empty file. Everyone may read it once it has its name.
    pub(super) fn create(directory: &Path) -> io::Result<Unnamed> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).mode(0o644);
        options.custom_flags(libc::O_TMPFILE);
        let directory = directory.to_owned();
        match options.open(&directory) {
            Ok(file) => {
                // `replace` gives the file a temporary name, which another pull must leave alone.
                lock(&file, libc::LOCK_EX | libc::LOCK_NB)?;
                Ok(Unnamed {
                    directory,
                    file,
                    named: None,
                })
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(error),
            Err(_) => Unnamed::create_named(directory),
        }
    }

    fn create_named(directory: PathBuf) -> io::Result<Unnamed> {
        let named = tempfile::Builder::new()
            .prefix(PREFIX)
            .permissions(std::fs::Permissions::from_mode(0o644))
            .tempfile_in(&directory)?;
        lock(named.as_file(), libc::LOCK_EX | libc::LOCK_NB)?;
        Ok(Unnamed {
            directory,
            file: named.as_file().try_clone()?,
            named: Some(named),
        })
    }

    /// Appends bytes.
    pub(super) fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)
    }

    /// Empties the file.
    pub(super) fn clear(&mut self) -> io::Result<()> {
        self.file.set_len(0)?;
        self.file.rewind()
    }

    /// Writes the file to the disk, then gives it its name. Returns `false` if another file has
    /// that name.
    pub(super) fn name(&self, path: &Path) -> io::Result<bool> {
        self.file.sync_all()?;
        let linked = self.link(path);
        match linked {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
            linked => linked.map(|()| true),
        }
    }

    /// Gives the file its name, and replaces a file that has it.
    pub(super) fn replace(&self, path: &Path) -> io::Result<()> {
        self.file.sync_all()?;
        // If the process is killed between these calls, the next pull removes the temporary name.
        let name = format!("{PREFIX}{}-{:016x}", std::process::id(), fastrand::u64(..));
        let aside = self.directory.join(name);
        self.link(&aside)?;
        std::fs::rename(aside, path)
    }

    /// Gives the file a name without waiting for the disk.
    pub(super) fn link(&self, path: &Path) -> io::Result<()> {
        if let Some(named) = &self.named {
            return std::fs::hard_link(named.path(), path);
        }
        let from = CString::new(format!("/proc/self/fd/{}", self.file.as_raw_fd()))?;
        let to = CString::new(path.as_os_str().as_bytes())?;
        // SAFETY: both paths end in a zero byte and live until the call returns.
        let result = unsafe {
            libc::linkat(
                libc::AT_FDCWD,
                from.as_ptr(),
                libc::AT_FDCWD,
                to.as_ptr(),
                libc::AT_SYMLINK_FOLLOW,
            )
        };
        match result {
            0 => Ok(()),
            _ => self.copy_to(path, io::Error::last_os_error()),
        }
    }

    /// Copies the file instead, because without `/proc` a file can't be linked by its descriptor.
    fn copy_to(&self, path: &Path, error: io::Error) -> io::Result<()> {
        if error.kind() != io::ErrorKind::NotFound || Path::new("/proc/self/fd").exists() {
            return Err(error);
        }
        let mut copy = Unnamed::create_named(self.directory.clone())?;
        let mut file = self.file.try_clone()?;
        file.rewind()?;
        io::copy(&mut file, &mut copy.file)?;
        copy.file.sync_all()?;
        copy.link(path)
    }
}

/// Opens the file at `path` and removes its name. Only one process can remove it, so the file then
/// belongs to this one. `None` if there is no regular file.
pub(super) fn take(path: &Path) -> Option<impl Read> {
    let mut options = OpenOptions::new();
    options.read(true);
    options.custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK);
    let file = options.open(path).ok()?;
    let is_file = file.metadata().ok()?.is_file();
    (is_file && std::fs::remove_file(path).is_ok()).then_some(file)
}

/// Removes a file unless a process holds its lock.
pub(super) fn remove_abandoned(path: &Path) {
    let mut options = OpenOptions::new();
    options.read(true);
    options.custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK);
    let file = options.open(path);
    if file.is_ok_and(|file| lock(&file, libc::LOCK_EX | libc::LOCK_NB).is_ok()) {
        let _ = std::fs::remove_file(path);
    }
}

/// Locks an open file or directory until it is closed.
pub(super) fn lock(file: &File, operation: i32) -> io::Result<()> {
    // SAFETY: the descriptor is open.
    match unsafe { libc::flock(file.as_raw_fd(), operation) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(directory: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(directory).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.collect()
    }

    #[test]
    fn a_file_has_no_name_before_it_is_whole() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("whole");
        for by_name in [false, true] {
            let mut file = match by_name {
                false => Unnamed::create(directory.path()).unwrap(),
                true => Unnamed::create_named(directory.path().to_owned()).unwrap(),
            };
            file.append(b"wrong").unwrap();
            file.clear().unwrap();
            file.append(b"right").unwrap();
            assert_eq!(names(directory.path()).len(), usize::from(by_name));
            assert!(file.name(&path).unwrap());
            drop(file);
            assert_eq!(names(directory.path()), ["whole"]);
            assert_eq!(std::fs::read(&path).unwrap(), b"right");
            let mode = std::fs::metadata(&path).unwrap().permissions().mode();
            assert_eq!(mode & 0o444, 0o444);

            let mut second = Unnamed::create(directory.path()).unwrap();
            second.append(b"other").unwrap();
            assert!(!second.name(&path).unwrap(), "the first one stays");
            let mut third = Unnamed::create(directory.path()).unwrap();
            third.append(b"third").unwrap();
            third.replace(&path).unwrap();
            assert_eq!(std::fs::read(&path).unwrap(), b"third");
            assert_eq!(names(directory.path()), ["whole"]);
            std::fs::remove_file(&path).unwrap();
        }
    }

    #[test]
    fn a_temporary_name_is_removed_only_after_its_process() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(".new-1");
        for by_name in [false, true] {
            let file = match by_name {
                false => Unnamed::create(directory.path()).unwrap(),
                true => Unnamed::create_named(directory.path().to_owned()).unwrap(),
            };
            file.link(&path).unwrap();
            remove_abandoned(&path);
            assert!(path.exists(), "its process is about to rename it");
            drop(file);
            remove_abandoned(&path);
            assert!(!path.exists());
        }
    }

    #[test]
    fn what_lies_about_is_taken_once_and_only_if_it_is_a_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("partial");
        assert!(take(&path).is_none());
        std::fs::write(&path, "part").unwrap();
        let mut text = String::new();
        take(&path).unwrap().read_to_string(&mut text).unwrap();
        assert_eq!(text, "part");
        assert!(take(&path).is_none());
        std::os::unix::fs::symlink("/etc/passwd", &path).unwrap();
        assert!(take(&path).is_none());
        std::fs::remove_file(&path).unwrap();
        let fifo = CString::new(path.as_os_str().as_bytes()).unwrap();
        // SAFETY: the path ends in a zero byte.
        assert_eq!(unsafe { libc::mkfifo(fifo.as_ptr(), 0o600) }, 0);
        assert!(take(&path).is_none(), "and this did not wait for a writer");
    }
}
