//! Files that are there whole or not at all.

use std::io::Write;
use std::path::Path;

use image::output::OutputFile;

use crate::error::{Error, Result};

/// Writes a file in place of the one that is there.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> Result<()> {
    let failed = |error: image::Error| Error::Damaged {
        place: path.display().to_string(),
        reason: error.to_string(),
    };
    let mut file = OutputFile::create(path).map_err(failed)?;
    file.file()
        .write_all(bytes)
        .map_err(Error::io("write", path))?;
    file.finish().map_err(failed)
}
