//! The changes of a step: a comparison of the files on the disk with the list of the earlier files.

mod insert;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, Metadata};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::PathBuf;

use crateyard_oci::Digest;

use super::below::Below;
use super::disk::{name_of, open_up, read, refuse_attributes};
use super::fate::{self, Fate};
use super::unpack::{MODE, Root, SET_ID, State};
use super::{OWN, OWN_IF_THERE, shown};
use crate::files::{File, FileKind};
use crate::{Error, Result};

/// The number of paths that a message names.
const NAMED: usize = 5;

/// All changes, by path without leading slash.
pub(super) struct Changes {
    root: PathBuf,
    all: BTreeMap<String, Change>,
}

/// The new state of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Change {
    kind: Kind,
    mode: u32,
    /// Whether the command took away the set-id bits of the file below.
    loses_set_id: bool,
    /// The path of the file below that gives the owner, if it is another name of this file.
    like: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Kind {
    Removed,
    Directory,
    Symlink(String),
    /// Another name of a file that comes earlier in the order of paths.
    HardLink(String),
    File {
        digest: Digest,
        length: u64,
    },
}

/// Compares the files of a root with those below.
pub(super) fn find(below: &Below, root: &Root) -> Result<Changes> {
    let mut finder = Finder {
        below,
        root,
        seen: BTreeSet::new(),
        inodes: BTreeMap::new(),
        all: BTreeMap::new(),
    };
    finder.directory("")?;
    finder.add_removed();
    finder.drop_empty_caches();
    finder.join_hard_links();
    Ok(Changes {
        root: root.path.clone(),
        all: finder.all,
    })
}

struct Finder<'a> {
    below: &'a Below,
    root: &'a Root,
    /// All existing paths.
    seen: BTreeSet<String>,
    /// The files with several names, by device and inode.
    inodes: BTreeMap<(u64, u64), Inode>,
    all: BTreeMap<String, Change>,
}

/// A file with several names.
struct Inode {
    /// The mode that the command left. Reading by the first name may alter the one on the disk.
    mode: u32,
    /// The state that the command left.
    state: State,
    /// The changed names, which the layer has.
    changed: Vec<String>,
    /// The first unchanged name.
    unchanged: Option<String>,
}

