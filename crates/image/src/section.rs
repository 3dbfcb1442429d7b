//! A stretch of a file, read without moving the file's own position.

use std::fs::File;
use std::io::{self, Read};
use std::ops::Deref;
use std::os::unix::fs::FileExt;

/// Reads `length` bytes of a file from `offset`. Several can read one file at a time.
#[derive(Debug)]
pub(crate) struct Section<F> {
    file: F,
    offset: u64,
    left: u64,
}

impl<F: Deref<Target = File>> Section<F> {
    pub(crate) fn new(file: F, offset: u64, length: u64) -> Section<F> {
        Section {
            file,
            offset,
            left: length,
        }
    }

    /// Goes on by some bytes, at most to the end.
    pub(crate) fn skip(&mut self, bytes: u64) {
        let skipped = bytes.min(self.left);
        self.offset += skipped;
        self.left -= skipped;
    }
}

impl<F: Deref<Target = File>> Read for Section<F> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let want = self.left.min(buffer.len() as u64) as usize;
        let read = self.file.read_at(&mut buffer[..want], self.offset)?;
        self.offset += read as u64;
        self.left -= read as u64;
        Ok(read)
    }
}
