//! The environment of the program.

use alloc::ffi::CString;
use alloc::vec::Vec;

use super::BUILD;
use crate::arguments::Cell;
use crate::error::Error;
use crate::rooted::c_string;

/// The variables that name the build's directory, for Nix and others.
const BUILD_VARIABLES: [&[u8]; 6] = [
    b"NIX_BUILD_TOP",
    b"PWD",
    b"TEMP",
    b"TEMPDIR",
    b"TMP",
    b"TMPDIR",
];

/// Returns the program's environment. Variables that name the build's directory outside name the
/// one inside.
pub(super) fn variables(
    options: &Cell,
    outer: Vec<Vec<u8>>,
    build: Option<&[u8]>,
) -> Result<Vec<CString>, Error> {
    let mut all: Vec<Vec<u8>> = Vec::new();
    if !options.clear_environment {
        all.extend(outer.into_iter().map(|entry| match build {
            Some(build) => inside(entry, build),
            None => entry,
        }));
    }
    for (name, value) in &options.variables {
        all.retain(|entry| {
            entry
                .strip_prefix(name.as_slice())
                .is_none_or(|rest| !rest.starts_with(b"="))
        });
        all.push([name.as_slice(), value].join(&b'='));
    }
    all.iter()
        .map(|entry| c_string(entry).map_err(Error::Usage))
        .collect()
}

fn inside(entry: Vec<u8>, build: &[u8]) -> Vec<u8> {
    for name in BUILD_VARIABLES {
        let value = entry
            .strip_prefix(name)
            .and_then(|rest| rest.strip_prefix(b"="));
        if let Some(rest) = value.and_then(|value| value.strip_prefix(build)) {
            if rest.is_empty() || rest[0] == b'/' {
                return [name, b"=", BUILD, rest].concat();
            }
        }
    }
    entry
}

pub(super) fn variable<'a>(environment: &'a [Vec<u8>], name: &[u8]) -> Option<&'a [u8]> {
    environment
        .iter()
        .find_map(|entry| entry.strip_prefix(name)?.strip_prefix(b"="))
        .filter(|value| value.starts_with(b"/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(options: &Cell, outer: &[&str], build: Option<&str>) -> Vec<String> {
        let outer = outer
            .iter()
            .map(|entry| entry.as_bytes().to_vec())
            .collect();
        let variables = variables(options, outer, build.map(str::as_bytes)).unwrap();
        variables
            .into_iter()
            .map(|entry| entry.into_string().unwrap())
            .collect()
    }

    #[test]
    fn variables_that_name_the_builds_directory_name_the_one_inside() {
        let outer = [
            "TMPDIR=/tmp/nix-1/x",
            "TMP=/tmp/nix-12",
            "HOME=/tmp/nix-1",
            "NIX_BUILD_TOP=/tmp/nix-1",
        ];
        assert_eq!(
            with(&Cell::default(), &outer, Some("/tmp/nix-1")),
            [
                "TMPDIR=/build/x",
                "TMP=/tmp/nix-12",
                "HOME=/tmp/nix-1",
                "NIX_BUILD_TOP=/build"
            ]
        );
    }

    #[test]
    fn a_given_variable_wins() {
        let given = Cell {
            variables: vec![(b"A".into(), b"2".into())],
            ..Cell::default()
        };
        assert_eq!(with(&given, &["A=1", "AB=1"], None), ["AB=1", "A=2"]);
        let cleared = Cell {
            clear_environment: true,
            ..given
        };
        assert_eq!(with(&cleared, &["A=1", "AB=1"], None), ["A=2"]);
    }
}
