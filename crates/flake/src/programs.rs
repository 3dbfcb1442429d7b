//! Adds bootstrap programs (nix/bootstrap) to stores, and keeps copies of them for the user.
//!
//! The path of a program depends on its name and its bytes alone. So a copy fits every store and
//! every workspace that pins these bytes, and nobody has to vouch for it.

pub mod lock;

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use crateyard_disk::Directory;
use crateyard_nix::{Store, name_of, nar};
use crateyard_workspace::state;

/// The prefix of a program's name in the store.
pub const PREFIX: &str = "bootstrap-";

/// The names of the programs (nix/bootstrap/programs.nix).
const NAMES: [&str; 4] = ["unit", "plan", "description", "image"];

/// The directory of the copies, in the user's cache.
const DIRECTORY: &str = "bootstrap";

/// The number of copies that are kept: four programs of four revisions, about 50 MB.
const KEPT: usize = 16;

/// The most bytes of a program.
const MAX_PROGRAM: u64 = 64 << 20;

/// Whether a store path is that of a program.
pub fn is_program(path: &str) -> bool {
    let name = name_of(path).strip_prefix(PREFIX);
    name.is_some_and(|name| NAMES.contains(&name))
}

/// Returns the store path of a program with these bytes.
pub fn path_of(store: &Store, name: &str, bytes: &[u8]) -> String {
    store.path_of_tree(
        &format!("{PREFIX}{name}"),
        &nar::hash_of_executable(bytes).base16(),
    )
}

/// Whether these are the bytes of the program with this store path.
fn belongs(store: &Store, path: &str, bytes: &[u8]) -> bool {
    let name = name_of(path);
    path_of(store, name.strip_prefix(PREFIX).unwrap_or(name), bytes) == path
}

/// Adds the program with this store path to a store.
///
/// # Errors
/// When other bytes belong to the path, or Nix can't add the program.
pub fn add(store: &Store, path: &str, bytes: &[u8]) -> Result<()> {
    let name = name_of(path);
    ensure!(
        belongs(store, path, bytes),
        "these are not the bytes that bootstrap.lock pins for {}",
        name.strip_prefix(PREFIX).unwrap_or(name)
    );
    let directory = tempfile::tempdir()?;
    let file = directory.path().join(name);
    fs::write(&file, bytes)?;
    fs::set_permissions(&file, fs::Permissions::from_mode(0o755))?;
    Ok(store.add_tree(&file, path)?)
}

/// Reads a program that a store on this machine has.
///
/// # Errors
/// When the store does not have it, or it can't be read.
pub fn read(store: &Store, path: &str) -> Result<Vec<u8>> {
    read_file(&store.physical(path))
}

/// Reads a file that may be a program. Follows no link: somebody else may have made the file.
///
/// # Errors
/// When it is missing, not a file, too large, or can't be read.
pub fn read_file(file: &Path) -> Result<Vec<u8>> {
    let context = || format!("cannot read {}", file.display());
    let parent = file.parent().with_context(context)?;
    let name = file.file_name().with_context(context)?;
    let directory = Directory::open(parent).with_context(context)?;
    let bytes = directory.read(name, MAX_PROGRAM).with_context(context)?;
    bytes.with_context(|| format!("there is no {}", file.display()))
}

/// The user's copies: `$XDG_CACHE_HOME/crateyard/bootstrap`. Each has the name of its store path.
pub struct Kept(Directory);

impl Kept {
    /// Opens the directory, and makes it if it is missing.
    ///
    /// # Errors
    /// When the environment names no home, or the directory can't be made.
    pub fn open() -> Result<Self> {
        Self::at(&state::cache()?.join(DIRECTORY))
    }

    /// Opens the directory. Returns `None` if nothing was kept yet.
    pub fn find() -> Option<Self> {
        let directory = Directory::open(&state::cache().ok()?.join(DIRECTORY));
        directory.ok().map(Self)
    }

    fn at(directory: &Path) -> Result<Self> {
        let made = Directory::create(directory);
        let made = made.with_context(|| format!("cannot create {}", directory.display()))?;
        Ok(Self(made))
    }

