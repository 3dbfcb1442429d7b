//! A store, and the calls of `nix-store` on it.

mod add;
mod ask;
mod pinned;

use std::fmt;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use sha2::Sha256;

pub use ask::Registered;

use crate::{Derivation, Error, Hash, Result, STORE, creation, derivation, environment, said};

/// The number of paths for one call of nix-store. The command line must hold them all.
const BATCH: usize = 1000;

/// A store, as the options and the environment name it.
#[derive(Clone, Debug)]
pub struct Store {
    /// The value of `--store`. `None` for the store that Nix uses by default.
    url: Option<String>,
    /// The directory that store paths begin with. A store elsewhere in the file system still has
    /// paths in `/nix/store`.
    directory: String,
}

impl Default for Store {
    fn default() -> Self {
        Self::new(None)
    }
}

impl Store {
    /// Creates a handle for the store at `url`, or for Nix's own store.
    pub fn new(url: Option<String>) -> Self {
        let directory = std::env::var("NIX_STORE_DIR").unwrap_or_else(|_| STORE.to_owned());
        Self { url, directory }
    }

    /// Returns the value of `--store`, or `None` for the store that Nix uses by default.
    pub fn url(&self) -> Option<&str> {
        self.url.as_deref()
    }

    /// Returns the directory that store paths begin with, even those of a store elsewhere:
    /// `/nix/store`.
    pub fn directory(&self) -> &str {
        &self.directory
    }

    /// Whether it is a directory on this machine, but not the machine's own store.
    pub fn is_elsewhere(&self) -> bool {
        let url = self.url().unwrap_or_default();
        url.starts_with(['/', '.']) || url.starts_with("local?")
    }

    /// Returns the directory that holds `/nix/store`.
    pub fn root(&self) -> &Path {
        let root = self.url().filter(|url| url.starts_with('/'));
        Path::new(root.unwrap_or("/"))
    }

    /// Returns the path on the disk of a store path, or of a path below one.
    pub fn physical(&self, path: impl AsRef<Path>) -> PathBuf {
        let path = path.as_ref();
        self.root().join(path.strip_prefix("/").unwrap_or(path))
    }

    /// Reads one `.drv` file.
    ///
    /// # Errors
    /// Fails if the file is missing or damaged, or if the paths of its outputs are not known yet.
    pub fn derivation(&self, path: &str) -> Result<Derivation> {
        let place = self.physical(path);
        let text = fs::read(&place).map_err(Error::io("read", &place))?;
        let read = derivation::parse(&text).map_err(|(message, position)| {
            let reason = format!("not a derivation: {message} at byte {position}");
            Error::damaged(place.display().to_string(), reason)
        })?;
        if read.outputs.values().any(|output| output.path.is_empty()) {
            let path = path.to_owned();
            return Err(Error::FloatingOutput { path });
        }
        Ok(read)
    }

    /// Makes a call of nix-store on this store. Creates the store first if it is missing.
    ///
    /// # Errors
    /// Fails if the store is missing and can't be created.
    fn command(&self) -> Result<Command> {
        creation::create(self.url())?;
        let mut command = environment::nix("nix-store");
        self.name_in(&mut command);
        Ok(command)
    }

    /// Adds the option that names this store.
    pub fn name_in(&self, command: &mut Command) {
        if let Some(url) = &self.url {
            command.args(["--store", url]);
        }
    }
}

impl fmt::Display for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.url {
            Some(url) => write!(f, "the store {url}"),
            None => f.write_str("the store"),
        }
    }
}

/// Runs a program of Nix, and returns the lines that it prints.
fn run(command: &mut Command) -> Result<Vec<String>> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.stdin(Stdio::null()).output();
    let output = output.map_err(Error::start(&program))?;
    if !output.status.success() {
        let reason = said::cause(&String::from_utf8_lossy(&output.stderr));
        return Err(Error::Failed { program, reason });
    }
    let printed = String::from_utf8_lossy(&output.stdout);
    Ok(printed.lines().map(str::to_owned).collect())
}

/// Hashes a file with SHA-256, and returns lower-case hexadecimal digits.
///
/// # Errors
/// Fails if it can't be read.
pub fn sha256_of(path: &Path) -> Result<String> {
    let mut file = File::open(path).map_err(Error::io("read", path))?;
    let mut hasher = Sha256::default();
    std::io::copy(&mut file, &mut hasher).map_err(Error::io("read", path))?;
    Ok(Hash::from_hasher(hasher).base16())
}
