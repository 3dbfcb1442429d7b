//! The facts that a program states about itself: its libraries and its compilers.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use object::Endianness;
use object::elf::{DT_NEEDED, FileHeader64};
use object::read::elf::{Dyn, FileHeader, SectionHeader};

const MAGIC: &[u8] = b"\x7fELF";
/// The section in which compilers leave their names and versions.
const COMPILERS: &[u8] = b".comment";

/// A 64-bit ELF file.
#[derive(Debug, Default)]
pub(super) struct Program {
    /// The libraries that the program needs (`DT_NEEDED`), in its order.
    pub(super) libraries: Vec<String>,
    /// The names and versions of the program's compilers, sorted.
    pub(super) compilers: Vec<String>,
}

/// Reads the program at `path`. Returns `None` for any other file.
pub(super) fn program(path: &Path) -> Option<Program> {
    let data = read(path).ok()?;
    let header = FileHeader64::<Endianness>::parse(&data[..]).ok()?;
    Some(Program {
        libraries: needed(header, &data).unwrap_or_default(),
        compilers: compilers(header, &data).unwrap_or_default(),
    })
}

/// Reads a file, if it begins like an ELF file.
fn read(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    let mut data = vec![0; MAGIC.len()];
    file.read_exact(&mut data)?;
    if data == MAGIC {
        file.read_to_end(&mut data)?;
    }
    Ok(data)
}

fn needed(header: &FileHeader64<Endianness>, data: &[u8]) -> object::Result<Vec<String>> {
    let endian = header.endian()?;
    let sections = header.sections(endian, data)?;
    let Some((entries, link)) = sections.dynamic(endian, data)? else {
        return Ok(Vec::new());
    };
    let strings = sections.strings(endian, data, link)?;
    let mut names = Vec::new();
    for entry in entries
        .iter()
        .filter(|e| e.tag32(endian) == Some(DT_NEEDED))
    {
        let name = entry.string(endian, strings)?;
        names.push(String::from_utf8_lossy(name).into_owned());
    }
    Ok(names)
}

/// Reads the compilers' texts, which each end in a zero byte.
fn compilers(header: &FileHeader64<Endianness>, data: &[u8]) -> object::Result<Vec<String>> {
    let endian = header.endian()?;
    let sections = header.sections(endian, data)?;
    let Some((_, section)) = sections.section_by_name(endian, COMPILERS) else {
        return Ok(Vec::new());
    };
    let texts = section.data(endian, data)?.split(|byte| *byte == 0);
    let mut names: Vec<String> = texts
        .filter(|text| !text.is_empty())
        .map(|text| String::from_utf8_lossy(text).into_owned())
        .collect();
    names.sort();
    names.dedup();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_test_is_linked_to_libc_and_compiled_by_rustc() {
        let own = program(&std::env::current_exe().unwrap()).unwrap();
        assert!(
            own.libraries.iter().any(|name| name == "libc.so.6"),
            "{own:?}"
        );
        assert!(
            own.compilers
                .iter()
                .any(|name| name.starts_with("rustc version ")),
            "{own:?}"
        );
    }

    #[test]
    fn a_text_is_no_program() {
        assert!(program(Path::new("/etc/passwd")).is_none());
    }
}
