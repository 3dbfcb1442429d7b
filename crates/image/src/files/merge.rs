//! Applies a layer to the files of the layers below it.

use std::collections::BTreeMap;

use crateyard_oci::{Budget, Result};

use super::{File, FileKind, size_of_xattrs};
use crate::packages::Crate;

const WHITEOUT: &[u8] = b".wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";
/// Other names with this start belong to the storage driver that wrote the layer.
const RESERVED: &[u8] = b".wh..wh.";

/// The name of the merged files in messages.
const LIST: &str = "the list of files";
/// The largest number of a path's parts: each part costs a look-up for each entry.
const PARTS: usize = 256;

/// The meaning of an entry's path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Name {
    /// The root directory.
    Root,
    /// A file, by its path without leading slash.
    Path(String),
    /// The path is gone, with everything below it.
    Whiteout(String),
    /// The contents that lower layers have in the directory are gone.
    Opaque(String),
    /// A leftover of a storage driver (aufs) in the layer, which is not a file of the image.
    Leftover,
}

impl Name {
    /// Normalizes a path: removes a leading slash, `./` and a trailing slash. `..` is an error.
    pub(crate) fn of(path: &[u8]) -> std::result::Result<Name, String> {
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
        if components.len() > PARTS {
            return Err(format!(
                "the path {:?} has more than {PARTS} parts",
                shown()
            ));
        }
        let is_leftover = |part: &&[u8]| part.starts_with(RESERVED) && *part != OPAQUE;
        if components.iter().any(is_leftover) {
            return Ok(Name::Leftover);
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
            Name::Root | Name::Leftover => 0,
            Name::Path(path) | Name::Whiteout(path) | Name::Opaque(path) => path.len(),
        }
    }
}

/// The entries of one layer.
#[derive(Debug, Default)]
pub(super) struct LayerView {
    files: BTreeMap<String, File>,
    pub(super) kept: BTreeMap<String, Vec<u8>>,
    pub(super) crates: BTreeMap<String, Vec<Crate>>,
    gone: Vec<String>,
    emptied: Vec<String>,
}

impl LayerView {
    /// Notes one entry. A later entry for the same path replaces it.
    pub(super) fn add(&mut self, name: Name, file: File) {
        match name {
            Name::Root | Name::Leftover => {}
            Name::Whiteout(path) => self.gone.push(path),
            Name::Opaque(path) => self.emptied.push(path),
            Name::Path(path) => {
                self.files.insert(path, file);
            }
        }
    }
}

/// The merged files of the layers so far.
#[derive(Debug, Default)]
pub(super) struct Merged {
    pub(super) files: BTreeMap<String, File>,
    /// The content of files that is needed later.
    pub(super) kept: BTreeMap<String, Vec<u8>>,
    pub(super) crates: BTreeMap<String, Vec<Crate>>,
}

impl Merged {
    /// Puts a layer over the files so far. The budget pays for what links add to a layer: the
    /// attributes of hard links, the way that symbolic links lead, and longer paths.
    pub(super) fn apply(&mut self, mut view: LayerView, budget: &Budget) -> Result<()> {
        for path in &view.gone {
            let path = self.real(path, budget)?;
            self.remove(&path);
            self.remove_below(&path);
        }
        for path in &view.emptied {
            let inside = self.real(&format!("{path}/x"), budget)?;
            self.remove_below(inside.strip_suffix("/x").unwrap_or_default());
        }
        let mut links = Vec::new();
        for (listed, mut file) in view.files {
            let path = self.real(&listed, budget)?;
            if file.kind != FileKind::Directory {
                // Nothing can be below the path any more.
                self.remove_below(&path);
            }
            if file.kind == FileKind::HardLink {
                let target = file.target.map(|target| self.real(&target, budget));
                file.target = target.transpose()?;
                links.push(path.clone());
            }
            self.remove(&path);
            if let Some(bytes) = view.kept.remove(&listed) {
                self.kept.insert(path.clone(), bytes);
            }
            if let Some(crates) = view.crates.remove(&listed) {
                self.crates.insert(path.clone(), crates);
            }
            self.files.insert(path, file);
        }
        for path in links {
            self.settle_hard_link(&path, budget)?;
        }
        Ok(())
    }

    /// Returns the real place of a path. A directory in it may be a link of a lower layer, through
    /// which old tools packed files. Links that lead nowhere, or in circles, stay as they are.
    fn real(&self, path: &str, budget: &Budget) -> Result<String> {
        let mut so_far = String::new();
        let mut rest: Vec<&str> = path.rsplit('/').collect();
        let mut followed = 0;
        while let Some(part) = rest.pop() {
            let parent = so_far.len();
            match part {
                "" | "." => continue,
                ".." => {
                    so_far.truncate(so_far.rfind('/').unwrap_or(0));
                    continue;
                }
                _ => {}
            }
            if !so_far.is_empty() {
                so_far.push('/');
            }
            so_far.push_str(part);
            if rest.is_empty() {
                let more = so_far.len().saturating_sub(path.len());
                budget.keep(LIST, more as u64)?;
                return Ok(so_far);
            }
            let link = self.files.get(&so_far);
            let link = link.filter(|file| file.kind == FileKind::Symlink);
            let Some(target) = link.and_then(|file| file.target.as_deref()) else {
                continue;
            };
            followed += 1;
            if followed > super::MAX_LINKS {
                return Ok(path.to_owned());
            }
            so_far.truncate(if target.starts_with('/') { 0 } else { parent });
            let steps = rest.len();
            rest.extend(target.rsplit('/'));
            budget.entries(LIST, (rest.len() - steps) as u64)?;
        }
        Ok(path.to_owned())
    }

    fn remove(&mut self, path: &str) {
        self.files.remove(path);
        self.kept.remove(path);
        self.crates.remove(path);
    }

    fn remove_below(&mut self, path: &str) {
        let prefix = match path {
            "" => String::new(),
            _ => format!("{path}/"),
        };
        let below = |(name, _): (&String, &File)| name.starts_with(&prefix).then(|| name.clone());
        while let Some(name) = self.files.range(prefix.clone()..).next().and_then(below) {
            self.remove(&name);
        }
    }

    /// Gives a hard link the attributes and content of the file that it names.
    fn settle_hard_link(&mut self, path: &str, budget: &Budget) -> Result<()> {
        let target = self.files.get(path).and_then(|link| link.target.as_ref());
        let Some(target) = target.and_then(|target| self.files.get(target)) else {
            return Ok(());
        };
        budget.keep(LIST, size_of_xattrs(&target.xattrs))?;
        let target = target.clone();
        if let Some(link) = self.files.get_mut(path) {
            link.size = target.size;
            link.mode = target.mode;
            link.uid = target.uid;
            link.gid = target.gid;
            link.xattrs = target.xattrs;
            link.digest = target.digest;
            link.content = target.content;
        }
        Ok(())
    }
}
