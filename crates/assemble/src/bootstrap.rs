//! The programs that Nix needs before it can build units (nix/bootstrap). They are data:
//! `bootstrap.lock` pins them, and a command line may contain them.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::{Context, Result, bail};
use crateyard_nix::{Hash, Store, nar};
use crateyard_terminal::note;
use serde::{Deserialize, Serialize};

/// The name of the lock at the top of Crateyard's own repository.
pub const FILE: &str = "bootstrap.lock";

/// The version of the lock's format.
const FORMAT: u32 = 1;

/// The prefix of a program's name in the store.
const PREFIX: &str = "bootstrap-";

/// The programs in this command line: name and bytes. `build.rs` writes this list.
const BROUGHT: &[(&str, &[u8])] = include!(concat!(env!("OUT_DIR"), "/brought.rs"));

/// `bootstrap.lock`: the bytes of the programs, and their source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lock {
    version: u32,
    /// For each system, the programs by name. The system has Nix's name, such as `x86_64-linux`.
    programs: BTreeMap<String, BTreeMap<String, Pin>>,
}

/// The pin of a program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pin {
    /// A hash of everything that determines the bytes (nix/bootstrap/built.nix).
    pub source: String,
    /// SHA-256 of the executable file as a Nix archive. Its store path depends on it.
    pub files: String,
    /// SHA-256 of the bytes.
    pub sha256: String,
    /// The number of bytes.
    pub size: usize,
}

impl Lock {
    /// Reads a lock.
    ///
    /// # Errors
    /// When the file can't be read, or has the wrong format.
    pub fn load(path: &Path) -> Result<Self> {
        let context = || format!("cannot read {}", path.display());
        let text = fs::read_to_string(path).with_context(context)?;
        let lock: Self = serde_json::from_str(&text).with_context(context)?;
        if lock.version != FORMAT {
            bail!(
                "{} has format {}, but this version of assemble reads {FORMAT}",
                path.display(),
                lock.version
            );
        }
        Ok(lock)
    }

    /// Sets the pins of a system's programs, in place of the old ones.
    pub fn set(&mut self, system: &str, programs: BTreeMap<String, Pin>) {
        self.programs.insert(system.to_owned(), programs);
    }

    /// Formats the lock as text. In a git diff, each changed program is one line.
    ///
    /// # Errors
    /// Never: JSON can hold all of it.
    pub fn to_text(&self) -> Result<String> {
        let mut text = serde_json::to_string_pretty(self)?;
        text.push('\n');
        Ok(text)
    }
}

impl Pin {
    /// Pins one program.
    pub fn new(source: &str, bytes: &[u8]) -> Self {
        Self {
            source: source.to_owned(),
            files: files_of(bytes),
            sha256: Hash::of(bytes).base16(),
            size: bytes.len(),
        }
    }
}

/// Adds the programs in this command line to a store, so that no build has to compile them. A flake
/// with another revision of Crateyard can't use them, but they do no harm. If the store is
/// read-only, the build reports that later.
pub fn bring(store: Option<&str>) {
    if BROUGHT.is_empty() {
        return;
    }
    let store = Store::new(store.map(str::to_owned));
    if let Err(error) = add(&store, BROUGHT) {
        note!("the bootstrap programs are not in {store}, and a build may compile them: {error:#}");
    }
}

fn add(store: &Store, programs: &[(&str, &[u8])]) -> Result<()> {
    let mut wanted = Vec::new();
    for (name, bytes) in programs {
        let name = format!("{PREFIX}{name}");
        wanted.push((store.path_of_tree(&name, &files_of(bytes)), name, bytes));
    }
    let missing = store.missing(wanted.iter().map(|(path, ..)| path.as_str()))?;
    let directory = tempfile::tempdir()?;
    for (path, name, bytes) in wanted {
        if missing.contains(&path) {
            let file = directory.path().join(name);
            write_executable(&file, bytes)?;
            store.add_tree(&file, &path)?;
        }
    }
    Ok(())
}

fn write_executable(path: &Path, bytes: &[u8]) -> io::Result<()> {
    fs::write(path, bytes)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755))
}

/// Hashes an executable file as a Nix archive, with SHA-256.
fn files_of(bytes: &[u8]) -> String {
    nar::hash_of_executable(bytes).base16()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The executable as a file in the file system, which `nar::dump` reads.
    #[test]
    fn the_hash_is_that_of_an_executable_file() {
        let directory = tempfile::tempdir().unwrap();
        for bytes in [&b""[..], b"12345678", b"a program"] {
            let file = directory.path().join("program");
            write_executable(&file, bytes).unwrap();
            assert_eq!(files_of(bytes), nar::hash(&file).unwrap().base16());
        }
    }

    #[test]
    fn a_lock_of_another_form_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join(FILE);
        fs::write(&file, r#"{"version": 2, "programs": {}}"#).unwrap();
        let error = Lock::load(&file).unwrap_err().to_string();
        assert!(error.contains("format 2"), "{error}");
        let mut lock: Lock = serde_json::from_str(r#"{"version": 1, "programs": {}}"#).unwrap();
        lock.set(
            "x86_64-linux",
            [("unit".to_owned(), Pin::new("a", b"b"))].into(),
        );
        fs::write(&file, lock.to_text().unwrap()).unwrap();
        assert_eq!(Lock::load(&file).unwrap(), lock);
    }
}
