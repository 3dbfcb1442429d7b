//! Files about processes in `/proc` that would tell what the cell hides. A program gets a copy:
//!
//! - `maps` has the paths of the cell. Programs look there for their own debugging information.
//! - `status` has the ids of the cell, and no tracer.

use alloc::format;
use alloc::string::ToString;
use alloc::vec::Vec;

use rustix::fs::{CWD, Mode, OFlags, openat, unlink};
use rustix::io::{Errno, read};

use super::view::{Place, View};
use super::{Identity, Tracer};
use crate::files::write_all;

/// Returns the process of a thread, if the thread still runs.
pub(super) fn of(task: i32) -> Option<i32> {
    let text = whole(format!("/proc/{task}/status").as_bytes()).ok()?;
    let mut lines = text.split(|&byte| byte == b'\n');
    let number = lines.find_map(|line| line.strip_prefix(b"Tgid:"))?;
    core::str::from_utf8(number).ok()?.trim().parse().ok()
}

impl Tracer {
    /// Puts a copy in the place of a file that a process opens, if it is one of those files.
    ///
    /// # Errors
    /// The errors of the system.
    pub(super) fn show_process(&self, task: i32, place: &mut Place) -> Result<(), Errno> {
        let is_of_process = place.guest.starts_with(b"/proc/");
        let (name, copy) = if is_of_process && place.guest.ends_with(b"/maps") {
            ("maps", maps(&self.view, &whole(&place.host)?))
        } else if is_of_process && place.guest.ends_with(b"/status") {
            ("status", status(&self.identity, &whole(&place.host)?))
        } else {
            return Ok(());
        };
        let path = self.view.beside(format!("{name}-{task}").as_bytes());
        // A copy that is still open stays as it is.
        let _ = unlink(path.as_slice());
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let file = openat(CWD, path.as_slice(), flags, Mode::from_raw_mode(0o400))?;
        write_all(&file, &copy)?;
        place.host = path;
        Ok(())
    }
}

fn maps(view: &View, text: &[u8]) -> Vec<u8> {
    let mut copy = Vec::with_capacity(text.len());
    for line in text.split_inclusive(|&byte| byte == b'\n') {
        // Only a path has a slash.
        match line.iter().position(|&byte| byte == b'/') {
            Some(start) => {
                copy.extend_from_slice(&line[..start]);
                copy.extend(view.inside(&line[start..]));
            }
            None => copy.extend_from_slice(line),
        }
    }
    copy
}

fn status(identity: &Identity, text: &[u8]) -> Vec<u8> {
    let mut copy = Vec::with_capacity(text.len());
    for line in text.split_inclusive(|&byte| byte == b'\n') {
        if line.starts_with(b"Uid:") {
            copy.extend(with_numbers(line, |id| identity.user(id)));
        } else if line.starts_with(b"Gid:") || line.starts_with(b"Groups:") {
            copy.extend(with_numbers(line, |id| identity.group(id)));
        } else if line.starts_with(b"TracerPid:") {
            copy.extend(with_numbers(line, |_| 0));
        } else {
            copy.extend_from_slice(line);
        }
    }
    copy
}

/// Copies a line with other numbers.
fn with_numbers(line: &[u8], other: impl Fn(u32) -> u32) -> Vec<u8> {
    let mut copy = Vec::with_capacity(line.len());
    for part in line.chunk_by(|one, next| one.is_ascii_digit() == next.is_ascii_digit()) {
        let number = core::str::from_utf8(part)
            .ok()
            .and_then(|part| part.parse().ok());
        match number {
            Some(number) => copy.extend_from_slice(other(number).to_string().as_bytes()),
            None => copy.extend_from_slice(part),
        }
    }
    copy
}

pub(super) fn whole(host: &[u8]) -> Result<Vec<u8>, Errno> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_outside_are_shown_as_those_of_the_cell() {
        let identity = Identity {
            outer: (0, 5),
            inner: (1000, 100),
            host_name: b"localhost",
        };
        let text = b"Name:\t7z 0\nTracerPid:\t12\nUid:\t0\t0\t33\t0\nGid:\t5\t0\nGroups:\t5 27 \n";
        let shown = String::from_utf8(status(&identity, text)).unwrap();
        assert_eq!(
            shown,
            "Name:\t7z 0\nTracerPid:\t0\nUid:\t1000\t1000\t65534\t1000\nGid:\t100\t65534\n\
             Groups:\t100 65534 \n"
        );
    }
}
