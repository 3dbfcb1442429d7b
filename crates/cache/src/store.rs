//! Asks the machine's store, or another one on its disk, with `nix-store`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use crate::error::{Error, Result};
use crate::hash::Hash;
use crate::path::StorePath;
use crateyard_drive::environment;

/// How many paths to pass to one call of nix-store. The command line must hold them all.
const BATCH: usize = 1000;

/// A store.
#[derive(Clone, Debug, Default)]
pub struct Store {
    /// The value of `--store`. Without it, Nix's default.
    url: Option<String>,
}

/// A store's registration of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registered {
    /// The path.
    pub path: StorePath,
    /// Hash of its archive.
    pub nar_hash: Hash,
    /// Size of its archive in bytes.
    pub nar_size: u64,
    /// The derivation that made it.
    pub deriver: Option<StorePath>,
    /// The paths that it refers to, sorted.
    pub references: Vec<StorePath>,
}

impl Store {
    /// The store at `url`, or Nix's default.
    pub fn new(url: Option<String>) -> Store {
        Store { url }
    }

    /// The directory that holds `/nix/store`.
    pub fn root(&self) -> PathBuf {
        match &self.url {
            Some(url) if url.starts_with('/') => PathBuf::from(url),
            _ => PathBuf::from("/"),
        }
    }

    /// The path on the disk of a store path.
    pub fn place(&self, path: &StorePath) -> PathBuf {
        path.place(&self.root())
    }

    /// The paths that are in the store.
    ///
    /// # Errors
    /// Fails if nix-store fails.
    pub fn present(&self, paths: &BTreeSet<StorePath>) -> Result<BTreeSet<StorePath>> {
        let missing = self.lines(&["--check-validity", "--print-invalid"], paths)?;
        let missing: BTreeSet<StorePath> = missing
            .iter()
            .map(|line| line.parse())
            .collect::<Result<_>>()?;
        Ok(paths.difference(&missing).cloned().collect())
    }

    /// The store's registrations of paths.
    ///
    /// # Errors
    /// Fails if the store lacks one, or if nix-store fails.
    pub fn registered(&self, paths: &BTreeSet<StorePath>) -> Result<Vec<Registered>> {
        if paths.is_empty() {
            return Ok(Vec::new());
        }
        let lines = self.lines(&["--dump-db"], paths)?;
        parse_registrations(&lines).ok_or_else(|| Error::Damaged {
            place: "nix-store --dump-db".to_owned(),
            reason: "the output is not a list of registrations".to_owned(),
        })
    }

    fn lines(&self, options: &[&str], paths: &BTreeSet<StorePath>) -> Result<Vec<String>> {
        let paths: Vec<String> = paths.iter().map(StorePath::to_string).collect();
        let mut lines = Vec::new();
        for batch in paths.chunks(BATCH) {
            let mut command = environment::nix("nix-store");
            if let Some(url) = &self.url {
                command.args(["--store", url]);
            }
            command.args(options).args(batch).stdin(Stdio::null());
            let output = command
                .output()
                .map_err(Error::io("start", Path::new("nix-store")))?;
            if !output.status.success() {
                let said = String::from_utf8_lossy(&output.stderr);
                return Err(Error::Damaged {
                    place: format!("nix-store {}", options.join(" ")),
                    reason: said.trim().trim_start_matches("error: ").to_owned(),
                });
            }
            let text = String::from_utf8_lossy(&output.stdout);
            lines.extend(text.lines().map(str::to_owned));
        }
        Ok(lines)
    }
}

/// Parses registrations: six lines a path, the last with the number of references, then one line
/// for each reference.
fn parse_registrations(lines: &[String]) -> Option<Vec<Registered>> {
    let mut lines = lines.iter();
    let mut found = Vec::new();
    while let Some(path) = lines.next() {
        let nar_hash = lines.next()?.parse().ok()?;
        let nar_size = lines.next()?.parse().ok()?;
        let deriver = lines.next()?;
        let count: usize = lines.next()?.parse().ok()?;
        let mut references: Vec<StorePath> = (0..count)
            .map(|_| lines.next()?.parse().ok())
            .collect::<Option<_>>()?;
        references.sort();
        found.push(Registered {
            path: path.parse().ok()?,
            nar_hash,
            nar_size,
            deriver: deriver.parse().ok(),
            references,
        });
    }
    Some(found)
}
