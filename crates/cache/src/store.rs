//! The store of this machine, or another one on its disk, asked through `nix-store`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use crate::error::{Error, Result};
use crate::hash::Hash;
use crate::path::StorePath;
use drive::environment;

/// How many paths one call of nix-store gets: the command line has to hold them all.
const BATCH: usize = 1000;

/// A store.
#[derive(Clone, Debug, Default)]
pub struct Store {
    /// As `--store` names it; without it the one that Nix uses by itself.
    url: Option<String>,
}

/// What a store knows of a path that it has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registered {
    /// The path.
    pub path: StorePath,
    /// Hash of its archive.
    pub nar_hash: Hash,
    /// Size of its archive in bytes.
    pub nar_size: u64,
    /// The derivation that made it: `HASH-NAME.drv`.
    pub deriver: Option<StorePath>,
    /// The paths that it refers to, sorted.
    pub references: Vec<StorePath>,
}

impl Store {
    /// The store at `url`, or Nix's own.
    pub fn new(url: Option<String>) -> Store {
        Store { url }
    }

    /// The directory below which `/nix/store` lies.
    pub fn root(&self) -> PathBuf {
        match &self.url {
            Some(url) if url.starts_with('/') => PathBuf::from(url),
            _ => PathBuf::from("/"),
        }
    }

    /// Where a path of it lies on the disk.
    pub fn place(&self, path: &StorePath) -> PathBuf {
        path.place(&self.root())
    }

    /// Those of the paths that are in the store.
    ///
    /// # Errors
    /// When nix-store fails.
    pub fn present(&self, paths: &BTreeSet<StorePath>) -> Result<BTreeSet<StorePath>> {
        let missing = self.lines(&["--check-validity", "--print-invalid"], paths)?;
        let missing: BTreeSet<StorePath> = missing
            .iter()
            .map(|line| line.parse())
            .collect::<Result<_>>()?;
        Ok(paths.difference(&missing).cloned().collect())
    }

    /// What the store knows of paths that it has.
    ///
    /// # Errors
    /// When it lacks one, or nix-store fails.
    pub fn registered(&self, paths: &BTreeSet<StorePath>) -> Result<Vec<Registered>> {
        if paths.is_empty() {
            return Ok(Vec::new());
        }
        let lines = self.lines(&["--dump-db"], paths)?;
        parse_registrations(&lines).ok_or_else(|| Error::Damaged {
            place: "nix-store --dump-db".to_owned(),
            reason: "printed something else than registrations".to_owned(),
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

/// Six lines a path, and one for each reference; the last of the six is their number.
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
