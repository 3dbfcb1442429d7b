//! Small operations on files and directories.

use alloc::format;
use alloc::vec::Vec;

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, fstat, openat, unlinkat};
use rustix::io::{Errno, read, write};
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

use crate::error::{Error, shown};
use crate::rooted::c_string;

/// The contents of a file, mapped into memory until this is dropped.
pub(crate) struct Mapped {
    start: *mut core::ffi::c_void,
    size: usize,
}

impl Mapped {
    /// Maps the file at `path`.
    ///
    /// # Errors
    /// When it cannot be opened or mapped.
    pub(crate) fn open(path: &[u8]) -> Result<Self, Error> {
        let failed = |errno| Error::io(format!("read {}", shown(path)), errno);
        let name = c_string(path).map_err(Error::Usage)?;
        let file =
            openat(CWD, &name, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).map_err(failed)?;
        let status = fstat(&file).map_err(failed)?;
        if FileType::from_raw_mode(status.st_mode) != FileType::RegularFile {
            return Err(failed(Errno::INVAL));
        }
        let size = status.st_size as usize;
        if size == 0 {
            return Ok(Self {
                start: core::ptr::null_mut(),
                size,
            });
        }
        // SAFETY: a new mapping at a place that the kernel chooses touches no memory that is in
        // use.
        let start = unsafe {
            mmap(
                core::ptr::null_mut(),
                size,
                ProtFlags::READ,
                MapFlags::PRIVATE,
                &file,
                0,
            )
        }
        .map_err(failed)?;
        Ok(Self { start, size })
    }

    /// Returns the contents.
    pub(crate) fn bytes(&self) -> &[u8] {
        if self.size == 0 {
            return &[];
        }
        // SAFETY: the mapping has `size` readable bytes, and is unmapped only when `self` ends. The
        // seed maps files of the store and files that arguments name, which nobody changes
        // meanwhile.
        unsafe { core::slice::from_raw_parts(self.start.cast(), self.size) }
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        if self.size > 0 {
            // SAFETY: this is the whole mapping, and no slice of it outlives `self`.
            let _ = unsafe { munmap(self.start, self.size) };
        }
    }
}

/// Writes all of `data`.
///
/// # Errors
/// The error number of the write that failed.
pub(crate) fn write_all(file: impl AsFd, mut data: &[u8]) -> Result<(), Errno> {
    while !data.is_empty() {
        match write(&file, data) {
            Ok(0) => return Err(Errno::IO),
            Ok(written) => data = &data[written..],
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

/// Fills the beginning of `buffer` as far as the file reaches. Returns the number of bytes.
///
/// # Errors
/// The error number of the read that failed.
pub(crate) fn read_full(file: impl AsFd, buffer: &mut [u8]) -> Result<usize, Errno> {
    let mut filled = 0;
    while filled < buffer.len() {
        match read(&file, &mut buffer[filled..]) {
            Ok(0) => break,
            Ok(size) => filled += size,
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(filled)
}

/// Opens a directory below another, to list it. Follows no link in its last component.
///
/// # Errors
/// The errors of the system.
pub(crate) fn open_directory(
    parent: BorrowedFd<'_>,
    name: impl rustix::path::Arg,
) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(parent, name, flags, Mode::empty())
}

/// Returns the names in a directory, sorted.
///
/// # Errors
/// The errors of the system.
pub(crate) fn names(directory: impl AsFd) -> Result<Vec<Vec<u8>>, Errno> {
    let mut names = Vec::new();
    for entry in Dir::read_from(directory)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            names.push(name.to_vec());
        }
    }
    names.sort_unstable();
    Ok(names)
}

/// Removes a directory and its contents, as far as the system allows it.
pub(crate) fn remove_tree(parent: BorrowedFd<'_>, name: &[u8]) {
    let Ok(c_name) = c_string(name) else { return };
    if let Ok(directory) = open_directory(parent, &c_name) {
        for inner in names(&directory).unwrap_or_default() {
            let gone = c_string(&inner)
                .is_ok_and(|name| unlinkat(&directory, &name, AtFlags::empty()).is_ok());
            if !gone {
                remove_tree(directory.as_fd(), &inner);
            }
        }
    }
    let _ = unlinkat(parent, &c_name, AtFlags::REMOVEDIR);
}
