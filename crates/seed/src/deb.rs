//! The format of .deb files: finds the member that holds the package's files (deb(5)).

use alloc::format;
use alloc::string::String;

use crate::ar::Archive;
use crate::decompress::Stream;
use crate::error::shown;

/// Opens the files of a package, which are in its `data.tar`.
///
/// # Errors
/// When the package is damaged or of an unknown version, or its compression is unknown.
pub(crate) fn data(file: &[u8]) -> Result<Stream<'_>, String> {
    let mut archive = Archive::new(file)?;
    let version = archive
        .next()?
        .filter(|first| first.name == b"debian-binary");
    let version = version.ok_or("not a Debian package: its first member is not `debian-binary`")?;
    if !version.data.starts_with(b"2.") {
        let line = version.data.trim_ascii();
        return Err(format!(
            "a Debian package of format {}, only 2.x is known",
            shown(line)
        ));
    }
    let mut data = None;
    let mut control = false;
    while let Some(member) = archive.next()? {
        if member.name.starts_with(b"control.tar") {
            control = true;
        } else if member.name.starts_with(b"data.tar") && data.is_none() {
            if !control {
                return Err("not a Debian package: `data.tar` comes before `control.tar`".into());
            }
            data = Some(member);
        }
    }
    let data = data.ok_or("truncated, or not a Debian package: it has no `data.tar`")?;
    Stream::new(data.name, data.data)
}