    /// Copies the programs among some paths of a store on this machine. Gives up the copies that
    /// were not used for longest. Leaves out files that have only the name of a program: the bytes
    /// of a program belong to its path.
    ///
    /// # Errors
    /// When the store lacks a program, or the copy can't be written.
    pub fn keep<'p>(&self, store: &Store, paths: impl IntoIterator<Item = &'p str>) -> Result<()> {
        if !is_on_disk(store) {
            return Ok(());
        }
        for path in paths.into_iter().filter(|path| is_program(path)) {
            let base = base(path);
            if self.0.status(base)?.is_none() {
                let bytes = read(store, path)?;
                if belongs(store, path, &bytes) {
                    self.0.write(base, &bytes)?;
                }
            } else {
                self.0.touch(base)?;
            }
        }
        let mut files = self.0.files()?;
        files.sort_by_key(|file| std::cmp::Reverse(file.modified));
        for old in files.iter().skip(KEPT) {
            self.remove(&old.name)?;
        }
        Ok(())
    }

    /// Returns the store paths of the copies to add to a store that lacks them.
    fn chosen(&self, store: &Store, pinned: Option<&BTreeSet<String>>) -> Result<Vec<String>> {
        let mut files = self.0.files()?;
        files.sort_by_key(|file| std::cmp::Reverse(file.modified));
        let names = files.iter().filter_map(|file| file.name.to_str());
        let paths = names.map(|name| format!("{}/{name}", store.directory()));
        let mut newest = BTreeSet::new();
        let paths = paths.filter(|path| match pinned {
            _ if !is_program(path) => false,
            Some(pinned) => pinned.contains(path),
            None => newest.insert(name_of(path).to_owned()),
        });
        Ok(paths.collect())
    }

    /// Removes a copy, unless another process has.
    fn remove(&self, name: impl AsRef<OsStr>) -> Result<()> {
        match self.0.remove_file(name.as_ref()) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// Adds the copies that a store lacks, of those with a `pinned` path. If the pins are not known
    /// yet, adds the copy of each program that was used last. A damaged copy is removed.
    ///
    /// # Errors
    /// When a copy can't be read, or Nix can't add it.
    pub fn bring(&self, store: &Store, pinned: Option<&BTreeSet<String>>) -> Result<()> {
        for path in lacking(store, &self.chosen(store, pinned)?)? {
            let Some(bytes) = self.0.read(base(&path), MAX_PROGRAM)? else {
                continue;
            };
            match belongs(store, &path, &bytes) {
                true => {
                    add(store, &path, &bytes)?;
                    self.0.touch(base(&path))?;
                }
                false => self.remove(base(&path))?,
            }
        }
        Ok(())
    }
}

/// Returns the paths that a store lacks. A look into a directory takes less time than asking Nix.
fn lacking(store: &Store, paths: &[String]) -> Result<BTreeSet<String>> {
    if is_on_disk(store) {
        let lacking = paths.iter().filter(|path| !store.physical(path).exists());
        return Ok(lacking.cloned().collect());
    }
    Ok(store.missing(paths.iter().map(String::as_str))?)
}

/// Whether the paths of a store are files on this machine.
fn is_on_disk(store: &Store) -> bool {
    store.url().is_none_or(|url| url.starts_with('/'))
}

