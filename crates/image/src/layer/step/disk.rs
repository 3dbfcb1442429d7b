//! Reads the files that a command left on the disk.

use std::borrow::Cow;
use std::ffi::OsString;
use std::fs::{self, Permissions};
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crateyard_oci::{Digest, DigestAlgorithm, digest::HashingReader};
use rustix::io::Errno;

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
    fs::set_permissions(place, permissions).map_err(Error::io("read", place))
}

/// The names of attributes that a command may set, if nothing forbids it: those of users, and a
/// program's capabilities. All others are the system's own.
const SETTABLE: [&str; 2] = ["user.", "security.capability"];

/// Refuses extended attributes that a command has set. The unpacked files have none. Nix forbids
/// builders to set any, so a layer with them would be another one in a derivation.
pub(super) fn refuse_attributes(path: &str, place: &Path) -> Result<()> {
    let failed = |errno: Errno| Error::io("read", place)(errno.into());
    let size = match rustix::fs::llistxattr_query(place) {
        Ok(0) | Err(Errno::OPNOTSUPP) => return Ok(()),
        Ok(size) => size,
        Err(errno) => return Err(failed(errno)),
    };
    let mut list = vec![0; size];
    let size = rustix::fs::llistxattr(place, list.as_mut_slice()).map_err(failed)?;
    let names = list[..size].split(|byte| *byte == 0);
    let mut names = names.map(String::from_utf8_lossy);
    let is_settable = |name: &Cow<'_, str>| SETTABLE.iter().any(|start| name.starts_with(start));
    match names.find(is_settable) {
        None => Ok(()),
        Some(name) => Err(Error::spec(
            format!("/{path}"),
            format!(
                "it has the extended attribute {}, which a step can't set",
                crateyard_text::clean(&name)
            ),
            "`xattrs` and `capabilities` of binaries and `files` set attributes",
        )),
    }
}

/// Reads the first bytes of a file and its digest.
pub(super) fn read(place: &Path) -> Result<(Vec<u8>, Digest)> {
    let failed = || Error::io("read", place);
    let file = fs::File::open(place).map_err(failed())?;
    let mut reader = HashingReader::new(file, DigestAlgorithm::Sha256);
    let mut head = Vec::new();
    reader
        .by_ref()
        .take(64)
        .read_to_end(&mut head)
        .map_err(failed())?;
    io::copy(&mut reader, &mut io::sink()).map_err(failed())?;
    Ok((head, reader.finish().1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attribute_of_a_user_is_refused() {
        let file = tempfile::NamedTempFile::new().unwrap();
        refuse_attributes("srv/file", file.path()).unwrap();
        let flags = rustix::fs::XattrFlags::empty();
        if let Err(errno) = rustix::fs::setxattr(file.path(), "user.note", b"x", flags) {
            eprintln!("SKIPPED: an_attribute_of_a_user_is_refused: {errno}");
            return;
        }
        let error = refuse_attributes("srv/file", file.path()).unwrap_err();
        let error = error.to_string();
        assert!(
            error.contains("/srv/file") && error.contains("user.note"),
            "{error}"
        );
    }
}
