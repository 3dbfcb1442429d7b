//! The dynamic loader of an executable.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use object::read::elf::{FileHeader, ProgramHeader};
use object::{Endianness, elf::FileHeader64};

/// Returns the dynamic loader that a 64-bit ELF executable asks for, or nothing if it is static.
///
/// # Errors
/// When the file is no such executable.
pub(crate) fn interpreter(path: &Path) -> anyhow::Result<Option<PathBuf>> {
    let data = std::fs::read(path).with_context(|| format!("can't read {}", path.display()))?;
    read_interpreter(&data).with_context(|| format!("{} is no 64-bit executable", path.display()))
}

fn read_interpreter(data: &[u8]) -> object::Result<Option<PathBuf>> {
    let header = FileHeader64::<Endianness>::parse(data)?;
    let endian = header.endian()?;
    for program in header.program_headers(endian, data)? {
        if let Some(name) = program.interpreter(endian, data)? {
            return Ok(Some(OsStr::from_bytes(name).into()));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_test_has_a_loader_that_exists() {
        let own = std::env::current_exe().unwrap();
        let loader = interpreter(&own).unwrap().expect("dynamically linked");
        assert!(loader.exists(), "{loader:?}");
    }

    #[test]
    fn a_text_is_no_executable() {
        let error = interpreter(Path::new("/etc/passwd")).unwrap_err();
        assert!(error.to_string().contains("/etc/passwd"));
    }
}
