//! Reads tar streams that anybody may have written.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::sync::Arc;

use super::header::{check_sum, device, number_in, path, size, text};
use super::overrides::Overrides;
use super::{BLOCK, Kind, padding};
use crate::Budget;
use crate::limits::{MAX_EXTENDED_HEADER, MAX_PATH};
use crate::stored::Section;

/// A problem in a tar stream.
#[derive(Debug, thiserror::Error)]
#[error("at byte {offset} of the tar stream: {problem}")]
pub struct TarError {
    /// The start of the entry, in bytes from the start of the stream.
    pub offset: u64,
    /// The problem.
    pub problem: String,
    /// The error of the underlying reader, if that is the problem.
    #[source]
    pub source: Option<io::Error>,
}

impl TarError {
    fn new(offset: u64, problem: impl Into<String>) -> TarError {
        TarError {
            offset,
            problem: problem.into(),
            source: None,
        }
    }
}

/// One entry. Names are bytes because the format does not say that they are text.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The path in the stream, unchanged.
    pub path: Vec<u8>,
    /// The kind of the entry.
    pub kind: Kind,
    /// Permission bits.
    pub mode: u32,
    /// The owner's number.
    pub uid: u64,
    /// The group's number.
    pub gid: u64,
    /// Seconds since 1970, rounded down, or 0 for earlier times.
    pub mtime: u64,
    /// The length of the content in the stream.
    pub size: u64,
    /// The target of a link.
    pub link: Vec<u8>,
    /// Extended attributes.
    pub xattrs: BTreeMap<String, Vec<u8>>,
    /// Major and minor number of a device.
    pub device: (u64, u64),
    /// Whether the file is sparse: its content in the stream is not its content on disk.
    pub sparse: bool,
    /// The start of the content, in bytes from the start of the stream.
    pub content_offset: u64,
}

/// A reader of entries, one after another. [`Read`] returns the content of the current one.
#[derive(Debug)]
pub struct Reader<R> {
    inner: R,
    budget: Option<Arc<Budget>>,
    /// Bytes taken from `inner`.
    position: u64,
    /// Content bytes of the current entry that were not read yet, and the padding after them.
    remaining: u64,
    padding: u64,
    ended: bool,
    marked: bool,
}

impl<R: Read> Reader<R> {
    /// Reads a stream of any number of entries.
    pub fn new(inner: R) -> Reader<R> {
        Reader {
            inner,
            budget: None,
            position: 0,
            remaining: 0,
            padding: 0,
            ended: false,
            marked: false,
        }
    }

    /// Reads a stream and has `budget` pay for its entries.
    pub fn within(inner: R, budget: &Arc<Budget>) -> Reader<R> {
        Reader {
            budget: Some(Arc::clone(budget)),
            ..Reader::new(inner)
        }
    }

    /// Whether the archive ended with the blocks of zeroes that mark its end.
    pub fn has_end_mark(&self) -> bool {
        self.marked
    }

    /// Returns the underlying reader. After the last entry, it is at the bytes behind the archive.
    pub fn into_inner(self) -> R {
        self.inner
    }

    /// Returns the next entry, or `None` at the end of the archive.
    ///
    /// # Errors
    /// When the stream is malformed, cut off, or beyond the limits.
    pub fn next_entry(&mut self) -> Result<Option<Entry>, TarError> {
        let mut overrides = Overrides::default();
        let mut allowance = MAX_EXTENDED_HEADER;
        loop {
            self.skip_content()?;
            let offset = self.position;
            let Some(block) = self.header_block()? else {
                return Ok(None);
            };
            let fail = |problem: &str| TarError::new(offset, problem);
            check_sum(&block).map_err(fail)?;
            let size = size(&block).map_err(fail)?;
            match block[156] {
                b'x' => {
                    let records = self.extended(size, &mut allowance, offset)?;
                    overrides.apply(&records).map_err(fail)?;
                }
                // This header is for all entries that follow. The reader of docker and containerd
                // ignores it, too.
                b'g' => drop(self.extended(size, &mut allowance, offset)?),
                b'L' => {
                    let content = self.extended(size, &mut allowance, offset)?;
                    overrides.long_path = Some(text(&content).to_vec());
                }
                b'K' => {
                    let content = self.extended(size, &mut allowance, offset)?;
                    overrides.long_link = Some(text(&content).to_vec());
                }
                _ => {
                    overrides.settle().map_err(fail)?;
                    return self.entry(&block, size, overrides, offset).map(Some);
                }
            }
        }
    }

