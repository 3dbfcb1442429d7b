//! Makes a root file system out of packages.
//!
//! A Nix store cannot hold owners, set-id bits, devices and times, so these are left out.
//! Maintainer scripts do not run. The caller gives their effects as additions.

mod additions;
mod ahead;
mod same;

use alloc::ffi::CString;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use rustix::fd::OwnedFd;
use rustix::fs::{
    AtFlags, CWD, FileType, Mode, OFlags, fchmod, linkat, mkdirat, openat, readlinkat, statat,
    symlinkat,
};
use rustix::io::Errno;
use rustix::process::umask;

use crate::arguments::{Addition, Unpack};
use crate::error::{Error, explain, shown};
use crate::files::{names, open_directory, write_all};
use crate::rooted::{Missing, Root, Unresolved, c_string, split};
use crate::tar::{Entry, Kind, Reader};
use ahead::{Package, Packages};
use same::{same_contents, same_file};

/// The links at the top into `usr`: Debian's merged layout.
const MERGED: [&[u8]; 6] = [b"bin", b"sbin", b"lib", b"lib32", b"lib64", b"libx32"];
const DIRECTORY_MODE: Mode = Mode::from_raw_mode(0o755);
/// The bits of a mode that a package may set.
const KEPT_MODE: u32 = 0o1777;
const BUFFER: usize = 64 << 10;

/// Makes the root that the options describe.
///
/// # Errors
/// [`Error::Package`] names a package that is damaged or does not fit. [`Error::Io`] names an
/// operation that the system refused.
pub(crate) fn unpack(options: &Unpack) -> Result<(), Error> {
    // The modes are those of the packages.
    umask(Mode::empty());
    let mut unpacker = Unpacker::new(options)?;
    let mut packages = Packages::new(&options.packages);
    while let Some(package) = packages.next()? {
        let name = base_name(package.path);
        unpacker
            .package(&package)
            .map_err(|problem| match problem {
                Problem::Package(reason) => Error::Package {
                    package: name,
                    reason,
                },
                Problem::Io(what, errno) => Error::io(format!("{what} of {name}"), errno),
            })?;
    }
    for addition in &options.additions {
        unpacker.add(addition)?;
    }
    if let Some(path) = &options.ca_certificates {
        unpacker.ca_certificates(path)?;
    }
    unpacker.restore_modes()
}

struct Unpacker {
    root: Root,
    /// Normalized paths.
    exclude: Vec<Vec<u8>>,
    /// Normalized paths that an addition replaces, sorted. Packages may disagree about them.
    replaced: Vec<Vec<u8>>,
    /// The directory of the last entry, which mostly holds the next one, too. Directories are never
    /// replaced, so the path keeps its meaning.
    last: Option<(Vec<u8>, OwnedFd)>,
    /// Directories whose mode would hinder the unpacking, and this mode.
    closed: Vec<(Vec<u8>, Mode)>,
}

/// The reason why a package cannot be unpacked.
enum Problem {
    /// A fault of the package.
    Package(String),
    /// A refusal of the system: the operation and the error.
    Io(String, Errno),
}

impl From<String> for Problem {
    fn from(reason: String) -> Self {
        Self::Package(reason)
    }
}

impl Unpacker {
    fn new(options: &Unpack) -> Result<Self, Error> {
        let root = make_root(&options.into)?;
        let normal = |path: &Vec<u8>| normalized(path).map_err(Error::Usage);
        let mut replaced = Vec::new();
        for addition in &options.additions {
            if let Addition::Symlink { path, .. } | Addition::Text { path, .. } = addition {
                replaced.push(normal(path)?);
            }
        }
        replaced.sort_unstable();
        let exclude = options
            .exclude
            .iter()
            .map(normal)
            .collect::<Result<_, _>>()?;
        Ok(Self {
            root,
            exclude,
            replaced,
            last: None,
            closed: Vec::new(),
        })
    }

    fn package(&mut self, package: &Package<'_>) -> Result<(), Problem> {
        let mut archive = Reader::new(package.archive()?);
        while let Some(entry) = archive.next()? {
            let path = normalized(&entry.path)?;
            if path.is_empty() || self.is_excluded(&path) {
                continue;
            }
            match entry.kind {
                Kind::File => self.file(&path, &entry, &mut archive)?,
                Kind::Directory => self.directory(&path, &entry)?,
                Kind::Symlink => self.symlink(&path, &entry)?,
                Kind::HardLink => self.hard_link(&path, &entry)?,
                Kind::Device => {}
            }
        }
        Ok(())
    }

    fn is_excluded(&self, path: &[u8]) -> bool {
        self.exclude.iter().any(|prefix| {
            path.strip_prefix(prefix.as_slice())
                .is_some_and(|rest| rest.is_empty() || rest[0] == b'/')
        })
    }

