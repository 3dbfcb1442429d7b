//! What a program says it is linked to.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use object::Endianness;
use object::elf::{DT_NEEDED, FileHeader64};
use object::read::elf::{Dyn, FileHeader};

const MAGIC: &[u8] = b"\x7fELF";

/// The libraries that a 64-bit ELF file needs (`DT_NEEDED`), in its order; none of any other file.
pub(super) fn libraries(path: &Path) -> Vec<String> {
    let data = read(path).unwrap_or_default();
    needed(&data).unwrap_or_default()
}

/// The file, if it begins as ELF does.
fn read(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    let mut data = vec![0; MAGIC.len()];
    file.read_exact(&mut data)?;
    if data == MAGIC {
        file.read_to_end(&mut data)?;
    }
    Ok(data)
}

fn needed(data: &[u8]) -> object::Result<Vec<String>> {
    let header = FileHeader64::<Endianness>::parse(data)?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_test_is_linked_to_libc() {
        let own = std::env::current_exe().unwrap();
        let found = libraries(&own);
        assert!(found.iter().any(|name| name == "libc.so.6"), "{found:?}");
    }

    #[test]
    fn a_text_needs_nothing() {
        assert!(libraries(Path::new("/etc/passwd")).is_empty());
    }
}
