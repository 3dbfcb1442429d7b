//! The root of a cell of namespaces, and the mounts in it.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{
    AtFlags, CWD, FileType, Mode, OFlags, StatVfsMountFlags, chmod, fstat, mkdir, mkdirat, openat,
    readlinkat, statat, statvfs, symlinkat,
};
use rustix::io::Errno;
use rustix::mount::{
    MountFlags, UnmountFlags, mount, mount_bind, mount_bind_recursive, mount_remount, unmount,
};
use rustix::path::Arg;
use rustix::process::{chdir, pivot_root};

use super::{Bind, DIRECTORY_MODE, REPLACED, Source, forbidden, open_path, unbindable, unusable};
use crate::error::{Error, explain};
use crate::files::{names, open_directory};
use crate::rooted::{Missing, Root};

/// An open source of a bind.
pub(super) struct Opened<'a> {
    bind: &'a Bind<'a>,
    /// `None` for a directory in memory.
    file: Option<OwnedFd>,
    is_directory: bool,
}

impl<'a> Opened<'a> {
    pub(super) fn new(bind: &'a Bind<'a>) -> Result<Self, Error> {
        let Source::Outside(source) = &bind.source else {
            return Ok(Self {
                bind,
                file: None,
                is_directory: true,
            });
        };
        let failed = |errno| unbindable(source, bind.place, errno);
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        let file = openat(CWD, source.as_slice(), flags, Mode::empty()).map_err(failed)?;
        let status = fstat(&file).map_err(failed)?;
        Ok(Self {
            bind,
            file: Some(file),
            is_directory: FileType::from_raw_mode(status.st_mode) == FileType::Directory,
        })
    }
}

/// The new root: a small file system in memory with the places where everything else is mounted.
pub(super) struct Skeleton {
    path: Vec<u8>,
    root: Root,
}

impl Skeleton {
    pub(super) fn mount(path: &[u8]) -> Result<Self, Error> {
        let failed = |errno| forbidden("mount the cell's root", errno);
        let flags = MountFlags::NOSUID | MountFlags::NODEV;
        mount(c"cell", path, c"tmpfs", flags, c"mode=755").map_err(failed)?;
        let directory = open_directory(CWD, path).map_err(failed)?;
        Ok(Self {
            path: path.to_vec(),
            root: Root::new(directory),
        })
    }

    /// Shows the entries at the top of a root file system, read-only.
    pub(super) fn bind_top(&self, source: &OwnedFd) -> Result<(), Error> {
        let names = names(source).map_err(|errno| Error::io("read the root", errno))?;
        for name in names {
            if !REPLACED.contains(&name.as_slice()) {
                self.bind_entry(source, &name).map_err(|errno| {
                    let reason = explain(errno);
                    Error::Cell(format!(
                        "cannot show /{} in the cell: {reason}",
                        String::from_utf8_lossy(&name)
                    ))
                })?;
            }
        }
        Ok(())
    }

    fn bind_entry(&self, source: &OwnedFd, name: &[u8]) -> Result<(), Errno> {
        let status = statat(source, name, AtFlags::SYMLINK_NOFOLLOW)?;
        match FileType::from_raw_mode(status.st_mode) {
            FileType::Symlink => {
                let target = readlinkat(source, name, Vec::new())?;
                return symlinkat(&target, self.root.fd(), name);
            }
            FileType::Directory => mkdirat(self.root.fd(), name, DIRECTORY_MODE)?,
            _ => drop(new_file(self.root.fd(), name)?),
        }
        let from = [open_path(source).as_bytes(), name].join(&b'/');
        let to = [&self.path, name].join(&b'/');
        mount_bind_recursive(from.as_slice(), to.as_slice())?;
        make_read_only(&to)
    }

    /// Makes `/tmp`. It is in memory like the root, but stays writable.
    pub(super) fn add_tmp(&self) -> Result<(), Error> {
        let path = [self.path.as_slice(), b"tmp"].join(&b'/');
        let path = path.as_slice();
        let mode = Mode::from_raw_mode(0o1777);
        mkdir(path, mode)
            // Set the mode again, because the mask has taken bits away.
            .and_then(|()| chmod(path, mode))
            .and_then(|()| mount_bind(path, path))
            .map_err(|errno| forbidden("mount /tmp in the cell", errno))
    }

