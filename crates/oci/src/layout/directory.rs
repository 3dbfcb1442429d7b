//! A layout in a directory.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{Mode, OFlags, openat};

use crate::limits::refuse_hole;
use crate::{Budget, Digest, Error, Result, Stored};

/// An opened directory. Everything below it is opened step by step and without following links, so
/// that nothing leads out of it.
#[derive(Debug)]
pub(super) struct Directory {
    path: PathBuf,
    root: OwnedFd,
}

impl Directory {
    /// Wraps an opened directory. The path itself may have been a link, like `result` of `nix
    /// build`.
    pub(super) fn new(path: &Path, root: File) -> Directory {
        Directory {
            path: path.to_owned(),
            root: root.into(),
        }
    }

    /// Reads a document of the layout itself.
    pub(super) fn read(&self, name: &str, budget: &Budget) -> Result<Vec<u8>> {
        let path = self.path.join(name);
        let most = budget.limits().document;
        let mut bytes = Vec::new();
        let mut file = self.open_file(name)?.take(most + 1);
        file.read_to_end(&mut bytes)
            .map_err(Error::io("read", &path))?;
        budget.document_size(&path.display().to_string(), bytes.len() as u64)?;
        Ok(bytes)
    }

    pub(super) fn blob(&self, digest: &Digest) -> Result<Option<Stored>> {
        let name = digest.blob_path();
        let file = match self.open_file(&name) {
            Ok(file) => file,
            Err(Error::Io { source, .. }) if source.kind() == ErrorKind::NotFound => {
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        let path = self.path.join(name);
        let metadata = file.metadata();
        let metadata = metadata.map_err(Error::io("look at", &path))?;
        refuse_hole(&path.display().to_string(), &metadata)?;
        Ok(Some(Stored::part(Arc::new(file), 0, metadata.len())))
    }

    /// Returns all names below `blobs`, two levels deep as the format demands.
    pub(super) fn blob_paths(&self, budget: &Budget) -> Result<Vec<String>> {
        let blobs = self.open_directory("blobs")?;
        let mut paths = Vec::new();
        for algorithm in self.names(&blobs, "blobs", budget)? {
            let below = format!("blobs/{algorithm}");
            match self.open_directory(&below) {
                Ok(directory) => {
                    let names = self.names(&directory, &below, budget)?;
                    paths.extend(names.into_iter().map(|name| format!("{below}/{name}")));
                }
                Err(_) => paths.push(below),
            }
        }
        paths.sort();
        Ok(paths)
    }

    fn names(&self, directory: &OwnedFd, name: &str, budget: &Budget) -> Result<Vec<String>> {
        let what = self.path.join(name).display().to_string();
        let failed =
            |error: rustix::io::Errno| Error::io("list", &self.path.join(name))(error.into());
        let mut names = Vec::new();
        for entry in rustix::fs::Dir::read_from(directory).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name().to_string_lossy();
            if name != "." && name != ".." {
                budget.entries(&what, 1)?;
                budget.keep(&what, 2 * name.len() as u64 + 100)?;
                names.push(name.into_owned());
            }
        }
        Ok(names)
    }

    /// Opens a regular file by a relative path without links.
    fn open_file(&self, name: &str) -> Result<File> {
        // A pipe must not block the program.
        let file = File::from(self.open_below(name, OFlags::NONBLOCK)?);
        let path = self.path.join(name);
        let metadata = file.metadata().map_err(Error::io("look at", &path))?;
        if metadata.is_file() {
            return Ok(file);
        }
        Err(Error::damaged(
            path.display().to_string(),
            "it is not a regular file",
        ))
    }

    fn open_directory(&self, name: &str) -> Result<OwnedFd> {
        self.open_below(name, OFlags::DIRECTORY)
    }

    fn open_below(&self, name: &str, last_flags: OFlags) -> Result<OwnedFd> {
        let failed = |error: rustix::io::Errno| {
            let path = self.path.join(name);
            if error == rustix::io::Errno::LOOP || error == rustix::io::Errno::NOTDIR {
                let problem = "it is reached through a symbolic link or is of the wrong kind; a \
                               layout must have real files and directories";
                return Error::damaged(path.display().to_string(), problem);
            }
            Error::io("open", &path)(error.into())
        };
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut components = name.split('/').peekable();
        let mut directory: Option<OwnedFd> = None;
        while let Some(component) = components.next() {
            let last = components.peek().is_none();
            let flags = flags | if last { last_flags } else { OFlags::DIRECTORY };
            let opened = match &directory {
                Some(directory) => openat(directory, component, flags, Mode::empty()),
                None => openat(&self.root, component, flags, Mode::empty()),
            };
            directory = Some(opened.map_err(failed)?);
        }
        directory.ok_or_else(|| failed(rustix::io::Errno::NOENT))
    }
}
