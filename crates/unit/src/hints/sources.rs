//! What the sources of a failed unit say: texts without comments, and the programs that they start.

use std::fs;
use std::path::{Path, PathBuf};

use super::{Failure, words};
use crate::Action;

/// Extensions of scripts that a build script hands to an interpreter.
const SCRIPTS: [&str; 2] = [".sh", ".py"];

impl Failure<'_> {
    /// Returns the sources of the build script that runs, or of the crate that is compiled or
    /// tested.
    pub(super) fn sources(&self) -> Vec<String> {
        let directory = self.directory();
        let mut found = Vec::new();
        match self.request.unit.action {
            Action::RunBuildScript { .. } => {
                let manifest = fs::read_to_string(directory.join("Cargo.toml")).unwrap_or_default();
                let named = words::quoted_after(&manifest, &["build = \""]);
                let script = directory.join(named.first().copied().unwrap_or("build.rs"));
                if let Ok(text) = fs::read_to_string(&script) {
                    let modules = modules(&script, &text);
                    found.push(text);
                    found.extend(modules);
                }
            }
            _ => {
                for folder in ["src", "tests"] {
                    collect(&directory.join(folder), &mut found);
                }
            }
        }
        found
    }

    /// Returns the sources without lines that are comments.
    pub(super) fn code(&self) -> Vec<String> {
        let sources = self.sources().into_iter();
        sources.map(|source| without(&source, "//")).collect()
    }

    /// Returns the scripts of the package that the code names, without lines that are comments.
    pub(super) fn scripts(&self) -> Vec<String> {
        let directory = self.directory();
        let code = self.code();
        let named = code.iter().flat_map(|code| code.split('"'));
        let named = named.filter(|text| SCRIPTS.iter().any(|end| text.ends_with(end)));
        // The interpreter may stand before it.
        let named = named.filter_map(|text| text.rsplit(' ').next());
        named
            .filter_map(|name| fs::read_to_string(directory.join(name)).ok())
            .map(|text| without(&text, "#"))
            .collect()
    }

    fn directory(&self) -> &Path {
        Path::new(&self.request.unit.source_dir)
    }
}

/// Returns the modules of a source in files of their own. Skips files that can't be read, because
/// they explain nothing.
fn modules(source: &Path, text: &str) -> Vec<String> {
    let named = text.lines().filter_map(|line| {
        let (_, name) = line.trim().strip_suffix(';')?.split_once("mod ")?;
        Some(name.trim())
    });
    let files = named.flat_map(|name| [format!("{name}.rs"), format!("{name}/mod.rs")]);
    files
        .filter_map(|file| fs::read_to_string(source.with_file_name(file)).ok())
        .collect()
}

/// Collects the texts of all Rust files below a directory. Skips files that can't be read.
fn collect(directory: &Path, found: &mut Vec<String>) {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    paths.sort();
    for path in paths {
        if path.is_dir() {
            collect(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.extend(fs::read_to_string(&path));
        }
    }
}

/// Returns a text without the lines that begin with `comment`.
fn without(text: &str, comment: &str) -> String {
    let is_code = |line: &&str| !line.trim_start().starts_with(comment);
    text.lines().filter(is_code).collect::<Vec<_>>().join("\n")
}
