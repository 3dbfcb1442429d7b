//! Finds the section `.dep-v0` of an ELF executable: zlib-compressed JSON.
//!
//! The headers with the section's place are at the end of the file, so the file goes to a temporary
//! file first. All offsets come from the file and are checked against its length.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

use crate::auditable::SECTION;

/// The largest executable that is searched, in bytes.
const MAX_FILE: u64 = 1 << 30;
/// The largest section, packed and unpacked, and the largest table of sections' names, in bytes.
const MAX_SECTION: u64 = 8 << 20;
const MAX_NAMES: u64 = 1 << 20;

/// Returns the JSON text of the section, or `None` if the file is not ELF or has no such section.
pub(super) fn dependency_list(content: &mut dyn Read) -> io::Result<Option<Vec<u8>>> {
    let mut magic = Vec::new();
    content.take(4).read_to_end(&mut magic)?;
    if magic != b"\x7fELF" {
        return Ok(None);
    }
    let mut file = tempfile::tempfile()?;
    let copied = io::copy(&mut magic.chain(content).take(MAX_FILE), &mut file)?;
    if copied == MAX_FILE {
        return Ok(None);
    }
    let Some(elf) = Elf::open(file)? else {
        return Ok(None);
    };
    let Some(packed) = elf.section(SECTION.as_bytes())? else {
        return Ok(None);
    };
    let mut json = Vec::new();
    let unpacked = flate2::read::ZlibDecoder::new(&packed[..])
        .take(MAX_SECTION)
        .read_to_end(&mut json);
    Ok(unpacked.is_ok().then_some(json))
}

/// The table of sections of an ELF file, 32 or 64 bits, of either byte order.
struct Elf {
    file: File,
    wide: bool,
    little: bool,
    table: u64,
    entry_size: u64,
    count: u64,
    names: u64,
}

/// A section's place in the file.
struct Section {
    name: u64,
    offset: u64,
    size: u64,
}

impl Elf {
    fn open(mut file: File) -> io::Result<Option<Elf>> {
        let Some(header) = read_at(&mut file, 0, 64)? else {
            return Ok(None);
        };
        let (wide, little) = (header[4] == 2, header[5] == 1);
        let number = |at: usize, length: usize| number(&header[at..at + length], little);
        let (table, at) = if wide {
            (number(40, 8), 58)
        } else {
            (number(32, 4), 46)
        };
        Ok(Some(Elf {
            file,
            wide,
            little,
            table,
            entry_size: number(at, 2),
            count: number(at + 2, 2),
            names: number(at + 4, 2),
        }))
    }

    /// Returns the content of the section with a name.
    fn section(mut self, name: &[u8]) -> io::Result<Option<Vec<u8>>> {
        let Some(names) = self.entry(self.names)? else {
            return Ok(None);
        };
        let size = names.size.min(MAX_NAMES);
        let Some(names) = read_at(&mut self.file, names.offset, size)? else {
            return Ok(None);
        };
        for number in 0..self.count {
            let Some(section) = self.entry(number)? else {
                return Ok(None);
            };
            let start = usize::try_from(section.name).unwrap_or(usize::MAX);
            let found = names.get(start..).and_then(|rest| rest.strip_prefix(name));
            if found.is_some_and(|rest| rest.first() == Some(&0)) {
                let fits = section.size <= MAX_SECTION;
                return match fits {
                    true => read_at(&mut self.file, section.offset, section.size),
                    false => Ok(None),
                };
            }
        }
        Ok(None)
    }

    fn entry(&mut self, index: u64) -> io::Result<Option<Section>> {
        let length = if self.wide { 64 } else { 40 };
        let offset = index
            .checked_mul(self.entry_size)
            .and_then(|offset| offset.checked_add(self.table));
        let Some(offset) = offset.filter(|_| self.entry_size >= length) else {
            return Ok(None);
        };
        let Some(header) = read_at(&mut self.file, offset, length)? else {
            return Ok(None);
        };
        let number = |at: usize, length: usize| number(&header[at..at + length], self.little);
        Ok(Some(if self.wide {
            Section {
                name: number(0, 4),
                offset: number(24, 8),
                size: number(32, 8),
            }
        } else {
            Section {
                name: number(0, 4),
                offset: number(16, 4),
                size: number(20, 4),
            }
        }))
    }
}

/// Reads bytes of the file. Returns `None` if the range is outside the file.
fn read_at(file: &mut File, offset: u64, length: u64) -> io::Result<Option<Vec<u8>>> {
    let end = offset.checked_add(length);
    if end.is_none_or(|end| end > i64::MAX as u64) {
        return Ok(None);
    }
    file.seek(SeekFrom::Start(offset))?;
    let mut bytes = Vec::new();
    file.take(length).read_to_end(&mut bytes)?;
    Ok((bytes.len() as u64 == length).then_some(bytes))
}

fn number(bytes: &[u8], little: bool) -> u64 {
    let add = |value: u64, byte: &u8| value << 8 | u64::from(*byte);
    if little {
        bytes.iter().rev().fold(0, add)
    } else {
        bytes.iter().fold(0, add)
    }
}
