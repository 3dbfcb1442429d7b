//! Nix archives (NAR): a file tree as a stream of bytes that depends only on the content.
//!
//! See [the format](https://nix.dev/manual/nix/latest/protocols/nix-archive).

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use sha2::{Digest, Sha256};

use crate::Hash;

/// Writes the archive of the tree at `path`.
///
/// # Errors
/// Fails if the tree holds something that the store can't hold, or if reading or writing fails.
pub fn dump(path: &Path, out: &mut impl Write) -> io::Result<()> {
    string(out, b"nix-archive-1")?;
    node(path, out)
}

/// Writes the archive of an executable file with these bytes.
fn dump_executable(bytes: &[u8], out: &mut impl Write) -> io::Result<()> {
    string(out, b"nix-archive-1")?;
    string(out, b"(")?;
    string(out, b"type")?;
    string(out, b"regular")?;
    string(out, b"executable")?;
    string(out, b"")?;
    string(out, b"contents")?;
    string(out, bytes)?;
    string(out, b")")
}

/// Hashes the archive of the tree at `path`.
///
/// # Errors
/// Fails if the tree holds something that the store can't hold, or if reading fails.
pub fn hash(path: &Path) -> io::Result<Hash> {
    let mut hasher = Sha256::new();
    dump(path, &mut hasher)?;
    Ok(Hash::from_hasher(hasher))
}

/// Hashes the archive of an executable file with these bytes.
pub fn hash_of_executable(bytes: &[u8]) -> Hash {
    let mut hasher = Sha256::new();
    // A hasher accepts all bytes.
    let _ = dump_executable(bytes, &mut hasher);
    Hash::from_hasher(hasher)
}

fn node(path: &Path, out: &mut impl Write) -> io::Result<()> {
    let metadata = fs::symlink_metadata(path)?;
    let kind = metadata.file_type();
    string(out, b"(")?;
    string(out, b"type")?;
    if kind.is_symlink() {
        string(out, b"symlink")?;
        string(out, b"target")?;
        string(out, fs::read_link(path)?.as_os_str().as_bytes())?;
    } else if kind.is_dir() {
        string(out, b"directory")?;
        entries(path, out)?;
    } else if kind.is_file() {
        string(out, b"regular")?;
        if metadata.permissions().mode() & 0o100 != 0 {
            string(out, b"executable")?;
            string(out, b"")?;
        }
        string(out, b"contents")?;
        contents(path, metadata.len(), out)?;
    } else {
        let problem = format!("{} is not a file, directory or link", path.display());
        return Err(io::Error::new(io::ErrorKind::InvalidData, problem));
    }
    string(out, b")")
}

fn entries(path: &Path, out: &mut impl Write) -> io::Result<()> {
    let names: io::Result<Vec<_>> = fs::read_dir(path)?
        .map(|entry| Ok(entry?.file_name()))
        .collect();
    let mut names = names?;
    names.sort_by(|one, other| one.as_bytes().cmp(other.as_bytes()));
    for name in names {
        string(out, b"entry")?;
        string(out, b"(")?;
        string(out, b"name")?;
        string(out, name.as_bytes())?;
        string(out, b"node")?;
        node(&path.join(&name), out)?;
        string(out, b")")?;
    }
    Ok(())
}

fn contents(path: &Path, size: u64, out: &mut impl Write) -> io::Result<()> {
    out.write_all(&size.to_le_bytes())?;
    let copied = io::copy(&mut File::open(path)?.take(size), out)?;
    if copied != size {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    pad(size, out)
}

/// Writes a length of eight bytes, the bytes, and zeros up to a multiple of eight.
fn string(out: &mut impl Write, bytes: &[u8]) -> io::Result<()> {
    let length = bytes.len() as u64;
    out.write_all(&length.to_le_bytes())?;
    out.write_all(bytes)?;
    pad(length, out)
}

fn pad(length: u64, out: &mut impl Write) -> io::Result<()> {
    let missing = (8 - length % 8) % 8;
    out.write_all(&[0; 8][..missing as usize])
}
