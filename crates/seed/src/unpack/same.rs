//! Compares files. Packages may bring one twice, if both are equal.

use alloc::ffi::CString;
use alloc::vec;

use rustix::fd::OwnedFd;
use rustix::fs::{Mode, OFlags, openat};

use super::{BUFFER, Problem};
use crate::files::read_full;
use crate::tar::Reader;

/// Whether the existing file has the contents that the archive has for it.
pub(super) fn same_file(
    parent: &OwnedFd,
    name: &CString,
    archive: &mut Reader<'_>,
) -> Result<bool, Problem> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let Ok(present) = openat(parent, name, flags, Mode::empty()) else {
        return Ok(false);
    };
    let mut buffer = vec![0; BUFFER];
    while let Some(mut piece) = archive.data()? {
        while !piece.is_empty() {
            let size = piece.len().min(BUFFER);
            match read_full(&present, &mut buffer[..size]) {
                Ok(read) if read == size && buffer[..size] == piece[..size] => {
                    piece = &piece[size..]
                }
                _ => return Ok(false),
            }
        }
    }
    Ok(read_full(&present, &mut buffer[..1]) == Ok(0))
}

/// Whether two files have the same contents.
pub(super) fn same_contents(one: (&OwnedFd, &CString), other: (&OwnedFd, &CString)) -> bool {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let open =
        |(directory, name): (&OwnedFd, &CString)| openat(directory, name, flags, Mode::empty());
    let (Ok(one), Ok(other)) = (open(one), open(other)) else {
        return false;
    };
    let (mut left, mut right) = (vec![0; BUFFER], vec![0; BUFFER]);
    loop {
        match (read_full(&one, &mut left), read_full(&other, &mut right)) {
            (Ok(one), Ok(other)) if left[..one] == right[..other] => {
                if one < BUFFER {
                    return true;
                }
            }
            _ => return false,
        }
    }
}
