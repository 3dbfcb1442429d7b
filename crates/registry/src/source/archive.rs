//! An OCI image layout in a tar archive, read in place.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

use super::layout::check_version;
use super::{Blob, Source, not_a_layout, read_small};
use crate::digest::Digest;
use crate::error::Error;

/// How many entries an archive may have: far more than any image needs, and few enough to keep in memory.
const MAX_ENTRIES: usize = 100_000;
/// How large an extended header may be, in bytes. Those of layouts hold a name and some times.
const MAX_EXTENSION: u64 = 64 * 1024;
const BLOCK: u64 = 512;

/// An OCI image layout in an uncompressed tar archive. Blobs are read from the archive itself; nothing is extracted.
#[derive(Debug)]
pub struct Archive {
    path: PathBuf,
    /// Plain files by name. Of several entries with one name the last counts, as it does when extracting.
    files: BTreeMap<String, Blob>,
}

impl Archive {
    /// Reads the headers of the archive at `path`.
    ///
    /// # Errors
    /// When it is no tar archive, or holds no OCI layout.
    pub fn open(path: &Path) -> Result<Archive, Error> {
        let place = path.display().to_string();
        let file = Arc::new(File::open(path).map_err(Error::io("open", path))?);
        let files =
            list(&file).map_err(|error| not_a_layout(place.clone(), explain(&file, &error)))?;
        let archive = Archive {
            path: path.to_owned(),
            files,
        };
        let marker = archive.files.get("oci-layout").ok_or_else(|| {
            not_a_layout(
                place.clone(),
                "an archive without an OCI layout in it".to_owned(),
            )
        })?;
        let bytes = read_small(marker).map_err(Error::io("read", path))?;
        check_version(&bytes, &format!("{place}: oci-layout"))?;
        Ok(archive)
    }
}

fn list(file: &Arc<File>) -> io::Result<BTreeMap<String, Blob>> {
    let mut members = Members {
        file,
        length: file.metadata()?.len(),
        position: 0,
    };
    let mut files = BTreeMap::new();
    let mut count = 0;
    while let Some(member) = members.next()? {
        count += 1;
        if count > MAX_ENTRIES {
            return Err(io::Error::other(format!("more than {MAX_ENTRIES} entries")));
        }
        let name = member.name.trim_start_matches("./").to_owned();
        if member.is_file {
            files.insert(name, Blob::new(file.clone(), member.start, member.size));
        } else {
            files.remove(&name);
        }
    }
    Ok(files)
}

/// Compressed archives are the likely mistake; blobs in them cannot be read in place.
fn explain(file: &File, error: &io::Error) -> String {
    let mut magic = [0; 4];
    let is_known = file.read_exact_at(&mut magic, 0).is_ok();
    match magic {
        [0x1f, 0x8b, ..] if is_known => "compressed with gzip; decompress it first".to_owned(),
        [0x28, 0xb5, 0x2f, 0xfd] if is_known => {
            "compressed with zstd; decompress it first".to_owned()
        }
        _ => format!("no readable tar archive: {error}"),
    }
}

/// Walks over the entries of an archive by their headers alone.
///
/// The format is that of [POSIX pax](https://pubs.opengroup.org/onlinepubs/9699919799/utilities/pax.html) with GNU's
/// long names. Of extended headers only names and sizes matter, and no more than [`MAX_EXTENSION`] bytes are read of
/// them, whatever they say of themselves.
struct Members<'a> {
    file: &'a File,
    length: u64,
    position: u64,
}

/// An entry of an archive.
struct Member {
    name: String,
    is_file: bool,
    start: u64,
    size: u64,
}

/// What an extended header says of the entry after it.
#[derive(Default)]
struct Extension {
    name: Option<String>,
    size: Option<u64>,
    is_sparse: bool,
}

