//! The file system that a traced process sees, and the paths outside that it is made of.
//!
//! The view resolves paths component by component, as the kernel would in the cell. The result is a
//! path outside without links on the way, which the kernel can follow to nothing else.

mod process;
mod shadow;

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use rustix::fs::{CWD, FileType, lstat, readlinkat};
use rustix::io::Errno;

use crate::rooted::MAX_LINKS;

/// A directory or file from outside, at a path of the cell.
struct Mount {
    guest: Vec<u8>,
    host: Vec<u8>,
}

/// The target of a path in the cell.
#[derive(Debug)]
pub(crate) struct Place {
    /// The path in the cell, without links.
    pub(crate) guest: Vec<u8>,
    /// The path outside.
    pub(crate) host: Vec<u8>,
    /// Whether it lies in a root file system, where nobody can write.
    pub(crate) fixed: bool,
}

/// The file at a path of a root file system. It never changes.
#[derive(Clone)]
struct Known {
    host: Vec<u8>,
    kind: Kind,
}

#[derive(Clone)]
enum Kind {
    Missing,
    Link(Vec<u8>),
    Directory,
    Other,
}

/// The process that asks. `/proc/self` and the paths below it depend on it.
pub(crate) struct Asker<'a> {
    /// The thread.
    pub(crate) task: i32,
    /// The thread's process.
    pub(crate) process: &'a dyn Fn() -> i32,
    /// The program that a process runs, by its path in the cell.
    pub(crate) program: &'a dyn Fn(i32) -> Option<Vec<u8>>,
}

/// The cell's file system.
pub(crate) struct View {
    roots: Vec<Vec<u8>>,
    /// The mounts. Of those that hold a path, the one with the longest path wins, and the last of
    /// equal ones.
    mounts: Vec<Mount>,
    /// A directory outside with the directories that no root holds: the top of the cell, and the
    /// unions of directories that several roots have.
    shadow: Vec<u8>,
    known: BTreeMap<Vec<u8>, Known>,
}

impl View {
    /// Makes a view of root file systems. `shadow` is an empty directory.
    pub(crate) fn new(roots: &[Vec<u8>], shadow: Vec<u8>) -> Self {
        Self {
            roots: roots.to_vec(),
            mounts: Vec::new(),
            shadow,
            known: BTreeMap::new(),
        }
    }

    /// Shows the file or directory `host` outside at the path `guest`, which has no links.
    pub(crate) fn mount(&mut self, guest: Vec<u8>, host: Vec<u8>) {
        self.mounts.push(Mount { guest, host });
    }

    /// Returns the path in the cell of a path outside. Returns the same path if the cell does not
    /// show it.
    pub(crate) fn inside(&self, host: &[u8]) -> Vec<u8> {
        let roots = self.roots.iter().map(|root| (root.as_slice(), &b""[..]));
        let mounts = self
            .mounts
            .iter()
            .map(|mount| (mount.host.as_slice(), mount.guest.as_slice()));
        let shadow = [(self.shadow.as_slice(), &b""[..])];
        let best = mounts
            .chain(roots)
            .chain(shadow)
            .filter_map(|(outside, guest)| Some((outside.len(), guest, below(host, outside)?)))
            .max_by_key(|(length, _, _)| *length);
        match best {
            Some((_, guest, rest)) if guest.is_empty() && rest.is_empty() => b"/".to_vec(),
            Some((_, guest, rest)) => [guest, rest].concat(),
            None => host.to_vec(),
        }
    }