    fn is_replaced(&self, path: &[u8]) -> bool {
        self.replaced
            .binary_search_by(|replaced| replaced.as_slice().cmp(path))
            .is_ok()
    }

    /// Returns the directory that holds `path`, and its name there.
    fn parent(&mut self, path: &[u8]) -> Result<(&OwnedFd, CString), Problem> {
        let (parent, name) = split(path);
        if self.last.as_ref().is_none_or(|(last, _)| last != parent) {
            let directory = self
                .root
                .directory(parent, Missing::Make(DIRECTORY_MODE))
                .map_err(|problem| unusable(path, problem))?;
            self.last = Some((parent.to_vec(), directory));
        }
        let name = c_string(name)?;
        match &self.last {
            Some((_, directory)) => Ok((directory, name)),
            None => Err(Problem::Package(format!(
                "no directory for {}",
                shown(path)
            ))),
        }
    }

    fn directory(&mut self, path: &[u8], entry: &Entry) -> Result<(), Problem> {
        let mode = kept(entry.mode);
        let open = mode | Mode::RWXU;
        let (parent, name) = self.parent(path)?;
        match mkdirat(parent, &name, open) {
            Ok(()) => {}
            Err(Errno::EXIST) => {
                let status = statat(parent, &name, AtFlags::SYMLINK_NOFOLLOW)
                    .map_err(|errno| io(path, errno))?;
                if FileType::from_raw_mode(status.st_mode) != FileType::Directory {
                    // As with dpkg, a link to a directory stands for it.
                    return match self.root.directory(path, Missing::Fail) {
                        Ok(_) => Ok(()),
                        Err(problem) => Err(unusable(path, problem)),
                    };
                }
                if Mode::from_raw_mode(status.st_mode & 0o7777) != open {
                    let directory = open_directory(rustix::fd::AsFd::as_fd(parent), &name);
                    directory
                        .and_then(|directory| fchmod(directory, open))
                        .map_err(|errno| io(path, errno))?;
                }
            }
            Err(errno) => return Err(io(path, errno)),
        }
        self.closed.retain(|(closed, _)| closed != path);
        if mode != open {
            self.closed.push((path.to_vec(), mode));
        }
        Ok(())
    }

    fn file(
        &mut self,
        path: &[u8],
        entry: &Entry,
        archive: &mut Reader<'_>,
    ) -> Result<(), Problem> {
        let replaced = self.is_replaced(path);
        let (parent, name) = self.parent(path)?;
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match openat(parent, &name, flags, kept(entry.mode)) {
            Ok(file) => {
                while let Some(piece) = archive.data()? {
                    write_all(&file, piece).map_err(|errno| io(path, errno))?;
                }
                Ok(())
            }
            Err(Errno::EXIST) if replaced => Ok(()),
            Err(Errno::EXIST) if same_file(parent, &name, archive)? => Ok(()),
            Err(Errno::EXIST) => Err(conflict(path)),
            Err(errno) => Err(io(path, errno)),
        }
    }

    fn symlink(&mut self, path: &[u8], entry: &Entry) -> Result<(), Problem> {
        if MERGED.contains(&path) {
            // Newer versions of base-files hold the very links that exist already.
            let target = readlinkat(self.root.fd(), c_string(path)?, Vec::new())
                .map_err(|errno| io(path, errno))?;
            let same = normalized(&entry.link).is_ok_and(|link| link == target.as_bytes());
            return if same { Ok(()) } else { Err(conflict(path)) };
        }
        let replaced = self.is_replaced(path);
        let link = c_string(&entry.link)?;
        let (parent, name) = self.parent(path)?;
        match symlinkat(&link, parent, &name) {
            Ok(()) => Ok(()),
            Err(Errno::EXIST) if replaced => Ok(()),
            Err(Errno::EXIST) => match readlinkat(parent, &name, Vec::new()) {
                Ok(present) if present == link => Ok(()),
                _ => Err(conflict(path)),
            },
            Err(errno) => Err(io(path, errno)),
        }
    }

