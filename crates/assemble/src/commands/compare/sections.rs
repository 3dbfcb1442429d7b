//! Finds the sections in which two executables differ.

use std::collections::{BTreeMap, BTreeSet};

use object::elf::FileHeader64;
use object::read::elf::{FileHeader, SectionHeader};
use object::{Endianness, elf};
use serde::Serialize;

/// A section that differs, or that only one of the executables has.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Section {
    /// The name, such as `.text`; `headers` for bytes outside all sections.
    pub name: String,
    /// The size in the first executable, in bytes.
    pub before: Option<u64>,
    /// The size in the second executable, in bytes.
    pub after: Option<u64>,
}

/// Returns the sections in which two 64-bit ELF files differ, or `None` if one file is not ELF.
pub fn differing(before: &[u8], after: &[u8]) -> Option<Vec<Section>> {
    let (one, other) = (sections(before)?, sections(after)?);
    let names: BTreeSet<&String> = one.keys().chain(other.keys()).collect();
    let size = |section: Option<&&[u8]>| section.map(|data| data.len() as u64);
    let differing = names
        .into_iter()
        .filter(|name| one.get(*name) != other.get(*name))
        .map(|name| Section {
            name: name.clone(),
            before: size(one.get(name)),
            after: size(other.get(name)),
        });
    let mut differing: Vec<Section> = differing.collect();
    if differing.is_empty() && before != after {
        differing.push(Section {
            name: "headers".to_owned(),
            before: Some(before.len() as u64),
            after: Some(after.len() as u64),
        });
    }
    Some(differing)
}

/// Returns the content of each section. A number distinguishes sections with the same name.
fn sections(data: &[u8]) -> Option<BTreeMap<String, &[u8]>> {
    let header = FileHeader64::<Endianness>::parse(data).ok()?;
    let endian = header.endian().ok()?;
    let table = header.sections(endian, data).ok()?;
    let mut found = BTreeMap::new();
    for section in table.iter().skip(1) {
        let name = table.section_name(endian, section).ok()?;
        let mut name = String::from_utf8_lossy(name).into_owned();
        let content = match section.sh_type(endian) {
            elf::SHT_NOBITS => &[],
            _ => section.data(endian, data).ok()?,
        };
        while found.contains_key(&name) {
            name.push('\'');
        }
        found.insert(name, content);
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_section_that_differs_is_named() {
        let own = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        assert_eq!(differing(&own, &own), Some(Vec::new()));
        let header = FileHeader64::<Endianness>::parse(&*own).unwrap();
        let endian = header.endian().unwrap();
        let table = header.sections(endian, &*own).unwrap();
        let (_, text) = table.section_by_name(endian, b".text").unwrap();
        let mut edited = own.clone();
        edited[usize::try_from(text.sh_offset(endian)).unwrap()] ^= 1;
        let found = differing(&own, &edited).unwrap();
        let names: Vec<&str> = found.iter().map(|section| section.name.as_str()).collect();
        assert_eq!(names, [".text"]);
        assert_eq!(differing(b"no ELF", &own), None);
    }
}