    fn entry(
        &mut self,
        block: &[u8; BLOCK],
        size: u64,
        overrides: Overrides,
        offset: u64,
    ) -> Result<Entry, TarError> {
        let fail = |problem: String| TarError::new(offset, problem);
        let number = |range, what| number_in(block, range, what).map_err(fail);
        let kind = Kind::from_byte(block[156]);
        let mut path = overrides.path.unwrap_or_else(|| path(block));
        // Before POSIX, a directory was a file whose name ends in a slash.
        let old_directory = kind == Kind::File && path.ends_with(b"/");
        if path.is_empty() {
            path = b".".to_vec();
        }
        let link = overrides.link;
        let link = link.unwrap_or_else(|| text(&block[157..257]).to_vec());
        check_length("path", &path).map_err(fail)?;
        check_length("link target", &link).map_err(fail)?;
        if let Some(budget) = &self.budget {
            let paid = budget.entries("the tar stream", 1);
            paid.map_err(|error| fail(error.to_string()))?;
        }
        let size = match kind {
            Kind::File | Kind::Other(_) => overrides.size.unwrap_or(size),
            _ => 0,
        };
        if old_directory && size > 0 {
            // Some readers skip the content, and others read entries in it.
            return Err(fail(format!("a directory with {size} bytes of content")));
        }
        let entry = Entry {
            path,
            kind: if old_directory { Kind::Directory } else { kind },
            mode: (number(100..108, "mode")? & 0o7777) as u32,
            uid: overrides.uid.map_or_else(|| number(108..116, "user"), Ok)?,
            gid: overrides
                .gid
                .map_or_else(|| number(116..124, "group"), Ok)?,
            mtime: overrides
                .mtime
                .map_or_else(|| number(136..148, "time"), Ok)?,
            size,
            link,
            xattrs: overrides.xattrs,
            device: device(block),
            sparse: overrides.sparse || block[156] == b'S',
            content_offset: self.position,
        };
        self.remaining = size;
        self.padding = padding(size);
        Ok(entry)
    }

    /// Returns a header, or `None` at the end: a block of zeroes, or the end of the stream.
    fn header_block(&mut self) -> Result<Option<[u8; BLOCK]>, TarError> {
        if self.ended {
            return Ok(None);
        }
        let mut block = [0; BLOCK];
        let read = self.fill(&mut block)?;
        if read == 0 || (read == BLOCK && block.iter().all(|&byte| byte == 0)) {
            self.ended = true;
            self.marked = read > 0;
            return Ok(None);
        }
        if read < BLOCK {
            return Err(self.cut_off());
        }
        Ok(Some(block))
    }

    /// Returns the content of an extended header.
    fn extended(
        &mut self,
        size: u64,
        allowance: &mut u64,
        offset: u64,
    ) -> Result<Vec<u8>, TarError> {
        // An empty header counts, too: a stream that has only headers must come to an end.
        let Some(left) = allowance.checked_sub(size.max(1)) else {
            let problem = format!(
                "the entry's extended headers hold more than the {MAX_EXTENDED_HEADER} bytes allowed"
            );
            return Err(TarError::new(offset, problem));
        };
        *allowance = left;
        let mut content = vec![0; size as usize];
        if self.fill(&mut content)? < content.len() {
            return Err(self.cut_off());
        }
        self.padding = padding(size);
        Ok(content)
    }

    fn skip_content(&mut self) -> Result<(), TarError> {
        let mut left = self.remaining.saturating_add(self.padding);
        // Some writers leave out the padding of the last entry, and readers accept that.
        let padding = self.padding;
        (self.remaining, self.padding) = (0, 0);
        let mut buffer = [0; 16 * 1024];
        while left > 0 {
            let want = left.min(buffer.len() as u64) as usize;
            let read = self.fill(&mut buffer[..want])?;
            left -= read as u64;
            if read < want && left > padding {
                return Err(self.cut_off());
            }
            if read < want {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Reads until the buffer is full or the stream ends.
    fn fill(&mut self, buffer: &mut [u8]) -> Result<usize, TarError> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.inner.read(&mut buffer[filled..]) {
                Ok(0) => break,
                Ok(read) => {
                    filled += read;
                    self.position += read as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    return Err(TarError {
                        offset: self.position,
                        problem: error.to_string(),
                        source: Some(error),
                    });
                }
            }
        }
        Ok(filled)
    }

    fn cut_off(&self) -> TarError {
        TarError::new(self.position, "the stream ends in the middle of an entry")
    }
}

/// Reads the content of the current entry.
impl<R: Read> Read for Reader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let want = self.remaining.min(buffer.len() as u64) as usize;
        if want == 0 {
            return Ok(0);
        }
        let read = self.inner.read(&mut buffer[..want])?;
        if read == 0 {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                self.cut_off().to_string(),
            ));
        }
        self.remaining -= read as u64;
        self.position += read as u64;
        Ok(read)
    }
}

impl From<TarError> for io::Error {
    fn from(error: TarError) -> io::Error {
        io::Error::new(io::ErrorKind::InvalidData, error.to_string())
    }
}

impl<F: std::ops::Deref<Target = std::fs::File>> Reader<Section<F>> {
    /// Skips the rest of the current entry's content without reading it.
    pub(crate) fn seek_past_content(&mut self) {
        let rest = self.remaining.saturating_add(self.padding);
        self.inner.skip(rest);
        self.position = self.position.saturating_add(rest);
        (self.remaining, self.padding) = (0, 0);
    }
}

/// Checks that Linux can open a path of this length.
fn check_length(what: &str, name: &[u8]) -> Result<(), String> {
    let length = name.len();
    if length > MAX_PATH {
        return Err(format!(
            "the {what} has {length} bytes; Linux opens at most {MAX_PATH}"
        ));
    }
    Ok(())
}
