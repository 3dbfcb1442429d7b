//! The files that a process has mapped (`/proc/PID/maps`), as the cell names them: programs look
//! there for their own debugging information.

use alloc::format;
use alloc::vec::Vec;

use rustix::fs::{CWD, Mode, OFlags, openat, unlink};
use rustix::io::{Errno, read};

use super::view::View;
use crate::files::write_all;

/// Whether a path of the cell is such a file.
pub fn is_maps(guest: &[u8]) -> bool {
    guest.starts_with(b"/proc/") && guest.ends_with(b"/maps")
}

/// Writes a copy with the paths of the cell, and returns where it lies outside.
///
/// # Errors
/// The system's.
pub fn translated(view: &View, host: &[u8], task: i32) -> Result<Vec<u8>, Errno> {
    let text = whole(host)?;
    let mut copy = Vec::with_capacity(text.len());
    for line in text.split_inclusive(|&byte| byte == b'\n') {
        // Only what begins with a slash is a path.
        match line.iter().position(|&byte| byte == b'/') {
            Some(start) => {
                copy.extend_from_slice(&line[..start]);
                copy.extend(view.inside(&line[start..]));
            }
            None => copy.extend_from_slice(line),
        }
    }
    let path = view.beside(format!("maps-{task}").as_bytes());
    // An open one stays as it is.
    let _ = unlink(path.as_slice());
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let file = openat(CWD, path.as_slice(), flags, Mode::from_raw_mode(0o400))?;
    write_all(&file, &copy)?;
    Ok(path)
}

fn whole(host: &[u8]) -> Result<Vec<u8>, Errno> {
    let file = openat(CWD, host, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    let mut all = Vec::new();
    let mut buffer = alloc::vec![0; 16384];
    loop {
        match read(&file, buffer.as_mut_slice())? {
            0 => return Ok(all),
            count => all.extend_from_slice(&buffer[..count]),
        }
    }
}
