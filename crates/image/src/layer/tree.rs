//! The paths of a layer with their attributes and contents, sorted, and the rules for two sources
//! with the same path.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry as Slot;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use crateyard_oci::tar;

use super::elf;
use super::spool::Spool;
use crate::auditable::{HEADER, Patch};
use crate::spec::{EntryKind, EntryRecord, Mode, SPECIAL_DIRECTORIES};
use crate::{Error, Result};
use crateyard_oci::{Digest, DigestAlgorithm, digest::HashingReader};

/// The prefix that marks deletions in layers.
pub(crate) const WHITEOUT: &str = ".wh.";

/// The entry at one path.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) body: Body,
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) xattrs: BTreeMap<String, Vec<u8>>,
    pub(super) origin: Rc<str>,
    pub(super) standing: Standing,
    pub(super) supersedes: bool,
}

/// The rank of a source. If several sources give a directory's mode and owner, the greatest rank
/// wins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Standing {
    /// No source asked for the path, but something lies below it.
    Implied,
    /// Part of a copied directory.
    Copied,
    /// Part of a Debian package.
    Packaged,
    /// A source of its own.
    Declared,
}

#[derive(Debug, Clone)]
pub(super) enum Body {
    Directory,
    File(Content),
    Symlink(String),
    HardLink(String),
    /// The entries of lower layers at the path are gone. The node stands at the path of the marker.
    Whiteout,
}

/// The place of a file's bytes.
#[derive(Debug, Clone)]
pub(super) enum Content {
    Bytes(Vec<u8>),
    File {
        path: PathBuf,
        length: u64,
    },
    /// A program with the list of its crates.
    Patched {
        path: PathBuf,
        length: u64,
        patch: Rc<Patch>,
    },
    Spooled {
        offset: u64,
        length: u64,
    },
}

static NO_XATTRS: BTreeMap<String, Vec<u8>> = BTreeMap::new();

impl Node {
    /// Returns the header of the tar entry.
    pub(super) fn header<'a>(&'a self, path: &'a str, mtime: u64) -> tar::Header<'a> {
        let (kind, link) = match &self.body {
            Body::Directory => (tar::Kind::Directory, ""),
            Body::File(_) | Body::Whiteout => (tar::Kind::File, ""),
            Body::Symlink(target) => (tar::Kind::Symlink, target.as_str()),
            Body::HardLink(target) => (tar::Kind::HardLink, target.as_str()),
        };
        // A hard link has the attributes of the file that it names.
        let hard_link = matches!(self.body, Body::HardLink(_));
        tar::Header {
            path,
            kind,
            mode: self.mode,
            uid: u64::from(self.uid),
            gid: u64::from(self.gid),
            mtime,
            size: self.length(),
            link,
            xattrs: if hard_link { &NO_XATTRS } else { &self.xattrs },
        }
    }

    fn length(&self) -> u64 {
        match &self.body {
            Body::File(Content::Bytes(bytes)) => bytes.len() as u64,
            Body::File(
                Content::File { length, .. }
                | Content::Patched { length, .. }
                | Content::Spooled { length, .. },
            ) => *length,
            _ => 0,
        }
    }

    /// Returns the content of a file, or nothing for any other node.
    pub(super) fn reader<'a>(&'a self, spool: &'a Spool) -> Result<Box<dyn Read + 'a>> {
        Ok(match &self.body {
            Body::File(Content::Bytes(bytes)) => Box::new(&bytes[..]),
            Body::File(Content::Spooled { offset, length }) => {
                Box::new(BufReader::new(spool.section(*offset, *length)))
            }
            Body::File(Content::File { path, .. }) => Box::new(open(path, 0)?),
            Body::File(Content::Patched { path, patch, .. }) => {
                let rest = open(path, HEADER as u64)?;
                Box::new(patch.header.chain(rest).chain(&patch.tail[..]))
            }
            _ => Box::new(io::empty()),
        })
    }

    fn is_directory(&self) -> bool {
        matches!(self.body, Body::Directory)
    }

