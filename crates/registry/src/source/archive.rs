//! An OCI image layout in a tar archive, read in place.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

use super::layout::check_version;
use super::{Blob, Source, not_a_layout, read_small};
use crate::digest::Digest;
use crate::error::Error;

/// How many entries an archive may have: far more than any image needs, and few enough to keep in memory.
const MAX_ENTRIES: usize = 100_000;

/// An OCI image layout in an uncompressed tar archive. Blobs are read from the archive itself; nothing is extracted.
#[derive(Debug)]
pub struct Archive {
    path: PathBuf,
    /// Plain files by name. Of several entries with one name the last counts, as it does when extracting.
    files: BTreeMap<String, Blob>,
}

impl Archive {
    /// Reads the headers of the archive at `path`.
    ///
    /// # Errors
    /// When it is no tar archive, or holds no OCI layout.
    pub fn open(path: &Path) -> Result<Archive, Error> {
        let place = path.display().to_string();
        let file = File::open(path).map_err(Error::io("open", path))?;
        let files =
            list(&file).map_err(|error| not_a_layout(place.clone(), explain(&file, &error)))?;
        let archive = Archive {
            path: path.to_owned(),
            files,
        };
        let marker = archive.files.get("oci-layout").ok_or_else(|| {
            not_a_layout(
                place.clone(),
                "an archive without an OCI layout in it".to_owned(),
            )
        })?;
        let bytes = read_small(marker).map_err(Error::io("read", path))?;
        check_version(&bytes, &format!("{place}: oci-layout"))?;
        Ok(archive)
    }
}

fn list(file: &File) -> std::io::Result<BTreeMap<String, Blob>> {
    let length = file.metadata()?.len();
    let shared = Arc::new(file.try_clone()?);
    let mut archive = tar::Archive::new(file);
    let mut files = BTreeMap::new();
    for entry in archive.entries_with_seek()? {
        let entry = entry?;
        let Ok(name) = String::from_utf8(entry.path_bytes().into_owned()) else {
            continue;
        };
        let name = name.trim_start_matches("./").to_owned();
        if !entry.header().entry_type().is_file() {
            files.remove(&name);
            continue;
        }
        let (start, size) = (entry.raw_file_position(), entry.size());
        if start.checked_add(size).is_none_or(|end| end > length) {
            return Err(std::io::Error::other(format!(
                "{name:?} goes beyond the end of the archive"
            )));
        }
        files.insert(name, Blob::new(shared.clone(), start, size));
        if files.len() > MAX_ENTRIES {
            return Err(std::io::Error::other(format!(
                "more than {MAX_ENTRIES} entries"
            )));
        }
    }
    Ok(files)
}

/// Compressed archives are the likely mistake; blobs in them cannot be read in place.
fn explain(file: &File, error: &std::io::Error) -> String {
    use std::os::unix::fs::FileExt;
    let mut magic = [0; 4];
    let known = file.read_exact_at(&mut magic, 0).is_ok();
    match magic {
        [0x1f, 0x8b, ..] if known => "compressed with gzip; decompress it first".to_owned(),
        [0x28, 0xb5, 0x2f, 0xfd] if known => "compressed with zstd; decompress it first".to_owned(),
        _ => format!("no readable tar archive: {error}"),
    }
}

impl Source for Archive {
    fn place(&self) -> String {
        self.path.display().to_string()
    }

    fn index(&self) -> Result<Bytes, Error> {
        let blob = self
            .files
            .get("index.json")
            .ok_or_else(|| not_a_layout(self.place(), "its layout has no index.json".to_owned()))?;
        read_small(blob).map_err(Error::io("read", &self.path))
    }

    fn blob(&self, digest: &Digest) -> Result<Option<Blob>, Error> {
        Ok(self
            .files
            .get(&format!("blobs/{}/{}", digest.algorithm(), digest.hex()))
            .cloned())
    }
}
