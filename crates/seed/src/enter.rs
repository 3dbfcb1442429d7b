//! The first way into a root file system: namespaces. Where the system forbids them, `traced.rs` is
//! the second.

mod skeleton;

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::ffi::CStr;

use rustix::fd::{AsRawFd, OwnedFd};
use rustix::fs::{CWD, Mode, OFlags, mkdir, openat, stat};
use rustix::io::Errno;
use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};
use rustix::process::{getgid, getuid};
use rustix::system::sethostname;
use rustix::thread::{UnshareFlags, unshare_unsafe};

use crate::error::{Error, explain, shown};
use crate::files::{open_directory, write_all};
use crate::rooted::c_string;
use skeleton::{Opened, Skeleton};

/// The user, the group and the name of the machine in every cell.
pub(crate) const USER: u32 = 1000;
pub(crate) const GROUP: u32 = 100;
pub(crate) const HOST_NAME: &[u8] = b"localhost";
/// The entries at the top of a cell that never come from a root file system.
pub(crate) const REPLACED: [&[u8]; 6] = [b"build", b"dev", b"nix", b"proc", b"sys", b"tmp"];
/// The directories that the cell shows as they are outside, if they exist.
pub(crate) const SHARED: [&[u8]; 4] = [b"/nix/store", b"/proc", b"/dev", b"/sys"];
const DIRECTORY_MODE: Mode = Mode::from_raw_mode(0o755);

/// The parts of a cell.
pub(crate) struct Plan<'a> {
    /// Root file systems, which the cell shows read-only. If several have a file, it shows that of
    /// the first.
    pub(crate) roots: &'a [Vec<u8>],
    /// The files and directories to bind into the cell, in this order.
    pub(crate) binds: Vec<Bind<'a>>,
    /// The directory on which the root is mounted. The cell does not show its contents, unless they
    /// are bound.
    pub(crate) root: Vec<u8>,
    /// A directory that does not exist yet, in which several roots are joined.
    pub(crate) merged: Vec<u8>,
}

/// A file or directory, and its place in the cell.
pub(crate) struct Bind<'a> {
    pub(crate) source: Source,
    /// The path in the cell.
    pub(crate) place: &'a [u8],
}

/// The source of a place.
pub(crate) enum Source {
    /// The file or directory at this path outside.
    Outside(Vec<u8>),
    /// An empty directory in memory.
    Memory,
}

/// The way into a cell by an unprivileged user and mount namespace.
pub(crate) struct Namespaces {
    /// Whether the cell has no network but a loopback interface of its own.
    pub(crate) no_network: bool,
}

impl Namespaces {
    /// Makes the plan's root the `/` of this process, which must be a child made for that.
    ///
    /// # Errors
    /// When the system does not allow it. The process is then of no use any more.
    pub(crate) fn enter(&self, plan: &Plan<'_>) -> Result<(), Error> {
        self.unshare()?;
        // Open everything before the new root is mounted, because that hides the files at its
        // place.
        let source = source_root(plan)?;
        let binds = plan.binds.iter().map(Opened::new);
        let binds: Vec<Opened<'_>> = binds.collect::<Result<_, _>>()?;
        let root = Skeleton::mount(&plan.root)?;
        root.bind_top(&source)?;
        root.add_tmp()?;
        for path in SHARED {
            if stat(path).is_ok() {
                root.bind_shared(path)?;
            }
        }
        for bind in &binds {
            root.bind(bind)?;
        }
        root.become_root()
    }

    /// Makes the namespaces. In them this process is user 1000 of group 100, and may mount.
    fn unshare(&self) -> Result<(), Error> {
        let (user, group) = (getuid().as_raw(), getgid().as_raw());
        let mut flags = UnshareFlags::NEWUSER
            | UnshareFlags::NEWNS
            | UnshareFlags::NEWIPC
            | UnshareFlags::NEWUTS;
        if self.no_network {
            flags |= UnshareFlags::NEWNET;
        }
        // SAFETY: the process has one thread, so none shares anything with this one.
        unsafe { unshare_unsafe(flags) }
            .map_err(|errno| forbidden("make a user namespace", errno))?;
        // Without privileges, a process can map a group only after it gives up setgroups(2).
        match write_file(c"/proc/self/setgroups", "deny") {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(errno) => return Err(forbidden("write /proc/self/setgroups", errno)),
        }
        write_file(c"/proc/self/uid_map", &format!("{USER} {user} 1"))
            .map_err(|errno| forbidden("write /proc/self/uid_map", errno))?;
        write_file(c"/proc/self/gid_map", &format!("{GROUP} {group} 1"))
            .map_err(|errno| forbidden("write /proc/self/gid_map", errno))?;
        mount_change(
            c"/",
            MountPropagationFlags::PRIVATE | MountPropagationFlags::REC,
        )
        .map_err(|errno| forbidden("mount in a user namespace", errno))?;
        let _ = sethostname(HOST_NAME);
        if self.no_network {
            crateyard_loopback::switch_on();
        }
        Ok(())
    }
}

