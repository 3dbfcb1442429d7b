//! Fetches the components that `toolchain.lock` pins from the first place that has them: the store,
//! the machine's rustup, a binary cache, or the distribution server.

use crate::toolchains::{self, Refused, Server};
use anyhow::Result;
use crateyard_nix::Store;
use crateyard_toolchain::lock::{COMPILING, Component, Lock, STD};
use crateyard_toolchain::rustup::Installed;
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::Path;

/// The result of fetching a release.
#[derive(Serialize)]
pub struct Release {
    /// The compiler's version.
    pub release: String,
    /// The source of each component, by its name in the store.
    pub components: BTreeMap<String, Source>,
    /// The components that could not be fetched, with the reason.
    pub missing: BTreeMap<String, String>,
}

/// The source of a component.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// The store already had it.
    Store,
    /// A rustup toolchain of the machine, by its name.
    Rustup(String),
    /// A binary cache.
    Cache,
    /// The distribution server, by its address.
    Server(String),
}

impl Source {
    fn describe(&self) -> String {
        match self {
            Self::Store => "present".to_owned(),
            Self::Rustup(name) => format!("from the rustup toolchain {name}"),
            Self::Cache => "from a binary cache".to_owned(),
            Self::Server(address) => format!("from {address}"),
        }
    }
}

impl Release {
    /// Writes a line with the number of components from each source.
    pub fn describe(&self) -> String {
        let mut counts: BTreeMap<&Source, usize> = BTreeMap::new();
        for source in self.components.values() {
            *counts.entry(source).or_default() += 1;
        }
        let mut parts: Vec<String> = counts
            .iter()
            .map(|(source, count)| format!("{count} {}", source.describe()))
            .collect();
        if !self.missing.is_empty() {
            parts.push(format!("{} missing", self.missing.len()));
        }
        let total = self.components.len() + self.missing.len();
        format!(
            "toolchain {total:>5}  Rust {}: {}",
            self.release,
            parts.join(", ")
        )
    }
}

/// Adds all components that this machine builds with to the store.
///
/// # Errors
/// When files differ from those that the lock pins, or Nix fails.
pub fn fetch(lock_path: &Path, store: &Store) -> Result<Release> {
    let lock = Lock::load(lock_path)?;
    let all = Installed::all();
    let installed = Installed::of_lock(&all, &lock);
    let mut fetch = Fetch {
        lock: &lock,
        store,
        installed,
        server: Server::new(store),
    };
    let mut release = Release {
        release: lock.release.clone(),
        components: BTreeMap::new(),
        missing: BTreeMap::new(),
    };
    let host = toolchains::host();
    for component in lock.for_host(&host) {
        let name = lock.store_name(component);
        match fetch.component(component, &name)? {
            Ok(source) => drop(release.components.insert(name, source)),
            Err(reason) => drop(release.missing.insert(name, reason)),
        }
    }
    Ok(release)
}

/// Whether the store has every component that compilation needs.
///
/// # Errors
/// When the lock can't be read, or Nix fails.
pub fn is_there(lock_path: &Path, store: &Store) -> Result<bool> {
    let lock = Lock::load(lock_path)?;
    let host = toolchains::host();
    let needed = lock
        .for_host(&host)
        .filter(|component| component.name == STD || COMPILING[..].contains(&component.name));
    let paths: Vec<String> = needed
        .map(|component| path_of(&lock, component, store))
        .collect();
    Ok(store.missing(paths.iter().map(String::as_str))?.is_empty())
}

/// Returns the store path of a component: of its files or, if their hash is unknown, of its
/// archive.
fn path_of(lock: &Lock, component: Component<'_>, store: &Store) -> String {
    match &component.pin.files {
        Some(files) => store.path_of_tree(&lock.store_name(component), files),
        None => {
            let archive = &component.pin.archive;
            let name = archive.rsplit('/').next().unwrap_or(archive);
            store.path_of(name, &component.pin.sha256)
        }
    }
}

struct Fetch<'a> {
    lock: &'a Lock,
    store: &'a Store,
    installed: Option<&'a Installed>,
    server: Server<'a>,
}

impl Fetch<'_> {
    /// Fetches one component. The inner error says why it is unavailable.
    fn component(
        &mut self,
        component: Component<'_>,
        name: &str,
    ) -> Result<Result<Source, String>> {
        let path = path_of(self.lock, component, self.store);
        if self.store.missing([path.as_str()])?.is_empty() {
            return Ok(Ok(Source::Store));
        }
        let is_pinned = component.pin.files.is_some();
        let installed = self.installed.filter(|_| is_pinned);
        if let Some(installed) = installed.filter(|installed| installed.has(component)) {
            let files = installed.checked(component, name)?;
            self.store.add_tree(&files.path(), &path)?;
            return Ok(Ok(Source::Rustup(installed.name())));
        }
        if self.store.substitute(&path) {
            return Ok(Ok(Source::Cache));
        }
        let archive = match self.server.archive(component) {
            Ok(archive) => archive,
            // A file with other content is an error; a missing one is only reported.
            Err(error) if error.is::<Refused>() => return Err(error),
            Err(error) => {
                let lacks = installed.map(|installed| installed.lacks(component).to_string());
                let reasons = lacks.into_iter().chain([format!("{error:#}")]);
                return Ok(Err(reasons.collect::<Vec<_>>().join("; ")));
            }
        };
        if is_pinned {
            let files = toolchains::checked(self.lock, component, &archive)?;
            self.store.add_tree(&files.path(), &path)?;
        }
        Ok(Ok(Source::Server(self.server.address().to_owned())))
    }
}
