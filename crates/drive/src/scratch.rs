//! Where builders work: in memory, where there is plenty of it.
//!
//! A unit's cell has hundreds of links and small files, which live as long as the unit is built; to make and remove them
//! takes a disk's file system longer than some crates take to compile. So each process of Nix gets a file system
//! in memory that it alone sees, and that is gone when it is. What is built does not depend on it.

use std::ffi::CString;
use std::fs;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::ptr::null;

/// Where that file system is mounted: a directory that every Linux has, in which only root can write then. Nix from
/// 2.29 on refuses others.
const PLACE: &str = "/dev/shm";
/// Memory for each build: rustc's own, and its files.
const FOR_EACH: u64 = 4 << 30;

/// How large the file systems of `jobs` processes may be, in bytes. None where the disk is the better place: memory is
/// short, who asks is not root, or the environment names another place (`TMPDIR`).
pub fn size(jobs: usize) -> Option<u64> {
    // SAFETY: it only asks.
    let is_root = unsafe { libc::geteuid() } == 0;
    let jobs = jobs.max(1) as u64;
    let has_place = is_root && std::env::var_os("TMPDIR").is_none();
    let enough = |bytes: &u64| *bytes >= jobs * FOR_EACH;
    available()
        .filter(|_| has_place)
        .filter(enough)
        .map(|bytes| bytes / 2 / jobs)
}

/// Memory that is free, or would be if it was wanted.
fn available() -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kibibytes: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kibibytes << 10)
}

/// Has a process of Nix make its builders' directories in memory. Starting it fails where that can't be had.
pub fn use_memory(command: &mut Command, size: u64, has_setting: bool) {
    command.env("TMPDIR", PLACE);
    if has_setting {
        command.args(["--option", "build-dir", PLACE]);
    }
    let options = CString::new(format!("mode=755,size={size}")).unwrap_or_default();
    let place = CString::new(PLACE).unwrap_or_default();
    // SAFETY: between fork and exec only system calls, which are safe in a signal handler.
    unsafe {
        command.pre_exec(move || {
            succeeded(libc::unshare(libc::CLONE_NEWNS))?;
            // What the machine mounts later is seen; what is mounted here is not seen there.
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
