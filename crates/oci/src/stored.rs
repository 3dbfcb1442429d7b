//! Blobs that can be read from any position.

use std::fs::File;
use std::io::{self, Read};
use std::ops::Deref;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use bytes::Bytes;

use crate::Digest;

/// A blob in a file or in memory. Any number of readers can read it from any position, without
/// loading it.
#[derive(Clone, Debug)]
pub struct Stored(Content);

#[derive(Clone, Debug)]
enum Content {
    Part {
        file: Arc<File>,
        start: u64,
        size: u64,
    },
    Bytes(Bytes),
}

impl Stored {
    /// Makes a blob of the `size` bytes of `file` from `start` on.
    pub fn part(file: Arc<File>, start: u64, size: u64) -> Stored {
        Stored(Content::Part { file, start, size })
    }

    /// Makes a blob of bytes in memory.
    pub fn bytes(bytes: Bytes) -> Stored {
        Stored(Content::Bytes(bytes))
    }

    /// Returns the size in bytes.
    pub fn size(&self) -> u64 {
        match &self.0 {
            Content::Part { size, .. } => *size,
            Content::Bytes(bytes) => bytes.len() as u64,
        }
    }

    /// Returns the position of the blob's first byte in its file.
    pub(crate) fn start(&self) -> u64 {
        match &self.0 {
            Content::Part { start, .. } => *start,
            Content::Bytes(_) => 0,
        }
    }

    /// Reads the blob from its first byte on.
    pub fn reader(&self) -> Box<dyn Read + Send> {
        match &self.0 {
            Content::Part { file, start, size } => {
                Box::new(Section::new(Arc::clone(file), *start, *size))
            }
            Content::Bytes(bytes) => Box::new(io::Cursor::new(bytes.clone())),
        }
    }

    /// Fills `buffer` with the bytes from `offset` on.
    ///
    /// # Errors
    /// When the file cannot be read, or has become shorter since it was opened.
    pub fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let end = offset.checked_add(buffer.len() as u64);
        let Some(end) = end.filter(|end| *end <= self.size()) else {
            return Err(io::ErrorKind::UnexpectedEof.into());
        };
        match &self.0 {
            Content::Part { file, start, .. } => file.read_exact_at(buffer, start + offset),
            Content::Bytes(bytes) => {
                buffer.copy_from_slice(&bytes[offset as usize..end as usize]);
                Ok(())
            }
        }
    }

    /// Computes the digest of the whole blob with `like`'s hash function.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn digest(&self, like: &Digest) -> io::Result<Digest> {
        let mut hasher = like.hasher();
        let mut reader = self.reader();
        let mut buffer = vec![0; 256 * 1024];
        loop {
            match reader.read(&mut buffer)? {
                0 => return Ok(hasher.finish()),
                read => hasher.update(&buffer[..read]),
            }
        }
    }
}

/// A reader of a section of a file. It does not move the file's own position, so several sections
/// can read one file at a time.
#[derive(Debug)]
pub struct Section<F> {
    file: F,
    offset: u64,
    left: u64,
}

impl<F: Deref<Target = File>> Section<F> {
    /// Makes a section of the `length` bytes of `file` from `offset` on.
    pub fn new(file: F, offset: u64, length: u64) -> Section<F> {
        Section {
            file,
            offset,
            left: length,
        }
    }

    /// Skips some bytes, at most to the end.
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
