//! What to do about failures that have a known cure.

use crate::run::Request;

/// What a build script says that misses a program, and the Debian package that has it. Libraries are
/// known by the crates that want them: crates/description/src/native.toml.
const PROGRAMS: [(&str, &str); 5] = [
    ("libclang", "libclang-dev"),
    ("find `protoc`", "protobuf-compiler"),
    ("protoc failed", "protobuf-compiler"),
    ("is `cmake` not installed", "cmake"),
    ("nasm", "nasm"),
];

/// What to say beneath the output of a program that failed, if anything is known.
pub(crate) fn hint(request: &Request, said: &str) -> Option<String> {
    let unit = &request.unit;
    let package = unit.env.get("CARGO_PKG_NAME")?;
    if let Some(file) = unreadable(said) {
        let declared = relative_to(&unit.source_dir, file);
        return Some(format!(
            "{file:?} is not among the files that {package} is built from. \
             If it is in the repository, declare it in images.toml:\n\n    \
             [crates.{package}]\n    files = [{declared:?}]\n"
        ));
    }
    if let Some(library) = unlinked(said) {
        return Some(format!(
            "{package} is linked to a library {library} that is not there. Add the Debian package that has lib{library}.so \
             for the crate that binds it, in images.toml, and run `assemble lock`:\n\n    \
             [crates.{library}-sys]\n    packages = [\"lib{library}-dev\"]\n"
        ));
    }
    let wanted = match PROGRAMS.iter().find(|(words, _)| said.contains(words)) {
        Some((_, program)) => vec![(*program).to_owned()],
        None => request.wants.clone(),
    };
    if wanted.is_empty() {
        return library(said).map(|library| {
            format!(
                "{package} looks for the library {library}. Add the Debian package that has {library}.pc in images.toml \
                 and run `assemble lock`:\n\n    [crates.{package}]\n    packages = [\"…-dev\"]\n"
            )
        });
    }
    Some(format!(
        "{package} needs something from Debian. Add it in images.toml and run `assemble lock`:\n\n    \
         [crates.{package}]\n    packages = {wanted:?}\n"
    ))
}

/// The library that pkg-config did not find.
fn library(said: &str) -> Option<&str> {
    let (_, rest) = said.split_once("The system library `")?;
    rest.split_once('`').map(|(library, _)| library)
}

/// The library that the linker did not find.
fn unlinked(said: &str) -> Option<&str> {
    let (_, rest) = said.split_once("cannot find -l")?;
    rest.split([':', ' ', '\n'])
        .next()
        .filter(|name| !name.is_empty())
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
    use crate::Unit;
    use std::collections::BTreeMap;

    fn request(package: &str, source_dir: &str, wants: &[&str]) -> Request {
        let unit = Unit {
            path_in_source: None,
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
        };
        Request {
            whole: None,
            unit,
            source: "/".into(),
            inputs: Vec::new(),
            extras: Vec::new(),
            wants: wants.iter().map(|name| (*name).to_owned()).collect(),
            out: "/".into(),
            cores: 1,
        }
    }

    #[test]
    fn a_file_outside_is_named_with_the_line_to_add() {
        let request = request("api", "/workspace/crates/api", &[]);
        let said = "error: couldn't read `crates/api/src/../../../proto/a.proto`: No such file";
        let hint = hint(&request, said).unwrap();
        assert!(hint.contains("[crates.api]"), "{hint}");
        assert!(
            hint.contains(r#"files = ["../../proto/a.proto"]"#),
            "{hint}"
        );
    }

    #[test]
    fn a_missing_library_is_named_by_its_package() {
        let request = request(
            "openssl-sys",
            "/cargo/registry/openssl-sys-0.9.1",
            &["libssl-dev"],
        );
        let hint = hint(&request, "Could not find directory of OpenSSL installation").unwrap();
        assert!(hint.contains(r#"packages = ["libssl-dev"]"#), "{hint}");
    }

    #[test]
    fn a_library_that_is_not_known_is_named() {
        let request = request("foo-sys", "/cargo/registry/foo-sys-0.1.0", &[]);
        let said = "The system library `foo` required by crate `foo-sys` was not found.";
        let hint = hint(&request, said).unwrap();
        assert!(hint.contains("foo.pc"), "{hint}");
        assert!(hint.contains("[crates.foo-sys]"), "{hint}");
    }

    #[test]
    fn a_library_that_is_not_linked_is_named() {
        let request = request("app", "/workspace/app", &[]);
        let said = "/usr/bin/ld: cannot find -lfrob: No such file or directory";
        let hint = hint(&request, said).unwrap();
        assert!(hint.contains(r#"packages = ["libfrob-dev"]"#), "{hint}");
    }

    #[test]
    fn other_failures_get_no_hint() {
        let request = request("api", "/workspace/crates/api", &[]);
        assert_eq!(hint(&request, "error[E0308]: mismatched types"), None);
    }
}