impl Members<'_> {
    fn next(&mut self) -> io::Result<Option<Member>> {
        let mut extension = Extension::default();
        while let Some(header) = self.header()? {
            let kind = header[156];
            let own_size = number(&header[124..136])?;
            let size = if is_extension(kind) {
                own_size
            } else {
                extension.size.unwrap_or(own_size)
            };
            let start = self.position;
            let end = start.checked_add(size).filter(|end| *end <= self.length);
            let end =
                end.ok_or_else(|| bad(format!("the entry at byte {start} goes beyond its end")))?;
            self.position = end.next_multiple_of(BLOCK);
            match kind {
                b'x' => self.read_pax(start, size, &mut extension)?,
                b'L' => extension.name = Some(text(&self.read(start, size)?)),
                b'g' | b'K' => {}
                _ => {
                    let name = extension.name.unwrap_or_else(|| header_name(&header));
                    let is_file = matches!(kind, b'0' | 0) && !extension.is_sparse;
                    return Ok(Some(Member {
                        name,
                        is_file,
                        start,
                        size,
                    }));
                }
            }
        }
        Ok(None)
    }

    /// The next header, or `None` at the end: a block of zeros, or nothing more.
    fn header(&mut self) -> io::Result<Option<[u8; 512]>> {
        if self.length.saturating_sub(self.position) < BLOCK {
            return if self.position == 0 {
                Err(bad("too short".to_owned()))
            } else {
                Ok(None)
            };
        }
        let mut header = [0; 512];
        self.file.read_exact_at(&mut header, self.position)?;
        if header.iter().all(|byte| *byte == 0) {
            return Ok(None);
        }
        // The checksum counts itself as spaces.
        let own = header.iter().enumerate();
        let sum: u64 = own
            .map(|(at, byte)| {
                if (148..156).contains(&at) {
                    32
                } else {
                    u64::from(*byte)
                }
            })
            .sum();
        if number(&header[148..156])? != sum {
            return Err(bad(format!("no header at byte {}", self.position)));
        }
        self.position += BLOCK;
        Ok(Some(header))
    }

    fn read(&self, start: u64, size: u64) -> io::Result<Vec<u8>> {
        if size > MAX_EXTENSION {
            return Err(bad(format!(
                "an extended header of {size} bytes at byte {start}"
            )));
        }
        let mut bytes = vec![0; size as usize];
        self.file.read_exact_at(&mut bytes, start)?;
        Ok(bytes)
    }

    /// Records of the form "LENGTH KEY=VALUE\n".
    fn read_pax(&self, start: u64, size: u64, extension: &mut Extension) -> io::Result<()> {
        let bytes = self.read(start, size)?;
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            let record = first_record(rest)
                .ok_or_else(|| bad(format!("a damaged extended header at byte {start}")))?;
            rest = &rest[record.length..];
            let value = record.value;
            match record.key {
                b"path" => extension.name = Some(text(value)),
                b"size" => {
                    let size = std::str::from_utf8(value)
                        .ok()
                        .and_then(|size| size.parse().ok());
                    extension.size =
                        Some(size.ok_or_else(|| bad("a size that is no number".to_owned()))?);
                }
                key => extension.is_sparse |= key.starts_with(b"GNU.sparse"),
            }
        }
        Ok(())
    }
}

/// A record of an extended header, and where the next one begins.
struct Record<'a> {
    key: &'a [u8],
    value: &'a [u8],
    length: usize,
}

/// Reads the first record of `bytes`.
fn first_record(bytes: &[u8]) -> Option<Record<'_>> {
    let space = bytes.iter().position(|byte| *byte == b' ')?;
    let length: usize = std::str::from_utf8(&bytes[..space]).ok()?.parse().ok()?;
    let record = bytes.get(space + 1..length)?.strip_suffix(b"\n")?;
    let equals = record.iter().position(|byte| *byte == b'=')?;
    Some(Record {
        key: &record[..equals],
        value: &record[equals + 1..],
        length,
    })
}

fn is_extension(kind: u8) -> bool {
    matches!(kind, b'x' | b'g' | b'L' | b'K')
}

/// Octal digits between spaces and zeros, or, where the first bit is set, the number itself.
fn number(field: &[u8]) -> io::Result<u64> {
    if field[0] & 0x80 != 0 {
        let first = u64::from(field[0] & 0x7f);
        let value = field[1..].iter().try_fold(first, |value, byte| {
            value.checked_mul(256).map(|value| value + u64::from(*byte))
        });
        return value.ok_or_else(|| bad("a number that is too large".to_owned()));
    }
    let digits = text(field);
    let digits = digits.trim();
    if digits.is_empty() {
        return Ok(0);
    }
    u64::from_str_radix(digits, 8).map_err(|_| bad("a field that is no octal number".to_owned()))
}

