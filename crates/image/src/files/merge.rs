//! Applying one layer to what the layers below it give.

use std::collections::BTreeMap;

use super::{File, FileKind};
use crate::packages::Crate;

const WHITEOUT: &[u8] = b".wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";
/// Other names that start so belong to the storage driver that wrote the layer.
const RESERVED: &[u8] = b".wh..wh.";

/// What the path of an entry means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Name {
    /// The root directory.
    Root,
    /// A file, by its path without leading slash.
    Path(String),
    /// The path is gone, with all below it.
    Whiteout(String),
    /// What lower layers have in the directory is gone.
    Opaque(String),
}

impl Name {
    /// Normalizes a path: a leading slash, `./` and a trailing slash go, `..` is an error.
    pub(crate) fn of(path: &[u8]) -> Result<Name, String> {
        let shown = || String::from_utf8_lossy(&path[..path.len().min(300)]).into_owned();
        let mut components = Vec::new();
        for component in path.split(|&byte| byte == b'/') {
            match component {
                b"" | b"." => {}
                b".." => return Err(format!("the path {:?} leads upwards", shown())),
                _ if component.contains(&0) => {
                    return Err(format!("the path {:?} has a zero byte", shown()));
                }
                _ => components.push(component),
            }
        }
        let Some((&last, parents)) = components.split_last() else {
            return Ok(Name::Root);
        };
        if parents.iter().any(|parent| parent.starts_with(WHITEOUT)) {
            return Err(format!("the path {:?} lies below a deletion", shown()));
        }
        let text = |parts: &[&[u8]]| String::from_utf8_lossy(&parts.join(&b'/')).into_owned();
        if last == OPAQUE {
            return Ok(Name::Opaque(text(parents)));
        }
        if last.starts_with(RESERVED) {
            return Err(format!("the path {:?} is of a storage driver", shown()));
        }
        match last.strip_prefix(WHITEOUT) {
            Some(b"" | b"." | b"..") => Err(format!("the path {:?} deletes nothing", shown())),
            Some(deleted) => Ok(Name::Whiteout(text(&[parents, &[deleted]].concat()))),
            None => Ok(Name::Path(text(&components))),
        }
    }

    pub(crate) fn into_path(self) -> Option<String> {
        match self {
            Name::Path(path) => Some(path),
            _ => None,
        }
    }

    pub(super) fn len(&self) -> usize {
        match self {
            Name::Root => 0,
            Name::Path(path) | Name::Whiteout(path) | Name::Opaque(path) => path.len(),
        }
    }
}

/// What one layer says.
#[derive(Debug, Default)]
pub(super) struct LayerView {
    files: BTreeMap<String, File>,
    pub(super) kept: BTreeMap<String, Vec<u8>>,
    pub(super) crates: BTreeMap<String, Vec<Crate>>,
    gone: Vec<String>,
    emptied: Vec<String>,
}

impl LayerView {
    /// Notes one entry; a later one for the same path counts.
    pub(super) fn add(&mut self, name: Name, file: File) {
        match name {
            Name::Root => {}
            Name::Whiteout(path) => self.gone.push(path),
            Name::Opaque(path) => self.emptied.push(path),
            Name::Path(path) => {
                self.files.insert(path, file);
            }
        }
    }
}

/// What the layers so far give.
#[derive(Debug, Default)]
pub(super) struct Merged {
    pub(super) files: BTreeMap<String, File>,
    /// The content of files that somebody asks for later.
    pub(super) kept: BTreeMap<String, Vec<u8>>,
    pub(super) crates: BTreeMap<String, Vec<Crate>>,
}

impl Merged {
    /// Puts a layer over the files so far.
    pub(super) fn apply(&mut self, view: LayerView) {
        for path in &view.gone {
            self.remove(path);
            self.remove_below(path);
        }
        for path in &view.emptied {
            self.remove_below(path);
        }
        let mut links = Vec::new();
        for (path, file) in view.files {
            if file.kind != FileKind::Directory {
                // Nothing can be below it any more.
                self.remove_below(&path);
            }
            if file.kind == FileKind::HardLink {
                links.push(path.clone());
            }
            self.remove(&path);
            self.files.insert(path, file);
        }
        self.kept.extend(view.kept);
        self.crates.extend(view.crates);
        for path in links {
            self.settle_hard_link(&path);
        }
    }

    fn remove(&mut self, path: &str) {
        self.files.remove(path);
        self.kept.remove(path);
        self.crates.remove(path);
    }

    fn remove_below(&mut self, path: &str) {
        let prefix = format!("{path}/");
        let below = |(name, _): (&String, &File)| name.starts_with(&prefix).then(|| name.clone());
        while let Some(name) = self.files.range(prefix.clone()..).next().and_then(below) {
            self.remove(&name);
        }
    }

    /// A hard link has the attributes and content of the file that it names.
    fn settle_hard_link(&mut self, path: &str) {
        let target = self.files.get(path).and_then(|link| link.target.as_ref());
        let Some(target) = target.and_then(|target| self.files.get(target)).cloned() else {
            return;
        };
        if let Some(link) = self.files.get_mut(path) {
            link.size = target.size;
            link.mode = target.mode;
            link.uid = target.uid;
            link.gid = target.gid;
            link.xattrs = target.xattrs;
            link.digest = target.digest;
            link.content = target.content;
        }
    }
}
