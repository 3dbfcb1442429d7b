//! Builds the stage for Cargo: manifests with empty targets, and those parts of the lock's packages
//! that Cargo reads before it compiles.

use crate::git::Checkout;
use crate::sources::{Located, Packages};
use crate::{FetchedPackage, WORKSPACE};
use anyhow::{Context, Result, bail};
use crateyard_unit::files::write;
use flate2::read::GzDecoder;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{BufReader, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

/// Lays out the workspace: directories, manifests and links unchanged, and all other files empty.
/// `names` contains the paths of these files, one a line, relative to the workspace.
///
/// # Errors
/// Fails if a path leaves the workspace or something can't be written.
pub fn workspace(manifests: &Path, names: &[u8]) -> Result<()> {
    crateyard_unit::source::place_tree(manifests, Path::new(WORKSPACE))?;
    for name in names.split(|&byte| byte == b'\n') {
        let path = Path::new(OsStr::from_bytes(name));
        if path
            .components()
            .any(|c| !matches!(c, Component::Normal(_)))
        {
            bail!("the file {path:?} leaves the workspace");
        }
        write_empty(&Path::new(WORKSPACE).join(path))?;
    }
    Ok(())
}

/// Lays out the packages of the lock, on all cores.
///
/// # Errors
/// Fails if a package is damaged. The error names it.
pub fn packages(packages: &Packages) -> Result<()> {
    let next = AtomicUsize::new(0);
    let workers = std::thread::available_parallelism().map_or(1, |n| n.get());
    std::thread::scope(|scope| {
        let handles: Vec<_> = (0..workers)
            .map(|_| {
                scope.spawn(|| {
                    while let Some(located) =
                        packages.all().get(next.fetch_add(1, Ordering::Relaxed))
                    {
                        place(packages, located).with_context(|| {
                            let package = located.package;
                            format!("cannot unpack {} {}", package.name, package.version)
                        })?;
                    }
                    anyhow::Ok(())
                })
            })
            .collect();
        handles
            .into_iter()
            .try_for_each(|handle| handle.join().unwrap_or_else(|_| bail!("a worker panicked")))
    })
}

fn place(packages: &Packages, located: &Located) -> Result<()> {
    match packages.checkout(located) {
        None => place_crate(located.package, &located.place),
        Some((checkout, inner)) => place_package(checkout, inner, &located.place),
    }
}

fn place_crate(package: &FetchedPackage, place: &Path) -> Result<()> {
    let file = File::open(&package.path)
        .with_context(|| format!("cannot open {}", package.path.display()))?;
    let published = Published::read(BufReader::new(file))?;
    write(&place.join("Cargo.toml"), published.manifest.as_bytes())?;
    for source in published.sources {
        write_empty(&place.join(source))?;
    }
    write_checksum(place, package.checksum.as_deref())
}

/// The parts of a `.crate` file that Cargo reads before it compiles.
struct Published {
    manifest: String,
    /// The source files of targets.
    sources: Vec<PathBuf>,
}

impl Published {
    /// Reads an archive up to its manifest if that names all targets, otherwise to its end.
    fn read(archive: impl Read) -> Result<Self> {
        let mut archive = tar::Archive::new(GzDecoder::new(archive));
        let mut manifest = None;
        let mut found = Vec::new();
        for entry in archive.entries()? {
            let mut entry = entry.context("the archive is damaged")?;
            let path = inner_path(&entry.path()?)?;
            if path == Path::new("Cargo.toml") {
                let mut text = String::new();
                entry.read_to_string(&mut text)?;
                let table: toml::Table =
                    toml::from_str(&text).context("its manifest is malformed")?;
                let explicit = explicit_targets(&table);
                if names_all_targets(&table) {
                    let (manifest, sources) = (text, explicit);
                    return Ok(Self { manifest, sources });
                }
                manifest = Some((text, explicit));
            } else if path.extension().is_some_and(|e| e == "rs") {
                found.push(path);
            }
        }
        let (manifest, explicit) = manifest.context("it has no Cargo.toml")?;
        found.retain(|source| is_discovered(source) || explicit.contains(source));
        let sources = found;
        Ok(Self { manifest, sources })
    }
}

/// Returns the path of an archive's entry relative to the package's directory.
fn inner_path(path: &Path) -> Result<PathBuf> {
    let inner: PathBuf = path.components().skip(1).collect();
    let is_inside = |c: Component| matches!(c, Component::Normal(_));
    if !inner.components().all(is_inside) {
        bail!("entry {} leaves the package", path.display());
    }
    Ok(inner)
}

/// Whether Cargo does not look for any targets by itself. Newer versions of `cargo package` write
/// such manifests.
/// <https://doc.rust-lang.org/cargo/reference/cargo-targets.html#target-auto-discovery>
fn names_all_targets(manifest: &toml::Table) -> bool {
    let package = manifest.get("package");
    let is_off = |key| {
        let value = package.and_then(|package| package.get(key));
        value.and_then(toml::Value::as_bool) == Some(false)
    };
    let names_build = package.is_some_and(|package| package.get("build").is_some());
    is_off("autolib") && is_off("autobins") && names_build
}

/// Whether Cargo looks for targets at this path by itself. Leaves out tests, benches and examples,
/// which are not built in a dependency: some crates have thousands of files.
fn is_discovered(path: &Path) -> bool {
    let fixed = ["build.rs", "src/lib.rs", "src/main.rs"];
    fixed.iter().any(|f| path == Path::new(f)) || path.starts_with("src/bin")
}

/// Returns the paths of the targets that a manifest names.
fn explicit_targets(manifest: &toml::Table) -> Vec<PathBuf> {
    let mut targets: Vec<&toml::Value> = manifest.get("lib").into_iter().collect();
    targets.extend(
        manifest
            .get("bin")
            .and_then(toml::Value::as_array)
            .into_iter()
            .flatten(),
    );
    let mut paths: Vec<&toml::Value> = targets.iter().filter_map(|t| t.get("path")).collect();
    paths.extend(
        manifest
            .get("package")
            .and_then(|package| package.get("build")),
    );
    let paths = paths.into_iter().filter_map(toml::Value::as_str);
    paths
        .map(|path| {
            Path::new(path)
                .components()
                .filter(|c| *c != Component::CurDir)
                .collect()
        })
        .collect()
}

fn place_package(checkout: &Checkout, inner: &Path, place: &Path) -> Result<()> {
    crateyard_unit::source::place_tree(&checkout.path(inner), place)?;
    // The package is placed without the rest of its repository, so write inherited values down.
    write_over(
        &place.join("Cargo.toml"),
        checkout.manifest(inner)?.as_bytes(),
    )?;
    write_checksum(place, None)
}

fn write_checksum(place: &Path, package: Option<&str>) -> Result<()> {
    let checksum = serde_json::json!({ "files": {}, "package": package });
    write(
        &place.join(".cargo-checksum.json"),
        checksum.to_string().as_bytes(),
    )
}

fn write_empty(path: &Path) -> Result<()> {
    if path.exists() {
        Ok(())
    } else {
        write(path, b"")
    }
}

/// Replaces a file of any mode.
fn write_over(path: &Path, bytes: &[u8]) -> Result<()> {
    fs::remove_file(path).with_context(|| format!("cannot replace {}", path.display()))?;
    write(path, bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::write::GzEncoder;

    /// Makes a `.crate` file that is cut off after `whole` of its entries.
    fn published(entries: &[(&str, &str)], whole: usize) -> Result<Published> {
        let mut archive = tar::Builder::new(Vec::new());
        let mut end = 0;
        for (index, (path, text)) in entries.iter().enumerate() {
            let mut header = tar::Header::new_gnu();
            header.set_size(text.len() as u64);
            let path = format!("a-1.0.0/{path}");
            archive.append_data(&mut header, path, text.as_bytes())?;
            if index + 1 == whole {
                end = archive.get_ref().len();
            }
        }
        let mut bytes = archive.into_inner()?;
        if whole < entries.len() {
            bytes.truncate(end + 100);
        }
        let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
        std::io::Write::write_all(&mut gzip, &bytes)?;
        Published::read(gzip.finish()?.as_slice())
    }

    #[test]
    fn reads_no_further_than_a_manifest_that_names_all_targets() {
        let manifest = "[package]\nname = \"a\"\nversion = \"1.0.0\"\nbuild = \"make.rs\"\n\
            autolib = false\nautobins = false\n[lib]\npath = \"src/a.rs\"\n";
        let entries = [("Cargo.toml", manifest), ("src/main.rs", "fn main() {}")];
        let read = published(&entries, 1).unwrap();
        assert_eq!(read.manifest, manifest);
        assert_eq!(read.sources, [Path::new("src/a.rs"), Path::new("make.rs")]);
    }

    #[test]
    fn finds_targets_that_a_manifest_does_not_name() {
        let manifest = "[package]\nname = \"a\"\nversion = \"1.0.0\"\n";
        let entries = [
            ("Cargo.toml", manifest),
            ("src/lib.rs", ""),
            ("src/inner.rs", ""),
            ("src/bin/b.rs", ""),
        ];
        let read = published(&entries, 4).unwrap();
        assert_eq!(
            read.sources,
            [Path::new("src/lib.rs"), Path::new("src/bin/b.rs")]
        );
        assert!(published(&entries, 2).is_err());
    }
}
