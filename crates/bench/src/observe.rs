//! Builds in a scenario, and observes the compiled units.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result};
use crateyard_engines::{Engine, Request, buildx, cargo};
use crateyard_oci::Layout;
use serde::{Deserialize, Serialize};
use tempfile::TempDir;

use crate::scenario::Scenario;
use crate::subject::Subject;
use crate::trial::Trial;

mod nix;

/// The results of one build.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Seen {
    /// Packages with at least one compiled unit.
    pub packages: BTreeSet<String>,
    /// The number of compiled units: derivations of Nix, lines of Cargo.
    pub units: usize,
    /// Images that are new or have another digest than before.
    pub images: BTreeSet<String>,
    /// Bytes of new blobs, which a push would send. For a fresh runner, bytes that came from the
    /// cache, if known.
    pub bytes: Option<u64>,
    /// The duration of the command, in seconds.
    #[serde(with = "seconds")]
    pub wall: Duration,
}

/// A time in seconds, to the millisecond.
mod seconds {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(
        time: &Duration,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64((time.as_secs_f64() * 1000.0).round() / 1000.0)
    }

    pub(super) fn deserialize<'d, D: Deserializer<'d>>(
        deserializer: D,
    ) -> Result<Duration, D::Error> {
        let seconds = f64::deserialize(deserializer)?;
        Duration::try_from_secs_f64(seconds).map_err(serde::de::Error::custom)
    }
}

/// Builds with one engine, and remembers the blobs it has built.
pub(crate) struct Runner<'a> {
    engine: Engine,
    trial: &'a Trial,
    debian_lock: PathBuf,
    /// An engine for buildx that has built nothing.
    fresh_engine: Option<&'a str>,
    /// The digest of each image.
    digests: BTreeMap<String, String>,
    blobs: BTreeSet<String>,
    cache: TempDir,
    /// The sources of dependencies, for buildx.
    vendor: PathBuf,
}

/// The results of an engine.
struct Done {
    paths: Vec<PathBuf>,
    compiled: Vec<String>,
    wall: Duration,
    /// Bytes that came from the cache.
    fetched: Option<u64>,
}

