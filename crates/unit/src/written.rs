//! The files that a build script writes to its package's directory.
//!
//! Cargo forbids build scripts nothing. Some generate code into `src/`, and the package's later
//! units see it there. So a run keeps its changes of its package's directory, and units that have
//! this run below them find the directory as the script left it.

use crate::{files, source};
use anyhow::{Context, Result};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// The directory in a run's output with the files that the script made or changed.
const WRITTEN: &str = "written";
/// The file in a run's output with the paths that the script removed, one a line.
const REMOVED: &str = "removed";

/// The state of a directory at some moment.
pub(crate) struct Snapshot {
    directory: PathBuf,
    stamps: BTreeMap<PathBuf, Stamp>,
}

/// The marks by which a changed file is known. All files are placed with one time in the past
/// ([`source::place_tree`]), so that a file that is written later is newer.
#[derive(PartialEq)]
struct Stamp {
    length: u64,
    time: SystemTime,
    link: Option<PathBuf>,
}

impl Snapshot {
    /// Records the state of a package's directory.
    ///
    /// # Errors
    /// When something in it can't be read.
    pub(crate) fn of(directory: &Path) -> Result<Self> {
        // A package in a repository is placed as a link.
        let directory = directory.canonicalize().unwrap_or(directory.to_owned());
        let mut stamps = BTreeMap::new();
        collect(&directory, Path::new(""), &mut stamps)?;
        Ok(Self { directory, stamps })
    }

    /// Keeps the changes since then in `output`. Returns whether there are any.
    ///
    /// # Errors
    /// When a file can't be read or kept.
    pub(crate) fn keep_changes(&self, output: &Path) -> Result<bool> {
        let now = Self::of(&self.directory)?;
        let kept = output.join(WRITTEN);
        let mut changed = false;
        for (path, stamp) in &now.stamps {
            if self.stamps.get(path) != Some(stamp) {
                source::place_tree(&self.directory.join(path), &kept.join(path))?;
                changed = true;
            }
        }
        let is_gone = |path: &&PathBuf| !now.stamps.contains_key(*path);
        let removed: Vec<&PathBuf> = self.stamps.keys().filter(is_gone).collect();
        if !removed.is_empty() {
            let lines = removed.iter().map(|path| format!("{}\n", path.display()));
            fs::write(output.join(REMOVED), lines.collect::<String>())?;
            changed = true;
        }
        Ok(changed)
    }
}

fn collect(root: &Path, inner: &Path, stamps: &mut BTreeMap<PathBuf, Stamp>) -> Result<()> {
    for name in files::names(&root.join(inner))? {
        let path = inner.join(name);
        let full = root.join(&path);
        let metadata = fs::symlink_metadata(&full)
            .with_context(|| format!("cannot read {}", full.display()))?;
        if metadata.is_dir() {
            collect(root, &path, stamps)?;
            continue;
        }
        let link = metadata.is_symlink().then(|| fs::read_link(&full));
        let stamp = Stamp {
            length: metadata.len(),
            time: metadata.modified()?,
            link: link.transpose()?,
        };
        stamps.insert(path, stamp);
    }
    Ok(())
}

/// Brings a package's directory to the state in which the build script whose output is `run` left
/// it.
///
/// # Errors
/// When a file can't be replaced.
pub(crate) fn restore(run: &Path, directory: &Path) -> Result<()> {
    for path in files::lines(&run.join(REMOVED))? {
        remove(&directory.join(path))?;
    }
    let kept = run.join(WRITTEN);
    if !kept.is_dir() {
        return Ok(());
    }
    let mut stamps = BTreeMap::new();
    collect(&kept, Path::new(""), &mut stamps)?;
    for path in stamps.keys() {
        remove(&directory.join(path))?;
        source::place_tree(&kept.join(path), &directory.join(path))?;
    }
    Ok(())
}

fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot replace {}", path.display()))
        }
        _ => Ok(()),
    }
}

/// Whether the build script whose output is `run` changed its package's directory.
pub(crate) fn has_changes(run: &Path) -> bool {
    run.join(WRITTEN).exists() || run.join(REMOVED).exists()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_brought_to_the_state_that_a_script_left() {
        let place = tempfile::tempdir().unwrap();
        let at = |name: &str| place.path().join(name);
        for name in ["package/kept", "package/changed", "package/removed"] {
            fs::create_dir_all(at("package")).unwrap();
            fs::write(at(name), "one").unwrap();
        }
        source::place_tree(&at("package"), &at("first")).unwrap();
        let before = Snapshot::of(&at("first")).unwrap();
        assert!(!before.keep_changes(&at("nothing")).unwrap());
        // The new content has the same length, and is written within the same moment.
        fs::write(at("first/changed"), "two").unwrap();
        fs::remove_file(at("first/removed")).unwrap();
        fs::create_dir_all(at("first/src/made")).unwrap();
        fs::write(at("first/src/made/mod.rs"), "made").unwrap();
        fs::create_dir(at("run")).unwrap();
        assert!(before.keep_changes(&at("run")).unwrap());
        assert!(has_changes(&at("run")));
        source::place_tree(&at("package"), &at("second")).unwrap();
        restore(&at("run"), &at("second")).unwrap();
        let read = |name: &str| fs::read_to_string(at("second").join(name)).unwrap_or_default();
        assert_eq!(read("kept"), "one");
        assert_eq!(read("changed"), "two");
        assert_eq!(read("src/made/mod.rs"), "made");
        assert!(!at("second/removed").exists());
        assert!(!at("run/written/kept").exists());
    }
}
