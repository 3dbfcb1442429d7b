//! The programs in `tests/programs.toml`.

use crate::checkout::repository;
use crate::edits::Edit;
use anyhow::{Context, Result};
use serde::Deserialize;
use std::fs;

/// A program of crates.io.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Program {
    /// The package.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The reason for choosing it.
    pub made_of: String,
    /// The binary to run. Its image has the same name.
    pub binary: String,
    /// The arguments of the run.
    pub arguments: Vec<String>,
    /// The input of the run.
    #[serde(default)]
    pub input: String,
    /// Texts that it must print.
    pub prints: Vec<String>,
    /// The edits that a user must make by hand before `assemble init`.
    #[serde(default)]
    pub edits: Vec<Edit>,
}

#[derive(Deserialize)]
struct Table {
    program: Vec<Program>,
}

/// Reads all programs, in the table's order.
pub fn read() -> Result<Vec<Program>> {
    let path = repository().join("tests/programs.toml");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {path:?}"))?;
    let table: Table = toml::from_str(&text).with_context(|| format!("in {path:?}"))?;
    Ok(table.program)
}