    fn attributes(&self) -> (u32, u32, u32) {
        (self.mode, self.uid, self.gid)
    }
}

/// Opens a file at an offset.
fn open(path: &Path, offset: u64) -> Result<impl Read + use<>> {
    let mut file = File::open(path).map_err(Error::io("open", path))?;
    file.seek(SeekFrom::Start(offset))
        .map_err(Error::io("read", path))?;
    Ok(BufReader::with_capacity(256 << 10, file))
}

/// All nodes by path, without leading slash.
#[derive(Debug, Default)]
pub(super) struct Tree {
    nodes: BTreeMap<String, Node>,
}

impl Tree {
    /// Returns the nodes in the order of their paths.
    pub(super) fn nodes(&self) -> &BTreeMap<String, Node> {
        &self.nodes
    }

    /// Puts a node at a path, or joins it with the node that is there.
    pub(super) fn insert(&mut self, path: String, node: Node) -> Result<()> {
        match self.nodes.entry(path) {
            Slot::Vacant(slot) => {
                slot.insert(node);
            }
            Slot::Occupied(mut slot) => {
                if replaces(slot.key(), slot.get(), &node)? {
                    slot.insert(node);
                }
            }
        }
        Ok(())
    }

    /// Adds missing parents and checks that all parents are directories.
    pub(super) fn complete(&mut self) -> Result<()> {
        let mut missing = BTreeMap::new();
        for (path, node) in &self.nodes {
            for (slash, _) in path.match_indices('/') {
                let parent = &path[..slash];
                match self.nodes.get(parent) {
                    Some(above) if above.is_directory() => {}
                    Some(above) => return Err(not_below(path, node, parent, above)),
                    None => {
                        missing
                            .entry(parent.to_owned())
                            .or_insert_with(|| implied(parent, &node.origin));
                    }
                }
            }
        }
        self.nodes.append(&mut missing);
        Ok(())
    }

    /// Returns the paths for [`super::ENTRIES`].
    pub(super) fn records(&self, spool: &Spool) -> Result<Vec<EntryRecord>> {
        let records = self.nodes.iter();
        records
            .map(|(path, node)| record(path, node, spool))
            .collect()
    }
}

/// Whether the new node at a path replaces the old one.
fn replaces(path: &str, old: &Node, new: &Node) -> Result<bool> {
    let conflict = || Error::Conflict {
        path: path.to_owned(),
        first: old.origin.to_string(),
        second: new.origin.to_string(),
        remedy: match (old.standing, new.standing) {
            (Standing::Packaged, _) | (_, Standing::Packaged) => {
                ", or leave it out of the package (exclude)".to_owned()
            }
            _ => String::new(),
        },
    };
    match (&old.body, &new.body) {
        (Body::Directory, Body::Directory) => {
            // Packages may disagree, because they come in a fixed order. No other sources may.
            let settled = old.standing != new.standing
                || old.standing == Standing::Packaged
                || old.attributes() == new.attributes();
            if !settled {
                return Err(conflict());
            }
            Ok(new.standing > old.standing
                || (new.standing == old.standing
                    && old.standing != Standing::Packaged
                    && new.origin < old.origin))
        }
        (Body::Symlink(one), Body::Symlink(other)) if one == other => {
            Ok((new.standing, &old.origin) > (old.standing, &new.origin))
        }
        _ => Err(conflict()),
    }
}

fn implied(path: &str, origin: &Rc<str>) -> Node {
    let special = SPECIAL_DIRECTORIES
        .iter()
        .find(|(special, _)| special.strip_prefix('/') == Some(path));
    Node {
        body: Body::Directory,
        mode: special.map_or(0o755, |(_, mode)| mode.0),
        uid: 0,
        gid: 0,
        xattrs: BTreeMap::new(),
        origin: Rc::clone(origin),
        standing: Standing::Implied,
        supersedes: false,
    }
}

