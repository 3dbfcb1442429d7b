//! Puts the bootstrap programs into the command line if `CRATEYARD_BOOTSTRAP` names a directory
//! with them, which `nix build .#bootstrap` makes. Otherwise the command line has none, and takes
//! them from elsewhere (docs/bootstrap.md).

use std::path::{Path, PathBuf};
use std::{env, fs};

const DIRECTORY: &str = "CRATEYARD_BOOTSTRAP";

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed={DIRECTORY}");
    let programs = env::var_os(DIRECTORY).map_or_else(Vec::new, |directory| {
        let directory = Path::new(&directory).join("bin");
        files(&directory).unwrap_or_else(|error| {
            panic!("{DIRECTORY}: cannot read {}: {error}", directory.display())
        })
    });
    let entries: Vec<String> = programs.iter().map(|path| entry(path)).collect();
    let text = format!("&[{}]\n", entries.join(", "));
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("Cargo sets OUT_DIR"));
    fs::write(out.join("brought.rs"), text).expect("OUT_DIR can be written to");
}

/// The files of a directory, sorted.
fn files(directory: &Path) -> std::io::Result<Vec<PathBuf>> {
    let entries = fs::read_dir(directory)?;
    let mut paths = entries
        .map(|entry| Ok(entry?.path()))
        .collect::<std::io::Result<Vec<_>>>()?;
    paths.sort();
    Ok(paths)
}

/// A pair of name and bytes, as Rust source.
fn entry(path: &Path) -> String {
    println!("cargo::rerun-if-changed={}", path.display());
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    format!("({name:?}, include_bytes!({:?}))", path.to_string_lossy())
}