impl Finder<'_> {
    fn directory(&mut self, path: &str) -> Result<()> {
        let place = self.root.path.join(path);
        let mut names = Vec::new();
        for entry in fs::read_dir(&place).map_err(Error::io("list", &place))? {
            let entry = entry.map_err(Error::io("list", &place))?;
            names.push(name_of(path, entry.file_name())?);
        }
        names.sort();
        for name in names {
            let slash = if path.is_empty() { "" } else { "/" };
            self.entry(format!("{path}{slash}{name}"))?;
        }
        Ok(())
    }

    fn entry(&mut self, path: String) -> Result<()> {
        self.seen.insert(path.clone());
        if is_own(&path) {
            return Ok(());
        }
        let place = self.root.path.join(&path);
        let metadata = fs::symlink_metadata(&place).map_err(Error::io("read", &place))?;
        let kind = metadata.file_type();
        refuse_attributes(&path, &place)?;
        if kind.is_dir() {
            return self.found_directory(path, &metadata);
        }
        if kind.is_symlink() {
            return self.found_symlink(path);
        }
        if kind.is_file() {
            return self.found_file(path, &metadata);
        }
        let what = match () {
            () if kind.is_socket() => "a socket: let the command remove it",
            () if kind.is_fifo() => "a named pipe: let the program make it when it starts",
            () => "a device: engines make those that a container has",
        };
        self.is_kept(&path, fate::of_special(&path, what)).map(drop)
    }

    fn found_directory(&mut self, path: String, metadata: &Metadata) -> Result<()> {
        let place = self.root.path.join(&path);
        let mode = metadata.mode();
        // From here on, the directory may be read, emptied and removed.
        open_up(&place, mode, 0o700)?;
        let mut loses_set_id = false;
        let was_there = match self.below.listing.get(&path) {
            Some(file) if file.kind == FileKind::Directory && has_mode(file, mode) => {
                loses_set_id = self.loses_set_id(&path, State::of(metadata));
                !loses_set_id
            }
            Some(_) => false,
            None => self.root.implied.contains(&path),
        };
        if !was_there && self.is_kept(&path, fate::of_other(&path))? {
            let change = self.add(path.clone(), Kind::Directory, mode);
            change.loses_set_id = loses_set_id;
        }
        self.directory(&path)
    }

    fn found_symlink(&mut self, path: String) -> Result<()> {
        let place = self.root.path.join(&path);
        let target = fs::read_link(&place).map_err(Error::io("read", &place))?;
        let target = target.into_os_string().into_string().map_err(|target| {
            let problem = format!("the link to {target:?} is not UTF-8");
            Error::spec(format!("/{path}"), problem, "give the target another name")
        })?;
        let file = self.below.listing.get(&path);
        let was_there = file.is_some_and(|file| {
            file.kind == FileKind::Symlink && file.target.as_ref() == Some(&target)
        });
        if !was_there && self.is_kept(&path, fate::of_other(&path))? {
            self.add(path, Kind::Symlink(target), 0o777);
        }
        Ok(())
    }

    fn found_file(&mut self, path: String, metadata: &Metadata) -> Result<()> {
        let place = self.root.path.join(&path);
        let length = metadata.len();
        let inode = (metadata.nlink() > 1).then(|| (metadata.dev(), metadata.ino()));
        let (mode, state) = match inode {
            Some(inode) => {
                let inode = self.inode(inode, metadata);
                (inode.mode, inode.state)
            }
            None => (metadata.mode(), State::of(metadata)),
        };
        open_up(&place, mode, 0o400)?;
        let (head, digest) = read(&place)?;
        let looks_the_same = self
            .file_below(&path)
            .is_some_and(|file| has_mode(file, mode) && file.digest.as_ref() == Some(&digest));
        let loses_set_id = looks_the_same && self.loses_set_id(&path, state);
        if looks_the_same && !loses_set_id {
            if let Some(inode) = inode {
                self.inode(inode, metadata).unchanged.get_or_insert(path);
            }
        } else if self.is_kept(&path, fate::of_file(&path, length, &head))? {
            if let Some(inode) = inode {
                self.inode(inode, metadata).changed.push(path.clone());
            }
            let change = self.add(path, Kind::File { digest, length }, mode);
            change.loses_set_id = loses_set_id;
        }
        Ok(())
    }

    /// Returns a file with several names. `metadata` is about it if this is the first name.
    fn inode(&mut self, inode: (u64, u64), metadata: &Metadata) -> &mut Inode {
        self.inodes.entry(inode).or_insert_with(|| Inode {
            mode: metadata.mode(),
            state: State::of(metadata),
            changed: Vec::new(),
            unchanged: None,
        })
    }

    /// Whether the command took away the set-id bits of a file that has the same mode otherwise.
    ///
    /// The command did not see the bits. If it set a mode or an owner and no other bit differs, the
    /// bits were meant: chmod(2) gave the file a mode without them, and chown(2) removes them.
    fn loses_set_id(&self, path: &str, state: State) -> bool {
        let before = self.root.set_id.get(path);
        before.is_some_and(|before| state.is_set_since(*before))
    }

    fn file_below(&self, path: &str) -> Option<&File> {
        let file = self.below.listing.get(path)?;
        matches!(file.kind, FileKind::File | FileKind::HardLink).then_some(file)
    }

    fn add(&mut self, path: String, kind: Kind, mode: u32) -> &mut Change {
        let change = Change {
            kind,
            mode: mode & 0o7777,
            loses_set_id: false,
            like: None,
        };
        self.all.entry(path).or_insert(change)
    }

    fn is_kept(&self, path: &str, fate: Fate) -> Result<bool> {
        match fate {
            Fate::Kept => Ok(true),
            Fate::LeftOut => Ok(false),
            Fate::Refused(what) => {
                let (what, remedy) = what.split_once(": ").unwrap_or((what, "leave it out"));
                Err(Error::spec(
                    format!("/{path}"),
                    format!("it is {what}"),
                    remedy,
                ))
            }
        }
    }

    /// Adds the topmost removed paths: everything below goes with them.
    fn add_removed(&mut self) {
        for (path, file) in self.below.listing.files() {
            let is_special = !matches!(
                file.kind,
                FileKind::File | FileKind::HardLink | FileKind::Symlink | FileKind::Directory
            );
            if self.seen.contains(path) || is_special || is_own(path) {
                continue;
            }
            let is_gone = |above: &str| {
                let change = self.all.get(above);
                change.is_some_and(|change| change.kind != Kind::Directory)
            };
            if !ancestors(path).any(is_gone) {
                let change = Change {
                    kind: Kind::Removed,
                    mode: 0o644,
                    loses_set_id: false,
                    like: None,
                };
                self.all.insert(path.to_owned(), change);
            }
        }
    }

    /// Drops Python's cache directories if nothing in them was kept.
    fn drop_empty_caches(&mut self) {
        let is_cache = |path: &&String| path.ends_with("/__pycache__");
        let caches: Vec<String> = self.all.keys().filter(is_cache).cloned().collect();
        for path in caches {
            let below = format!("{path}/");
            let next = self.all.range(below.clone()..).next();
            let has_files = next.is_some_and(|(next, _)| next.starts_with(&below));
            if !has_files && self.all[&path].kind == Kind::Directory {
                self.all.remove(&path);
            }
        }
    }

    /// Makes hard links of all names but the first. The first gets the owner of a name that was
    /// there, if there is one: an unchanged name, or else the first of the changed ones.
    fn join_hard_links(&mut self) {
        for inode in std::mem::take(&mut self.inodes).into_values() {
            let mut paths = inode.changed;
            paths.sort();
            let was_there = |path: &&String| self.file_below(path).is_some();
            let like = inode.unchanged;
            let like = like.or_else(|| paths.iter().find(was_there).cloned());
            let Some((first, others)) = paths.split_first() else {
                continue;
            };
            if let Some(change) = self.all.get_mut(first) {
                change.like = like;
            }
            for other in others {
                if let Some(change) = self.all.get_mut(other) {
                    change.kind = Kind::HardLink(first.clone());
                }
            }
        }
    }
}

