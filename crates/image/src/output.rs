//! Output that is complete or not there at all.
//!
//! A directory is written under a temporary name beside the final one, synchronized to the disk and
//! renamed. A file has no name until it is complete, if the file system allows that. If a full disk
//! or a kill stops the program in between, nothing has the final name. The next run for the same
//! name removes what a killed run left under a temporary name. A lock tells that from the files of
//! a run that is still going.
//!
//! Nix synchronizes the output of a derivation: the output is not there before Nix has registered
//! it.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use crateyard_disk::unnamed::{self, Unnamed};
use rustix::fs::{FlockOperation, flock};
use tempfile::TempDir;

use crate::{Error, Result};

/// A directory that is being written.
///
/// Some builders may create the final path but nothing beside it. For them the directory is made in
/// place, and the last file that [`OutputDir::finish`] writes makes it recognizable.
#[derive(Debug)]
pub struct OutputDir {
    place: Place,
    destination: PathBuf,
    finished: bool,
    /// The lock, held until the directory is done.
    _lock: Option<File>,
}

#[derive(Debug)]
enum Place {
    Beside(TempDir),
    InPlace(PathBuf),
}

impl OutputDir {
    /// Starts a directory that will be at `destination`. Nothing but an empty directory may be
    /// there.
    ///
    /// # Errors
    /// When there is something already, or the parent can't be written to.
    pub fn create(destination: &Path) -> Result<OutputDir> {
        let destination = absolute(destination)?;
        refuse_existing(&destination)?;
        remove_leftovers(&destination);
        let beside = tempfile::Builder::new()
            .prefix(&temporary_prefix(&destination))
            .tempdir_in(parent(&destination));
        let place = match beside {
            Ok(directory) => Place::Beside(directory),
            Err(error) if may_only_write_in_place(&error) => {
                fs::create_dir_all(&destination).map_err(Error::io("create", &destination))?;
                Place::InPlace(destination.clone())
            }
            Err(error) => {
                return Err(Error::io("create a directory beside", &destination)(error));
            }
        };
        let mut output = OutputDir {
            place,
            destination,
            finished: false,
            _lock: None,
        };
        output._lock = lock(output.path());
        Ok(output)
    }

    /// Returns the directory to write to.
    pub fn path(&self) -> &Path {
        match &self.place {
            Place::Beside(directory) => directory.path(),
            Place::InPlace(path) => path,
        }
    }

    /// Writes a small file and synchronizes it. The path is relative to the directory.
    ///
    /// # Errors
    /// When the disk is full or the file can't be written.
    pub fn write(&self, path: &str, bytes: &[u8]) -> Result<()> {
        let path = self.path().join(path);
        let mut file = File::create(&path).map_err(Error::io("create", &path))?;
        io::Write::write_all(&mut file, bytes).map_err(Error::io("write", &path))?;
        sync(&file, &path)
    }

    /// Writes the last file, without which readers do not accept the directory, and gives the
    /// directory its final name.
    ///
    /// # Errors
    /// When something appeared at the destination meanwhile, or the disk is full.
    pub fn finish(mut self, last_file: &str, bytes: &[u8]) -> Result<()> {
        sync_directories(self.path())?;
        self.write(last_file, bytes)?;
        sync_directory(self.path())?;
        if let Place::Beside(directory) = &mut self.place {
            make_readable(directory.path())?;
            let renamed = fs::rename(directory.path(), &self.destination);
            renamed.map_err(Error::io(
                "rename the finished output to",
                &self.destination,
            ))?;
            directory.disable_cleanup(true);
        }
        self.finished = true;
        // Some builders may not open the parent directory of their output.
        let _ = sync_directory(&parent(&self.destination));
        Ok(())
    }
}

impl Drop for OutputDir {
    /// Removes an unfinished directory.
    fn drop(&mut self) {
        if let (Place::InPlace(path), false) = (&self.place, self.finished) {
            let _ = fs::remove_dir_all(path);
        }
    }
}

/// A file that is being written.
#[derive(Debug)]
pub struct OutputFile {
    file: Unnamed,
    destination: PathBuf,
}

