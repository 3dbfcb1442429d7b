//! A temporary file for contents that have no file of their own.

use std::fs::File;
use std::io::{self, BufWriter, Seek, Write};

use crateyard_oci::Section;

use super::tree::Content;
use crate::{Error, Result};

/// An anonymous file in the system's directory for temporary files. It vanishes with the process.
#[derive(Debug)]
pub(super) struct Spool {
    file: File,
    length: u64,
}

impl Spool {
    pub(super) fn new() -> Result<Spool> {
        let file = tempfile::tempfile().map_err(failed("create a temporary file in"))?;
        Ok(Spool { file, length: 0 })
    }

    /// Adds the bytes that the function writes, and returns their place.
    pub(super) fn add(
        &mut self,
        fill: impl FnOnce(&mut dyn Write) -> Result<()>,
    ) -> Result<Content> {
        let mut out = BufWriter::with_capacity(256 << 10, &self.file);
        fill(&mut out)?;
        out.flush().map_err(failed("write a temporary file in"))?;
        drop(out);
        let end = self
            .file
            .stream_position()
            .map_err(failed("write a temporary file in"))?;
        let content = Content::Spooled {
            offset: self.length,
            length: end - self.length,
        };
        self.length = end;
        Ok(content)
    }

    pub(super) fn section(&self, offset: u64, length: u64) -> impl io::Read + use<'_> {
        Section::new(&self.file, offset, length)
    }
}

/// Makes an error that names the temporary directory, because a full one is the likely cause.
fn failed(action: &'static str) -> impl FnOnce(io::Error) -> Error {
    Error::io(action, &std::env::temp_dir())
}
