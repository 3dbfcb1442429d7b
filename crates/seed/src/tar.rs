//! Tar archives as dpkg makes and reads them: ustar, GNU long names, PAX paths and sizes.
//!
//! The archive is a stream. No more than one buffer of it is in memory.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use crate::error::shown;

const BLOCK: usize = 512;
/// The number of bytes of an archive that are read at once.
pub(crate) const BUFFER: usize = 128 << 10;
/// The longest name, link's target or PAX header, in bytes, as in crates/oci.
const MAX_EXTENSION: u64 = 1 << 20;

/// The kind of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A regular file.
    File,
    /// Another name of an earlier file.
    HardLink,
    /// A symbolic link.
    Symlink,
    /// A directory.
    Directory,
    /// A character or block device, or a named pipe.
    Device,
}

/// A file, directory or link in the archive.
#[derive(Debug)]
pub(crate) struct Entry {
    /// The path as the archive has it.
    pub(crate) path: Vec<u8>,
    /// The kind.
    pub(crate) kind: Kind,
    /// The permission bits.
    pub(crate) mode: u32,
    /// The target of a link.
    pub(crate) link: Vec<u8>,
}

/// The bytes of an archive, which come piece by piece.
pub(crate) trait Source {
    /// Fills the beginning of `output` and returns the number of bytes. The number is 0 at the end,
    /// when all checksums have been checked.
    ///
    /// # Errors
    /// When the bytes are damaged or end too early.
    fn read(&mut self, output: &mut [u8]) -> Result<usize, String>;
}

/// A tar archive that is being read.
pub(crate) struct Reader<'a> {
    source: Box<dyn Source + 'a>,
    buffer: Box<[u8]>,
    /// The unread part of the buffer.
    start: usize,
    end: usize,
    /// The number of unread bytes of the present entry's data, and of the padding behind them.
    data: u64,
    padding: u64,
}

/// The contents of the extension headers before an entry.
#[derive(Default)]
struct Extensions {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
}

impl<'a> Reader<'a> {
    /// Begins to read an archive.
    pub(crate) fn new(source: Box<dyn Source + 'a>) -> Self {
        Self {
            source,
            buffer: vec![0; BUFFER].into(),
            start: 0,
            end: 0,
            data: 0,
            padding: 0,
        }
    }

    /// Skips the rest of the present entry and returns the next one, or `None` at the end. At the
    /// end the compressed stream, too, has been read to its end and so checked.
    ///
    /// # Errors
    /// When the archive is damaged, ends too early, or holds an entry of an unknown kind.
    pub(crate) fn next(&mut self) -> Result<Option<Entry>, String> {
        while self.data()?.is_some() {}
        let mut extensions = Extensions::default();
        loop {
            let header = self.block()?;
            if header.iter().all(|&byte| byte == 0) {
                self.finish()?;
                return Ok(None);
            }
            check(&header)?;
            let size = number(&header[124..136]).ok_or_else(|| invalid(&header, "size"))?;
            let kind = match header[156] {
                b'L' => {
                    extensions.path = Some(until_zero(&self.extension(size)?).to_vec());
                    continue;
                }
                b'K' => {
                    extensions.link = Some(until_zero(&self.extension(size)?).to_vec());
                    continue;
                }
                b'x' => {
                    extensions.read_pax(&self.extension(size)?)?;
                    continue;
                }
                b'g' => {
                    // Global headers hold comments. A path or size for all entries would make no
                    // sense.
                    self.extension(size)?;
                    continue;
                }
                b'0' | 0 | b'7' if is_directory_by_name(&header) => Kind::Directory,
                b'0' | 0 | b'7' => Kind::File,
                b'1' => Kind::HardLink,
                b'2' => Kind::Symlink,
                b'3' | b'4' | b'6' => Kind::Device,
                b'5' => Kind::Directory,
                other => {
                    return Err(format!(
                        "the tar entry {} is of the unknown kind {}",
                        shown(&path(&header)),
                        shown(&[other])
                    ));
                }
            };
            let size = extensions.size.unwrap_or(size);
            self.expect(size);
            return Ok(Some(Entry {
                path: extensions.path.unwrap_or_else(|| path(&header)),
                kind,
                mode: number(&header[100..108]).ok_or_else(|| invalid(&header, "mode"))? as u32
                    & 0o7777,
                link: extensions
                    .link
                    .unwrap_or_else(|| until_zero(&header[157..257]).to_vec()),
            }));
        }
    }