/// Returns the last part of a store path.
pub fn base(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, SystemTime};

    /// Puts a program where a store in this directory has it.
    fn stored(store: &Store, name: &str, bytes: &[u8]) -> String {
        let path = path_of(store, name, bytes);
        let place = store.physical(&path);
        fs::create_dir_all(place.parent().unwrap()).unwrap();
        fs::write(place, bytes).unwrap();
        path
    }

    fn place() -> (tempfile::TempDir, Store, Kept) {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::new(Some(directory.path().to_str().unwrap().to_owned()));
        let kept = Kept::at(&directory.path().join("kept")).unwrap();
        (directory, store, kept)
    }

    #[test]
    fn programs_are_kept_and_nothing_else() {
        let (_directory, store, kept) = place();
        let path = stored(&store, "plan", b"a program");
        let other = format!("{}/{}-bootstrap-built", store.directory(), "0".repeat(32));
        kept.keep(&store, [path.as_str(), &other]).unwrap();
        assert_eq!(kept.0.names().unwrap(), [base(&path)]);
        let bytes = kept.0.read(base(&path), MAX_PROGRAM).unwrap().unwrap();
        assert_eq!(bytes, b"a program");
    }

    #[test]
    fn a_link_with_the_name_of_a_program_is_not_followed() {
        let (directory, store, kept) = place();
        let path = stored(&store, "plan", b"a program");
        let secret = directory.path().join("secret");
        fs::rename(store.physical(&path), &secret).unwrap();
        std::os::unix::fs::symlink(&secret, store.physical(&path)).unwrap();
        assert!(kept.keep(&store, [path.as_str()]).is_err());
        let other = stored(&store, "unit", b"pinned");
        fs::write(store.physical(&other), b"other").unwrap();
        kept.keep(&store, [other.as_str()]).unwrap();
        assert!(kept.0.names().unwrap().is_empty());
    }

    #[test]
    fn the_copies_that_nobody_used_for_longest_go_first() {
        let (_directory, store, kept) = place();
        let paths: Vec<String> = (0..=KEPT)
            .map(|revision| stored(&store, "plan", format!("{revision}").as_bytes()))
            .collect();
        let past = SystemTime::now() - Duration::from_secs(3600);
        for (age, path) in paths.iter().take(KEPT).enumerate() {
            kept.keep(&store, [path.as_str()]).unwrap();
            let file = fs::File::open(kept.0.path().join(base(path))).unwrap();
            file.set_modified(past + Duration::from_secs(age as u64))
                .unwrap();
        }
        // The oldest is used, so the second oldest goes.
        kept.keep(&store, [paths[0].as_str(), &paths[KEPT]])
            .unwrap();
        let has = |path: &String| kept.0.status(base(path)).unwrap().is_some();
        assert!(has(&paths[0]) && !has(&paths[1]) && has(&paths[2]) && has(&paths[KEPT]));
    }

    #[test]
    fn a_store_gets_no_copies_that_its_workspace_can_not_use() {
        let (_directory, store, kept) = place();
        let past = SystemTime::now() - Duration::from_secs(3600);
        let mut paths = Vec::new();
        for (age, (name, bytes)) in [("plan", "1"), ("unit", "1"), ("plan", "2")]
            .iter()
            .enumerate()
        {
            let path = stored(&store, name, bytes.as_bytes());
            kept.keep(&store, [path.as_str()]).unwrap();
            let file = fs::File::open(kept.0.path().join(base(&path))).unwrap();
            file.set_modified(past + Duration::from_secs(age as u64))
                .unwrap();
            paths.push(path);
        }
        kept.0.write("other", b"").unwrap();
        let [old, unit, new] = &paths[..] else {
            panic!("{paths:?}");
        };
        let chosen = |pinned: Option<&[&String]>| {
            let pinned = pinned.map(|paths| paths.iter().map(|it| (*it).clone()).collect());
            kept.chosen(&store, pinned.as_ref()).unwrap()
        };
        assert_eq!(chosen(Some(&[old])), std::slice::from_ref(old));
        assert!(chosen(Some(&[])).is_empty());
        // Without pins, the last copy of each program is brought.
        assert_eq!(chosen(None), [new.clone(), unit.clone()]);
    }

    #[test]
    fn other_bytes_never_get_into_a_store() {
        let (_directory, store, kept) = place();
        let path = path_of(&store, "unit", b"pinned");
        let error = add(&store, &path, b"other").unwrap_err().to_string();
        assert!(error.contains("not the bytes"), "{error}");
        kept.0.write(base(&path), b"other").unwrap();
        kept.bring(&store, None).unwrap();
        assert!(kept.0.names().unwrap().is_empty());
        assert!(!store.physical(&path).exists());
    }
}
