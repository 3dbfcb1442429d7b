//! Unpacks the files of an image to the disk, as far as one user can have them there.
//!
//! Owners, set-id bits, extended attributes and devices stay in the list of files alone: the
//! unpacking process has one user, and Nix forbids the rest to builders. A file that a step leaves
//! alone keeps them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, DirBuilder, Metadata, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::OWN;
use super::below::Below;
use crate::files::{File, FileKind};
use crate::{Error, Result};

/// The bits of a mode that a file on the disk has.
pub(super) const MODE: u32 = 0o1777;
/// The set-user-id and set-group-id bits, which a file on the disk lacks.
pub(super) const SET_ID: u32 = 0o6000;

/// A time in which the clock of file systems moves on. It ticks at least 100 times a second.
const TICK: Duration = Duration::from_millis(20);

/// The places where a command sees temporary directories, if they exist.
const TEMPORARY: [&str; 2] = ["tmp", "var/tmp"];

/// The unpacked files.
pub(super) struct Root {
    pub(super) path: PathBuf,
    /// The places where the command sees temporary directories.
    pub(super) temporary_places: Vec<String>,
    /// Directories that no layer names and that exist because of their contents.
    pub(super) implied: BTreeSet<String>,
    /// The states of the files and directories that have set-id bits in the layers below.
    pub(super) set_id: BTreeMap<String, State>,
}

/// The state of a file on the disk, which tells whether a command has set its mode or owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct State {
    /// The time of the last change of the inode, in seconds and nanoseconds.
    changed: (i64, i64),
    /// The time of the last change of the content.
    modified: (i64, i64),
    /// The number of names.
    names: u64,
}

impl State {
    pub(super) fn of(metadata: &Metadata) -> State {
        State {
            changed: (metadata.ctime(), metadata.ctime_nsec()),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            names: metadata.nlink(),
        }
    }

    /// Whether a command has set the mode or the owner since, which may be the same as before. A
    /// change of the content or of the names hides that.
    pub(super) fn is_set_since(self, before: State) -> bool {
        self.changed != before.changed
            && (self.modified, self.names) == (before.modified, before.names)
    }
}

/// Unpacks the files below into the new directory `workplace`, in its `root`.
pub(super) fn unpack(below: &Below, workplace: &Path) -> Result<Root> {
    let path = workplace.join("root");
    let mut unpacking = Unpacking {
        below,
        root: path.clone(),
        made: BTreeSet::new(),
    };
    new_directory(workplace)?;
    new_directory(&path)?;
    for (path, file) in below.listing.files() {
        unpacking.place(path, file)?;
    }
    below.for_each_content(&mut |paths, content| unpacking.write(paths, content))?;
    unpacking.settle_directories()?;
    let is_implied = |path: &&String| below.listing.get(path).is_none();
    let implied = unpacking.made.iter().filter(is_implied).cloned().collect();
    for own in OWN {
        unpacking.directory(own)?;
    }
    let set_id = unpacking.set_id();
    if !set_id.is_empty() {
        std::thread::sleep(TICK);
    }
    let temporary = TEMPORARY.into_iter();
    let temporary = temporary.filter(|place| unpacking.made.contains(*place));
    Ok(Root {
        temporary_places: temporary.map(str::to_owned).collect(),
        path,
        implied,
        set_id,
    })
}

struct Unpacking<'a> {
    below: &'a Below,
    root: PathBuf,
    /// The existing directories. Everything else lies in one of them, so no link leads out.
    made: BTreeSet<String>,
}

