//! Writes tar streams: the same bytes on every machine.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};

use super::pax::{XATTR_PREFIX, push_record};
use super::{BLOCK, Kind, padding};

/// The metadata of an entry.
#[derive(Debug, Clone)]
pub struct Header<'a> {
    /// The path in the archive, without leading slash. A directory's path may end in one.
    pub path: &'a str,
    /// The kind of the entry.
    pub kind: Kind,
    /// Permission bits, with set-user-id and the like.
    pub mode: u32,
    /// The owner's number.
    pub uid: u64,
    /// The group's number.
    pub gid: u64,
    /// Seconds since 1970.
    pub mtime: u64,
    /// The length of the content, or 0 for any entry but a file.
    pub size: u64,
    /// The target of a symbolic link, or the earlier path that a hard link names.
    pub link: &'a str,
    /// Extended attributes.
    pub xattrs: &'a BTreeMap<String, Vec<u8>>,
}

/// The largest numbers that fit the octal fields of `ustar`.
const MAX_ID: u64 = 0o7_777_777;
const MAX_SIZE: u64 = 0o77_777_777_777;
const NAME: usize = 100;
const PREFIX: usize = 155;

/// A writer of entries, one after another, in the caller's order.
#[derive(Debug)]
pub struct Writer<W> {
    out: W,
}

impl<W: Write> Writer<W> {
    /// Starts an archive.
    pub fn new(out: W) -> Writer<W> {
        Writer { out }
    }

    /// Adds an entry.
    ///
    /// # Errors
    /// When the writer fails, or the content is not as long as the header says.
    pub fn append(&mut self, header: &Header<'_>, content: &mut dyn Read) -> io::Result<()> {
        self.out.write_all(&header_bytes(header))?;
        let copied = io::copy(&mut content.take(header.size), &mut self.out)?;
        if copied < header.size {
            let problem = format!("has {copied} bytes where {} were expected", header.size);
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, problem));
        }
        if content.read(&mut [0])? != 0 {
            let problem = format!("has more than the {} bytes it had before", header.size);
            return Err(io::Error::new(io::ErrorKind::InvalidData, problem));
        }
        self.out
            .write_all(&[0; BLOCK][..padding(header.size) as usize])
    }

    /// Ends the archive and returns the writer.
    ///
    /// # Errors
    /// When the writer fails.
    pub fn finish(mut self) -> io::Result<W> {
        self.out.write_all(&[0; 2 * BLOCK])?;
        Ok(self.out)
    }
}

/// Returns the number of bytes that an entry takes, with header and padding.
pub fn entry_length(header: &Header<'_>) -> u64 {
    header_bytes(header).len() as u64 + header.size + padding(header.size)
}

fn header_bytes(header: &Header<'_>) -> Vec<u8> {
    let path = with_slash(header);
    let name = split_name(&path);
    let records = pax_records(header, &path, name.is_none());
    let mut bytes = Vec::with_capacity(BLOCK);
    if !records.is_empty() {
        let pax_name = pax_name(&path);
        let pax = Header {
            path: &pax_name,
            kind: Kind::Other(b'x'),
            mode: 0o644,
            uid: 0,
            gid: 0,
            mtime: header.mtime,
            size: records.len() as u64,
            link: "",
            xattrs: &BTreeMap::new(),
        };
        bytes.extend_from_slice(&block(&pax, ("", &pax_name)));
        bytes.extend_from_slice(&records);
        bytes.resize(bytes.len() + padding(records.len() as u64) as usize, 0);
    }
    let stand_in = pax_name(&path);
    bytes.extend_from_slice(&block(header, name.unwrap_or(("", &stand_in))));
    bytes
}

fn with_slash(header: &Header<'_>) -> String {
    let missing = header.kind == Kind::Directory && !header.path.ends_with('/');
    format!("{}{}", header.path, if missing { "/" } else { "" })
}

/// Returns the records for the values that `ustar` can't hold, in the order of their keys.
fn pax_records(header: &Header<'_>, path: &str, long_path: bool) -> Vec<u8> {
    let mut values: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    let mut put = |key: &str, value: String| values.insert(key.to_owned(), value.into_bytes());
    if header.gid > MAX_ID {
        put("gid", header.gid.to_string());
    }
    if header.link.len() > NAME || !header.link.is_ascii() {
        put("linkpath", header.link.to_owned());
    }
    if header.mtime > MAX_SIZE {
        put("mtime", header.mtime.to_string());
    }
    if long_path {
        put("path", path.to_owned());
    }
    if header.size > MAX_SIZE {
        put("size", header.size.to_string());
    }
    if header.uid > MAX_ID {
        put("uid", header.uid.to_string());
    }
    for (name, value) in header.xattrs {
        values.insert(format!("{XATTR_PREFIX}{name}"), value.clone());
    }
    let mut records = Vec::new();
    for (key, value) in &values {
        push_record(&mut records, key, value);
    }
    records
}

/// Splits a path into prefix and name, if `ustar` can hold it.
fn split_name(path: &str) -> Option<(&str, &str)> {
    if !path.is_ascii() {
        return None;
    }
    if path.len() <= NAME {
        return Some(("", path));
    }
    path.match_indices('/')
        .map(|(at, _)| (&path[..at], &path[at + 1..]))
        .find(|(prefix, name)| {
            !prefix.is_empty() && prefix.len() <= PREFIX && !name.is_empty() && name.len() <= NAME
        })
}

/// Returns a name for readers that do not know PAX: recognizable, ASCII, and short enough.
fn pax_name(path: &str) -> String {
    let last = path.trim_end_matches('/').rsplit('/').next().unwrap_or("");
    let printable = |c: char| if c.is_ascii_graphic() { c } else { '_' };
    let short: String = last.chars().map(printable).take(80).collect();
    format!("PaxHeaders/{short}")
}

fn block(header: &Header<'_>, (prefix, name): (&str, &str)) -> [u8; BLOCK] {
    let mut block = [0; BLOCK];
    let mut put = |at: usize, bytes: &[u8]| block[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, name.as_bytes());
    put(100, &octal::<8>(u64::from(header.mode)));
    put(108, &octal::<8>(fit(header.uid, MAX_ID)));
    put(116, &octal::<8>(fit(header.gid, MAX_ID)));
    put(124, &octal::<12>(fit(header.size, MAX_SIZE)));
    put(136, &octal::<12>(fit(header.mtime, MAX_SIZE)));
    put(148, b"        ");
    put(156, &[header.kind.byte()]);
    if header.link.len() <= NAME && header.link.is_ascii() {
        put(157, header.link.as_bytes());
    }
    put(257, b"ustar\x0000");
    put(329, &octal::<8>(0));
    put(337, &octal::<8>(0));
    put(345, prefix.as_bytes());
    let sum: u64 = block.iter().map(|&byte| u64::from(byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block
}

/// Returns a number that fits the field, or else 0: the PAX record has the number then.
fn fit(number: u64, max: u64) -> u64 {
    if number <= max { number } else { 0 }
}

fn octal<const WIDTH: usize>(number: u64) -> [u8; WIDTH] {
    let text = format!("{number:0width$o}\0", width = WIDTH - 1);
    let mut field = [0; WIDTH];
    field.copy_from_slice(text.as_bytes());
    field
}