    /// Resolves a path that begins at the directory `base` of the cell.
    ///
    /// # Errors
    /// The kernel's errors: a component on the way is missing or no directory, or there are too
    /// many links.
    pub(crate) fn resolve(
        &mut self,
        asker: &Asker<'_>,
        base: &[u8],
        path: &[u8],
        follow: bool,
    ) -> Result<Place, Errno> {
        if path.is_empty() {
            return Err(Errno::NOENT);
        }
        let slash = path.ends_with(b"/");
        let follow = follow || slash;
        let mut steps = reversed(path);
        let mut here = start(base, path);
        let mut links = 0;
        while let Some(step) = steps.pop() {
            if step == b".." {
                let parent = here.iter().rposition(|&byte| byte == b'/').unwrap_or(0);
                here.truncate(parent);
                continue;
            }
            let next = join(&here, &step);
            let is_last = steps.is_empty();
            if is_last && !follow {
                here = next;
                break;
            }
            match self.target(asker, &next, is_last)? {
                Target::Link(target) => {
                    links += 1;
                    if links > MAX_LINKS {
                        return Err(Errno::LOOP);
                    }
                    if target.starts_with(b"/") {
                        here.clear();
                    }
                    steps.extend(reversed(&target));
                }
                Target::Itself => here = next,
                Target::Open(host) => return Ok(self.open_file(next, host)),
                Target::Missing if is_last => here = next,
                Target::Missing => return Err(Errno::NOENT),
            }
        }
        self.place(here, slash)
    }

    /// Returns the place of a path without links.
    fn place(&mut self, mut guest: Vec<u8>, slash: bool) -> Result<Place, Errno> {
        let (mut host, fixed) = self.locate(&guest)?;
        if slash {
            host.push(b'/');
        }
        if guest.is_empty() {
            guest.push(b'/');
        }
        Ok(Place { guest, host, fixed })
    }

    /// Returns the place of an open file: the path of the file itself, if it has one.
    fn open_file(&self, link: Vec<u8>, host: Vec<u8>) -> Place {
        let target = readlinkat(CWD, host.as_slice(), Vec::new());
        let target = target.map(|target| target.into_bytes()).unwrap_or_default();
        let guest = if target.starts_with(b"/") {
            self.inside(&target)
        } else {
            link
        };
        Place {
            guest,
            host,
            fixed: false,
        }
    }

    /// Whether a root file system has something at a path without links. The top of the cell
    /// belongs to none.
    pub(crate) fn is_of_roots(&mut self, guest: &[u8]) -> bool {
        guest != b"/" && !matches!(self.of_roots(guest).kind, Kind::Missing)
    }

    /// Returns a path outside for a file of the tracer's own.
    pub(crate) fn beside(&self, name: &[u8]) -> Vec<u8> {
        [self.shadow.as_slice(), b".", name].concat()
    }

    /// Whether something exists at a place.
    pub(crate) fn exists(place: &Place) -> bool {
        lstat(place.host.as_slice()).is_ok()
    }

    /// Returns the path outside of a path without links, and whether it is fixed. A directory that
    /// several roots have is their union.
    fn locate(&mut self, guest: &[u8]) -> Result<(Vec<u8>, bool), Errno> {
        if let Some(host) = self.mounted(guest) {
            return Ok((host, false));
        }
        let known = self.of_roots(guest);
        let host = match known.kind {
            Kind::Directory if self.is_union(guest) => self.union(guest)?,
            Kind::Missing => join_path(&self.shadow, guest),
            _ => known.host,
        };
        Ok((host, true))
    }

    /// Returns the kind of a path's component.
    fn target(&mut self, asker: &Asker<'_>, guest: &[u8], is_last: bool) -> Result<Target, Errno> {
        if let Some(rest) = below(guest, b"/proc") {
            if let Some(target) = self.of_process(asker, rest, is_last)? {
                return Ok(target);
            }
        }
        let Some(host) = self.mounted(guest) else {
            return match self.of_roots(guest).kind {
                Kind::Link(target) => Ok(Target::Link(target)),
                Kind::Missing => Ok(missing_or_itself(&join_path(&self.shadow, guest))),
                Kind::Directory => Ok(Target::Itself),
                Kind::Other if is_last => Ok(Target::Itself),
                Kind::Other => Err(Errno::NOTDIR),
            };
        };
        match readlinkat(CWD, host.as_slice(), Vec::new()) {
            Ok(target) => Ok(Target::Link(target.into_bytes())),
            Err(Errno::INVAL) => Ok(Target::Itself),
            Err(Errno::NOENT) => Ok(Target::Missing),
            Err(errno) => Err(errno),
        }
    }

