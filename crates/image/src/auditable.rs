//! The list of crates that a program carries, as [cargo
//! auditable](https://github.com/rust-secure-code/cargo-auditable) writes it: the section
//! `.dep-v0`, zlib-compressed JSON. `cargo audit bin`, syft, trivy and others read it.
//!
//! cargo auditable hands the list to the linker. Plain Cargo links the programs here, so this
//! module adds the list afterwards, when the program goes into a layer: [`Patch`] appends it behind
//! the program's last byte, with a table of sections that names the list. Nothing that is loaded
//! moves or changes. That is why this module writes those few bytes itself: a library that rewrites
//! ELF files (`object::build`) lays out the whole file again.

use std::collections::BTreeMap;

use object::elf::{ELFCLASS64, ELFDATA2LSB, SHT_PROGBITS, SHT_STRTAB};
use serde::{Deserialize, Serialize};

use crate::compress;
use crate::spec::LinkedCrates;

/// The section's name.
pub const SECTION: &str = ".dep-v0";
/// The size of the header of a 64-bit ELF file.
pub const HEADER: usize = 64;
/// The size of an entry in the table of sections of such a file.
const ENTRY: usize = 64;
/// The number of sections from which on a file keeps the number elsewhere.
const MANY_SECTIONS: usize = 0xff00;

/// The section's content:
/// <https://github.com/rust-secure-code/cargo-auditable/blob/master/PARSING.md>.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CrateList {
    /// The crates, sorted by name, version and source.
    pub packages: Vec<ListedCrate>,
}

/// One crate of a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListedCrate {
    /// The crate's name.
    pub name: String,
    /// The crate's version.
    pub version: String,
    /// `crates.io`, `registry` for any other registry, `git` or `local`.
    #[serde(default)]
    pub source: String,
    /// `build` for a crate that only ran at build time. Absent for crates in the program.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// The positions of the crate's direct dependencies.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dependencies: Vec<usize>,
    /// Whether the crate is the program's own package.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub root: bool,
}

impl CrateList {
    /// Lists a program's crates, each package once: a program's package may also have a library.
    pub fn new(crates: &LinkedCrates) -> CrateList {
        type Key<'a> = (&'a str, &'a str, &'a str);
        let key = |unit: &str| -> Option<Key<'_>> {
            let it = crates.units.get(unit)?;
            Some((&it.name, &it.version, &it.source))
        };
        let mut packages: BTreeMap<Key<'_>, Vec<Key<'_>>> = BTreeMap::new();
        for (unit, linked) in &crates.units {
            let Some(own) = key(unit) else { continue };
            let uses = linked.uses.iter().filter_map(|used| key(used));
            packages
                .entry(own)
                .or_default()
                .extend(uses.filter(|used| *used != own));
        }
        let positions: BTreeMap<Key<'_>, usize> = packages.keys().copied().zip(0..).collect();
        let root = key(&crates.root);
        let listed = |(own, uses): (&Key<'_>, &Vec<Key<'_>>)| {
            let mut dependencies: Vec<usize> = uses.iter().map(|used| positions[used]).collect();
            dependencies.sort_unstable();
            dependencies.dedup();
            ListedCrate {
                name: own.0.to_owned(),
                version: own.1.to_owned(),
                source: source(own.2).to_owned(),
                kind: None,
                dependencies,
                root: root == Some(*own),
            }
        };
        CrateList {
            packages: packages.iter().map(listed).collect(),
        }
    }

    /// Returns the section's content: the same bytes on every machine.
    fn to_section(&self) -> Vec<u8> {
        let json = serde_json::to_vec(self).expect("text and numbers can be written as JSON");
        compress::zlib(&json)
    }
}

/// Returns the list's word for a source of `Cargo.lock`.
fn source(source: &str) -> &'static str {
    match source {
        "" => "local",
        _ if source.contains("github.com/rust-lang/crates.io-index") => "crates.io",
        _ if source.starts_with("git+") => "git",
        _ => "registry",
    }
}

/// The difference between a program with a list and the same program without: another header, and
/// bytes at the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Patch {
    /// The file's first [`HEADER`] bytes.
    pub header: [u8; HEADER],
    /// The bytes behind the file's last byte.
    pub tail: Vec<u8>,
}

impl Patch {
    /// Adds the list of `crates` to a program. Returns `None` if the program already carries one.
    ///
    /// # Errors
    /// Says why the file can't carry a list.
    pub fn new(elf: &[u8], crates: &LinkedCrates) -> Result<Option<Patch>, String> {
        Patch::with_section(elf, &CrateList::new(crates).to_section())
    }