fn not_below(path: &str, node: &Node, parent: &str, above: &Node) -> Error {
    match &above.body {
        Body::Symlink(target) => Error::spec(
            node.origin.to_string(),
            format!(
                "/{path} lies below /{parent}, which {} makes a symbolic link to {target}",
                above.origin
            ),
            "give the path as it is without the link",
        ),
        _ => Error::Conflict {
            path: parent.to_owned(),
            first: format!("{} (not as a directory)", above.origin),
            second: format!("{} (which puts /{path} below it)", node.origin),
            remedy: String::new(),
        },
    }
}

fn record(path: &str, node: &Node, spool: &Spool) -> Result<EntryRecord> {
    let (kind, target) = match &node.body {
        Body::Directory => (EntryKind::Directory, None),
        Body::File(_) => (EntryKind::File, None),
        Body::Symlink(target) => (EntryKind::Symlink, Some(target.clone())),
        Body::HardLink(target) => (EntryKind::HardLink, Some(target.clone())),
        Body::Whiteout => (EntryKind::Whiteout, None),
    };
    let program = program(node);
    let digest = match &program {
        Some(_) => Some(digest(node, spool)?),
        None => None,
    };
    let program = program.unwrap_or_default();
    Ok(EntryRecord {
        path: match &node.body {
            Body::Whiteout => unmarked(path),
            _ => path.to_owned(),
        },
        kind,
        mode: Mode(node.mode),
        uid: node.uid,
        gid: node.gid,
        target,
        libraries: program.libraries,
        compilers: program.compilers,
        digest,
        origin: node.origin.to_string(),
        implied: node.standing == Standing::Implied,
        supersedes: node.supersedes,
    })
}

/// Returns the path that a marker declares gone.
fn unmarked(marker: &str) -> String {
    let name = marker.rfind('/').map_or(0, |slash| slash + 1);
    let rest = marker.get(name + WHITEOUT.len()..).unwrap_or_default();
    format!("{}{rest}", &marker[..name])
}

/// Returns the digest of a file in its form in the layer.
fn digest(node: &Node, spool: &Spool) -> Result<Digest> {
    let mut reader = HashingReader::new(node.reader(spool)?, DigestAlgorithm::Sha256);
    io::copy(&mut reader, &mut io::sink()).map_err(Error::io("read", Path::new(&*node.origin)))?;
    let (_, digest, _) = reader.finish();
    Ok(digest)
}

/// Reads the facts of a program with a source of its own. A program in a copied directory may be
/// meant for another place than this image, and packages name their dependencies.
fn program(node: &Node) -> Option<elf::Program> {
    match (&node.body, node.standing) {
        (
            Body::File(Content::File { path, .. } | Content::Patched { path, .. }),
            Standing::Declared,
        ) => elf::program(path),
        _ => None,
    }
}

/// Checks a path of a specification and removes the leading slash. `/` itself becomes empty.
pub(super) fn image_path(at: &str, path: &str) -> Result<String> {
    let wrong = |problem: &str| {
        Error::spec(
            at,
            format!("{path:?} {problem}"),
            "write an absolute path in the image, such as /usr/bin/gateway",
        )
    };
    let relative = path
        .strip_prefix('/')
        .ok_or_else(|| wrong("is not an absolute path"))?;
    let relative = relative.strip_suffix('/').unwrap_or(relative);
    if relative.is_empty() {
        return Ok(String::new());
    }
    for component in relative.split('/') {
        check_component(component).map_err(&wrong)?;
    }
    Ok(relative.to_owned())
}

/// Checks that a name may be part of a path: it must name one thing in one directory.
pub(super) fn check_component(name: &str) -> Result<(), &'static str> {
    match name {
        "" => Err("has an empty component"),
        "." | ".." => Err("has a component that is . or .."),
        _ if name.contains('\0') => Err("has a zero byte"),
        _ if name.len() > 255 => Err("has a component of more than 255 bytes"),
        _ if name.starts_with(WHITEOUT) => {
            Err("has a component that starts with .wh., which image readers take for a deletion")
        }
        _ => Ok(()),
    }
}
