//! Reads the files that a command left on the disk.

use std::ffi::OsString;
use std::fs::{self, Permissions};
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crateyard_oci::{Algorithm, Digest, digest::HashingReader};

use super::unpack::MODE;
use crate::layer::tree::check_component;
use crate::{Error, Result};

/// Returns the name of a directory's entry, if an image can have it.
pub(super) fn name_of(directory: &str, name: OsString) -> Result<String> {
    let wrong = |problem: String| {
        let remedy = "let the command give it another name";
        Error::spec(format!("/{directory}"), problem, remedy)
    };
    let name = name
        .into_string()
        .map_err(|name| wrong(format!("the file name {name:?} is not UTF-8")))?;
    let checked = check_component(&name);
    checked.map_err(|problem| wrong(format!("the file name {name:?} {problem}")))?;
    Ok(name)
}

/// Gives the owner rights that the mode lacks: nobody else is there to read.
pub(super) fn open_up(place: &Path, mode: u32, rights: u32) -> Result<()> {
    if mode & rights == rights {
        return Ok(());
    }
    let permissions = Permissions::from_mode((mode | rights) & MODE);
    fs::set_permissions(place, permissions).map_err(Error::io("cannot read", place))
}

/// Reads the first bytes of a file and its digest.
pub(super) fn read(place: &Path) -> Result<(Vec<u8>, Digest)> {
    let failed = || Error::io("cannot read", place);
    let file = fs::File::open(place).map_err(failed())?;
    let mut reader = HashingReader::new(file, Algorithm::Sha256);
    let mut head = Vec::new();
    reader
        .by_ref()
        .take(64)
        .read_to_end(&mut head)
        .map_err(failed())?;
    io::copy(&mut reader, &mut io::sink()).map_err(failed())?;
    Ok((head, reader.finish().1))
}
