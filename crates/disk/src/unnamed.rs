//! Files that get their name only when they are complete. If the process is killed before, they
//! vanish.
//!
//! ```
//! use std::io::Write as _;
//!
//! use crateyard_disk::unnamed::Unnamed;
//!
//! let directory = tempfile::tempdir()?;
//! let mut file = Unnamed::create(directory.path(), ".new-")?;
//! file.file().write_all(b"whole")?;
//! file.replace(&directory.path().join("a"))?;
//! # Ok::<(), std::io::Error>(())
//! ```

use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Read, Seek};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FlockOperation, OFlags, flock, linkat};
use tempfile::{Builder, NamedTempFile};

/// The mode of the files, before the process's mask takes bits away.
const MODE: u32 = 0o644;

/// A file without a name, which no other process can open.
#[derive(Debug)]
pub struct Unnamed {
    directory: PathBuf,
    prefix: String,
    file: File,
    /// Its temporary name, on file systems without unnamed files.
    named: Option<NamedTempFile>,
}

impl Unnamed {
    /// Creates an empty file. Everyone may read it once it has its name, unless the process's mask
    /// forbids that. `prefix` begins the names that the file may have until then; [`tidy`] needs it
    /// to remove those that a killed process left.
    ///
    /// # Errors
    /// When the directory is missing, or can't be written to.
    pub fn create(directory: &Path, prefix: &str) -> io::Result<Unnamed> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).mode(MODE);
        options.custom_flags(OFlags::TMPFILE.bits() as i32);
        match options.open(directory) {
            Ok(file) => {
                mark(&file);
                Ok(Unnamed {
                    directory: directory.to_owned(),
                    prefix: prefix.to_owned(),
                    file,
                    named: None,
                })
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(error),
            Err(_) => Unnamed::create_named(directory, prefix),
        }
    }

    /// Creates an empty file that has a temporary name from the start.
    ///
    /// # Errors
    /// When the directory is missing, or can't be written to.
    pub fn create_named(directory: &Path, prefix: &str) -> io::Result<Unnamed> {
        let named = Builder::new()
            .prefix(prefix)
            .permissions(Permissions::from_mode(MODE))
            .tempfile_in(directory)?;
        mark(named.as_file());
        Ok(Unnamed {
            directory: directory.to_owned(),
            prefix: prefix.to_owned(),
            file: named.as_file().try_clone()?,
            named: Some(named),
        })
    }

    /// Returns the file to write to.
    pub fn file(&mut self) -> &mut File {
        &mut self.file
    }

    /// Empties the file.
    ///
    /// # Errors
    /// When the file system fails.
    pub fn clear(&mut self) -> io::Result<()> {
        self.file.set_len(0)?;
        self.file.rewind()
    }

    /// Writes the file to the disk, then gives it its name. Returns `false` if another file has
    /// that name.
    ///
    /// # Errors
    /// When the disk is full, or the directory can't be written to.
    pub fn name(&self, path: &Path) -> io::Result<bool> {
        self.file.sync_all()?;
        match self.link(path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
            linked => linked.map(|()| true),
        }
    }

    /// Writes the file to the disk, then gives it its name. Replaces a file that has it.
    ///
    /// # Errors
    /// When the disk is full, or a directory has the name.
    pub fn replace(&self, path: &Path) -> io::Result<()> {
        self.file.sync_all()?;
        self.replace_at_once(path)
    }

    /// Gives the file its name without waiting for the disk. Replaces a file that has it.
    ///
    /// # Errors
    /// When a directory has the name.
    pub fn replace_at_once(&self, path: &Path) -> io::Result<()> {
        // If the process is killed between these calls, `tidy` removes the temporary name.
        let aside = Builder::new()
            .prefix(&self.prefix)
            .make_in(&self.directory, |aside| self.link(aside))?;
        aside.into_temp_path().persist(path)?;
        Ok(())
    }

    /// Gives the file a name without waiting for the disk.
    ///
    /// # Errors
    /// When the name is taken, or the directory can't be written to.
    pub fn link(&self, path: &Path) -> io::Result<()> {
        if let Some(named) = &self.named {
            return std::fs::hard_link(named.path(), path);
        }
        let from = format!("/proc/self/fd/{}", self.file.as_raw_fd());
        match linkat(CWD, from, CWD, path, AtFlags::SYMLINK_FOLLOW) {
            Ok(()) => Ok(()),
            Err(error) => self.copy_to(path, error.into()),
        }
    }

    /// Copies the file instead, because without `/proc` a file can't be linked by its descriptor.
    fn copy_to(&self, path: &Path, error: io::Error) -> io::Result<()> {
        if error.kind() != io::ErrorKind::NotFound || Path::new("/proc/self/fd").exists() {
            return Err(error);
        }
        let mut copy = Unnamed::create_named(&self.directory, &self.prefix)?;
        let mut file = self.file.try_clone()?;
        file.rewind()?;
        io::copy(&mut file, &mut copy.file)?;
        copy.file.sync_all()?;
        copy.link(path)
    }
}

