//! Lets builders work in memory if there is enough.
//!
//! A unit's cell has hundreds of links and small files, which live only during the build. On a
//! disk, creating and removing them takes longer than compiling some crates. So each process of Nix
//! gets a private file system in memory, which vanishes with the process. Outputs do not depend on
//! it.

use std::ffi::CString;
use std::fs;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::ptr::null;

/// The mount point of that file system. Every Linux has this directory. Once it is mounted, only
/// root can write to it. Nix since 2.29 refuses others.
const PLACE: &str = "/dev/shm";
/// Memory for each build, for rustc and its files.
const FOR_EACH: u64 = 4 << 30;

/// Returns the size of the file systems for `jobs` processes, in bytes. Returns `None` if builders
/// should work on the disk: if memory is short, if the user may not mount (as root in a container),
/// or if `TMPDIR` is set.
pub fn size(jobs: usize) -> Option<u64> {
    let has_place = may_mount() && std::env::var_os("TMPDIR").is_none();
    room(jobs)
        .filter(|_| has_place)
        .map(|bytes| bytes / 2 / jobs.max(1) as u64)
}

/// Whether this many builds at once have enough memory.
pub fn has_room(jobs: usize) -> bool {
    room(jobs).is_some()
}

/// Returns the available memory in bytes if it is enough for this many builds.
fn room(jobs: usize) -> Option<u64> {
    available().filter(|bytes| *bytes >= jobs.max(1) as u64 * FOR_EACH)
}

/// Whether this process may make mount namespaces and mounts: whether it has the capability
/// `CAP_SYS_ADMIN` (capabilities(7)).
fn may_mount() -> bool {
    const ADMIN: u32 = 21;
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let set = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    set.and_then(|set| u64::from_str_radix(set.trim(), 16).ok())
        .is_some_and(|set| set >> ADMIN & 1 == 1)
}

/// Returns the available memory in bytes.
fn available() -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kibibytes: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kibibytes << 10)
}

/// Makes a process of Nix put its builders' directories in memory. If that is impossible, starting
/// the process fails.
pub(crate) fn use_memory(command: &mut Command, size: u64, has_setting: bool) {
    command.env("TMPDIR", PLACE);
    if has_setting {
        command.args(["--option", "build-dir", PLACE]);
    }
    let options = CString::new(format!("mode=755,size={size}")).unwrap_or_default();
    let place = CString::new(PLACE).unwrap_or_default();
    // SAFETY: between fork and exec, the closure makes only system calls that are safe in a signal
    // handler.
    unsafe {
        command.pre_exec(move || {
            succeeded(libc::unshare(libc::CLONE_NEWNS))?;
            // Later mounts of the machine appear here, but mounts made here do not appear there.
            let is_ours = libc::MS_REC | libc::MS_SLAVE;
            succeeded(libc::mount(null(), c"/".as_ptr(), null(), is_ours, null()))?;
            succeeded(libc::mount(
                c"crateyard".as_ptr(),
                place.as_ptr(),
                c"tmpfs".as_ptr(),
                libc::MS_NOSUID | libc::MS_NODEV,
                options.as_ptr().cast(),
            ))
        });
    }
}

fn succeeded(result: libc::c_int) -> io::Result<()> {
    match result {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