/// Checks that two runs made the same changes.
///
/// # Errors
/// Names paths whose content, kind or mode differs.
pub(super) fn require_same(run: &[String], first: &Changes, second: &Changes) -> Result<()> {
    let paths: BTreeSet<&String> = first.all.keys().chain(second.all.keys()).collect();
    let differ = |path: &&String| first.all.get(*path) != second.all.get(*path);
    let different: Vec<String> = paths
        .into_iter()
        .filter(differ)
        .map(|path| format!("/{}", crateyard_text::clean(path)))
        .collect();
    if different.is_empty() {
        return Ok(());
    }
    let named = different[..different.len().min(NAMED)].join(", ");
    let more = match different.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    Err(Error::spec(
        format!("step {}", shown(run)),
        format!("it was run twice, and these differ: {named}{more}"),
        "the time, chance or the order of processes got into them: let the command take the time \
         from SOURCE_DATE_EPOCH, or remove these files at its end",
    ))
}

/// Whether a file on the disk has the mode of one below, whose set-id bits it lacks.
fn has_mode(file: &File, mode: u32) -> bool {
    (file.mode ^ mode) & MODE == 0 && mode & SET_ID == 0
}

/// Returns the parents of a path, from the top.
fn ancestors(path: &str) -> impl Iterator<Item = &str> {
    path.match_indices('/').map(|(slash, _)| &path[..slash])
}

/// Whether a path is one of the command's own directories or lies in one.
fn is_own(path: &str) -> bool {
    OWN.iter().chain(&OWN_IF_THERE).any(|own| {
        path.strip_prefix(own)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    })
}
