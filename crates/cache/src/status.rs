//! Predicts what a build would fetch and build, by Nix's own rules, before Nix starts.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::stream::{self, StreamExt};

use crate::directory::Directory;
use crate::error::{Error, Result};
use crate::foreign;
use crate::http::Http;
use crate::packs::Packs;
use crateyard_nix::{Closure, NarInfo, PublicKey, StorePath};

/// The number of requests at the same time.
const QUESTIONS: usize = 32;

/// A cache that can be asked for paths.
pub enum Cache {
    /// A binary cache in a directory.
    Directory(Directory),
    /// A binary cache behind a web server.
    Http(Http),
    /// Packs.
    Packs(Box<Packs>),
    /// A cache that only Nix can read, by its URL.
    Nix(String),
}

/// The answers of caches about some paths.
#[derive(Debug, Default)]
pub struct Known {
    /// Paths that a cache has, signed by a trusted key.
    pub cached: BTreeMap<StorePath, NarInfo>,
    /// Paths that a cache has without a trusted signature.
    pub untrusted: BTreeSet<StorePath>,
    /// The reasons why caches could not be asked. Each occurs once.
    pub failures: BTreeSet<String>,
}

/// The prediction for a build.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Forecast {
    /// Paths that it would fetch.
    pub fetched: BTreeSet<StorePath>,
    /// The number of bytes that it would fetch.
    pub bytes: u64,
    /// Derivations that it would build.
    pub built: BTreeSet<StorePath>,
    /// Files with a known hash that it would download from their origin.
    pub downloaded: BTreeSet<StorePath>,
}

impl Cache {
    async fn narinfo(&self, hash: &str) -> Result<Option<NarInfo>> {
        match self {
            Cache::Directory(directory) => directory.narinfo(hash),
            Cache::Http(http) => http.narinfo(hash).await,
            Cache::Packs(packs) => Ok(packs.narinfo(hash).cloned()),
            // Such a cache is asked for all paths at once.
            Cache::Nix(_) => Ok(None),
        }
    }
}

/// Asks caches for paths. If several have a path, the first one counts.
pub async fn ask(caches: &[Cache], keys: &[PublicKey], paths: &BTreeSet<StorePath>) -> Known {
    let mut known = Known::default();
    for cache in caches {
        let open: Vec<&StorePath> = paths
            .iter()
            .filter(|path| !known.cached.contains_key(path))
            .collect();
        if let Cache::Nix(url) = cache {
            match foreign::narinfos(url, &open) {
                Ok(infos) => infos.into_iter().for_each(|info| known.add(info, keys)),
                Err(error) => known.failed(&error),
            }
            continue;
        }
        let mut answers = stream::iter(open)
            .map(|path| async move { (path, cache.narinfo(path.hash()).await) })
            .buffer_unordered(QUESTIONS);
        while let Some((path, answer)) = answers.next().await {
            match answer {
                // The cache has another path with this hash.
                Ok(Some(info)) if info.path != *path => {
                    known.untrusted.insert(path.clone());
                }
                Ok(Some(info)) => known.add(info, keys),
                Ok(None) => {}
                Err(error) => {
                    known.failed(&error);
                    // If a cache fails once, do not ask it again for each path.
                    break;
                }
            }
        }
    }
    known
        .untrusted
        .retain(|path| !known.cached.contains_key(path));
    known
}

impl Known {
    fn add(&mut self, info: NarInfo, keys: &[PublicKey]) {
        match info.is_signed_by(keys) {
            true => {
                self.cached.insert(info.path.clone(), info);
            }
            false => {
                self.untrusted.insert(info.path);
            }
        }
    }

    fn failed(&mut self, error: &Error) {
        self.failures.insert(error.to_string());
    }
}

/// Predicts a build of a closure's roots, if the store already has the paths `present`.
///
/// # Errors
/// Fails if an output or a derivation is not a store path.
pub fn forecast(
    closure: &Closure,
    present: &BTreeSet<StorePath>,
    known: &Known,
) -> Result<Forecast> {
    let mut walk = Walk {
        closure,
        present,
        known,
        seen: BTreeSet::new(),
        forecast: Forecast::default(),
    };
    for root in &closure.roots {
        walk.need(*root)?;
    }
    Ok(walk.forecast)
}

struct Walk<'a> {
    closure: &'a Closure,
    present: &'a BTreeSet<StorePath>,
    known: &'a Known,
    /// Nodes of the closure.
    seen: BTreeSet<usize>,
    forecast: Forecast,
}

impl Walk<'_> {
    /// Adds a derivation whose outputs are needed.
    fn need(&mut self, index: usize) -> Result<()> {
        if !self.seen.insert(index) {
            return Ok(());
        }
        let node = &self.closure.nodes[index];
        let mut absent = Vec::new();
        for output in node.outputs() {
            let output: StorePath = output.parse()?;
            if !self.present.contains(&output) {
                absent.push(output);
            }
        }
        let is_cached = |output: &StorePath| self.known.cached.contains_key(output);
        if absent.iter().all(is_cached) {
            for output in &absent {
                self.fetch(output);
            }
        } else if node.derivation.is_download() {
            self.forecast.downloaded.extend(absent);
        } else {
            self.forecast.built.insert(node.path.parse()?);
            for input in &node.inputs {
                self.need(*input)?;
            }
        }
        Ok(())
    }

    /// Adds a path from a cache, and all paths that it refers to.
    fn fetch(&mut self, path: &StorePath) {
        if self.present.contains(path) || self.forecast.fetched.contains(path) {
            return;
        }
        if let Some(info) = self.known.cached.get(path) {
            self.forecast.fetched.insert(path.clone());
            self.forecast.bytes += info.download_size();
            for reference in &info.references {
                self.fetch(reference);
            }
        }
    }
}
