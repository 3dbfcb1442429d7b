//! One file of an image.

use std::collections::BTreeMap;

use crateyard_oci::Digest;
use crateyard_oci::tar::Kind;
use crateyard_spec::{CAPABILITY_ATTRIBUTE, Capabilities, base64_values};
use serde::{Serialize, Serializer};

use crate::spec::Mode;

/// The kind of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum FileKind {
    /// A regular file.
    File,
    /// Another name of a regular file.
    HardLink,
    /// A symbolic link.
    Symlink,
    /// A directory.
    Directory,
    /// A character device.
    CharacterDevice,
    /// A block device.
    BlockDevice,
    /// A named pipe.
    Fifo,
}

impl FileKind {
    /// Returns the letter that `ls -l` shows.
    pub fn letter(self) -> char {
        match self {
            FileKind::File | FileKind::HardLink => '-',
            FileKind::Symlink => 'l',
            FileKind::Directory => 'd',
            FileKind::CharacterDevice => 'c',
            FileKind::BlockDevice => 'b',
            FileKind::Fifo => 'p',
        }
    }

    pub(super) fn of(kind: Kind) -> Option<FileKind> {
        Some(match kind {
            Kind::File => FileKind::File,
            Kind::HardLink => FileKind::HardLink,
            Kind::Symlink => FileKind::Symlink,
            Kind::CharacterDevice => FileKind::CharacterDevice,
            Kind::BlockDevice => FileKind::BlockDevice,
            Kind::Directory => FileKind::Directory,
            Kind::Fifo => FileKind::Fifo,
            Kind::Other(_) => return None,
        })
    }
}

/// One file of an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct File {
    /// The kind of the file.
    pub kind: FileKind,
    /// Permission bits.
    #[serde(serialize_with = "octal")]
    pub mode: u32,
    /// The owner's number.
    pub uid: u64,
    /// The group's number.
    pub gid: u64,
    /// The length of the content in bytes. A hard link has the length of the file that it names.
    pub size: u64,
    /// Seconds since 1970.
    pub mtime: u64,
    /// The target of a link. For a hard link, the path of the file.
    pub target: Option<String>,
    /// Extended attributes.
    #[serde(serialize_with = "base64_values::serialize")]
    pub xattrs: BTreeMap<String, Vec<u8>>,
    /// The number of the file's layer, counted from 0, the lowest.
    pub layer: usize,
    /// The digest of the content, if [`Options::hash`] asked for it.
    pub digest: Option<Digest>,
    /// The place of the content: the layer and the entry in it, both counted from 0.
    #[serde(skip)]
    pub(super) content: (usize, usize),
}

impl File {
    /// Returns the file's capabilities, if it has any that can be read.
    pub fn capabilities(&self) -> Option<Capabilities> {
        Capabilities::read(self.xattrs.get(CAPABILITY_ATTRIBUTE)?)
    }

    /// Formats kind and permissions as `ls -l` does, such as `-rwsr-xr-x`.
    pub fn long_mode(&self) -> String {
        let mut text = String::from(self.kind.letter());
        for (shift, special, set, unset) in [
            (6, 0o4000, 's', 'S'),
            (3, 0o2000, 's', 'S'),
            (0, 0o1000, 't', 'T'),
        ] {
            let bits = self.mode >> shift;
            let executable = bits & 1 != 0;
            text.push(if bits & 4 != 0 { 'r' } else { '-' });
            text.push(if bits & 2 != 0 { 'w' } else { '-' });
            text.push(match (self.mode & special != 0, executable) {
                (true, true) => set,
                (true, false) => unset,
                (false, true) => 'x',
                (false, false) => '-',
            });
        }
        text
    }
}

fn octal<S: Serializer>(mode: &u32, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&Mode(*mode))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_shown_as_ls_shows_them() {
        for (kind, mode, shown) in [
            (FileKind::File, 0o640, "-rw-r-----"),
            (FileKind::File, 0o4755, "-rwsr-xr-x"),
            (FileKind::File, 0o6644, "-rwSr-Sr--"),
            (FileKind::Directory, 0o1777, "drwxrwxrwt"),
            (FileKind::Directory, 0o1776, "drwxrwxrwT"),
            (FileKind::Symlink, 0o777, "lrwxrwxrwx"),
        ] {
            let file = File {
                kind,
                mode,
                uid: 0,
                gid: 0,
                size: 0,
                mtime: 0,
                target: None,
                xattrs: BTreeMap::new(),
                layer: 0,
                digest: None,
                content: (0, 0),
            };
            assert_eq!(file.long_mode(), shown);
        }
    }
}
