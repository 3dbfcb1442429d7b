//! Outcomes of programs that compare builds, and durations of tests, kept as JSON for later runs.

use anyhow::{Context, Result};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fs;
use std::path::Path;

/// Reads an outcome; `None` before there is one.
pub fn load<T: DeserializeOwned>(path: &Path) -> Result<Option<T>> {
    if !path.exists() {
        return Ok(None);
    }
    let outcome = serde_json::from_slice(&fs::read(path)?);
    outcome.with_context(|| format!("{} is not understood: delete it", path.display()))
}

/// Writes an outcome. The file is complete at any time.
pub fn save(outcome: &impl Serialize, path: &Path) -> Result<()> {
    fs::create_dir_all(path.parent().context("a file has a directory")?)?;
    let new = path.with_extension("new");
    fs::write(&new, serde_json::to_string_pretty(outcome)?)?;
    Ok(fs::rename(new, path)?)
}
