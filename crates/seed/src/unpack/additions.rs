//! What the command line adds to the packages: directories, links, texts, and the bundle of
//! certificates.

use alloc::ffi::CString;
use alloc::format;
use alloc::vec;
use alloc::vec::Vec;

use rustix::fd::OwnedFd;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, openat, statat, symlinkat, unlinkat};
use rustix::io::Errno;

use super::{BUFFER, DIRECTORY_MODE, Unpacker};
use crate::arguments::Addition;
use crate::error::{Error, shown};
use crate::files::{names, open_directory, read_full, write_all};
use crate::rooted::{Missing, c_string};

const CERTIFICATES: &[u8] = b"usr/share/ca-certificates";

impl Unpacker {
    pub(super) fn add(&mut self, addition: &Addition) -> Result<(), Error> {
        match addition {
            Addition::Directory { path } => self
                .root
                .directory(path, Missing::Make(DIRECTORY_MODE))
                .map(drop)
                .map_err(|problem| {
                    Error::Usage(format!("--mkdir {}: {}", shown(path), problem.reason))
                }),
            Addition::Symlink { path, target } => {
                let target = c_string(target).map_err(Error::Usage)?;
                let (parent, name) = self.cleared("--symlink", path)?;
                symlinkat(&target, &parent, &name)
                    .map_err(|errno| Error::io(format!("make {}", shown(path)), errno))
            }
            Addition::Text { path, content } => {
                self.write("--text", path, |file| write_all(file, content))
            }
        }
    }

    /// Clears the place of an addition. Returns its directory and its name there.
    fn cleared(&self, option: &str, path: &[u8]) -> Result<(OwnedFd, CString), Error> {
        let (parent, name) = self
            .root
            .parent(path, Missing::Make(DIRECTORY_MODE))
            .map_err(|problem| {
                Error::Usage(format!("{option} {}: {}", shown(path), problem.reason))
            })?;
        match unlinkat(&parent, &name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok((parent, name)),
            Err(errno) => Err(Error::io(format!("replace {}", shown(path)), errno)),
        }
    }

    fn write(
        &self,
        option: &str,
        path: &[u8],
        content: impl FnOnce(&OwnedFd) -> Result<(), Errno>,
    ) -> Result<(), Error> {
        let (parent, name) = self.cleared(option, path)?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        openat(&parent, &name, flags, Mode::from_raw_mode(0o644))
            .and_then(|file| content(&file))
            .map_err(|errno| Error::io(format!("write {}", shown(path)), errno))
    }

    /// Puts all certificates into one file, as `update-ca-certificates` does.
    pub(super) fn ca_certificates(&self, path: &[u8]) -> Result<(), Error> {
        let failed = |errno| Error::io(format!("read {}", shown(CERTIFICATES)), errno);
        let directory = self
            .root
            .directory(CERTIFICATES, Missing::Fail)
            .map_err(|_| {
                Error::Usage(format!(
                    "--ca-certificates: there is no {}: is the package ca-certificates among the \
                     packages?",
                    shown(CERTIFICATES)
                ))
            })?;
        let mut certificates = Vec::new();
        find(&directory, b"", &mut certificates).map_err(failed)?;
        certificates.sort_unstable();
        self.write("--ca-certificates", path, |bundle| {
            let mut buffer = vec![0; BUFFER];
            for certificate in &certificates {
                let file = openat(
                    &directory,
                    certificate.as_slice(),
                    OFlags::RDONLY | OFlags::CLOEXEC,
                    Mode::empty(),
                )?;
                let mut last = b'\n';
                loop {
                    let size = read_full(&file, &mut buffer)?;
                    let Some(&end) = buffer[..size].last() else {
                        break;
                    };
                    write_all(bundle, &buffer[..size])?;
                    last = end;
                }
                if last != b'\n' {
                    write_all(bundle, b"\n")?;
                }
            }
            Ok(())
        })
    }
}

/// Finds certificates below a directory. Their paths are relative to it.
fn find(directory: &OwnedFd, prefix: &[u8], found: &mut Vec<Vec<u8>>) -> Result<(), Errno> {
    let here: &[u8] = if prefix.is_empty() { b"." } else { prefix };
    for name in names(open_directory(rustix::fd::AsFd::as_fd(directory), here)?)? {
        let path = if prefix.is_empty() {
            name
        } else {
            [prefix, &name].join(&b'/')
        };
        let status = statat(directory, path.as_slice(), AtFlags::SYMLINK_NOFOLLOW)?;
        match FileType::from_raw_mode(status.st_mode) {
            FileType::Directory => find(directory, &path, found)?,
            FileType::RegularFile if path.ends_with(b".crt") => found.push(path),
            _ => {}
        }
    }
    Ok(())
}