impl<'a> Runner<'a> {
    /// Makes a runner that has built nothing.
    ///
    /// # Errors
    /// When this machine can't run the engine.
    pub(crate) fn new(
        engine: Engine,
        trial: &'a Trial,
        debian_lock: Option<&Path>,
        fresh_engine: Option<&'a str>,
    ) -> Result<Runner<'a>> {
        match engine {
            Engine::Buildx => {
                buildx::check_buildx()?;
                fresh_engine.map(buildx::check_fresh).transpose()?;
            }
            Engine::Nix => nix::check()?,
            Engine::Cargo => {}
        }
        let debian_lock = match debian_lock {
            Some(path) => path
                .canonicalize()
                .with_context(|| format!("there is no {}", path.display()))?,
            None => trial.root().join("debian.lock"),
        };
        let cache = tempfile::Builder::new()
            .prefix("crateyard-bench-cache-")
            .tempdir()?;
        Ok(Runner {
            engine,
            trial,
            debian_lock,
            fresh_engine,
            digests: BTreeMap::new(),
            blobs: BTreeSet::new(),
            vendor: cache.path().join("vendor"),
            cache,
        })
    }

    /// Returns the reason why this engine can't run a scenario, if there is one.
    pub(crate) fn lacks(&self, scenario: Scenario) -> Option<String> {
        let is_fresh = scenario == Scenario::FreshRunner;
        (is_fresh && self.engine == Engine::Buildx && self.fresh_engine.is_none())
            .then(|| "--fresh-engine names none".to_owned())
    }

    /// Fetches everything outside the workspace: the toolchain, Crateyard's own tools, sources.
    ///
    /// # Errors
    /// When a download or build fails.
    pub(crate) fn prepare(&mut self, subject: &Subject) -> Result<()> {
        match self.engine {
            Engine::Nix => nix::prepare(self.trial, &subject.image_names()),
            Engine::Buildx => self.prepare_buildx(),
            Engine::Cargo => self.trial.run("cargo", &["fetch", "--locked"]).map(drop),
        }
    }

    /// Builds the recipe, so that the engine has the toolchain.
    fn prepare_buildx(&self) -> Result<()> {
        self.generate()?;
        buildx::prepare(&self.request(&[]), "recipe")
    }

    /// Builds all images.
    ///
    /// # Errors
    /// When the build fails.
    pub(crate) fn build(&mut self, scenario: Scenario, subject: &Subject) -> Result<Seen> {
        let names = subject.image_names();
        let done = match self.engine {
            Engine::Nix => self.build_with_nix(scenario, &names)?,
            Engine::Buildx => self.build_with_buildx(scenario, &names)?,
            Engine::Cargo => self.build_with_cargo(scenario, &names)?,
        };
        let mut images = BTreeSet::new();
        let mut bytes = 0;
        for (name, path) in names.iter().zip(&done.paths) {
            let (digest, new) = self.blobs_of(path)?;
            bytes += new;
            if self.digests.insert(name.clone(), digest.clone()) != Some(digest) {
                images.insert(name.clone());
            }
        }
        let (packages, units) = match self.engine {
            Engine::Nix => nix::units(&done.compiled, &subject.versions),
            _ => (done.compiled.iter().cloned().collect(), done.compiled.len()),
        };
        let is_fresh = scenario == Scenario::FreshRunner;
        Ok(Seen {
            packages,
            units,
            images,
            bytes: if is_fresh { done.fetched } else { Some(bytes) },
            wall: done.wall,
        })
    }

    /// Returns the digest of an image, and the size of those of its blobs that no earlier image
    /// had.
    fn blobs_of(&mut self, path: &Path) -> Result<(String, u64)> {
        let layout = Layout::open(path)?;
        let mut new = 0;
        let mut digest = String::new();
        for image in layout.images()? {
            let manifest = layout.manifest(&image.descriptor)?;
            digest = image.descriptor.digest.to_string();
            let blobs = manifest
                .layers
                .iter()
                .chain([&manifest.config, &image.descriptor]);
            for blob in blobs {
                if self.blobs.insert(blob.digest.to_string()) {
                    new += blob.size;
                }
            }
        }
        Ok((digest, new))
    }

    fn request<'r>(&'r self, images: &'r [String]) -> Request<'r> {
        Request {
            workspace: self.trial.root(),
            debian_lock: Some(&self.debian_lock),
            images,
            vendor: Some(&self.vendor),
        }
    }

    /// Downloads the sources and updates the generated files. The bench measures neither: Nix gets
    /// its sources beforehand too, and the generated files belong to an edit of images.toml.
    fn generate(&self) -> Result<()> {
        let vendor = self.vendor.display().to_string();
        let arguments = ["vendor", "--quiet", "--locked", "--versioned-dirs", &vendor];
        self.trial.run("cargo", &arguments)?;
        for (name, text) in crateyard_engines::generated(self.trial.root())? {
            let path = self.trial.root().join(name);
            if fs::read_to_string(&path).ok().as_ref() != Some(&text) {
                fs::write(path, text)?;
            }
        }
        Ok(())
    }

    fn build_with_nix(&self, scenario: Scenario, names: &[String]) -> Result<Done> {
        if scenario == Scenario::LeafBump {
            nix::fetch(self.trial, &self.debian_lock)?;
        }
        if scenario != Scenario::FreshRunner {
            return nix::build(self.trial, names, None);
        }
        let cache = nix::Cache::of(self.trial, names, self.cache.path())?;
        nix::build(self.trial, names, Some(&cache))
    }

    fn build_with_cargo(&self, scenario: Scenario, names: &[String]) -> Result<Done> {
        let target = self.trial.root().join("target");
        let mut fetched = None;
        match scenario {
            Scenario::Cold if target.exists() => fs::remove_dir_all(&target)?,
            Scenario::FreshRunner => {
                // CI keeps the target directory from earlier runs, but the checkout is new.
                fetched = Some(size_of(&target)?);
                let files = self.trial.run("git", &["ls-files", "-z"])?;
                for name in files.split('\0').filter(|name| !name.is_empty()) {
                    let path = self.trial.root().join(name);
                    if path.is_file() {
                        fs::File::open(path)?.set_modified(SystemTime::now())?;
                    }
                }
            }
            _ => {}
        }
        let start = Instant::now();
        let built = cargo::build(&self.request(names))?;
        Ok(Done {
            wall: start.elapsed(),
            paths: built.paths,
            compiled: built.compiled,
            fetched,
        })
    }

    fn build_with_buildx(&self, scenario: Scenario, names: &[String]) -> Result<Done> {
        self.generate()?;
        let cache = &self.cache.path().join("cache");
        let output = match (scenario, self.fresh_engine) {
            (Scenario::FreshRunner, Some(engine)) => {
                // The caches that main's last run left.
                buildx::build(&self.request(names), buildx::Output::Write(cache))?;
                buildx::Output::Fresh { cache, engine }
            }
            _ => buildx::Output::Read,
        };
        let start = Instant::now();
        let built = buildx::build(&self.request(names), output)?;
        Ok(Done {
            wall: start.elapsed(),
            paths: built.paths,
            compiled: built.compiled,
            fetched: Some(built.fetched),
        })
    }
}

fn size_of(path: &Path) -> Result<u64> {
    let metadata = fs::symlink_metadata(path)?;
    if !metadata.is_dir() {
        return Ok(metadata.len());
    }
    let entries = fs::read_dir(path)?;
    entries.map(|entry| size_of(&entry?.path())).sum()
}
