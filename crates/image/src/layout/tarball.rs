//! A tar file whose entries are found by name. It is walked once; contents stay where they are.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::DOCUMENT_LIMIT;
use crate::decompress::Format;
use crate::section::Section;
use crate::tar::{self, Kind};
use crate::{Error, Result};

/// The most entries that an archive may have: a layout has a few dozen.
const ENTRY_LIMIT: usize = 100_000;
/// The longest name that is remembered.
const NAME_LIMIT: usize = 1024;

#[derive(Debug)]
pub(super) struct Tarball {
    path: PathBuf,
    file: Arc<File>,
    entries: BTreeMap<String, Place>,
}

/// Where an entry's content is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    Content {
        offset: u64,
        size: u64,
    },
    /// Docker writes equal layers once and links to them.
    Link(String),
}

impl Tarball {
    pub(super) fn open(path: &Path) -> Result<Tarball> {
        let mut file = File::open(path).map_err(Error::io("cannot open", path))?;
        refuse_compressed(path, &mut file)?;
        let length = file
            .metadata()
            .map_err(Error::io("cannot look at", path))?
            .len();
        let mut tarball = Tarball {
            path: path.to_owned(),
            file: Arc::new(file),
            entries: BTreeMap::new(),
        };
        tarball.walk(length)?;
        Ok(tarball)
    }

    fn walk(&mut self, length: u64) -> Result<()> {
        let what = self.path.display().to_string();
        let damaged = |problem: String| Error::damaged(&what, problem);
        let file = Section::new(Arc::clone(&self.file), 0, length);
        let mut reader = tar::Reader::new(file);
        loop {
            let entry = reader
                .next_entry()
                .map_err(|error| damaged(error.to_string()))?;
            let Some(entry) = entry else { return Ok(()) };
            reader.seek_past_content();
            let name = String::from_utf8_lossy(&entry.path).into_owned();
            let name = name.trim_start_matches("./").to_owned();
            let place = match entry.kind {
                Kind::File if !entry.sparse => {
                    let end = entry.content_offset.checked_add(entry.size);
                    if end.is_none_or(|end| end > length) {
                        return Err(damaged(format!("{name} is cut off")));
                    }
                    Place::Content {
                        offset: entry.content_offset,
                        size: entry.size,
                    }
                }
                Kind::Symlink | Kind::HardLink => {
                    let target = String::from_utf8_lossy(&entry.link).into_owned();
                    let hard = entry.kind == Kind::HardLink;
                    Place::Link(if hard { target } else { beside(&name, &target) })
                }
                _ => continue,
            };
            if name.len() > NAME_LIMIT || self.entries.len() >= ENTRY_LIMIT {
                return Err(damaged("it has too many or too long names".to_owned()));
            }
            let previous = self.entries.insert(name.clone(), place);
            if previous.is_some_and(|previous| self.entries.get(&name) != Some(&previous)) {
                return Err(damaged(format!("it has two entries named {name}")));
            }
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.entries.contains_key(name)
    }

    pub(super) fn paths_below(&self, prefix: &str) -> Vec<String> {
        let names = self.entries.keys();
        names
            .filter(|name| name.starts_with(prefix))
            .cloned()
            .collect()
    }

    pub(super) fn size(&self, name: &str) -> Result<u64> {
        self.place(name).map(|(_, size)| size)
    }

    pub(super) fn open_entry(&self, name: &str) -> Result<Box<dyn Read + Send>> {
        let (offset, size) = self.place(name)?;
        Ok(Box::new(self.section(offset, size)))
    }

    pub(super) fn section(&self, offset: u64, size: u64) -> Section<Arc<File>> {
        Section::new(Arc::clone(&self.file), offset, size)
    }

    /// The content of a document.
    pub(super) fn read(&self, name: &str) -> Result<Vec<u8>> {
        let (offset, size) = self.place(name)?;
        let what = format!("{name} of {}", self.path.display());
        if size > DOCUMENT_LIMIT {
            return Err(Error::damaged(
                what,
                format!("it has more than {DOCUMENT_LIMIT} bytes"),
            ));
        }
        let mut bytes = Vec::new();
        self.section(offset, size)
            .read_to_end(&mut bytes)
            .map_err(Error::io("cannot read", &self.path))?;
        Ok(bytes)
    }

    /// Offset and size of an entry, through one link at most.
    pub(super) fn place(&self, name: &str) -> Result<(u64, u64)> {
        let missing = || Error::NotFound {
            what: name.to_owned(),
            place: self.path.display().to_string(),
            hint: String::new(),
        };
        let content = |name: &str| match self.entries.get(name) {
            Some(Place::Content { offset, size }) => Some((*offset, *size)),
            _ => None,
        };
        match self.entries.get(name) {
            Some(Place::Link(target)) => content(target).ok_or_else(missing),
            _ => content(name).ok_or_else(missing),
        }
    }
}

fn refuse_compressed(path: &Path, file: &mut File) -> Result<()> {
    let mut start = Vec::new();
    let read = file.by_ref().take(6).read_to_end(&mut start);
    read.map_err(Error::io("cannot read", path))?;
    file.seek(SeekFrom::Start(0))
        .map_err(Error::io("cannot read", path))?;
    let tool = match Format::of_bytes(&start) {
        Format::None => return Ok(()),
        Format::Gzip => "gunzip",
        Format::Zstd => "unzstd",
        Format::Xz => "unxz",
    };
    Err(Error::Unsupported {
        what: path.display().to_string(),
        problem: format!("the archive is compressed; run {tool} on it first"),
    })
}

/// The path of a relative link's target; `..` at the top stays at the top.
fn beside(name: &str, target: &str) -> String {
    let mut parts: Vec<&str> = name.split('/').collect();
    parts.pop();
    for component in target.split('/') {
        match component {
            "" | "." => {}
            ".." => drop(parts.pop()),
            other => parts.push(other),
        }
    }
    parts.join("/")
}
