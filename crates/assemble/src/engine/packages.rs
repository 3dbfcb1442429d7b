//! The files of Debian packages that images are made of, with or without Nix.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use debian::lock::Lock;

use crate::commands::fetch::debs::{self, Deb};
use crate::commands::fetch::store::Store;

/// Packages that a lock pins. What the Nix store has is used from there; the rest is downloaded once, into the user's cache.
pub struct Packages {
    lock: Lock,
    path: PathBuf,
    architecture: &'static str,
    store: Store,
    cache: PathBuf,
}

impl Packages {
    /// Those of a lock, for an architecture in Debian's terms.
    ///
    /// # Errors
    /// When the lock can't be read.
    pub fn of(lock: &Path, architecture: &'static str) -> Result<Packages> {
        Ok(Packages {
            lock: Lock::load(lock).context(
                "the lock of the Debian packages: `assemble lock` writes it, --debian-lock names another",
            )?,
            path: lock.to_owned(),
            architecture,
            store: Store::new(None),
            cache: crate::state::cache()?.join("debs"),
        })
    }

    /// The files of a set.
    ///
    /// # Errors
    /// When the lock has no such set, or a file can't be downloaded.
    pub fn of_set(&self, set: &str) -> Result<Vec<PathBuf>> {
        if self.lock.set(set, self.architecture).is_none() {
            bail!(
                "{} has no packages of the set {set:?} for {}\n  try: name the set in images.toml \
                 ([debian.sets.{set}]) and run `assemble lock`",
                self.path.display(),
                self.architecture
            );
        }
        let sets = [set.to_owned()];
        let architectures = [self.architecture.to_owned()];
        let debs = debs::select(&self.lock, &sets, &architectures, &self.store)?;
        let missing: Vec<&Deb<'_>> = debs
            .iter()
            .filter(|deb| self.present(deb).is_none())
            .collect();
        if !missing.is_empty() {
            self.download(&missing)?;
        }
        let present = debs.iter().map(|deb| {
            self.present(deb)
                .with_context(|| format!("{} went away", deb.file))
        });
        present.collect()
    }

    fn present(&self, deb: &Deb<'_>) -> Option<PathBuf> {
        let places = [PathBuf::from(&deb.path), self.cached(deb)];
        places.into_iter().find(|path| path.is_file())
    }

    /// The store's name says the hash too.
    fn cached(&self, deb: &Deb<'_>) -> PathBuf {
        let name = Path::new(&deb.path).file_name().unwrap_or_default();
        self.cache.join(name)
    }

    fn download(&self, missing: &[&Deb<'_>]) -> Result<()> {
        fs::create_dir_all(&self.cache)
            .with_context(|| format!("cannot create {}", self.cache.display()))?;
        let directory = debian::apt::download_directory()
            .context("cannot make a directory for apt's downloads")?;
        let arrived = debs::download(missing, directory.path(), &[], |_| ())?;
        if let Some((file, reason)) = arrived.missing.first() {
            bail!("cannot download {file}: {reason}");
        }
        for ((file, _), deb) in arrived.files.iter().zip(missing) {
            let to = self.cached(deb);
            let beside = tempfile::NamedTempFile::new_in(&self.cache)?;
            fs::copy(file, beside.path())
                .and_then(|_| beside.as_file().sync_all())
                .with_context(|| format!("cannot write {}", to.display()))?;
            beside
                .persist(&to)
                .with_context(|| format!("cannot write {}", to.display()))?;
        }
        Ok(())
    }
}