    /// Returns the next piece of the present entry's data, if there is one.
    ///
    /// # Errors
    /// When the archive is damaged or ends too early.
    pub(crate) fn data(&mut self) -> Result<Option<&[u8]>, String> {
        if self.data == 0 {
            while self.padding > 0 {
                let size = self.available(self.padding)?;
                self.start += size;
                self.padding -= size as u64;
            }
            return Ok(None);
        }
        let size = self.available(self.data)?;
        let piece = self.start..self.start + size;
        self.start += size;
        self.data -= size as u64;
        Ok(Some(&self.buffer[piece]))
    }

    fn expect(&mut self, size: u64) {
        self.data = size;
        self.padding = size.wrapping_neg() % BLOCK as u64;
    }

    /// Returns how many of the `wanted` bytes are in the buffer: at least one.
    fn available(&mut self, wanted: u64) -> Result<usize, String> {
        if self.start == self.end {
            self.start = 0;
            self.end = self.source.read(&mut self.buffer)?;
            if self.end == 0 {
                return Err(
                    "truncated: the tar archive ends within an entry or without an end mark".into(),
                );
            }
        }
        Ok((self.end - self.start).min(usize::try_from(wanted).unwrap_or(usize::MAX)))
    }

    fn block(&mut self) -> Result<[u8; BLOCK], String> {
        let mut block = [0; BLOCK];
        let mut filled = 0;
        while filled < BLOCK {
            let size = self.available((BLOCK - filled) as u64)?;
            block[filled..filled + size]
                .copy_from_slice(&self.buffer[self.start..self.start + size]);
            self.start += size;
            filled += size;
        }
        Ok(block)
    }

    fn extension(&mut self, size: u64) -> Result<Vec<u8>, String> {
        if size > MAX_EXTENSION {
            return Err(format!(
                "damaged: an extension header of the tar archive has {size} bytes"
            ));
        }
        self.expect(size);
        let mut extension = Vec::new();
        while let Some(piece) = self.data()? {
            extension.extend_from_slice(piece);
        }
        Ok(extension)
    }

    /// Reads the padding after the end mark, because the stream's checksum may be behind it.
    fn finish(&mut self) -> Result<(), String> {
        self.start = self.end;
        while self.source.read(&mut self.buffer)? > 0 {}
        Ok(())
    }
}

impl Extensions {
    /// Reads the records of a PAX header: `LENGTH KEY=VALUE\n`. The length counts all of the
    /// record.
    fn read_pax(&mut self, mut records: &[u8]) -> Result<(), String> {
        while !records.is_empty() && records[0] != 0 {
            let (key, value, rest) = pax_record(records)
                .ok_or("damaged: a PAX header of the tar archive is malformed")?;
            match key {
                b"path" => self.path = Some(value.to_vec()),
                b"linkpath" => self.link = Some(value.to_vec()),
                b"size" => {
                    let size = core::str::from_utf8(value)
                        .ok()
                        .and_then(|digits| digits.parse().ok());
                    self.size = Some(
                        size.ok_or("damaged: a PAX header of the tar archive has no valid size")?,
                    );
                }
                _ if key.starts_with(b"GNU.sparse.") => {
                    return Err("a sparse file in the tar archive".into());
                }
                _ => {}
            }
            records = rest;
        }
        Ok(())
    }
}

/// Returns the key and the value of the first record, and the records behind it.
fn pax_record(records: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let space = records.iter().position(|&byte| byte == b' ')?;
    let length = core::str::from_utf8(&records[..space]).ok()?.parse().ok()?;
    let (record, rest) = records.split_at_checked(length)?;
    let record = record.get(space + 1..)?.strip_suffix(b"\n")?;
    let equals = record.iter().position(|&byte| byte == b'=')?;
    Some((&record[..equals], &record[equals + 1..], rest))
}

/// Compares a header with its checksum, which is the sum of its bytes with the checksum itself
/// counted as spaces. Some archivers summed signed bytes.
fn check(header: &[u8; BLOCK]) -> Result<(), String> {
    let bytes = || {
        header
            .iter()
            .enumerate()
            .map(|(at, &byte)| if (148..156).contains(&at) { b' ' } else { byte })
    };
    let unsigned = bytes().map(u64::from).sum::<u64>();
    let signed = bytes().map(|byte| i64::from(byte as i8)).sum::<i64>();
    let wanted = number(&header[148..156]);
    if wanted == Some(unsigned) || (signed >= 0 && wanted == Some(signed as u64)) {
        Ok(())
    } else {
        Err("damaged: the checksum of a header in the tar archive is wrong".into())
    }
}

