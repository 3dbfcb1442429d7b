//! Changes that a user makes by hand before `assemble init`. The tables declare and count them.

use anyhow::{Context, Result};
use serde::Deserialize;
use std::fs;
use std::path::Path;

/// A change by hand.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Edit {
    /// The files, relative to the workspace.
    pub files: Vec<String>,
    /// The lines to write into the files. Without lines, the files are removed.
    pub lines: Option<String>,
    /// The reason for the edit.
    pub reason: String,
}

impl Edit {
    /// Makes the change in a workspace.
    ///
    /// # Errors
    /// When a file to remove is missing, or a file can't be written.
    pub fn apply(&self, workspace: &Path) -> Result<()> {
        for file in &self.files {
            let path = workspace.join(file);
            let edited = match &self.lines {
                None => fs::remove_file(&path),
                Some(lines) => fs::read_to_string(&path)
                    .or_else(|error| match error.kind() {
                        std::io::ErrorKind::NotFound => Ok(String::new()),
                        _ => Err(error),
                    })
                    .and_then(|old| fs::write(&path, old + lines)),
            };
            edited.with_context(|| format!("cannot edit {file}"))?;
        }
        Ok(())
    }
}
