//! Reads the Rust files of a package.

use std::path::{Path, PathBuf};

use crateyard_description::left_out::TEST_DIRECTORIES;

use crate::metadata::Package;
use crate::tree::{self, Kind};

/// A source file of a package.
pub(crate) struct Source {
    /// Its path, relative to the package.
    pub path: PathBuf,
    pub text: String,
    /// If the path is a link, the path of the file itself.
    pub target: Option<PathBuf>,
}

/// Returns the Rust files of a package, without those of packages inside it, and all links.
pub(crate) fn of(package: &Package, packages: &[PathBuf]) -> Vec<Source> {
    let directory = package.directory();
    let mut found = Vec::new();
    let mut pending = vec![directory.clone()];
    while let Some(next) = pending.pop() {
        for entry in tree::entries(&next) {
            let is_source = entry.path.extension().is_some_and(|it| it == "rs");
            match entry.kind {
                Kind::Directory if !skipped(&entry.path, packages) => pending.push(entry.path),
                Kind::Directory => {}
                Kind::Link => found.push(Source::linked(&entry.path, &directory, is_source)),
                Kind::File if is_source => found.push(Source::read(&entry.path, &directory)),
                Kind::File => {}
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

fn skipped(directory: &Path, packages: &[PathBuf]) -> bool {
    tree::is_foreign(directory) || packages.iter().any(|package| package == directory)
}

impl Source {
    fn read(path: &Path, directory: &Path) -> Source {
        Source {
            path: path.strip_prefix(directory).unwrap_or(path).to_path_buf(),
            // A file that is not text holds no paths.
            text: tree::text(path).unwrap_or_default(),
            target: None,
        }
    }

    fn linked(path: &Path, directory: &Path, is_source: bool) -> Source {
        let mut source = Source::read(path, directory);
        if !is_source {
            source.text.clear();
        }
        source.target = path.canonicalize().ok();
        source
    }

    /// Returns the file without a module of tests at its end.
    pub(crate) fn without_tests(&self) -> Source {
        let text = self.text.split("#[cfg(test)]\nmod ").next();
        Source {
            path: self.path.clone(),
            text: text.unwrap_or_default().to_owned(),
            target: None,
        }
    }

    /// Whether it belongs to tests, benchmarks or examples, and so to no program.
    pub(crate) fn is_aside(&self) -> bool {
        TEST_DIRECTORIES
            .iter()
            .any(|directory| self.path.starts_with(directory))
    }
}
