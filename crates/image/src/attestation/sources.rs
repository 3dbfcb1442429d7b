//! The digests of the workspace's files.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crateyard_oci::{Digest, DigestAlgorithm, Hasher};

use crate::spec::SourceInput;
use crate::{Error, Result};

/// A file of the workspace.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct SourceFile {
    /// The file's path in the workspace.
    pub path: String,
    /// The digest of the file's content, or of a link's target.
    pub digest: Digest,
    /// Whether the file may be executed.
    pub executable: bool,
}

/// Returns all files of `sources`, each once, by path.
pub(super) fn files(sources: &[SourceInput]) -> Result<Vec<SourceFile>> {
    let mut files = Vec::new();
    for source in sources {
        add(&source.path, &source.from, &mut files)?;
    }
    files.sort();
    files.dedup();
    Ok(files)
}

/// Writes a list of files in the format of `sha256sum`.
pub(super) fn list(files: &[SourceFile]) -> String {
    let lines = files.iter();
    lines
        .map(|file| format!("{}  {}\n", file.digest.hex(), file.path))
        .collect()
}

fn add(path: &str, from: &Path, files: &mut Vec<SourceFile>) -> Result<()> {
    let metadata = fs::symlink_metadata(from).map_err(Error::io("look at", from))?;
    if metadata.is_dir() {
        for entry in fs::read_dir(from).map_err(Error::io("list", from))? {
            let entry = entry.map_err(Error::io("list", from))?;
            let name = entry.file_name();
            let name = name.to_string_lossy();
            let inner = if path.is_empty() {
                name.into_owned()
            } else {
                format!("{path}/{name}")
            };
            add(&inner, &entry.path(), files)?;
        }
        return Ok(());
    }
    let digest = if metadata.is_symlink() {
        let target = fs::read_link(from).map_err(Error::io("read", from))?;
        Digest::of(target.as_os_str().as_bytes())
    } else {
        of_file(from)?
    };
    files.push(SourceFile {
        path: path.to_owned(),
        digest,
        executable: !metadata.is_symlink() && metadata.permissions().mode() & 0o111 != 0,
    });
    Ok(())
}

fn of_file(path: &Path) -> Result<Digest> {
    let mut file = fs::File::open(path).map_err(Error::io("open", path))?;
    let mut hasher = Hasher::new(DigestAlgorithm::Sha256);
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let read = std::io::Read::read(&mut file, &mut buffer);
        match read.map_err(Error::io("read", path))? {
            0 => return Ok(hasher.finish()),
            read => hasher.update(&buffer[..read]),
        }
    }
}
