//! What a build would fetch, and what it would build: Nix's own rules, counted before Nix starts.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::stream::{self, StreamExt};

use crate::directory::Directory;
use crate::error::{Error, Result};
use crate::foreign;
use crate::graph::Graph;
use crate::http::Http;
use crate::key::PublicKey;
use crate::narinfo::NarInfo;
use crate::packs::Packs;
use crate::path::StorePath;

/// How many questions are asked at the same time.
const QUESTIONS: usize = 32;

/// A cache that can be asked what it has.
pub enum Cache {
    /// A directory.
    Directory(Directory),
    /// Behind a web server.
    Http(Http),
    /// Packs.
    Packs(Box<Packs>),
    /// What Nix alone can read, by its URL.
    Nix(String),
}

/// What caches know of some paths.
#[derive(Debug, Default)]
pub struct Known {
    /// Paths that a cache has, signed by a trusted key.
    pub cached: BTreeMap<StorePath, NarInfo>,
    /// Paths that a cache has, signed by nobody that is trusted.
    pub untrusted: BTreeSet<StorePath>,
    /// Why caches could not be asked; each cause once.
    pub failures: BTreeSet<String>,
}

/// What a build would do.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Forecast {
    /// Paths that it would fetch.
    pub fetched: BTreeSet<StorePath>,
    /// How many bytes that would take.
    pub bytes: u64,
    /// Derivations that it would build.
    pub built: BTreeSet<StorePath>,
    /// Files with a known hash that it would download from where they come from.
    pub downloaded: BTreeSet<StorePath>,
}

impl Cache {
    async fn narinfo(&self, hash: &str) -> Result<Option<NarInfo>> {
        match self {
            Cache::Directory(directory) => directory.narinfo(hash),
            Cache::Http(http) => http.narinfo(hash).await,
            Cache::Packs(packs) => Ok(packs.narinfo(hash).cloned()),
            // Asked for all at once.
            Cache::Nix(_) => Ok(None),
        }
    }
}

/// Asks caches for paths; of several that have one, the first counts.
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
                // Under this hash there is another path.
                Ok(Some(info)) if info.path != *path => {
                    known.untrusted.insert(path.clone());
                }
                Ok(Some(info)) => known.add(info, keys),
                Ok(None) => {}
                Err(error) => {
                    known.failed(&error);
                    // One that fails once is not asked a thousand times more.
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

/// What a build of derivations would do, where a store has `present`.
pub fn forecast(
    graph: &Graph,
    goals: &[StorePath],
    present: &BTreeSet<StorePath>,
    known: &Known,
) -> Forecast {
    let mut walk = Walk {
        graph,
        present,
        known,
        seen: BTreeSet::new(),
        forecast: Forecast::default(),
    };
    for goal in goals {
        walk.need(goal);
    }
    walk.forecast
}

struct Walk<'a> {
    graph: &'a Graph,
    present: &'a BTreeSet<StorePath>,
    known: &'a Known,
    seen: BTreeSet<StorePath>,
    forecast: Forecast,
}

impl Walk<'_> {
    /// A derivation whose outputs are needed.
    fn need(&mut self, path: &StorePath) {
        if !self.seen.insert(path.clone()) {
            return;
        }
        let Some(derivation) = self.graph.derivations.get(path) else {
            return;
        };
        let absent: Vec<&StorePath> = derivation
            .outputs
            .values()
            .filter(|output| !self.present.contains(output))
            .collect();
        let is_cached = |output: &&StorePath| self.known.cached.contains_key(output);
        if absent.iter().all(is_cached) {
            for output in absent {
                self.fetch(output);
            }
        } else if derivation.is_download {
            self.forecast.downloaded.extend(absent.into_iter().cloned());
        } else {
            self.forecast.built.insert(path.clone());
            for input in derivation.inputs.keys() {
                self.need(input);
            }
        }
    }

    /// A path that comes from a cache, with all that it refers to.
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