/// Reads a number: octal digits between spaces and zeroes, or big-endian binary with the first bit
/// set.
fn number(field: &[u8]) -> Option<u64> {
    if field[0] & 0x80 != 0 {
        let first = u64::from(field[0] & 0x7f);
        return field[1..].iter().try_fold(first, |number, &byte| {
            number
                .checked_mul(256)
                .map(|number| number | u64::from(byte))
        });
    }
    let digits = until_zero(field).trim_ascii();
    if digits.is_empty() {
        return Some(0);
    }
    digits.iter().try_fold(0_u64, |number, &digit| match digit {
        b'0'..=b'7' => number
            .checked_mul(8)
            .map(|number| number | u64::from(digit - b'0')),
        _ => None,
    })
}

fn until_zero(field: &[u8]) -> &[u8] {
    let end = field
        .iter()
        .position(|&byte| byte == 0)
        .unwrap_or(field.len());
    &field[..end]
}

/// Returns the path of a header: its name, behind the prefix that ustar (and not GNU) has.
fn path(header: &[u8; BLOCK]) -> Vec<u8> {
    let name = until_zero(&header[..100]);
    let prefix = until_zero(&header[345..500]);
    if &header[257..263] == b"ustar\0" && !prefix.is_empty() {
        [prefix, b"/", name].concat()
    } else {
        name.to_vec()
    }
}

/// Before ustar, a directory was a file whose name ends in a slash.
fn is_directory_by_name(header: &[u8; BLOCK]) -> bool {
    header[156] == 0 && until_zero(&header[..100]).ends_with(b"/")
}

fn invalid(header: &[u8; BLOCK], field: &str) -> String {
    format!(
        "damaged: the tar entry {} has no valid {field}",
        shown(&path(header))
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decompress::Stream;

    fn header(name: &[u8], kind: u8, size: &[u8]) -> [u8; BLOCK] {
        let mut header = [0; BLOCK];
        header[..name.len()].copy_from_slice(name);
        header[100..107].copy_from_slice(b"0000755");
        header[124..124 + size.len()].copy_from_slice(size);
        header[156] = kind;
        header[257..265].copy_from_slice(b"ustar  \0");
        header[148..156].fill(b' ');
        let sum: u32 = header.iter().map(|&byte| u32::from(byte)).sum();
        header[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
        header
    }

    fn padded(data: &[u8]) -> Vec<u8> {
        let mut blocks = data.to_vec();
        blocks.resize(data.len().div_ceil(BLOCK) * BLOCK, 0);
        blocks
    }

    fn read(archive: &[u8]) -> Result<Vec<(String, Vec<u8>)>, String> {
        let mut reader = Reader::new(Box::new(Stream::Plain(archive)));
        let mut found = Vec::new();
        while let Some(entry) = reader.next()? {
            let mut data = Vec::new();
            while let Some(piece) = reader.data()? {
                data.extend_from_slice(piece);
            }
            found.push((String::from_utf8_lossy(&entry.path).into_owned(), data));
        }
        Ok(found)
    }

    #[test]
    fn long_names_apply_to_the_next_entry_only() {
        let long = "a/".repeat(80) + "name";
        let archive = [
            &header(b"././@LongLink", b'L', b"00000000245")[..],
            &padded(format!("{long}\0").as_bytes()),
            &header(b"cut", b'0', b"3"),
            &padded(b"one"),
            &header(b"./short", b'0', b"3"),
            &padded(b"two"),
            &[0; 2 * BLOCK],
        ]
        .concat();
        assert_eq!(
            read(&archive).unwrap(),
            [(long, b"one".to_vec()), ("./short".into(), b"two".to_vec())]
        );
    }

    #[test]
    fn pax_path_and_size_win() {
        let records = b"17 path=from/pax\n12 size=600\n19 comment=nothing\n";
        let archive = [
            &header(
                b"PaxHeaders/x",
                b'x',
                format!("{:o}", records.len()).as_bytes(),
            )[..],
            &padded(records),
            &header(b"x", b'0', b"1"),
            &padded(&[7; 600]),
            &[0; 2 * BLOCK],
        ]
        .concat();
        assert_eq!(read(&archive).unwrap(), [("from/pax".into(), vec![7; 600])]);
    }

    #[test]
    fn binary_sizes_are_understood() {
        assert_eq!(number(&[0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2]), Some(258));
        assert_eq!(number(b"0000012 \0"), Some(10));
        assert_eq!(number(b"12x"), None);
    }

    #[test]
    fn damage_is_noticed() {
        let mut archive = [
            &header(b"x", b'0', b"3")[..],
            &padded(b"one"),
            &[0; 2 * BLOCK],
        ]
        .concat();
        assert!(read(&archive[..700]).unwrap_err().starts_with("truncated"));
        assert!(
            read(&archive[..2 * BLOCK])
                .unwrap_err()
                .starts_with("truncated")
        );
        archive[5] = b'y';
        assert!(read(&archive).unwrap_err().contains("checksum"));
    }
}