impl OutputFile {
    /// Starts a file that will be at `destination` and replaces the one that is there.
    ///
    /// # Errors
    /// When the directory can't be written to.
    pub fn create(destination: &Path) -> Result<OutputFile> {
        let destination = absolute(destination)?;
        let (directory, prefix) = (parent(&destination), temporary_prefix(&destination));
        unnamed::tidy(&directory, &prefix);
        // A traced cell can't name an unnamed file, and Nix removes what a killed builder leaves.
        let created = match is_in_store(&destination) {
            true => Unnamed::create_named(&directory, &prefix),
            false => Unnamed::create(&directory, &prefix),
        };
        let file = created.map_err(Error::io("create a file beside", &destination))?;
        Ok(OutputFile { file, destination })
    }

    /// Returns the file to write to.
    pub fn file(&mut self) -> &mut File {
        self.file.file()
    }

    /// Gives the file its final name.
    ///
    /// # Errors
    /// When the disk is full or the name is taken by a directory.
    pub fn finish(mut self) -> Result<()> {
        let destination = &self.destination;
        sync(self.file.file(), destination)?;
        let named = self.file.replace_at_once(destination);
        named.map_err(Error::io("rename the finished output to", destination))?;
        sync_directory(&parent(destination))
    }
}

/// Synchronizes a file to the disk, so that a full disk is noticed now.
///
/// # Errors
/// When the disk is full or failing.
pub(crate) fn sync(file: &File, path: &Path) -> Result<()> {
    if is_in_store(path) {
        return Ok(());
    }
    file.sync_all().map_err(Error::io("write", path))
}

/// Whether a path lies in the store of a derivation's builder.
fn is_in_store(path: &Path) -> bool {
    std::env::var_os("NIX_STORE").is_some_and(|store| path.starts_with(store))
}

fn absolute(path: &Path) -> Result<PathBuf> {
    std::path::absolute(path).map_err(Error::io("make absolute", path))
}

fn parent(path: &Path) -> PathBuf {
    path.parent().unwrap_or(Path::new("/")).to_owned()
}

fn temporary_prefix(destination: &Path) -> String {
    let name = destination.file_name().unwrap_or_default();
    format!(".{}.partial-", name.to_string_lossy())
}

/// Marks a directory as in use. On a file system without locks, nothing is marked or removed.
fn lock(path: &Path) -> Option<File> {
    let file = File::open(path).ok()?;
    flock(&file, FlockOperation::NonBlockingLockExclusive).ok()?;
    Some(file)
}

/// Removes the directories of killed runs for the same destination, as far as possible. Follows no
/// link, and opens nothing else, which might be a pipe.
fn remove_leftovers(destination: &Path) {
    let prefix = temporary_prefix(destination);
    let Ok(entries) = fs::read_dir(parent(destination)) else {
        return;
    };
    for entry in entries.flatten() {
        let is_ours = entry.file_name().to_string_lossy().starts_with(&prefix);
        let is_directory = entry.file_type().is_ok_and(|kind| kind.is_dir());
        let path = entry.path();
        if let Some(_lock) = (is_ours && is_directory).then(|| lock(&path)).flatten() {
            let _ = fs::remove_dir_all(&path);
        }
    }
}

fn refuse_existing(destination: &Path) -> Result<()> {
    let first = match fs::read_dir(destination) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(Error::io("write to", destination)(error)),
        Ok(mut entries) => entries.next(),
    };
    if first.is_none() {
        return Ok(());
    }
    Err(Error::spec(
        destination.display().to_string(),
        "the output directory exists and is not empty",
        "remove it or name another",
    ))
}

fn may_only_write_in_place(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem
    )
}

/// Makes a result readable for everybody: temporary directories are private.
fn make_readable(path: &Path) -> Result<()> {
    let permissions = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(path, permissions).map_err(Error::io("set the mode of", path))
}

fn sync_directories(path: &Path) -> Result<()> {
    for entry in fs::read_dir(path).map_err(Error::io("list", path))? {
        let entry = entry.map_err(Error::io("list", path))?;
        let kind = entry.file_type().map_err(Error::io("look at", path))?;
        if kind.is_dir() {
            sync_directories(&entry.path())?;
        }
    }
    sync_directory(path)
}

fn sync_directory(path: &Path) -> Result<()> {
    let directory = File::open(path).map_err(Error::io("open", path))?;
    sync(&directory, path)
}
