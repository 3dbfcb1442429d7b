//! Guesses how long a derivation takes that was not measured yet, by the size of its source.

use crate::kind::unit_of;
use crateyard_nix::{Node, STORE, Store};
use crateyard_unit::{Action, TargetKind};
use flate2::read::GzDecoder;
use std::fs::{self, File};
use std::io::{BufReader, Read as _};
use std::path::Path;

/// The least time: starting a cell, unpacking, registering.
const LEAST: f64 = 0.1;
/// The time for layers, images and plans.
const OTHER: f64 = 0.5;
/// The time for compiling the bootstrap programs, which one call of Cargo does.
const BOOTSTRAP: f64 = 60.0;
/// The name of the derivation that does (nix/bootstrap/built.nix).
const BOOTSTRAP_NAME: &str = "bootstrap-built";
/// The time for linking a program.
const LINKING: f64 = 1.0;
/// The time for a megabyte of Rust. Twice the source takes less than twice the time, because large
/// crates have more declarations and more code that is configured out.
const PER_RUST_MEGABYTE: f64 = 4.0;
const RUST_EXPONENT: f64 = 0.75;
/// The most bytes of an unpacked crate that are measured.
const MAX_CRATE: u64 = 1 << 30;
/// The most time for Rust, in seconds. Larger sources are generated, mostly bindings.
const MAX_RUST: f64 = 12.0;
const PER_C_MEGABYTE: f64 = 1.2;
/// The time for a configure script, which compiles hundreds of small programs one after another.
const CONFIGURE: f64 = 20.0;
/// The part of a library's time that its metadata takes, if metadata has its own unit.
pub(crate) const UNTIL_METADATA: f64 = 0.3;

/// Guesses how long a node takes, in seconds.
pub fn seconds(store: &Store, node: &Node) -> f64 {
    let derivation = &node.derivation;
    if derivation.is_download() {
        return LEAST;
    }
    let Some(unit) = unit_of(derivation) else {
        let is_bootstrap = derivation
            .env
            .get("name")
            .is_some_and(|name| name == BOOTSTRAP_NAME);
        return if is_bootstrap { BOOTSTRAP } else { OTHER };
    };
    let source = derivation.env.get("source").filter(|path| is_stored(path));
    let sizes = || source.map_or(Sizes::default(), |path| Sizes::of(&store.physical(path)));
    match unit.action {
        Action::RunBuildScript { .. } => LEAST + sizes().c_seconds(),
        Action::RunTest { .. } => OTHER,
        Action::Compile {
            target,
            metadata_only,
            ..
        } => match target.kind {
            TargetKind::BuildScript => LINKING,
            TargetKind::Lib if metadata_only => LEAST + UNTIL_METADATA * sizes().rust_seconds(),
            TargetKind::Lib | TargetKind::ProcMacro => LEAST + sizes().rust_seconds(),
            _ => LINKING + sizes().rust_seconds(),
        },
    }
}

/// Whether a path is in the store. A derivation may be somebody else's, and name anything.
fn is_stored(path: &str) -> bool {
    let rest = path
        .strip_prefix(STORE)
        .and_then(|rest| rest.strip_prefix('/'));
    rest.is_some_and(|rest| !rest.split('/').any(|part| part == ".."))
}

/// Bytes of source by language, and other hints. Tests, benchmarks and examples do not count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sizes {
    /// Rust.
    pub rust: u64,
    /// C, C++ and assembler.
    pub c: u64,
    /// Whether there is a configure script.
    pub has_configure: bool,
}

impl Sizes {
    /// Measures a `.crate` file or a directory. Ignores files that can't be read.
    pub fn of(path: &Path) -> Self {
        let mut sizes = Self::default();
        if path.is_dir() {
            sizes.add_directory(path, path);
        } else if let Ok(file) = File::open(path) {
            sizes.add_crate(file);
        }
        sizes
    }

    fn rust_seconds(self) -> f64 {
        let megabytes = self.rust as f64 / 1e6;
        MAX_RUST.min(PER_RUST_MEGABYTE * megabytes.powf(RUST_EXPONENT))
    }

    fn c_seconds(self) -> f64 {
        let configure = if self.has_configure { CONFIGURE } else { 0.0 };
        configure + PER_C_MEGABYTE * self.c as f64 / 1e6
    }

    fn add(&mut self, name: &Path, bytes: u64) {
        let beside = ["tests", "benches", "examples"];
        if name
            .components()
            .any(|part| beside.iter().any(|b| part.as_os_str() == *b))
        {
            return;
        }
        self.has_configure |= name.file_name() == Some("configure".as_ref());
        match name.extension().and_then(|e| e.to_str()) {
            Some("rs") => self.rust += bytes,
            Some("c" | "cc" | "cpp" | "cxx" | "S" | "s" | "asm") => self.c += bytes,
            _ => {}
        }
    }

    fn add_directory(&mut self, root: &Path, path: &Path) {
        for entry in fs::read_dir(path).into_iter().flatten().flatten() {
            match entry.metadata() {
                Ok(data) if data.is_dir() => self.add_directory(root, &entry.path()),
                Ok(data) => self.add(entry.path().strip_prefix(root).unwrap_or(path), data.len()),
                Err(_) => {}
            }
        }
    }

    fn add_crate(&mut self, file: File) {
        let content = GzDecoder::new(BufReader::new(file)).take(MAX_CRATE);
        let mut archive = tar::Archive::new(content);
        let Ok(entries) = archive.entries() else {
            return;
        };
        for entry in entries.map_while(Result::ok) {
            if let Ok(name) = entry.path() {
                self.add(&name, entry.size());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_sources_in_the_store_are_measured() {
        assert!(is_stored("/nix/store/aaaa-a-1.0.0.crate"));
        for path in [
            "/",
            "/etc",
            "a",
            "/nix/storage/a",
            "/nix/store/../../etc",
            "/nix/store",
        ] {
            assert!(!is_stored(path), "{path}");
        }
    }

    #[test]
    fn a_directory_is_counted_by_language() {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("src")).unwrap();
        fs::write(directory.path().join("src/lib.rs"), "12345").unwrap();
        fs::write(directory.path().join("a.c"), "123").unwrap();
        fs::write(directory.path().join("README.md"), "1").unwrap();
        let counted = Sizes {
            rust: 5,
            c: 3,
            has_configure: false,
        };
        assert_eq!(Sizes::of(directory.path()), counted);
        fs::write(directory.path().join("configure"), "").unwrap();
        assert!(Sizes::of(directory.path()).c_seconds() > CONFIGURE);
        assert_eq!(Sizes::of(Path::new("/nonexistent")), Sizes::default());
    }
}
