//! `bootstrap.lock`, which pins the bootstrap programs of a revision of Crateyard.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use crateyard_nix::{Hash, Store, nar};
use serde::{Deserialize, Serialize};

use super::{PREFIX, is_program, read_file};
use crate::pinned;

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

/// Returns the store paths of the programs that a workspace's Crateyard pins. Crateyard is the
/// workspace itself, or one of the inputs in `flake.lock`. Returns `None` if no store on this
/// machine has it yet.
pub fn pinned(workspace: &Path, store: &Store) -> Option<BTreeSet<String>> {
    let mut places = vec![workspace.to_owned()];
    places.extend(sources(workspace, store).unwrap_or_default());
    // The sources may be somebody else's, and other flakes have other files of this name.
    let locks = places.iter().filter_map(|place| {
        let bytes = read_file(&place.join(FILE)).ok()?;
        serde_json::from_slice::<Lock>(&bytes).ok()
    });
    let mut found = None;
    for lock in locks.filter(|lock| lock.version == FORMAT) {
        let paths = found.get_or_insert_with(BTreeSet::new);
        for (name, pin) in lock.programs.values().flatten() {
            paths.insert(store.path_of_tree(&format!("{PREFIX}{name}"), &pin.files));
        }
    }
    found.map(|paths| paths.into_iter().filter(|path| is_program(path)).collect())
}

/// Returns the directories of the inputs in `flake.lock` that may be on this machine.
fn sources(workspace: &Path, store: &Store) -> Result<Vec<PathBuf>> {
    let lock = pinned::lock(workspace)?;
    let mut sources = Vec::new();
    for (_, node) in pinned::nodes(&lock)? {
        let hash = node["locked"]["narHash"].as_str();
        let Some(hash) = hash.and_then(|hash| hash.parse::<Hash>().ok()) else {
            continue;
        };
        let path = store.path_of_tree(pinned::SOURCE, &hash.base16());
        sources.extend([store.physical(&path), path.into()]);
    }
    Ok(sources)
}

/// Hashes an executable file as a Nix archive, with SHA-256.
fn files_of(bytes: &[u8]) -> String {
    nar::hash_of_executable(bytes).base16()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
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

    fn lock_of(bytes: &[u8]) -> String {
        let pins = [("plan".to_owned(), Pin::new("a", bytes))];
        let lock = Lock {
            version: FORMAT,
            programs: [("x86_64-linux".to_owned(), pins.into())].into(),
        };
        lock.to_text().unwrap()
    }

    #[test]
    fn the_pins_are_those_of_the_workspace_and_of_its_inputs() {
        let directory = tempfile::tempdir().unwrap();
        let workspace = directory.path().join("workspace");
        fs::create_dir(&workspace).unwrap();
        let store = Store::new(Some(directory.path().join("store").display().to_string()));
        assert_eq!(pinned(&workspace, &store), None);

        let hash = "sha256-AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
        let locked = json!({ "type": "github", "narHash": hash });
        let nodes = json!({ "root": { "inputs": { "c": "c" } }, "c": { "locked": locked } });
        let lock = json!({ "root": "root", "nodes": nodes, "version": 7 });
        fs::write(workspace.join("flake.lock"), lock.to_string()).unwrap();
        assert_eq!(pinned(&workspace, &store), None, "no store has the input");

        let zeros: Hash = hash.parse().unwrap();
        let input = store.physical(store.path_of_tree(pinned::SOURCE, &zeros.base16()));
        fs::create_dir_all(&input).unwrap();
        fs::write(input.join(FILE), "[]").unwrap();
        assert_eq!(pinned(&workspace, &store), None, "it is another file");
        fs::write(input.join(FILE), lock_of(b"an input's")).unwrap();
        let path = |bytes: &[u8]| super::super::path_of(&store, "plan", bytes);
        let expected = BTreeSet::from([path(b"an input's")]);
        assert_eq!(pinned(&workspace, &store), Some(expected));
        fs::write(workspace.join(FILE), lock_of(b"its own")).unwrap();
        let expected = BTreeSet::from([path(b"an input's"), path(b"its own")]);
        assert_eq!(pinned(&workspace, &store), Some(expected));
    }
}
