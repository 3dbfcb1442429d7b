//! What to do about failures that have a known cure.

use crate::Unit;

/// What a failing program may say, and the Debian package that it wants.
const WANTED: [(&str, &str); 16] = [
    ("find directory of OpenSSL", "libssl-dev"),
    ("find openssl", "libssl-dev"),
    ("library `openssl`", "libssl-dev"),
    ("libclang", "libclang-dev"),
    ("find `protoc`", "protobuf-compiler"),
    ("protoc failed", "protobuf-compiler"),
    ("library `libpq`", "libpq-dev"),
    ("pg_config", "libpq-dev"),
    ("library `sqlite3`", "libsqlite3-dev"),
    ("library `zlib`", "zlib1g-dev"),
    ("library `libzstd`", "libzstd-dev"),
    ("library `libgit2`", "libgit2-dev"),
    ("library `libssh2`", "libssh2-1-dev"),
    ("library `libcurl`", "libcurl4-openssl-dev"),
    ("is `cmake` not installed", "cmake"),
    ("nasm", "nasm"),
];

/// What to say beneath the output of a program that failed, if anything is known.
pub(crate) fn hint(unit: &Unit, said: &str) -> Option<String> {
    let package = unit.env.get("CARGO_PKG_NAME")?;
    if let Some(file) = unreadable(said) {
        let declared = relative_to(&unit.source_dir, file);
        return Some(format!(
            "{file:?} is not among the files that {package} is built from. \
             If it is in the repository, declare it in images.toml:\n\n    \
             [crates.{package}]\n    files = [{declared:?}]\n"
        ));
    }
    let wanted = WANTED.iter().find(|(words, _)| said.contains(words))?;
    Some(format!(
        "{package} needs something from Debian. Add it in images.toml and run `assemble lock`:\n\n    \
         [crates.{package}]\n    packages = [{:?}]\n",
        wanted.1
    ))
}

/// The file that rustc could not read for `include_str!` and the like.
fn unreadable(said: &str) -> Option<&str> {
    let (_, rest) = said.split_once("couldn't read `")?;
    rest.split_once('`').map(|(file, _)| file)
}

/// `file` as seen from `dir`. Both are paths inside the cell; relative ones start at the workspace.
fn relative_to(dir: &str, file: &str) -> String {
    let absolute = if file.starts_with('/') {
        file.to_owned()
    } else {
        format!("/workspace/{file}")
    };
    let file = resolve(&absolute);
    let dir = resolve(dir);
    let shared = file.iter().zip(&dir).take_while(|(a, b)| a == b).count();
    let up = dir.len() - shared;
    let mut parts = vec!["..".to_owned(); up];
    parts.extend(file[shared..].iter().cloned());
    parts.join("/")
}

fn resolve(path: &str) -> Vec<String> {
    let mut parts: Vec<String> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part.to_owned()),
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn unit_of(package: &str, source_dir: &str) -> Unit {
        Unit {
            version: crate::FORMAT,
            name: package.into(),
            source_dir: source_dir.into(),
            cwd: "/workspace".into(),
            env: BTreeMap::from([("CARGO_PKG_NAME".to_owned(), package.to_owned())]),
            action: crate::Action::RunBuildScript {
                program: String::new(),
                out_dir: String::new(),
                metadata: BTreeMap::new(),
            },
        }
    }

    #[test]
    fn a_file_outside_is_named_with_the_line_to_add() {
        let unit = unit_of("api", "/workspace/crates/api");
        let said = "error: couldn't read `crates/api/src/../../../proto/a.proto`: No such file";
        let hint = hint(&unit, said).unwrap();
        assert!(hint.contains("[crates.api]"), "{hint}");
        assert!(
            hint.contains(r#"files = ["../../proto/a.proto"]"#),
            "{hint}"
        );
    }

    #[test]
    fn a_missing_library_is_named_by_its_package() {
        let unit = unit_of("openssl-sys", "/cargo/registry/openssl-sys-0.9.1");
        let hint = hint(&unit, "Could not find directory of OpenSSL installation").unwrap();
        assert!(hint.contains(r#"packages = ["libssl-dev"]"#), "{hint}");
    }

    #[test]
    fn other_failures_get_no_hint() {
        let unit = unit_of("api", "/workspace/crates/api");
        assert_eq!(hint(&unit, "error[E0308]: mismatched types"), None);
    }
}
