//! Finds the sources that a lock pins, and the directories that replace them.
//! <https://doc.rust-lang.org/cargo/reference/source-replacement.html#directory-sources>

use crate::git::Checkout;
use crate::{FetchedPackage, GIT, Origin, REGISTRY};
use anyhow::{Context, Result, bail};
use crateyard_spec::is_crates_io;
use percent_encoding::percent_decode_str;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use toml::{Table, Value};

/// All packages of the lock that are not in the workspace, with their places.
#[derive(Debug)]
pub struct Packages<'a> {
    all: Vec<Located<'a>>,
    by_place: HashMap<PathBuf, usize>,
    checkouts: BTreeMap<&'a Path, Checkout>,
    directories: BTreeMap<&'a str, PathBuf>,
}

/// A package and its place.
#[derive(Debug)]
pub struct Located<'a> {
    /// The package's entry in the lock.
    pub package: &'a FetchedPackage,
    /// Its directory inside the cell.
    pub place: PathBuf,
    /// Its directory inside its checkout, for a package from git.
    inner: Option<PathBuf>,
}

impl<'a> Packages<'a> {
    /// Finds the place of each package.
    ///
    /// # Errors
    /// Fails if a checkout can't be read or does not have its package.
    pub fn new(packages: &'a [FetchedPackage]) -> Result<Self> {
        let directories = directories(packages);
        let mut found = Self {
            all: Vec::with_capacity(packages.len()),
            by_place: HashMap::with_capacity(packages.len()),
            checkouts: BTreeMap::new(),
            directories,
        };
        for package in packages {
            let place = found.directories[package.source.as_str()]
                .join(format!("{}-{}", package.name, package.version));
            let inner = found.inner(package)?;
            found.by_place.insert(place.clone(), found.all.len());
            found.all.push(Located {
                package,
                place,
                inner,
            });
        }
        Ok(found)
    }

    fn inner(&mut self, package: &'a FetchedPackage) -> Result<Option<PathBuf>> {
        if package.checksum.is_some() {
            return Ok(None);
        }
        let root = package.path.as_path();
        if !self.checkouts.contains_key(root) {
            self.checkouts.insert(root, Checkout::read(root)?);
        }
        let inner = self.checkouts[root]
            .directory(&package.name, &package.version)
            .with_context(|| {
                format!(
                    "cannot find {} {} of {}",
                    package.name, package.version, package.source
                )
            })?;
        Ok(Some(inner.to_owned()))
    }

    /// Returns all packages, in the order of the lock.
    pub fn all(&self) -> &[Located<'a>] {
        &self.all
    }

    /// Returns the checkout that a package comes from and its directory there, or none for a
    /// `.crate` file.
    pub fn checkout<'b>(&'b self, located: &'b Located) -> Option<(&'b Checkout, &'b Path)> {
        let inner = located.inner.as_deref()?;
        Some((self.checkouts.get(located.package.path.as_path())?, inner))
    }

    /// Returns the origin of the package in a directory outside the workspace.
    ///
    /// # Errors
    /// Fails if the lock has no such package.
    pub fn origin(&self, directory: &str) -> Result<Origin> {
        let index = self.by_place.get(Path::new(directory)).with_context(|| {
            format!("Cargo compiles a package in {directory:?}, which is not in the lock")
        })?;
        let located = &self.all[*index];
        let source = located.package.source.clone();
        Ok(match &located.inner {
            None => Origin::Registry { source },
            Some(inner) => Origin::Git {
                source,
                path: inner.to_string_lossy().into_owned(),
            },
        })
    }

    /// Returns the configuration for Cargo that replaces every source of the lock by its directory.
    ///
    /// # Errors
    /// Fails if the lock names a source of an unknown kind.
    pub fn replacements(&self) -> Result<String> {
        let mut sources = Table::new();
        // Each directory may replace only one source.
        let mut directories = BTreeMap::from([(DEFAULT.to_owned(), PathBuf::from(REGISTRY))]);
        sources.insert("crates-io".into(), replaced(DEFAULT, None));
        for (source, directory) in &self.directories {
            if is_crates_io(source) {
                continue;
            }
            let (name, definition) = definition(source)?;
            let by = format!("directory of {name}");
            sources.insert(name, replaced(&by, Some(definition)));
            directories.insert(by, directory.clone());
        }
        for (name, path) in directories {
            let path = path.to_string_lossy().into_owned();
            let table = Table::from_iter([("directory".to_owned(), Value::from(path))]);
            sources.insert(name, table.into());
        }
        let config = Table::from_iter([("source".to_owned(), Value::from(sources))]);
        Ok(config.to_string())
    }
}

