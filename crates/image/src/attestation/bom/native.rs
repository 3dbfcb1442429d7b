//! Libraries of C and other languages that a crate's build script made and that are linked into
//! programs.

use std::fs;
use std::path::{Path, PathBuf};

use crateyard_unit::directives::Directives;

use super::super::purl;
use super::{Bom, Component, Kind, Party, Relation, key, party, web};
use crate::spec::{self, UnitInput};
use crate::{Error, Result};
use crateyard_oci::Digest;

/// The largest depth of a search in a build script's directory.
const MAX_DEPTH: usize = 8;

/// Adds the static libraries that the build script of `unit`'s package made and linked.
pub(super) fn add(
    bom: &mut Bom,
    unit: &UnitInput,
    crate_key: &str,
    supplier: &Party,
    license: Option<String>,
) -> Result<()> {
    let Some(output) = &unit.build_output else {
        return Ok(());
    };
    let directives = directives(output)?;
    let files = output.join("files");
    for said in &directives.link_libs {
        let (kind, name) = library(said);
        let archive = find(&files, &format!("lib{name}.a"), MAX_DEPTH);
        if archive.is_none() && kind != "static" {
            continue;
        }
        let version = version(unit, name, &files, &directives);
        let component = Component {
            kind: Kind::Library,
            name: name.to_owned(),
            version: version.clone().unwrap_or_else(|| unit.version.clone()),
            supplier: party::of_crate(unit, supplier),
            license: license.clone(),
            sha256: archive.as_deref().map(digest).transpose()?,
            purl: Some(match &version {
                Some(version) => purl::generic(name, version),
                None => purl::of_crate(unit) + "#" + name,
            }),
            homepage: web(Some(&unit.repository)),
            comment: Some(comment(unit, archive.is_some(), version.is_some())),
            ..Component::default()
        };
        let own = key("native", &[&unit.package, &unit.version, name]);
        bom.add(crate_key, Relation::StaticLink, &own, component);
    }
    Ok(())
}

/// Returns the origin of a library, for people.
fn comment(unit: &UnitInput, is_compiled: bool, has_version: bool) -> String {
    let mut text = match is_compiled {
        true => "Compiled by the build script of the crate ".to_owned(),
        false => "Linked from the system's libraries by the build script of the crate ".to_owned(),
    };
    text += &unit.package;
    text += match has_version {
        true => ".",
        false => ", whose version stands here: it says none of its own.",
    };
    text
}

fn directives(output: &Path) -> Result<Directives> {
    spec::read(&output.join("directives.json"))
}

/// Returns the kind and name in `[KIND[:MODIFIERS]=]NAME[:RENAMED]`.
fn library(said: &str) -> (&str, &str) {
    let (kind, name) = said.split_once('=').unwrap_or(("", said));
    let kind = kind.split(':').next().unwrap_or(kind);
    (kind, name.split(':').next().unwrap_or(name))
}

/// Returns the library's own version: the one that pkg-config would report, the one in the build
/// script's output, or the one behind the `+` of the crate's version.
fn version(unit: &UnitInput, name: &str, files: &Path, directives: &Directives) -> Option<String> {
    if let Some(version) = described(files, name, MAX_DEPTH) {
        return Some(version);
    }
    let said = directives.metadata.iter().find(|(key, _)| key == "version");
    let said = said
        .map(|(_, value)| value.as_str())
        .filter(|it| starts_with_digit(it));
    said.or_else(|| upstream(&unit.version)).map(str::to_owned)
}

/// Returns the version that pkg-config would report of a library. The version's file is below the
/// directory, and has the library's name or links it (`Libs: … -lz` in `zlib.pc`).
fn described(directory: &Path, name: &str, depth: usize) -> Option<String> {
    let mut entries: Vec<PathBuf> = fs::read_dir(directory)
        .ok()?
        .flatten()
        .map(|it| it.path())
        .filter(|it| !it.is_symlink())
        .collect();
    entries.sort();
    let is_described = |path: &&PathBuf| path.extension().is_some_and(|it| it == "pc");
    let here = entries.iter().filter(is_described).find_map(|path| {
        let stem = path.file_stem()?.to_str()?;
        version_in(&fs::read_to_string(path).ok()?, stem, name)
    });
    let deeper = depth.checked_sub(1)?;
    let mut below = entries.iter().filter(|it| it.is_dir());
    here.or_else(|| below.find_map(|path| described(path, name, deeper)))
}

/// Returns the version in a file of pkg-config, if the file is about the library.
fn version_in(text: &str, stem: &str, name: &str) -> Option<String> {
    let field = |field: &str| text.lines().find_map(|line| line.strip_prefix(field));
    let plain = |name: &str| name.strip_prefix("lib").unwrap_or(name).to_owned();
    let mut linked = field("Libs:").into_iter().flat_map(str::split_whitespace);
    if plain(stem) != plain(name) && !linked.any(|it| it.strip_prefix("-l") == Some(name)) {
        return None;
    }
    let version = field("Version:").map(str::trim).unwrap_or_default();
    starts_with_digit(version).then(|| version.to_owned())
}

/// Returns `1.5.7` for `2.0.15+zstd.1.5.7` and `8.11.0` for `0.4.78+curl-8.11.0`.
fn upstream(version: &str) -> Option<&str> {
    let (_, metadata) = version.split_once('+')?;
    let start = metadata.find(|c: char| c.is_ascii_digit())?;
    Some(&metadata[start..])
}

fn starts_with_digit(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_digit())
}

/// Finds the first file of that name below a directory, in the order of paths.
fn find(directory: &Path, name: &str, depth: usize) -> Option<PathBuf> {
    let here = directory.join(name);
    if here.is_file() {
        return Some(here);
    }
    let entries = fs::read_dir(directory).ok()?;
    let is_directory = |path: &PathBuf| path.is_dir() && !path.is_symlink();
    let mut below: Vec<PathBuf> = entries
        .flatten()
        .map(|it| it.path())
        .filter(is_directory)
        .collect();
    below.sort();
    let deeper = depth.checked_sub(1)?;
    below.iter().find_map(|path| find(path, name, deeper))
}

fn digest(path: &Path) -> Result<String> {
    let bytes = fs::read(path).map_err(Error::io("read", path))?;
    Ok(Digest::of(&bytes).hex().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_libraries_stand_behind_the_plus() {
        for (version, has) in [
            ("2.0.15+zstd.1.5.7", Some("1.5.7")),
            ("0.4.78+curl-8.11.0", Some("8.11.0")),
            ("300.4.1+3.4.0", Some("3.4.0")),
            ("0.17.14", None),
        ] {
            assert_eq!(upstream(version), has);
        }
        assert_eq!(
            library("static:-bundle=ring_core:renamed"),
            ("static", "ring_core")
        );
        assert_eq!(library("z"), ("", "z"));
    }

    #[test]
    fn files_of_pkg_config_are_found_by_name_or_by_what_they_link() {
        let zlib = "Name: zlib\nVersion: 1.3.1\n\nLibs: -L${libdir} -lz\n";
        assert_eq!(version_in(zlib, "zlib", "z").as_deref(), Some("1.3.1"));
        assert_eq!(version_in(zlib, "zlib", "zstd"), None);
        let other = "Version: 2.0\nLibs: -lother\n";
        assert_eq!(version_in(other, "libssl", "ssl").as_deref(), Some("2.0"));
        assert_eq!(version_in("Version: @V@\n", "z", "z"), None);
    }
}