/// Opens the file at `path` and removes its name. Only one process can remove it, so the file then
/// belongs to this one. Returns `None` if there is no regular file.
pub fn take(path: &Path) -> Option<impl Read> {
    let file = open(path).ok()?;
    let is_file = file.metadata().ok()?.is_file();
    (is_file && std::fs::remove_file(path).is_ok()).then_some(file)
}

/// Removes the files of a directory whose temporary names begin with `prefix`, unless the process
/// that made them is still at work.
pub fn tidy(directory: &Path, prefix: &str) {
    let entries = std::fs::read_dir(directory).into_iter().flatten();
    for entry in entries.flatten() {
        if entry.file_name().to_string_lossy().starts_with(prefix) {
            remove_abandoned(&entry.path());
        }
    }
}

/// Removes a file unless the process that made it is still at work.
pub fn remove_abandoned(path: &Path) {
    let is_abandoned =
        |file: File| flock(&file, FlockOperation::NonBlockingLockExclusive).map(|()| file);
    // The lock is held until the file is gone.
    if let Ok(_file) = open(path).and_then(|file| Ok(is_abandoned(file)?)) {
        let _ = std::fs::remove_file(path);
    }
}

/// Locks an open file or directory until it is closed. Waits until nobody else holds the lock.
///
/// # Errors
/// When the file system has no locks.
pub fn lock(file: &File) -> io::Result<()> {
    Ok(flock(file, FlockOperation::LockExclusive)?)
}

/// Marks a file as one that a process works on. On a file system without locks, nothing is marked
/// and nothing is removed.
fn mark(file: &File) {
    let _ = flock(file, FlockOperation::NonBlockingLockExclusive);
}

/// Opens a file for reading. Follows no link, and waits for no writer of a pipe.
fn open(path: &Path) -> io::Result<File> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let mut options = OpenOptions::new();
    options.read(true).custom_flags(flags.bits() as i32);
    options.open(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    const PREFIX: &str = ".new-";

    fn names(directory: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(directory).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.collect()
    }

    /// Makes a file in each of the two ways.
    fn create(directory: &Path, by_name: bool) -> Unnamed {
        match by_name {
            false => Unnamed::create(directory, PREFIX).unwrap(),
            true => Unnamed::create_named(directory, PREFIX).unwrap(),
        }
    }

    #[test]
    fn a_file_has_no_name_before_it_is_whole() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("whole");
        for by_name in [false, true] {
            let mut file = create(directory.path(), by_name);
            file.file().write_all(b"wrong").unwrap();
            file.clear().unwrap();
            file.file().write_all(b"right").unwrap();
            assert_eq!(names(directory.path()).len(), usize::from(by_name));
            assert!(file.name(&path).unwrap());
            drop(file);
            assert_eq!(names(directory.path()), ["whole"]);
            assert_eq!(std::fs::read(&path).unwrap(), b"right");
            let mode = std::fs::metadata(&path).unwrap().permissions().mode();
            assert_eq!(mode & 0o444, 0o444);

            let mut second = create(directory.path(), by_name);
            second.file().write_all(b"other").unwrap();
            assert!(!second.name(&path).unwrap(), "the first one stays");
            drop(second);
            let mut third = create(directory.path(), by_name);
            third.file().write_all(b"third").unwrap();
            third.replace(&path).unwrap();
            drop(third);
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
            let file = create(directory.path(), by_name);
            file.link(&path).unwrap();
            tidy(directory.path(), PREFIX);
            assert!(path.exists(), "its process is about to rename it");
            drop(file);
            tidy(directory.path(), ".other-");
            assert!(path.exists(), "it is not one of these");
            tidy(directory.path(), PREFIX);
            assert!(!path.exists());
        }
    }

    #[test]
    fn links_and_pipes_in_the_place_of_temporary_files_are_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let kept = directory.path().join("kept");
        std::fs::write(&kept, "mine").unwrap();
        std::os::unix::fs::symlink(&kept, directory.path().join(".new-link")).unwrap();
        pipe(&directory.path().join(".new-pipe"));
        std::fs::create_dir(directory.path().join(".new-directory")).unwrap();
        tidy(directory.path(), PREFIX);
        assert_eq!(std::fs::read(&kept).unwrap(), b"mine");
        assert!(directory.path().join(".new-link").is_symlink());
        assert!(directory.path().join(".new-directory").exists());
    }

    fn pipe(path: &Path) {
        let (fifo, mode) = (rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR);
        rustix::fs::mknodat(CWD, path, fifo, mode, 0).unwrap();
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
        pipe(&path);
        assert!(take(&path).is_none(), "and this did not wait for a writer");
    }
}
