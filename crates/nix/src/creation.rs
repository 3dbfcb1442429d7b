//! Creates each Nix store completely, and by a single process.
//!
//! Nix creates a missing store when a process first opens it. If two processes do so at the same
//! time, one finds a link, an empty file or a busy database of the other, and fails. If a process
//! is killed while it creates a store, no later process can open the remains.
//!
//! So one process creates the state of a store beside its place, and then renames it: the state is
//! absent or whole.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, FlockOperation, access, flock};

use crate::{Error, Result, environment, said};

/// The program that opens a store, and so creates it.
const PROGRAM: &str = "nix-store";
/// The state of a store below its root.
const STATE: &str = "nix/var/nix";
/// The files of a store below its root.
const FILES: &str = "nix/store";
/// The prefix of directories in which a state is created.
const BESIDE: &str = ".nix-new-";

/// Creates the store at `url` unless it exists; `None` is the machine's own store. Does nothing if
/// this user may not create the store, or if the store is not in the file system. The next call of
/// Nix then reports the problem, or works through a daemon.
///
/// # Errors
/// Fails if the disk is full, or if Nix fails.
pub fn create(url: Option<&str>) -> Result<()> {
    match Place::of(url) {
        Some(place) if !place.is_whole() && place.is_permitted() => place.create(),
        _ => Ok(()),
    }
}

/// The place of a store in the file system.
struct Place {
    /// The directory of the store paths.
    files: PathBuf,
    /// The directory of the database.
    state: PathBuf,
}

impl Place {
    fn of(url: Option<&str>) -> Option<Self> {
        let own = |name: &str, default: &str| {
            let set = std::env::var_os(name).map(PathBuf::from);
            set.unwrap_or_else(|| Path::new("/").join(default))
        };
        match url {
            None if std::env::var_os("NIX_REMOTE").is_none() => Some(Self {
                files: own("NIX_STORE_DIR", FILES),
                state: own("NIX_STATE_DIR", STATE),
            }),
            // A store with parameters, such as `/dir?read-only=true`, is left to Nix.
            Some(root) if root.starts_with(['/', '.']) && !root.contains('?') => {
                let root = std::path::absolute(root).ok()?;
                Some(Self {
                    files: root.join(FILES),
                    state: root.join(STATE),
                })
            }
            _ => None,
        }
    }

    /// Whether the store exists. Nix writes the version of the database's schema last.
    fn is_whole(&self) -> bool {
        match fs::metadata(self.schema()) {
            Ok(metadata) => metadata.len() > 0,
            Err(error) => error.kind() != ErrorKind::NotFound,
        }
    }

    fn schema(&self) -> PathBuf {
        self.state.join("db/schema")
    }

    /// Whether this user may create the state, and has Nix.
    fn is_permitted(&self) -> bool {
        let above = self.state.ancestors().find(|path| path.exists());
        let may_write = above.is_some_and(|path| access(path, Access::WRITE_OK).is_ok());
        may_write && which::which(PROGRAM).is_ok()
    }

    fn create(&self) -> Result<()> {
        let above = self.state.parent().unwrap_or(Path::new("/"));
        fs::create_dir_all(above).map_err(Error::io("create", above))?;
        let lock = File::open(above).map_err(Error::io("open", above))?;
        // Some network file systems can't lock directories. Even there, a race is less likely than
        // without this function.
        let is_locked = flock(&lock, FlockOperation::LockExclusive).is_ok();
        if self.is_whole() {
            return Ok(());
        }
        if is_locked {
            remove_leftovers(above).map_err(Error::io("clean", above))?;
        }
        if self.state.exists() {
            return self.complete(&self.state, &lock);
        }
        let beside = tempfile::Builder::new().prefix(BESIDE).tempdir_in(above);
        let beside = beside.map_err(Error::io("create", above))?;
        let new = beside.path().join("nix");
        fs::create_dir(&new).map_err(Error::io("create", &new))?;
        self.complete(&new, &lock)?;
        match fs::rename(&new, &self.state) {
            // A process of Nix that was started by hand came first.
            Err(_) if self.state.exists() => Ok(()),
            renamed => renamed.map_err(Error::io("create", &self.state)),
        }
    }

    /// Creates the missing parts of a state that is in the directory `state` for now. The process
    /// of Nix shares the lock, and so keeps it if this process is killed.
    fn complete(&self, state: &Path, lock: &File) -> Result<()> {
        self.prepare(state).map_err(Error::io("create", state))?;
        let lock = lock.try_clone().map_err(Error::io("create", state))?;
        let output = environment::nix(PROGRAM)
            .args(["--store", "local", "--init"])
            .env("NIX_STORE_DIR", &self.files)
            .env("NIX_STATE_DIR", state)
            .stdin(lock)
            .output();
        let output = output.map_err(Error::start(PROGRAM))?;
        if output.status.success() {
            return Ok(());
        }
        Err(Error::Failed {
            program: format!(
                "{PROGRAM} --init, for the state in {}",
                self.state.display()
            ),
            reason: said::cause(&String::from_utf8_lossy(&output.stderr)),
        })
    }

    /// Removes an empty file with the schema's version, which Nix calls corrupt. Makes the link
    /// that Nix makes only together with its directory.
    fn prepare(&self, state: &Path) -> io::Result<()> {
        let schema = state.join("db/schema");
        if fs::metadata(&schema).is_ok_and(|metadata| metadata.len() == 0) {
            fs::remove_file(schema)?;
        }
        let roots = state.join("gcroots");
        fs::create_dir_all(&roots)?;
        match symlink(self.state.join("profiles"), roots.join("profiles")) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
            made => made,
        }
    }
}

/// Removes the directories of processes that were killed. Requires the lock.
fn remove_leftovers(above: &Path) -> io::Result<()> {
    for entry in fs::read_dir(above)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(BESIDE) {
            fs::remove_dir_all(entry.path())?;
        }
    }
    Ok(())
}