    fn with_section(elf: &[u8], content: &[u8]) -> Result<Option<Patch>, String> {
        let mut sections = Sections::read(elf)?;
        if sections.has(SECTION) {
            return Ok(None);
        }
        let mut tail = content.to_vec();
        let end = elf.len() as u64;
        sections.add(SECTION, end, content.len() as u64);
        let names_at = end + tail.len() as u64;
        tail.extend_from_slice(&sections.names);
        sections.place_names(names_at);
        // The table's entries hold 8-byte numbers, so the table is aligned to 8 bytes.
        tail.resize(tail.len() + (elf.len() + tail.len()).wrapping_neg() % 8, 0);
        let table_at = end + tail.len() as u64;
        tail.extend(sections.entries.iter().flatten());
        let mut header: [u8; HEADER] = elf[..HEADER].try_into().map_err(|_| "it is cut off")?;
        put(&mut header, 0x28, &table_at.to_le_bytes());
        put(&mut header, 0x3a, &(ENTRY as u16).to_le_bytes());
        put(
            &mut header,
            0x3c,
            &(sections.entries.len() as u16).to_le_bytes(),
        );
        put(
            &mut header,
            0x3e,
            &(sections.names_index as u16).to_le_bytes(),
        );
        Ok(Some(Patch { header, tail }))
    }

    /// Returns the program with its list.
    pub fn apply(&self, elf: &[u8]) -> Vec<u8> {
        [
            &self.header,
            elf.get(HEADER..).unwrap_or_default(),
            &self.tail,
        ]
        .concat()
    }
}

/// Whether two programs are the same apart from the list that one of them carries.
pub fn is_same_program(one: &[u8], other: &[u8]) -> bool {
    let carries = |with: &[u8], without: &[u8]| {
        let content = Sections::read(with)
            .ok()
            .and_then(|it| it.content(with, SECTION));
        let patch = content.and_then(|content| Patch::with_section(without, &content).ok()?);
        patch.is_some_and(|patch| patch.apply(without) == with)
    };
    one == other || carries(one, other) || carries(other, one)
}

/// The table of sections of a 64-bit ELF file.
struct Sections {
    entries: Vec<[u8; ENTRY]>,
    names_index: usize,
    names: Vec<u8>,
}

impl Sections {
    fn read(elf: &[u8]) -> Result<Sections, String> {
        if elf.get(..4) != Some(&b"\x7fELF"[..]) || elf.len() < HEADER {
            return Err("it is not an ELF file".to_owned());
        }
        if elf[4] != ELFCLASS64 || elf[5] != ELFDATA2LSB {
            return Err("it is not a 64-bit little-endian ELF file".to_owned());
        }
        let table = number(elf, 0x28, 8).ok_or("it is cut off")?;
        let count = number(elf, 0x3c, 2).ok_or("it is cut off")?;
        let names_index = number(elf, 0x3e, 2).ok_or("it is cut off")?;
        if table == 0 {
            return Ok(Sections::none());
        }
        if count == 0 || count + 2 >= MANY_SECTIONS || names_index >= count {
            return Err(format!(
                "its table of sections has {count} entries, the names in {names_index}"
            ));
        }
        if number(elf, 0x3a, 2) != Some(ENTRY) {
            return Err("its table of sections has entries of an unusual size".to_owned());
        }
        let length = count * ENTRY;
        let table = range(elf, table, length).ok_or("its table of sections is cut off")?;
        let entries: Vec<[u8; ENTRY]> = table
            .chunks_exact(ENTRY)
            .filter_map(|entry| entry.try_into().ok())
            .collect();
        let names =
            section(elf, &entries[names_index]).ok_or("its names of sections are cut off")?;
        Ok(Sections {
            names: names.to_vec(),
            entries,
            names_index,
        })
    }

    /// Returns the table of a file that has none: the entry that every table begins with, and the
    /// names.
    fn none() -> Sections {
        let mut names = [0; ENTRY];
        put(&mut names, 0, &1_u32.to_le_bytes());
        put(&mut names, 4, &SHT_STRTAB.to_le_bytes());
        put(&mut names, 48, &1_u64.to_le_bytes());
        Sections {
            entries: vec![[0; ENTRY], names],
            names_index: 1,
            names: b"\0.shstrtab\0".to_vec(),
        }
    }

    fn find(&self, name: &str) -> Option<&[u8; ENTRY]> {
        self.entries.iter().find(|entry| {
            let start = number(&entry[..], 0, 4).unwrap_or(usize::MAX);
            let rest = self.names.get(start..).unwrap_or_default();
            rest.strip_prefix(name.as_bytes())
                .is_some_and(|rest| rest.first() == Some(&0))
        })
    }

