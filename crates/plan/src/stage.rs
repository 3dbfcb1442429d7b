//! Builds the stage for Cargo: manifests with empty targets, and packages of the lock with as
//! much of them as Cargo looks at before it compiles.

use crate::{GIT, LockedPackage, REGISTRY, Request, WORKSPACE, inherit};
use anyhow::{Context, Result, bail};
use flate2::read::GzDecoder;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufReader, Read};
use std::path::{Component, Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

/// Lays out the workspace: the manifests, and the targets without their content.
///
/// # Errors
/// When a path leaves the workspace or something can't be written.
pub fn workspace(manifests: &Path, stubs: &[String]) -> Result<()> {
    unit::source::place_tree(manifests, Path::new(WORKSPACE))?;
    for stub in stubs {
        let path = Path::new(stub);
        if path
            .components()
            .any(|c| !matches!(c, Component::Normal(_)))
        {
            bail!("the target {stub:?} leaves the workspace");
        }
        write_empty(&Path::new(WORKSPACE).join(path))?;
    }
    Ok(())
}

/// Lays out the packages of the lock, on all cores.
///
/// # Errors
/// When one is damaged; the error names it.
pub fn packages(request: &Request) -> Result<()> {
    let next = AtomicUsize::new(0);
    let workers = std::thread::available_parallelism().map_or(1, |n| n.get());
    std::thread::scope(|scope| {
        let handles: Vec<_> = (0..workers)
            .map(|_| {
                scope.spawn(|| {
                    while let Some(package) =
                        request.packages.get(next.fetch_add(1, Ordering::Relaxed))
                    {
                        place(package).with_context(|| {
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

fn place(package: &LockedPackage) -> Result<()> {
    match &package.checksum {
        Some(checksum) => place_crate(package, checksum),
        None => place_checkout(package),
    }
}

/// The directory source that stands for a source of the lock.
/// <https://doc.rust-lang.org/cargo/reference/source-replacement.html#directory-sources>
pub fn directory_of(source: &str) -> PathBuf {
    if let Some(git) = source.strip_prefix("git+") {
        let commit = git.rsplit_once('#').map_or("unknown", |(_, commit)| commit);
        return Path::new(GIT).join(commit);
    }
    if is_crates_io(source) {
        return PathBuf::from(REGISTRY);
    }
    let name: String = source
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .collect();
    PathBuf::from(format!("{REGISTRY}-{name}"))
}

/// Whether a source of the lock is the default registry.
pub fn is_crates_io(source: &str) -> bool {
    source == "registry+https://github.com/rust-lang/crates.io-index"
        || source == "sparse+https://index.crates.io/"
}

fn place_crate(package: &LockedPackage, checksum: &str) -> Result<()> {
    let place = directory_of(&package.source).join(format!("{}-{}", package.name, package.version));
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
    write_checksum(&place, Some(checksum))
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

/// A repository may hold many packages and Cargo looks for the manifest of each.
fn place_checkout(package: &LockedPackage) -> Result<()> {
    let Some(path) = find_package(&package.path, &package.name)? else {
        bail!("the repository has no package of that name");
    };
    let place = directory_of(&package.source).join(format!("{}-{}", package.name, package.version));
    unit::source::place_tree(&path, &place)?;
    // Beside the package there is nothing of its repository, so what it inherits is written down.
    let manifest = inherit::manifest(&path, &package.path)?;
    write_over(&place.join("Cargo.toml"), manifest.as_bytes())?;
    write_checksum(&place, None)
}

/// The directory, in a checkout, of the package with this name.
pub fn find_package(directory: &Path, name: &str) -> Result<Option<PathBuf>> {
    let manifest = directory.join("Cargo.toml");
    if manifest.is_file() {
        let text = fs::read_to_string(&manifest)?;
        let table: toml::Table = toml::from_str(&text)
            .with_context(|| format!("{} is malformed", manifest.display()))?;
        let found = table.get("package").and_then(|p| p.get("name"));
        if found.and_then(|n| n.as_str()) == Some(name) {
            return Ok(Some(directory.to_owned()));
        }
    }
    let mut below: Vec<PathBuf> = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() && entry.file_name() != ".git" {
            below.push(entry.path());
        }
    }
    below.sort();
    for path in below {
        if let Some(found) = find_package(&path, name)? {
            return Ok(Some(found));
        }
    }
    Ok(None)
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

/// Cargo's configuration that replaces every source of the lock by its directory.
pub fn replacements(packages: &[LockedPackage]) -> Result<String> {
    let mut config = toml::Table::new();
    let mut sources = toml::Table::new();
    sources.insert(
        "crates-io".into(),
        replaced("directory of crates-io", None)?,
    );
    let mut directories =
        BTreeMap::from([("directory of crates-io".to_owned(), PathBuf::from(REGISTRY))]);
    for package in packages {
        if is_crates_io(&package.source) {
            continue;
        }
        let (name, definition) = source_definition(&package.source)?;
        let directory = format!("directory of {name}");
        sources.insert(name, replaced(&directory, Some(definition))?);
        directories.insert(directory, directory_of(&package.source));
    }
    for (name, path) in directories {
        let mut table = toml::Table::new();
        table.insert(
            "directory".into(),
            path.to_string_lossy().into_owned().into(),
        );
        sources.insert(name, table.into());
    }
    config.insert("source".into(), sources.into());
    Ok(config.to_string())
}

fn replaced(by: &str, definition: Option<toml::Table>) -> Result<toml::Value> {
    let mut table = definition.unwrap_or_default();
    table.insert("replace-with".into(), by.into());
    Ok(table.into())
}

/// A source of the lock as Cargo's configuration defines it.
fn source_definition(source: &str) -> Result<(String, toml::Table)> {
    let mut table = toml::Table::new();
    if let Some(rest) = source.strip_prefix("git+") {
        let url = rest.split_once('#').map_or(rest, |(url, _)| url);
        let (base, query) = url.split_once('?').unwrap_or((url, ""));
        table.insert("git".into(), base.into());
        if let Some((key @ ("branch" | "tag" | "rev"), value)) = query.split_once('=') {
            table.insert(key.into(), decode(value).into());
        }
        return Ok((format!("git+{url}"), table));
    }
    let index = match source.strip_prefix("registry+") {
        Some(url) => url,
        None if source.starts_with("sparse+") => source,
        None => bail!("the lock names the source {source:?}, which is of no known kind"),
    };
    table.insert("registry".into(), index.into());
    Ok((source.to_owned(), table))
}

/// The lock writes branch names percent-encoded.
fn decode(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let code = tail
            .get(..2)
            .and_then(|hex| std::str::from_utf8(hex).ok())
            .and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match (first, code) {
            (b'%', Some(code)) => {
                bytes.push(code);
                rest = &tail[2..];
            }
            _ => {
                bytes.push(first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Where a unit's package directory comes from.
pub fn origin(dir: &str, packages: &[LockedPackage]) -> Result<crate::Origin> {
    if let Ok(inner) = Path::new(dir).strip_prefix(WORKSPACE) {
        let path = inner.to_string_lossy().into_owned();
        return Ok(crate::Origin::Path { path });
    }
    for package in packages {
        let place =
            directory_of(&package.source).join(format!("{}-{}", package.name, package.version));
        if place == Path::new(dir) {
            let source = package.source.clone();
            if package.checksum.is_some() {
                return Ok(crate::Origin::Registry { source });
            }
            let found = find_package(&package.path, &package.name)?.unwrap_or_default();
            let inner = found.strip_prefix(&package.path).unwrap_or(Path::new(""));
            let path = inner.to_string_lossy().into_owned();
            return Ok(crate::Origin::Git { source, path });
        }
    }
    bail!("Cargo compiles a package in {dir:?}, which is not in the lock")
}