    /// Shows a directory as it is outside, with all mounts below it.
    pub(super) fn bind_shared(&self, path: &[u8]) -> Result<(), Error> {
        let target = self.place(path, true)?;
        mount_bind_recursive(path, open_path(&target).as_str())
            .map_err(|errno| unbindable(path, path, errno))
    }

    /// Binds a file or directory from outside to a place in the cell. Makes the place if it does
    /// not exist.
    pub(super) fn bind(&self, opened: &Opened<'_>) -> Result<(), Error> {
        let place = opened.bind.place;
        let target = self.place(place, opened.is_directory)?;
        let target = open_path(&target);
        let (Some(file), Source::Outside(outside)) = (&opened.file, &opened.bind.source) else {
            return mount_memory(&target);
        };
        let source = open_path(file);
        // Leave out mounts below, because the build's directory holds this very root. If something
        // else is mounted there, the kernel insists on taking them along.
        mount_bind(source.as_str(), target.as_str())
            .or_else(|_| mount_bind_recursive(source.as_str(), target.as_str()))
            .map_err(|errno| unbindable(outside, place, errno))
    }

    /// Opens a place in the cell. Makes it first if it does not exist.
    fn place(&self, place: &[u8], is_directory: bool) -> Result<OwnedFd, Error> {
        let unusable = |reason: String| unusable(place, reason);
        if is_directory {
            return self
                .root
                .directory(place, Missing::Make(DIRECTORY_MODE))
                .map_err(|problem| unusable(problem.reason));
        }
        let (parent, name) = self
            .root
            .parent(place, Missing::Make(DIRECTORY_MODE))
            .map_err(|problem| unusable(problem.reason))?;
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let open = || openat(&parent, &name, flags, Mode::empty());
        let file = open()
            .or_else(|_| new_file(parent.as_fd(), &name).and_then(|_| open()))
            .map_err(|errno| unusable(explain(errno)))?;
        match fstat(&file).map(|status| FileType::from_raw_mode(status.st_mode)) {
            Ok(FileType::Symlink) => Err(unusable("it is a symbolic link".into())),
            _ => Ok(file),
        }
    }

    /// Makes this the root of the process, and unmounts the old root.
    pub(super) fn become_root(self) -> Result<(), Error> {
        let failed = |errno| forbidden("enter the cell's root", errno);
        let flags = MountFlags::BIND | MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV;
        mount_remount(self.path.as_slice(), flags, c"").map_err(failed)?;
        chdir(self.path.as_slice()).map_err(failed)?;
        // The old root goes onto the new one and is unmounted there.
        pivot_root(c".", c".").map_err(failed)?;
        unmount(c".", UnmountFlags::DETACH).map_err(failed)?;
        chdir(c"/").map_err(failed)
    }
}

/// Makes a bind mount read-only. Keeps its other flags, which a user namespace can't drop.
fn make_read_only(path: &[u8]) -> Result<(), Errno> {
    let present = statvfs(path)?.f_flag;
    let mut flags = MountFlags::BIND | MountFlags::RDONLY;
    for (has, keep) in [
        (StatVfsMountFlags::NOSUID, MountFlags::NOSUID),
        (StatVfsMountFlags::NODEV, MountFlags::NODEV),
        (StatVfsMountFlags::NOEXEC, MountFlags::NOEXEC),
        (StatVfsMountFlags::NOATIME, MountFlags::NOATIME),
        (StatVfsMountFlags::NODIRATIME, MountFlags::NODIRATIME),
        (StatVfsMountFlags::RELATIME, MountFlags::RELATIME),
    ] {
        if present.contains(has) {
            flags |= keep;
        }
    }
    mount_remount(path, flags, c"")
}

fn new_file(parent: impl AsFd, name: impl Arg) -> Result<OwnedFd, Errno> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    openat(parent, name, flags, Mode::from_raw_mode(0o644))
}

fn mount_memory(target: &str) -> Result<(), Error> {
    let flags = MountFlags::NOSUID | MountFlags::NODEV;
    mount(c"memory", target, c"tmpfs", flags, c"mode=755")
        .map_err(|errno| forbidden("mount a file system in memory", errno))
}