/// The name, in Cargo's configuration, of the directory that replaces the default registry.
const DEFAULT: &str = "directory of crates-io";

/// Returns the directory for each source of the lock.
fn directories(packages: &[FetchedPackage]) -> BTreeMap<&str, PathBuf> {
    let all: BTreeSet<&str> = packages.iter().map(|p| p.source.as_str()).collect();
    let mut specifications: BTreeMap<&str, usize> = BTreeMap::new();
    for source in &all {
        if let Some((_, commit)) = git(source) {
            *specifications.entry(commit).or_default() += 1;
        }
    }
    let directory = |source: &str| match git(source) {
        // To Cargo, one commit by several specifications is several sources.
        Some((specification, commit)) if specifications[commit] > 1 => {
            Path::new(GIT).join(format!("{commit}-{}", in_a_path(specification)))
        }
        Some((_, commit)) => Path::new(GIT).join(commit),
        None if is_crates_io(source) => PathBuf::from(REGISTRY),
        None => PathBuf::from(format!("{REGISTRY}-{}", in_a_path(source))),
    };
    all.iter()
        .map(|&source| (source, directory(source)))
        .collect()
}

/// Splits `git+URL?QUERY#COMMIT` into `URL?QUERY` and `COMMIT`.
fn git(source: &str) -> Option<(&str, &str)> {
    let rest = source.strip_prefix("git+")?;
    Some(rest.rsplit_once('#').unwrap_or((rest, "unknown")))
}

fn in_a_path(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .collect()
}

fn replaced(by: &str, definition: Option<Table>) -> Value {
    let mut table = definition.unwrap_or_default();
    table.insert("replace-with".into(), by.into());
    table.into()
}

/// Returns a name for a source of the lock, and its definition in Cargo's configuration.
fn definition(source: &str) -> Result<(String, Table)> {
    let mut table = Table::new();
    if let Some((specification, _)) = git(source) {
        let (url, query) = specification.split_once('?').unwrap_or((specification, ""));
        table.insert("git".into(), url.into());
        if let Some((key @ ("branch" | "tag" | "rev"), value)) = query.split_once('=') {
            table.insert(key.into(), decode(value).into());
        }
        return Ok((format!("git+{specification}"), table));
    }
    let index = match source.strip_prefix("registry+") {
        Some(url) => url,
        None if source.starts_with("sparse+") => source,
        None => bail!("the lock names the source {source:?}, whose kind is unknown"),
    };
    table.insert("registry".into(), index.into());
    Ok((source.to_owned(), table))
}

/// Decodes the name of a branch or tag, which the lock writes percent-encoded since its version 4.
/// Keeps a plus, because older locks write it unencoded, and no name contains a space.
pub fn decode(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMMIT: &str = "0123456789012345678901234567890123456789";

    fn locked(source: &str) -> FetchedPackage {
        FetchedPackage {
            name: "a".into(),
            version: "1.0.0".into(),
            source: source.into(),
            checksum: Some(String::new()),
            path: PathBuf::new(),
        }
    }

    #[test]
    fn one_commit_by_two_specifications_has_two_directories() {
        let by = |query: &str| format!("git+https://git.example/a{query}#{COMMIT}");
        let packages = [locked(&by("?branch=a%2Fb")), locked(&by("?tag=v1%2Bx"))];
        let found = Packages::new(&packages).unwrap();
        assert_ne!(found.all[0].place, found.all[1].place);
        let config: Table = toml::from_str(&found.replacements().unwrap()).unwrap();
        let sources = config["source"].as_table().unwrap();
        let of = |name: &str, key: &str| sources[name][key].as_str().unwrap().to_owned();
        assert_eq!(
            of("git+https://git.example/a?branch=a%2Fb", "branch"),
            "a/b"
        );
        assert_eq!(of("git+https://git.example/a?tag=v1%2Bx", "tag"), "v1+x");
        let directories: BTreeSet<&str> = sources
            .values()
            .filter_map(|source| source.get("directory")?.as_str())
            .collect();
        assert_eq!(directories.len(), 3, "{directories:?}");
    }

    #[test]
    fn one_specification_is_named_by_its_commit_alone() {
        let packages = [locked(&format!("git+https://git.example/a#{COMMIT}"))];
        let found = Packages::new(&packages).unwrap();
        assert_eq!(
            found.all[0].place,
            Path::new(GIT).join(COMMIT).join("a-1.0.0")
        );
    }
}
