//! A tar file whose entries are found by name. The file is walked once, and contents stay in place.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::compression::CompressionFormat;
use crate::limits::refuse_hole;
use crate::stored::Section;
use crate::tar::{self, Kind};
use crate::{Budget, Error, Result, Stored};

/// The memory that an entry takes besides its name.
const ENTRY: u64 = 200;

#[derive(Debug)]
pub(super) struct Tarball {
    path: PathBuf,
    file: Arc<File>,
    entries: BTreeMap<String, Place>,
}

/// The place of an entry's content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    Content {
        offset: u64,
        size: u64,
    },
    /// A link: docker writes equal layers once and links to them.
    Link(String),
}

impl Tarball {
    pub(super) fn open(path: &Path, file: File, budget: &Arc<Budget>) -> Result<Tarball> {
        let metadata = file.metadata().map_err(Error::io("look at", path))?;
        refuse_hole(&path.display().to_string(), &metadata)?;
        refuse_compressed(path, &file)?;
        let length = metadata.len();
        let mut tarball = Tarball {
            path: path.to_owned(),
            file: Arc::new(file),
            entries: BTreeMap::new(),
        };
        tarball.walk(length, budget)?;
        Ok(tarball)
    }

    fn walk(&mut self, length: u64, budget: &Arc<Budget>) -> Result<()> {
        let what = self.path.display().to_string();
        let damaged = |problem: String| Error::damaged(&what, problem);
        let file = Section::new(Arc::clone(&self.file), 0, length);
        let mut reader = tar::Reader::within(file, budget);
        loop {
            let entry = reader
                .next_entry()
                .map_err(|error| damaged(error.to_string()))?;
            let Some(entry) = entry else { break };
            reader.seek_past_content();
            let name = clean(&entry).map_err(damaged)?;
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
            let texts = name.len() + entry.link.len();
            budget.keep(&what, texts as u64 + ENTRY)?;
            let previous = self.entries.insert(name.clone(), place);
            if previous.is_some_and(|previous| self.entries.get(&name) != Some(&previous)) {
                return Err(damaged(format!("it has two entries named {name}")));
            }
        }
        self.refuse_linked_directories().map_err(damaged)
    }

    /// Refuses entries below a link: whoever unpacks the archive finds them at another path.
    fn refuse_linked_directories(&self) -> std::result::Result<(), String> {
        let is_link = |path: &str| matches!(self.entries.get(path), Some(Place::Link(_)));
        for name in self.entries.keys() {
            let mut ends = name.match_indices('/').map(|(end, _)| &name[..end]);
            if let Some(link) = ends.find(|above| is_link(above)) {
                return Err(format!("its entry {name:?} lies below the link {link:?}"));
            }
        }
        Ok(())
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

    /// Reads the content of a document.
    pub(super) fn read(&self, name: &str, budget: &Budget) -> Result<Vec<u8>> {
        let content = self.find(name)?;
        budget.document_size(
            &format!("{name} of {}", self.path.display()),
            content.size(),
        )?;
        let mut bytes = Vec::new();
        let read = content.reader().read_to_end(&mut bytes);
        read.map_err(Error::io("read", &self.path))?;
        Ok(bytes)
    }

    /// Returns the content of an entry.
    pub(super) fn find(&self, name: &str) -> Result<Stored> {
        self.entry(name).ok_or_else(|| Error::NotFound {
            what: name.to_owned(),
            place: self.path.display().to_string(),
            hint: String::new(),
        })
    }

    /// Returns the content of an entry, if the entry exists. Follows one link at most.
    pub(super) fn entry(&self, name: &str) -> Option<Stored> {
        let place = match self.entries.get(name)? {
            Place::Link(target) => self.entries.get(target)?,
            place => place,
        };
        match *place {
            Place::Content { offset, size } => {
                Some(Stored::part(Arc::clone(&self.file), offset, size))
            }
            Place::Link(_) => None,
        }
    }
}

/// Returns the name of an entry. A leading `./` is no part of it.
///
/// Refuses a name with another spelling for the same file, since readers disagree about it.
fn clean(entry: &tar::Entry) -> std::result::Result<String, String> {
    let full = String::from_utf8_lossy(&entry.path);
    let name = full.trim_start_matches("./");
    let is_directory = entry.kind == Kind::Directory;
    let parts = match name.strip_suffix('/') {
        Some(parts) if is_directory => parts,
        _ => name,
    };
    let is_whole = is_directory && matches!(parts, "" | ".");
    let is_odd = |part: &str| matches!(part, "" | "." | "..");
    if !is_whole && parts.split('/').any(is_odd) {
        return Err(format!(
            "its entry {full:?} has no plain name; programs disagree about such names"
        ));
    }
    Ok(name.to_owned())
}

fn refuse_compressed(path: &Path, file: &File) -> Result<()> {
    let mut start = Vec::new();
    let read = Section::new(file, 0, 6).read_to_end(&mut start);
    read.map_err(Error::io("read", path))?;
    let tool = match CompressionFormat::of_bytes(&start) {
        CompressionFormat::None => return Ok(()),
        CompressionFormat::Gzip => "gunzip",
        CompressionFormat::Zstd => "unzstd",
        CompressionFormat::Xz => "unxz",
    };
    Err(Error::Unsupported {
        what: path.display().to_string(),
        problem: format!("the archive is compressed; run {tool} on it first"),
    })
}

/// Returns the path of a relative link's target. `..` at the top stays at the top.
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