    fn has(&self, name: &str) -> bool {
        self.find(name).is_some()
    }

    fn content(&self, elf: &[u8], name: &str) -> Option<Vec<u8>> {
        section(elf, self.find(name)?).map(<[u8]>::to_vec)
    }

    /// Adds a section that is not loaded. The section comes last, so that the others keep their
    /// numbers.
    fn add(&mut self, name: &str, offset: u64, size: u64) {
        let mut entry = [0; ENTRY];
        put(&mut entry, 0, &(self.names.len() as u32).to_le_bytes());
        put(&mut entry, 4, &SHT_PROGBITS.to_le_bytes());
        put(&mut entry, 24, &offset.to_le_bytes());
        put(&mut entry, 32, &size.to_le_bytes());
        put(&mut entry, 48, &1_u64.to_le_bytes());
        self.entries.push(entry);
        self.names.extend_from_slice(name.as_bytes());
        self.names.push(0);
    }

    /// Records the new place of the names.
    fn place_names(&mut self, offset: u64) {
        let size = self.names.len() as u64;
        let entry = &mut self.entries[self.names_index];
        put(entry, 24, &offset.to_le_bytes());
        put(entry, 32, &size.to_le_bytes());
    }
}

/// Returns the content that an entry of the table points to.
fn section<'a>(elf: &'a [u8], entry: &[u8; ENTRY]) -> Option<&'a [u8]> {
    range(elf, number(entry, 24, 8)?, number(entry, 32, 8)?)
}

fn range(bytes: &[u8], start: usize, length: usize) -> Option<&[u8]> {
    bytes.get(start..start.checked_add(length)?)
}

/// Reads a little-endian number of `length` bytes.
fn number(bytes: &[u8], at: usize, length: usize) -> Option<usize> {
    let bytes = range(bytes, at, length)?;
    let value = bytes
        .iter()
        .rev()
        .fold(0_u64, |value, byte| value << 8 | u64::from(*byte));
    usize::try_from(value).ok()
}

fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    bytes[at..at + value.len()].copy_from_slice(value);
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn crates() -> LinkedCrates {
        let crates_io = "registry+https://github.com/rust-lang/crates.io-index";
        serde_json::from_value(json!({"root": "app-bin", "units": {
            "app-bin": {"name": "app", "version": "0.1.0", "uses": ["app-lib", "serde"]},
            "app-lib": {"name": "app", "version": "0.1.0", "uses": ["own"]},
            "own": {"name": "own", "version": "1.0.0", "source": "git+https://example.org/own#00"},
            "serde": {"name": "serde", "version": "1.0.1", "source": crates_io, "uses": []},
        }}))
        .unwrap()
    }

    #[test]
    fn a_package_is_listed_once_with_what_it_uses() {
        let list = CrateList::new(&crates());
        assert_eq!(
            serde_json::to_value(&list).unwrap(),
            json!({"packages": [
                {"name": "app", "version": "0.1.0", "source": "local", "dependencies": [1, 2],
                    "root": true},
                {"name": "own", "version": "1.0.0", "source": "git"},
                {"name": "serde", "version": "1.0.1", "source": "crates.io"},
            ]})
        );
    }

    #[test]
    fn only_the_header_and_the_end_are_others() {
        let elf = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        let patch = Patch::new(&elf, &crates()).unwrap().unwrap();
        let patched = patch.apply(&elf);
        assert_eq!(patched[HEADER..elf.len()], elf[HEADER..]);
        assert!(is_same_program(&patched, &elf) && is_same_program(&elf, &patched));
        assert!(!is_same_program(&patched, &elf[..elf.len() - 1]));
        assert_eq!(Patch::new(&patched, &crates()), Ok(None), "once is enough");
    }

    #[test]
    fn a_file_without_a_table_of_sections_is_given_one() {
        let mut elf = vec![0; 100];
        elf[..6].copy_from_slice(b"\x7fELF\x02\x01");
        let patched = Patch::new(&elf, &crates()).unwrap().unwrap().apply(&elf);
        let sections = Sections::read(&patched).unwrap();
        assert!(sections.has(".shstrtab") && sections.has(SECTION));
    }

    #[test]
    fn what_is_no_program_is_refused() {
        for bytes in [
            &b"#!/bin/sh"[..],
            b"\x7fELF",
            &[b"\x7fELF\x01\x01", &[0_u8; 94][..]].concat(),
        ] {
            Patch::new(bytes, &crates()).unwrap_err();
        }
        let mut elf = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        elf.truncate(elf.len() - 10);
        Patch::new(&elf, &crates()).unwrap_err();
    }
}
