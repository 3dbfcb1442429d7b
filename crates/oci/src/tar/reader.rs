//! Reads tar streams that anybody may have written.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::sync::Arc;

use base64::Engine as _;

use super::pax::{BASE64_XATTR_PREFIX, XATTR_PREFIX, parse_records};
use super::{BLOCK, Kind, padding};
use crate::Budget;
use crate::limits::{MAX_EXTENDED_HEADER, MAX_PATH, MAX_XATTR};
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

/// The values of extended headers for the next entry.
#[derive(Debug, Clone, Default)]
struct Overrides {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
    uid: Option<u64>,
    gid: Option<u64>,
    mtime: Option<u64>,
    xattrs: BTreeMap<String, Vec<u8>>,
    sparse: bool,
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
            let fail = |problem: &str| TarError {
                offset,
                problem: problem.to_owned(),
                source: None,
            };
            check_sum(&block).map_err(fail)?;
            let size = size(&block[124..136]).ok_or_else(|| fail("the size is not a number"))?;
            match block[156] {
                b'x' => {
                    let records = self.extended(size, &mut allowance, offset)?;
                    apply_pax(&mut overrides, &records).map_err(fail)?;
                }
                // This header is for all entries that follow. The reader of docker and containerd
                // ignores it, too.
                b'g' => drop(self.extended(size, &mut allowance, offset)?),
                b'L' => {
                    overrides.path =
                        Some(until_nul(&self.extended(size, &mut allowance, offset)?).to_vec());
                }
                b'K' => {
                    overrides.link =
                        Some(until_nul(&self.extended(size, &mut allowance, offset)?).to_vec());
                }
                _ => return self.entry(&block, size, overrides, offset).map(Some),
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
        let fail = |problem: &str| TarError {
            offset,
            problem: problem.to_owned(),
            source: None,
        };
        let field = |range: std::ops::Range<usize>, what: &str| {
            number(&block[range]).ok_or_else(|| fail(&format!("the {what} is not a number")))
        };
        let kind = Kind::from_byte(block[156]);
        let mut path = overrides.path.unwrap_or_else(|| header_path(block));
        // Before POSIX, a directory was a file whose name ends in a slash.
        let old_directory = kind == Kind::File && path.ends_with(b"/");
        let kind = if old_directory { Kind::Directory } else { kind };
        if path.is_empty() {
            path = b".".to_vec();
        }
        let link = overrides
            .link
            .unwrap_or_else(|| until_nul(&block[157..257]).to_vec());
        for (what, name) in [("path", &path), ("link target", &link)] {
            if name.len() > MAX_PATH {
                let length = name.len();
                return Err(fail(&format!(
                    "the {what} has {length} bytes; Linux opens at most {MAX_PATH}"
                )));
            }
        }
        if let Some(budget) = &self.budget {
            budget
                .entries("the tar stream", 1)
                .map_err(|error| fail(&error.to_string()))?;
        }
        let size = overrides.size.unwrap_or(size);
        let has_content = matches!(kind, Kind::File | Kind::Other(_)) || old_directory;
        let size = if has_content { size } else { 0 };
        let gnu_sparse = block[156] == b'S';
        let entry = Entry {
            path,
            kind,
            mode: (field(100..108, "mode")? & 0o7777) as u32,
            uid: overrides.uid.map_or_else(|| field(108..116, "user"), Ok)?,
            gid: overrides.gid.map_or_else(|| field(116..124, "group"), Ok)?,
            mtime: overrides
                .mtime
                .map_or_else(|| field(136..148, "time"), Ok)?,
            size,
            link,
            xattrs: overrides.xattrs,
            device: (
                number(&block[329..337]).unwrap_or(0),
                number(&block[337..345]).unwrap_or(0),
            ),
            sparse: overrides.sparse || gnu_sparse,
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
            return Err(TarError {
                offset,
                problem: format!(
                    "the entry's extended headers hold more than the {MAX_EXTENDED_HEADER} bytes \
                     allowed"
                ),
                source: None,
            });
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
        TarError {
            offset: self.position,
            problem: "the stream ends in the middle of an entry".to_owned(),
            source: None,
        }
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

fn check_sum(block: &[u8; BLOCK]) -> Result<(), &'static str> {
    let stored = number(&block[148..156]).ok_or("the checksum is not a number")?;
    let counted = |index: usize, byte: u8| {
        if (148..156).contains(&index) {
            b' '
        } else {
            byte
        }
    };
    let bytes = || {
        block
            .iter()
            .enumerate()
            .map(|(at, &byte)| counted(at, byte))
    };
    let unsigned: i64 = bytes().map(i64::from).sum();
    let signed: i64 = bytes().map(|byte| i64::from(byte as i8)).sum();
    let stored = i64::try_from(stored).unwrap_or(-1);
    if stored == unsigned || stored == signed {
        Ok(())
    } else {
        Err("the header's checksum is wrong")
    }
}

/// Reads a size. Readers disagree about where the next entry begins after a negative one.
fn size(field: &[u8]) -> Option<u64> {
    let is_negative = field[0] & 0xc0 == 0xc0;
    (!is_negative).then(|| number(field)).flatten()
}

/// Reads a number in octal digits, or in base 256 when the highest bit is set. Negative numbers,
/// which only times may have, count as 0.
fn number(field: &[u8]) -> Option<u64> {
    if field[0] & 0x80 != 0 {
        if field[0] & 0x40 != 0 {
            return Some(0);
        }
        let first = u64::from(field[0] & 0x3f);
        return field[1..].iter().try_fold(first, |value, &byte| {
            value.checked_mul(256)?.checked_add(u64::from(byte))
        });
    }
    let text = std::str::from_utf8(until_nul(field)).ok()?.trim();
    if text.is_empty() {
        return Some(0);
    }
    u64::from_str_radix(text, 8).ok()
}

fn until_nul(bytes: &[u8]) -> &[u8] {
    bytes.split(|&byte| byte == 0).next().unwrap_or_default()
}

fn header_path(block: &[u8; BLOCK]) -> Vec<u8> {
    let name = until_nul(&block[..100]);
    // GNU's own dialect has other fields in place of `ustar`'s prefix.
    let posix = &block[257..263] == b"ustar\0";
    let prefix = until_nul(&block[345..500]);
    if !posix || prefix.is_empty() {
        return name.to_vec();
    }
    [prefix, b"/", name].concat()
}

fn apply_pax(overrides: &mut Overrides, records: &[u8]) -> Result<(), &'static str> {
    let records = parse_records(records).ok_or("the extended header is malformed")?;
    for (key, value) in records {
        apply_record(overrides, key, value)?;
    }
    Ok(())
}

fn apply_record(overrides: &mut Overrides, key: &[u8], value: &[u8]) -> Result<(), &'static str> {
    let key = String::from_utf8_lossy(key);
    match &*key {
        "path" | "GNU.sparse.name" => overrides.path = Some(value.to_vec()),
        "linkpath" => overrides.link = Some(value.to_vec()),
        "size" => overrides.size = Some(decimal(value).ok_or("the size is not a number")?),
        "uid" => overrides.uid = Some(decimal(value).ok_or("the user is not a number")?),
        "gid" => overrides.gid = Some(decimal(value).ok_or("the group is not a number")?),
        "mtime" => overrides.mtime = Some(seconds(value).ok_or("the time is not a number")?),
        key if key.starts_with("GNU.sparse.") => overrides.sparse = true,
        key => {
            let xattr = match key.strip_prefix(XATTR_PREFIX) {
                Some(name) => Some((name, value.to_vec())),
                None => key
                    .strip_prefix(BASE64_XATTR_PREFIX)
                    .map(|name| (name, from_base64(value))),
            };
            let Some((name, value)) = xattr else {
                return Ok(());
            };
            if value.len() > MAX_XATTR {
                return Err(
                    "an extended attribute is larger than the 65,536 bytes that Linux allows",
                );
            }
            // libarchive writes both forms, and the plain one counts.
            let is_plain = key.starts_with(XATTR_PREFIX);
            if is_plain || !overrides.xattrs.contains_key(name) {
                overrides.xattrs.insert(name.to_owned(), value);
            }
        }
    }
    Ok(())
}

/// Decodes base 64 in libarchive's form, without padding. Returns any other value unchanged.
fn from_base64(value: &[u8]) -> Vec<u8> {
    let text = value.strip_suffix(b"=").unwrap_or(value);
    let text = text.strip_suffix(b"=").unwrap_or(text);
    let decoded = base64::engine::general_purpose::STANDARD_NO_PAD.decode(text);
    decoded.unwrap_or_else(|_| value.to_vec())
}

fn decimal(value: &[u8]) -> Option<u64> {
    std::str::from_utf8(value).ok()?.parse().ok()
}

/// Returns the whole seconds of a time such as `1700000000.25`. Times before 1970 count as 0.
fn seconds(value: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(value).ok()?;
    if text.starts_with('-') {
        return Some(0);
    }
    text.split('.').next()?.parse().ok()
}