    /// Returns the path of the mount that holds a path without links. Each entry at the top of a
    /// root is a mount of its own, as in a cell of namespaces.
    pub(crate) fn mount_of<'a>(&'a self, guest: &'a [u8]) -> &'a [u8] {
        let mounts = self.mounts.iter().map(|mount| mount.guest.as_slice());
        let longest = mounts
            .filter(|mount| below(guest, mount).is_some())
            .max_by_key(|mount| mount.len());
        match longest {
            Some(mount) => mount,
            None if guest.len() < 2 => b"/",
            None => top(guest),
        }
    }

    fn mounted(&self, guest: &[u8]) -> Option<Vec<u8>> {
        let mounts = self.mounts.iter();
        mounts
            .filter_map(|mount| Some((mount, below(guest, &mount.guest)?)))
            .max_by_key(|(mount, _)| mount.guest.len())
            .map(|(mount, rest)| [mount.host.as_slice(), rest].concat())
    }

    fn of_roots(&mut self, guest: &[u8]) -> Known {
        if let Some(known) = self.known.get(guest) {
            return known.clone();
        }
        let mut known = Known {
            host: Vec::new(),
            kind: Kind::Missing,
        };
        // `fill_top` has made the top. The cell shows only the roots' entries that are there.
        let is_seen =
            !guest.is_empty() && lstat(join_path(&self.shadow, top(guest)).as_slice()).is_ok();
        let roots = self.roots.iter().filter(|_| is_seen);
        for host in roots.map(|root| join_path(root, guest)) {
            if let Some(kind) = kind(&host) {
                known = Known { host, kind };
                break;
            }
        }
        self.known.insert(guest.to_vec(), known.clone());
        known
    }
}

enum Target {
    Link(Vec<u8>),
    Itself,
    /// The target is an open file, by this path outside.
    Open(Vec<u8>),
    Missing,
}

fn missing_or_itself(host: &[u8]) -> Target {
    if lstat(host).is_ok() {
        Target::Itself
    } else {
        Target::Missing
    }
}

fn kind(host: &[u8]) -> Option<Kind> {
    let status = lstat(host).ok()?;
    Some(match FileType::from_raw_mode(status.st_mode) {
        FileType::Symlink => Kind::Link(readlinkat(CWD, host, Vec::new()).ok()?.into_bytes()),
        FileType::Directory => Kind::Directory,
        _ => Kind::Other,
    })
}

/// Returns the rest of a path below a directory. It is empty for the directory itself.
fn below<'a>(path: &'a [u8], directory: &[u8]) -> Option<&'a [u8]> {
    let rest = path.strip_prefix(directory)?;
    (rest.is_empty() || rest[0] == b'/').then_some(rest)
}

/// Returns the first component, with its slash.
fn top(guest: &[u8]) -> &[u8] {
    let end = guest[1..].iter().position(|&byte| byte == b'/');
    end.map_or(guest, |end| &guest[..=end])
}

/// Returns the start of a path: the root, which is the empty path here, or a directory.
fn start(base: &[u8], path: &[u8]) -> Vec<u8> {
    if path.starts_with(b"/") || base == b"/" {
        Vec::new()
    } else {
        base.to_vec()
    }
}

fn reversed(path: &[u8]) -> Vec<Vec<u8>> {
    path.split(|&byte| byte == b'/')
        .filter(|name| !name.is_empty() && *name != b".")
        .rev()
        .map(<[u8]>::to_vec)
        .collect()
}

fn join(directory: &[u8], name: &[u8]) -> Vec<u8> {
    [directory, b"/", name].concat()
}

/// Joins a directory outside and a path of the cell, which is empty or begins with a slash.
fn join_path(directory: &[u8], guest: &[u8]) -> Vec<u8> {
    [directory, guest].concat()
}