    fn hard_link(&mut self, path: &[u8], entry: &Entry) -> Result<(), Problem> {
        let target = normalized(&entry.link).map_err(|reason| {
            format!(
                "the hard link {} leads to {}: {reason}",
                shown(path),
                shown(&entry.link)
            )
        })?;
        let to = |reason: String| {
            Problem::Package(format!(
                "the hard link {} leads to {}: {reason}",
                shown(path),
                shown(&target)
            ))
        };
        let replaced = self.is_replaced(path);
        let (from, from_name) = self
            .root
            .parent(&target, Missing::Fail)
            .map_err(|problem| to(problem.reason))?;
        let status = statat(&from, &from_name, AtFlags::SYMLINK_NOFOLLOW)
            .map_err(|errno| to(explain(errno)))?;
        if FileType::from_raw_mode(status.st_mode) == FileType::Directory {
            return Err(to("it is a directory".into()));
        }
        let (parent, name) = self.parent(path)?;
        match linkat(&from, &from_name, parent, &name, AtFlags::empty()) {
            Ok(()) => Ok(()),
            Err(Errno::EXIST) if replaced => Ok(()),
            Err(Errno::EXIST) if same_contents((&from, &from_name), (parent, &name)) => Ok(()),
            Err(Errno::EXIST) => Err(conflict(path)),
            Err(errno) => Err(io(path, errno)),
        }
    }

    fn restore_modes(&self) -> Result<(), Error> {
        for (path, mode) in self.closed.iter().rev() {
            let (parent, name) = self
                .root
                .parent(path, Missing::Fail)
                .map_err(|problem| Error::Usage(format!("{}: {}", shown(path), problem.reason)))?;
            open_directory(rustix::fd::AsFd::as_fd(&parent), &name)
                .and_then(|directory| fchmod(directory, *mode))
                .map_err(|errno| Error::io(format!("change the mode of {}", shown(path)), errno))?;
        }
        Ok(())
    }
}

/// Makes the root directory with the links of the merged layout.
fn make_root(path: &[u8]) -> Result<Root, Error> {
    let failed = |errno| Error::io(format!("make {}", shown(path)), errno);
    let name = c_string(path).map_err(Error::Usage)?;
    let exists = match mkdirat(CWD, &name, DIRECTORY_MODE) {
        Ok(()) => false,
        Err(Errno::EXIST) => true,
        Err(errno) => return Err(failed(errno)),
    };
    let directory = open_directory(CWD, &name).map_err(failed)?;
    if exists && !names(&directory).map_err(failed)?.is_empty() {
        return Err(failed(Errno::NOTEMPTY));
    }
    mkdirat(&directory, c"usr", DIRECTORY_MODE).map_err(failed)?;
    for name in MERGED {
        let target = c_string(&[b"usr/", name].concat()).map_err(Error::Usage)?;
        mkdirat(&directory, &target, DIRECTORY_MODE).map_err(failed)?;
        symlinkat(&target, &directory, name).map_err(failed)?;
    }
    Ok(Root::new(directory))
}

/// Normalizes a path of a package or the command line. The result is relative to the root, has no
/// `.` and no slashes at its ends, and has merged directories below `usr`. It is empty for the root
/// itself.
///
/// # Errors
/// When it could lead out of the root.
fn normalized(path: &[u8]) -> Result<Vec<u8>, String> {
    let mut parts: Vec<&[u8]> = path
        .split(|&byte| byte == b'/')
        .filter(|part| !part.is_empty() && *part != b".")
        .collect();
    if parts.contains(&&b".."[..]) {
        return Err(format!("the path {} leads out of the root", shown(path)));
    }
    if parts.len() > 1 && MERGED.contains(&parts[0]) {
        parts.insert(0, b"usr");
    }
    Ok(parts.join(&b'/'))
}

fn kept(mode: u32) -> Mode {
    Mode::from_raw_mode((mode & KEPT_MODE) as rustix::fs::RawMode)
}

fn unusable(path: &[u8], problem: Unresolved) -> Problem {
    Problem::Package(format!(
        "the path {} cannot be used: {}",
        shown(path),
        problem.reason
    ))
}

fn conflict(path: &[u8]) -> Problem {
    Problem::Package(format!(
        "{} is there already and is different; `--exclude` it, or name it with \
         `--symlink` or `--text`",
        shown(path)
    ))
}

fn io(path: &[u8], errno: Errno) -> Problem {
    Problem::Io(format!("write {}", shown(path)), errno)
}

fn base_name(path: &[u8]) -> String {
    String::from_utf8_lossy(split(path).1).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_normalized_into_the_merged_layout() {
        for (path, normal) in [
            ("./", ""),
            ("./bin/sh", "usr/bin/sh"),
            ("./bin", "bin"),
            ("/lib64//ld.so", "usr/lib64/ld.so"),
            ("./usr/bin/./cc", "usr/bin/cc"),
            ("binary/x", "binary/x"),
        ] {
            assert_eq!(
                normalized(path.as_bytes()).unwrap(),
                normal.as_bytes(),
                "{path}"
            );
        }
        assert!(
            normalized(b"usr/../../etc/passwd")
                .unwrap_err()
                .contains("`usr/../../etc/passwd`")
        );
    }
}