/// The name field, after the prefix field where the header is POSIX's.
fn header_name(header: &[u8; 512]) -> String {
    let name = text(&header[..100]);
    let prefix = text(&header[345..500]);
    let is_posix = &header[257..263] == b"ustar\0";
    if is_posix && !prefix.is_empty() {
        format!("{prefix}/{name}")
    } else {
        name
    }
}

/// The bytes up to the first zero. Names that matter here are ASCII.
fn text(bytes: &[u8]) -> String {
    let end = bytes
        .iter()
        .position(|byte| *byte == 0)
        .unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

fn bad(reason: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason)
}

impl Source for Archive {
    fn place(&self) -> String {
        self.path.display().to_string()
    }

    fn index(&self) -> Result<Bytes, Error> {
        let blob = self
            .files
            .get("index.json")
            .ok_or_else(|| not_a_layout(self.place(), "its layout has no index.json".to_owned()))?;
        read_small(blob).map_err(Error::io("read", &self.path))
    }

    fn blob(&self, digest: &Digest) -> Result<Option<Blob>, Error> {
        Ok(self
            .files
            .get(&format!("blobs/{}/{}", digest.algorithm(), digest.hex()))
            .cloned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes entries by the tar crate and reads them back.
    fn names(write: impl FnOnce(&mut tar::Builder<&File>)) -> Vec<(String, bool, u64)> {
        let file = tempfile::tempfile().unwrap();
        let mut builder = tar::Builder::new(&file);
        write(&mut builder);
        builder.finish().unwrap();
        let length = file.metadata().unwrap().len();
        let mut members = Members {
            file: &file,
            length,
            position: 0,
        };
        let mut found = Vec::new();
        while let Some(member) = members.next().unwrap() {
            found.push((member.name, member.is_file, member.size));
        }
        found
    }

    fn header(size: u64) -> tar::Header {
        let mut header = tar::Header::new_gnu();
        header.set_size(size);
        header.set_mode(0o644);
        header
    }

    #[test]
    fn names_of_every_form_are_read() {
        let long = format!("{}/{}", "d".repeat(120), "f".repeat(120));
        let found = names(|builder| {
            builder
                .append_data(&mut header(3), "short", &b"abc"[..])
                .unwrap();
            builder
                .append_data(&mut header(0), &long, &b""[..])
                .unwrap();
            let mut posix = tar::Header::new_ustar();
            posix.set_size(1);
            builder
                .append_data(&mut posix, format!("{}/x", "p".repeat(110)), &b"y"[..])
                .unwrap();
            builder
                .append_pax_extensions([("mtime", &b"1.5"[..]), ("path", b"from/pax")])
                .unwrap();
            builder
                .append_data(&mut header(2), "other", &b"no"[..])
                .unwrap();
            let mut link = header(0);
            link.set_entry_type(tar::EntryType::Symlink);
            builder
                .append_link(&mut link, "link", "/etc/passwd")
                .unwrap();
        });
        let expected = [
            ("short".to_owned(), true, 3),
            (long, true, 0),
            (format!("{}/x", "p".repeat(110)), true, 1),
            ("from/pax".to_owned(), true, 2),
            ("link".to_owned(), false, 0),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn huge_extended_headers_are_not_read() {
        let file = tempfile::tempfile().unwrap();
        let mut block = header(1 << 40);
        block.set_entry_type(tar::EntryType::GNULongName);
        block.set_path("././@LongLink").unwrap();
        block.set_cksum();
        file.write_all_at(block.as_bytes(), 0).unwrap();
        file.set_len((1 << 40) + 2048).unwrap();
        let error = list(&Arc::new(file)).unwrap_err();
        assert!(
            error
                .to_string()
                .contains("extended header of 1099511627776 bytes"),
            "{error}"
        );
    }
}
