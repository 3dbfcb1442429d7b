//! Builds the stage for Cargo: manifests with empty targets, and packages of the lock with as
//! much of them as Cargo looks at before it compiles.

use crate::git::Checkout;
use crate::sources::{Located, Packages};
use crate::{LockedPackage, WORKSPACE};
use anyhow::{Context, Result, bail};
use flate2::read::GzDecoder;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{BufReader, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

/// Lays out the workspace: directories, manifests and links as they are, and all other files
/// without their content. `names` has the path of one file a line, relative to the workspace.
///
/// # Errors
/// When a path leaves the workspace or something can't be written.
pub fn workspace(manifests: &Path, names: &[u8]) -> Result<()> {
    unit::source::place_tree(manifests, Path::new(WORKSPACE))?;
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
/// When one is damaged; the error names it.
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

fn place_crate(package: &LockedPackage, place: &Path) -> Result<()> {
    let file = File::open(&package.path)
        .with_context(|| format!("cannot open {}", package.path.display()))?;
    let mut archive = tar::Archive::new(GzDecoder::new(BufReader::new(file)));
    let mut manifest = String::new();
    let mut sources = Vec::new();
    for entry in archive.entries()? {
        let mut entry = entry.context("the archive is damaged")?;
        let path = entry.path()?.into_owned();
        let inner: PathBuf = path.components().skip(1).collect();
        if inner
            .components()
            .any(|c| !matches!(c, Component::Normal(_)))
        {
            bail!("entry {} leaves the package", path.display());
        }
        if inner == Path::new("Cargo.toml") {
            entry.read_to_string(&mut manifest)?;
        } else if inner.extension().is_some_and(|e| e == "rs") {
            sources.push(inner);
        }
    }
    write(&place.join("Cargo.toml"), manifest.as_bytes())?;
    let table: toml::Table = toml::from_str(&manifest).context("its manifest is malformed")?;
    let explicit = explicit_targets(&table);
    for source in sources {
        if is_discovered(&source) || explicit.contains(&source) {
            write_empty(&place.join(source))?;
        }
    }
    write_checksum(place, package.checksum.as_deref())
}

/// Whether Cargo looks for targets at this path by itself. What a dependency does not build
/// (its tests, benches and examples) is left out: some crates have thousands of files.
fn is_discovered(path: &Path) -> bool {
    let fixed = ["build.rs", "src/lib.rs", "src/main.rs"];
    fixed.iter().any(|f| path == Path::new(f)) || path.starts_with("src/bin")
}

/// The paths of targets that a manifest names.
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
    unit::source::place_tree(&checkout.path(inner), place)?;
    // Beside the package there is nothing of its repository, so what it inherits is written down.
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

/// Replaces a file, whatever its mode.
fn write_over(path: &Path, bytes: &[u8]) -> Result<()> {
    fs::remove_file(path).with_context(|| format!("cannot replace {}", path.display()))?;
    write(path, bytes)
}

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    fs::write(path, bytes).with_context(|| format!("cannot write {}", path.display()))
}
