//! The places of a workspace's files.

use std::path::{Path, PathBuf};

/// Returns the file that an option names, or else the file of this name in the workspace.
pub fn placed(given: Option<&PathBuf>, workspace: &Path, name: &str) -> PathBuf {
    match given {
        Some(file) => file.clone(),
        None if workspace == Path::new(".") => PathBuf::from(name),
        None => workspace.join(name),
    }
}
