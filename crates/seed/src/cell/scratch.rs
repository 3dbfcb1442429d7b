//! The directory outside with the files of one cell.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use rustix::fs::{AtFlags, CWD, Mode, mkdir, unlinkat};
use rustix::io::Errno;
use rustix::process::getpid;

use super::environment::variable;
use crate::error::{Error, shown};
use crate::files::remove_tree;

/// The directory outside with the files of one cell.
pub(super) struct Scratch {
    pub(super) path: Vec<u8>,
    /// Whether the seed has to remove it with everything in it.
    own: bool,
}

impl Scratch {
    pub(super) fn make(environment: &[Vec<u8>], own: bool) -> Result<Self, Error> {
        let parent = [&b"NIX_BUILD_TOP"[..], b"TMPDIR"]
            .iter()
            .find_map(|name| variable(environment, name));
        let parent = parent.unwrap_or(b"/tmp");
        let name = format!(".cell-{}", getpid().as_raw_nonzero());
        // A killed seed may have left a directory of the same name.
        for attempt in 0..100 {
            let suffix = if attempt == 0 {
                String::new()
            } else {
                format!(".{attempt}")
            };
            let path = [parent, b"/", name.as_bytes(), suffix.as_bytes()].concat();
            match mkdir(path.as_slice(), Mode::from_raw_mode(0o700)) {
                Ok(()) => return Ok(Self { path, own }),
                Err(Errno::EXIST) => {}
                Err(errno) => return Err(Error::io(format!("make {}", shown(&path)), errno)),
            }
        }
        Err(Error::io(
            format!("make a directory in {}", shown(parent)),
            Errno::EXIST,
        ))
    }

    pub(super) fn path_of(&self, name: &str) -> Vec<u8> {
        [&self.path, name.as_bytes()].join(&b'/')
    }

    pub(super) fn directory(&self, name: &str) -> Result<Vec<u8>, Error> {
        let path = self.path_of(name);
        mkdir(path.as_slice(), Mode::from_raw_mode(0o755))
            .map_err(|errno| Error::io(format!("make {}", shown(&path)), errno))?;
        Ok(path)
    }

    /// Removes empty directories. In a directory of Nix it leaves the rest to Nix, which can be
    /// told to keep it.
    pub(super) fn remove(self) {
        if self.own {
            return remove_tree(CWD, &self.path);
        }
        for path in [
            self.path_of("merged"),
            self.path_of("traced"),
            self.path_of("again"),
            self.path,
        ] {
            let _ = unlinkat(CWD, path.as_slice(), AtFlags::REMOVEDIR);
        }
    }
}
