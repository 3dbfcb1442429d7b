//! An OCI image layout in a directory.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

use super::{Blob, Source, not_a_layout, read_small};
use crate::digest::Digest;
use crate::error::Error;

/// An [OCI image layout](https://github.com/opencontainers/image-spec/blob/main/image-layout.md) in a directory.
///
/// Nothing in it is followed out of it: a blob that is a symbolic link is an error.
#[derive(Debug)]
pub struct Layout {
    path: PathBuf,
}

impl Layout {
    /// Opens the layout at `path`; `path` itself may be a symbolic link, as Nix's `result` is.
    ///
    /// # Errors
    /// When there is no layout of a known version.
    pub fn open(path: &Path) -> Result<Layout, Error> {
        let layout = Layout {
            path: path.to_owned(),
        };
        let marker = layout.file("oci-layout")?.ok_or_else(|| {
            not_a_layout(
                path.display().to_string(),
                "no OCI image layout: it has no file oci-layout".to_owned(),
            )
        })?;
        let place = path.join("oci-layout");
        let bytes = read_small(&marker).map_err(Error::io("read", &place))?;
        check_version(&bytes, &place.display().to_string())?;
        Ok(layout)
    }

    /// The file at `name` inside the layout, where each part of `name` was checked or is fixed.
    fn file(&self, name: &str) -> Result<Option<Blob>, Error> {
        let mut path = self.path.clone();
        let mut parts = name.split('/').peekable();
        while let Some(part) = parts.next() {
            path.push(part);
            if parts.peek().is_some() && path.is_symlink() {
                return Err(not_plain(&path));
            }
        }
        match open_plain(&path) {
            Ok(file) => {
                let metadata = file.metadata().map_err(Error::io("read", &path))?;
                if !metadata.is_file() {
                    return Err(not_plain(&path));
                }
                Ok(Some(Blob::new(Arc::new(file), 0, metadata.len())))
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) if error.raw_os_error() == Some(libc::ELOOP) => Err(not_plain(&path)),
            Err(error) => Err(Error::io("open", path)(error)),
        }
    }
}

/// Opens without following a link, and without waiting for a pipe's other end.
fn open_plain(path: &Path) -> std::io::Result<File> {
    OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_CLOEXEC)
        .open(path)
}

fn not_plain(path: &Path) -> Error {
    not_a_layout(
        path.display().to_string(),
        "not a plain file or directory; links are not followed".to_owned(),
    )
}

/// `imageLayoutVersion` has been 1.0.0 ever since there is one.
pub(super) fn check_version(bytes: &[u8], place: &str) -> Result<(), Error> {
    let value: serde_json::Value = serde_json::from_slice(bytes)
        .map_err(|error| not_a_layout(place.to_owned(), format!("not JSON: {error}")))?;
    match value["imageLayoutVersion"].as_str() {
        Some(version) if version.starts_with("1.") => Ok(()),
        other => Err(not_a_layout(
            place.to_owned(),
            format!("imageLayoutVersion is {other:?}, supported is \"1.0.0\""),
        )),
    }
}

impl Source for Layout {
    fn place(&self) -> String {
        self.path.display().to_string()
    }

    fn index(&self) -> Result<Bytes, Error> {
        let path = self.path.join("index.json");
        let blob = self.file("index.json")?.ok_or_else(|| {
            not_a_layout(
                self.place(),
                "no OCI image layout: it has no index.json".to_owned(),
            )
        })?;
        read_small(&blob).map_err(Error::io("read", path))
    }

    fn blob(&self, digest: &Digest) -> Result<Option<Blob>, Error> {
        self.file(&format!("blobs/{}/{}", digest.algorithm(), digest.hex()))
    }
}
