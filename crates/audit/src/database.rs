//! A copy of RustSec's database: a checkout, or the archive (`.tar.gz`) of one.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Component, Path, PathBuf};

use crateyard_oci::tar::{self, Entry, Kind};
use flate2::read::MultiGzDecoder;

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
                files.extend(list(&package)?.into_iter().filter(|it| is_advisory(it)));
            }
        }
        let mut account = Account::default();
        for file in files {
            let name = file.display().to_string();
            // A pipe would never end, and a link may lead to nothing.
            if !file.is_file() {
                return Err(not_plain(&name));
            }
            let opened = File::open(&file).map_err(Error::read(&file))?;
            let text = account.read(&name, opened)?;
            self.add(&name, &text)?;
        }
        Ok(())
    }

    fn read_archive(&mut self, path: &Path) -> Result<()> {
        let file = File::open(path).map_err(Error::read(path))?;
        let mut reader = tar::Reader::new(Capped::new(MultiGzDecoder::new(file)));
        let mut account = Account::default();
        let damaged = |problem: String| {
            let problem =
                format!("it is not a .tar.gz: {problem}\n  try: a directory, or another copy");
            Error::form(path.display().to_string(), problem)
        };
        while let Some(entry) = reader
            .next_entry()
            .map_err(|error| damaged(error.to_string()))?
        {
            let name = String::from_utf8_lossy(&entry.path).into_owned();
            if hides_advisories(&name, &entry) {
                return Err(not_plain(&name));
            }
            let is_file = entry.kind == Kind::File;
            if is_file && is_advisory(Path::new(&name)) && collection(&name).is_some() {
                let text = account.read(&name, &mut reader)?;
                self.add(&name, &text)?;
            }
        }
        ended(reader).map_err(damaged)
    }
}

/// Whether an entry of an archive stands for advisories without having their text: one with an
/// advisory's name that is no plain file, or a link in the place of a directory of advisories.
fn hides_advisories(name: &str, entry: &Entry) -> bool {
    let is_link = matches!(entry.kind, Kind::Symlink | Kind::HardLink);
    let is_plain = entry.kind == Kind::File && !entry.sparse;
    match collection(name).is_some() && is_advisory(Path::new(name)) {
        true => !is_plain && entry.kind != Kind::Directory,
        false => is_link && parts(name).take(2).any(|part| is_collection(&part)),
    }
}

/// Checks that an archive has its end mark and nothing behind it but zeroes. A part of an archive
/// would otherwise pass for a smaller database. Reading on compares gzip's checksum, too.
fn ended(reader: tar::Reader<impl Read>) -> Result<(), String> {
    if !reader.has_end_mark() {
        return Err("it ends without the mark of its end, so a part may be missing".to_owned());
    }
    let mut rest = reader.into_inner();
    let mut buffer = [0; 16 * 1024];
    loop {
        match rest.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(read) if buffer[..read].iter().all(|&byte| byte == 0) => {}
            Ok(_) => return Err("it goes on after the mark of its end".to_owned()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error.to_string()),
        }
    }
}

fn not_plain(name: &str) -> Error {
    let problem = "it is not a plain file, so its advisory can't be read\n  \
                   try: a checkout or an archive in which each advisory is a file";
    Error::form(name, problem)
}

/// Passes on at most [`MAX_BYTES`], and fails if there are more.
struct Capped<R> {
    inner: R,
    left: u64,
}

impl<R> Capped<R> {
    fn new(inner: R) -> Capped<R> {
        Capped {
            inner,
            left: MAX_BYTES,
        }
    }
}

impl<R: Read> Read for Capped<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        let Some(left) = self.left.checked_sub(read as u64) else {
            let problem = format!("it has more than {MAX_BYTES} bytes when uncompressed");
            return Err(io::Error::new(io::ErrorKind::InvalidData, problem));
        };
        self.left = left;
        Ok(read)
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
    parts(file).nth(2).filter(is_collection)
}

/// Returns the names in a path, the last one first.
fn parts(path: &str) -> impl Iterator<Item = &str> {
    let parts = Path::new(path).components().rev();
    parts.filter_map(|part| match part {
        Component::Normal(name) => name.to_str(),
        _ => None,
    })
}

fn is_collection(name: &&str) -> bool {
    [CRATES, RUST].contains(name)
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
