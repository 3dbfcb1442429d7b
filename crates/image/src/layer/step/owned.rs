//! The owner, mode and extended attributes of an entry in a step's layer.

use std::collections::BTreeMap;

use super::unpack::SET_ID;
use crate::files::File;
use crate::layer::tree::{Body, Node, Standing};

/// The attributes of a path. An existing path keeps its owner, and a new one belongs to root.
pub(super) struct Owned {
    mode: u32,
    uid: u32,
    gid: u32,
    xattrs: BTreeMap<String, Vec<u8>>,
}

impl Owned {
    /// Returns the attributes of an unchanged path, by its file below.
    pub(super) fn of(file: Option<&File>) -> Owned {
        let number = |id: u64| u32::try_from(id).unwrap_or(0);
        Owned {
            mode: file.map_or(0o755, |file| file.mode),
            uid: file.map_or(0, |file| number(file.uid)),
            gid: file.map_or(0, |file| number(file.gid)),
            xattrs: file.map(|file| file.xattrs.clone()).unwrap_or_default(),
        }
    }

    /// Returns the attributes of a changed path. `is_the_same` says that the file below has the
    /// same kind and content: only then do set-id bits and extended attributes stay, because a
    /// write removes both, and another file never had them. `loses_set_id` says that the command
    /// took the bits away.
    pub(super) fn after(
        file: Option<&File>,
        mode: u32,
        is_the_same: bool,
        loses_set_id: bool,
    ) -> Owned {
        let before = Owned::of(file);
        match file {
            Some(_) if is_the_same && loses_set_id => Owned { mode, ..before },
            Some(file) if is_the_same => Owned {
                mode: mode | file.mode & SET_ID,
                ..before
            },
            _ => Owned {
                mode,
                xattrs: BTreeMap::new(),
                ..before
            },
        }
    }

    pub(super) fn node(self, body: Body, origin: &str) -> Node {
        Node {
            body,
            mode: self.mode,
            uid: self.uid,
            gid: self.gid,
            xattrs: self.xattrs,
            origin: origin.into(),
            standing: Standing::Copied,
            supersedes: false,
        }
    }
}