impl Unpacking<'_> {
    fn at(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }

    /// Makes an entry that has no content.
    fn place(&mut self, path: &str, file: &File) -> Result<()> {
        match file.kind {
            FileKind::Directory => self.directory(path),
            FileKind::Symlink => {
                self.parent(path)?;
                let target = file.target.as_deref().unwrap_or_default();
                symlink(target, self.at(path)).map_err(failed(path))
            }
            FileKind::File | FileKind::HardLink => self.parent(path),
            // Only root can make devices, and /dev is the command's own.
            FileKind::CharacterDevice | FileKind::BlockDevice | FileKind::Fifo => Ok(()),
        }
    }

    fn parent(&mut self, path: &str) -> Result<()> {
        match path.rsplit_once('/') {
            Some((parent, _)) => self.directory(parent),
            None => Ok(()),
        }
    }

    fn directory(&mut self, path: &str) -> Result<()> {
        if self.made.contains(path) {
            return Ok(());
        }
        self.parent(path)?;
        // This fails if a link or a file of the image is in the way.
        new_directory(&self.at(path))?;
        self.made.insert(path.to_owned());
        Ok(())
    }

    /// Writes a file and its other names.
    fn write(&self, paths: &[(&str, &File)], content: &mut dyn io::Read) -> Result<()> {
        let Some(((first, file), others)) = paths.split_first() else {
            return Ok(());
        };
        let path = self.at(first);
        let mut options = OpenOptions::new();
        let opened = options.write(true).create_new(true).mode(0o600).open(&path);
        let mut out = opened.map_err(failed(first))?;
        io::copy(content, &mut out).map_err(full(first))?;
        out.set_permissions(Permissions::from_mode(file.mode & MODE))
            .and_then(|()| out.set_modified(time(file.mtime)))
            .map_err(failed(first))?;
        for (other, _) in others {
            fs::hard_link(&path, self.at(other)).map_err(failed(other))?;
        }
        Ok(())
    }

    /// Returns the states of files and directories that have set-id bits below. A file behind a
    /// directory that its owner can't enter has none, and keeps its bits.
    fn set_id(&self) -> BTreeMap<String, State> {
        let files = self.below.listing.files();
        let with_bits = files.filter(|(_, file)| {
            use FileKind::{Directory, File, HardLink};
            file.mode & SET_ID != 0 && matches!(file.kind, Directory | File | HardLink)
        });
        with_bits
            .filter_map(|(path, _)| {
                let metadata = fs::symlink_metadata(self.at(path)).ok()?;
                Some((path.to_owned(), State::of(&metadata)))
            })
            .collect()
    }

    /// Gives directories their modes and times, once they are complete.
    fn settle_directories(&self) -> Result<()> {
        for path in self.made.iter().rev() {
            let Some(file) = self.below.listing.get(path) else {
                continue;
            };
            let place = self.at(path);
            let opened = fs::File::open(&place);
            opened
                .and_then(|directory| directory.set_modified(time(file.mtime)))
                .and_then(|()| {
                    fs::set_permissions(&place, Permissions::from_mode(file.mode & MODE))
                })
                .map_err(failed(path))?;
        }
        Ok(())
    }
}

fn new_directory(path: &Path) -> Result<()> {
    let made = DirBuilder::new().mode(0o755).create(path);
    made.map_err(Error::io("create", path))
}

fn time(seconds: u64) -> SystemTime {
    let since = Duration::from_secs(seconds);
    SystemTime::UNIX_EPOCH
        .checked_add(since)
        .unwrap_or(SystemTime::UNIX_EPOCH)
}

fn failed(path: &str) -> impl FnOnce(io::Error) -> Error + use<> {
    Error::io(
        "unpack, for a step, the image's file",
        &Path::new("/").join(path),
    )
}

/// Makes an error for a full disk. In a derivation the place is in memory, so that directories list
/// their files in one order.
fn full(path: &str) -> impl FnOnce(io::Error) -> Error + use<> {
    let path = path.to_owned();
    move |error| match error.kind() {
        io::ErrorKind::StorageFull => Error::spec(
            format!("/{path}"),
            "the image's files do not fit into half of this machine's memory, where steps have \
             them",
            "build on a machine with more, or take large files into the image without a step",
        ),
        _ => failed(&path)(error),
    }
}
