//! Sources lie in memory, so that directories list their files in the same order everywhere.
//!
//! A build script that lists a directory of its package often writes down what it finds in the order in which the file system
//! names it. On a disk that follows hashes with a seed of the file system's own; in memory it follows the order in which
//! files were made, which is the archive's or that of names. `sequoia-openpgp` 2.0.0 (`build.rs`, `tests.index.rs.inc`) showed it.

use anyhow::{Context, Result};
use std::ffi::CString;
use std::fs;
use std::io;

/// Gives this process and what it starts empty file systems in memory at `places`, which are made where they are missing.
/// It keeps its user and group, and must have no other thread.
///
/// # Errors
/// When the system lets it make no namespace or mount nothing.
pub fn mount(places: &[&str]) -> Result<()> {
    enter_namespaces().context("cannot make a namespace in the cell for sources in memory")?;
    for place in places {
        fs::create_dir_all(place)
            .map_err(anyhow::Error::from)
            .and_then(|()| Ok(mount_one(place)?))
            .with_context(|| format!("cannot mount a file system in memory at {place}"))?;
    }
    Ok(())
}

/// A user namespace, without which nobody but root may mount, and one for what is mounted.
fn enter_namespaces() -> io::Result<()> {
    // SAFETY: these only ask, or change this process, which has one thread.
    let (user, group, made) = unsafe {
        let (user, group) = (libc::geteuid(), libc::getegid());
        (
            user,
            group,
            libc::unshare(libc::CLONE_NEWUSER | libc::CLONE_NEWNS),
        )
    };
    succeeded(made)?;
    // Without privileges, a group can be mapped only when setgroups(2) is given up (user_namespaces(7)).
    fs::write("/proc/self/setgroups", "deny")?;
    fs::write("/proc/self/uid_map", format!("{user} {user} 1"))?;
    fs::write("/proc/self/gid_map", format!("{group} {group} 1"))
}

fn mount_one(place: &str) -> io::Result<()> {
    let place = CString::new(place)?;
    let flags = libc::MS_NOSUID | libc::MS_NODEV;
    // SAFETY: all strings end and outlive the call.
    succeeded(unsafe {
        libc::mount(
            c"sources".as_ptr(),
            place.as_ptr(),
            c"tmpfs".as_ptr(),
            flags,
            c"mode=755".as_ptr().cast(),
        )
    })
}

fn succeeded(result: libc::c_int) -> io::Result<()> {
    match result {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