/// Opens the root file system of the cell: the only one, or all of them joined by overlayfs.
fn source_root(plan: &Plan<'_>) -> Result<OwnedFd, Error> {
    let open = |path: &[u8]| {
        open_directory(CWD, path)
            .map_err(|errno| Error::io(format!("open the root {}", shown(path)), errno))
    };
    if let [only] = plan.roots {
        return open(only);
    }
    mkdir(plan.merged.as_slice(), DIRECTORY_MODE)
        .map_err(|errno| Error::io(format!("make {}", shown(&plan.merged)), errno))?;
    let lower: Vec<Vec<u8>> = plan.roots.iter().map(|root| escaped(root)).collect();
    let data = [b"lowerdir=", lower.join(&b':').as_slice()].concat();
    let data = c_string(&data).map_err(Error::Usage)?;
    let flags = MountFlags::RDONLY;
    mount(
        c"overlay",
        plan.merged.as_slice(),
        c"overlay",
        flags,
        data.as_c_str(),
    )
    .map_err(|errno| {
        let roots: Vec<String> = plan.roots.iter().map(|root| shown(root)).collect();
        Error::Forbidden(format!(
            "cannot join the roots {}: {}. This needs overlayfs in user namespaces (Linux \
             5.11 or later); without it, unpack all packages into one root",
            roots.join(", "),
            explain(errno)
        ))
    })?;
    open(&plan.merged)
}

/// Escapes a path for an option of overlayfs.
fn escaped(path: &[u8]) -> Vec<u8> {
    let mut escaped = Vec::with_capacity(path.len());
    for &byte in path {
        if matches!(byte, b':' | b',' | b'\\') {
            escaped.push(b'\\');
        }
        escaped.push(byte);
    }
    escaped
}

fn write_file(path: &CStr, content: &str) -> Result<(), Errno> {
    let file = openat(CWD, path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
    write_all(&file, content.as_bytes())
}

/// Returns a path of an open file, for calls that take only paths. No link in the file's own path
/// can lead it elsewhere.
fn open_path(file: &OwnedFd) -> String {
    format!("/proc/self/fd/{}", file.as_raw_fd())
}

/// Makes the error for a place that the cell can't have.
pub(crate) fn unusable(place: &[u8], reason: String) -> Error {
    Error::Cell(format!(
        "there is no place {} in the cell: {reason}; below what comes from a root, let \
         `seed unpack --mkdir` or `--text` make it",
        shown(place)
    ))
}

/// Makes the error for a source that the cell can't show.
pub(crate) fn unbindable(source: &[u8], place: &[u8], errno: Errno) -> Error {
    let reason = explain(errno);
    Error::Cell(format!(
        "cannot bind {} to {} in the cell: {reason}",
        shown(source),
        shown(place)
    ))
}

/// Makes the error for a refused cell, with a remedy.
fn forbidden(what: &str, errno: Errno) -> Error {
    let remedy = match errno {
        Errno::NOSPC => {
            "the limit of user namespaces is reached: raise it with \
             `sysctl user.max_user_namespaces=15000`"
        }
        Errno::PERM | Errno::ACCESS => {
            "user namespaces are forbidden here. Which one helps depends on who forbids them: \
             `sysctl kernel.apparmor_restrict_unprivileged_userns=0` (Ubuntu 23.10 and later), \
             `sysctl kernel.unprivileged_userns_clone=1` (older Debian), or, in a container, \
             leave to make namespaces and mounts (`--privileged`, or a seccomp and AppArmor \
             profile that allows them)"
        }
        Errno::INVAL | Errno::NOSYS => {
            "this kernel has no user namespaces (CONFIG_USER_NS), or the sandbox that this runs in \
             has no support for them"
        }
        _ => {
            "a cell needs what rootless containers need: unprivileged user namespaces and mounts \
             in them"
        }
    };
    Error::Forbidden(format!("cannot {what}: {}\n  {remedy}.", explain(errno)))
}
