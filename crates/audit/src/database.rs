//! A copy of RustSec's database: a checkout, or the archive (`.tar.gz`) of one.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use crateyard_oci::tar::{self, Kind};
use flate2::read::GzDecoder;

use crate::advisory::Advisory;
use crate::{Error, Result};

/// The largest advisory that is read, in bytes. RustSec's longest has 10 kB.
const MAX_ADVISORY: u64 = 1 << 20;
/// The limits of a copy: the number of its files, and their bytes together.
const MAX_FILES: usize = 200_000;
const MAX_BYTES: u64 = 512 << 20;

/// The directories of advisories: about crates, and about releases of the Rust project.
const CRATES: &str = "crates";
const RUST: &str = "rust";

/// Advisories by package name.
#[derive(Debug, Clone, Default)]
pub struct Database {
    crates: BTreeMap<String, Vec<Advisory>>,
    rust: BTreeMap<String, Vec<Advisory>>,
}

impl Database {
    /// Reads a copy: a directory that holds `crates`, or a `.tar.gz` of one.
    ///
    /// # Errors
    /// When there is no such copy, or an advisory can't be read.
    pub fn read(path: &Path) -> Result<Database> {
        let mut database = Database::default();
        match path.is_dir() {
            true => database.read_directory(path)?,
            false => database.read_archive(path)?,
        }
        if database.crates.is_empty() {
            let problem = format!(
                "it has no advisories: no file {CRATES}/NAME/ID.md\n  \
                 try: a checkout of https://github.com/RustSec/advisory-db, or its .tar.gz"
            );
            return Err(Error::form(path.display().to_string(), problem));
        }
        Ok(database)
    }

    /// Adds the advisories of another copy.
    pub fn extend(&mut self, other: Database) {
        for (own, new) in [
            (&mut self.crates, other.crates),
            (&mut self.rust, other.rust),
        ] {
            for (package, advisories) in new {
                own.entry(package).or_default().extend(advisories);
            }
        }
    }

    /// Returns the advisories about a crate of crates.io, without withdrawn ones.
    pub fn about_crate(&self, name: &str) -> impl Iterator<Item = &Advisory> {
        self.crates.get(name).into_iter().flatten()
    }

    /// Returns the advisories about the standard library.
    pub fn about_std(&self) -> impl Iterator<Item = &Advisory> {
        self.rust.get("std").into_iter().flatten()
    }

    /// Returns all advisories.
    pub fn all(&self) -> impl Iterator<Item = &Advisory> {
        self.crates.values().chain(self.rust.values()).flatten()
    }

    /// Returns the date of the newest advisory: `2024-01-31`. The copy is at least as new.
    pub fn newest(&self) -> Option<&str> {
        self.all().map(|advisory| advisory.date.as_str()).max()
    }

    fn add(&mut self, file: &str, text: &str) -> Result<()> {
        let advisory = Advisory::parse(file, text)?;
        if advisory.is_withdrawn {
            return Ok(());
        }
        let collection = collection(file).unwrap_or(CRATES);
        let advisories = match collection == RUST {
            true => &mut self.rust,
            false => &mut self.crates,
        };
        advisories
            .entry(advisory.package.clone())
            .or_default()
            .push(advisory);
        Ok(())
    }

    fn read_directory(&mut self, path: &Path) -> Result<()> {
        let mut files = Vec::new();
        for collection in [CRATES, RUST] {
            let below = path.join(collection);
            if !below.is_dir() {
                continue;
            }
            for package in list(&below)?.into_iter().filter(|it| it.is_dir()) {
                // A pipe would never end.
                let advisories = list(&package)?.into_iter();
                files.extend(advisories.filter(|it| is_advisory(it) && it.is_file()));
            }
        }
        let mut account = Account::default();
        for file in files {
            let name = file.display().to_string();
            let opened = File::open(&file).map_err(Error::read(&file))?;
            let text = account.read(&name, opened)?;
            self.add(&name, &text)?;
        }
        Ok(())
    }

    fn read_archive(&mut self, path: &Path) -> Result<()> {
        let file = File::open(path).map_err(Error::read(path))?;
        let mut reader = tar::Reader::new(GzDecoder::new(file).take(MAX_BYTES));
        let mut account = Account::default();
        let damaged = |error: tar::TarError| {
            let problem =
                format!("it is not a .tar.gz: {error}\n  try: a directory, or another copy");
            Error::form(path.display().to_string(), problem)
        };
        while let Some(entry) = reader.next_entry().map_err(damaged)? {
            let name = String::from_utf8_lossy(&entry.path).into_owned();
            let is_wanted = entry.kind == Kind::File && is_advisory(Path::new(&name));
            if is_wanted && collection(&name).is_some() {
                let text = account.read(&name, &mut reader)?;
                self.add(&name, &text)?;
            }
        }
        Ok(())
    }
}

/// The number of files and bytes read so far.
#[derive(Default)]
struct Account {
    files: usize,
    bytes: u64,
}

impl Account {
    fn read(&mut self, name: &str, file: impl Read) -> Result<String> {
        let mut bytes = Vec::new();
        let read = file.take(MAX_ADVISORY + 1).read_to_end(&mut bytes);
        read.map_err(Error::read(Path::new(name)))?;
        self.files += 1;
        self.bytes += bytes.len() as u64;
        if bytes.len() as u64 > MAX_ADVISORY {
            return Err(Error::form(
                name,
                format!("it has more than {MAX_ADVISORY} bytes"),
            ));
        }
        if self.files > MAX_FILES || self.bytes > MAX_BYTES {
            let problem = format!("the copy has more than {MAX_FILES} files or {MAX_BYTES} bytes");
            return Err(Error::form(name, problem));
        }
        String::from_utf8(bytes).map_err(|_| Error::form(name, "it is not UTF-8"))
    }
}

/// Returns `crates` for `…/crates/NAME/ID.md`.
fn collection(file: &str) -> Option<&str> {
    let mut parts = file.rsplit('/').skip(2);
    parts.next().filter(|name| [CRATES, RUST].contains(name))
}

fn is_advisory(path: &Path) -> bool {
    path.extension().is_some_and(|it| it == "md")
}

/// Returns the paths in a directory, sorted.
fn list(directory: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(directory).map_err(Error::read(directory))?;
    let paths: std::io::Result<Vec<PathBuf>> = entries.map(|entry| Ok(entry?.path())).collect();
    let mut paths = paths.map_err(Error::read(directory))?;
    paths.sort();
    Ok(paths)
}
