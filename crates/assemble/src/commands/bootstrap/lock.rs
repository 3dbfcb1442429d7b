//! `bootstrap.lock`: pins the programs that Nix needs before it can build units (nix/bootstrap).

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use crateyard_nix::{Hash, nar};
use serde::{Deserialize, Serialize};

/// The name of the lock at the top of Crateyard's own repository.
pub const FILE: &str = "bootstrap.lock";

/// The version of the lock's format.
const FORMAT: u32 = 1;

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

/// Hashes an executable file as a Nix archive, with SHA-256.
fn files_of(bytes: &[u8]) -> String {
    nar::hash_of_executable(bytes).base16()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    /// The executable as a file in the file system, which `nar::dump` reads.
    #[test]
    fn the_hash_is_that_of_an_executable_file() {
        let directory = tempfile::tempdir().unwrap();
        for bytes in [&b""[..], b"12345678", b"a program"] {
            let file = directory.path().join("program");
            fs::write(&file, bytes).unwrap();
            fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
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
