//! Finds the files of Debian packages for images, with or without Nix.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use crateyard_debian::lock::Lock;
use crateyard_description::normal::{Packages as Placed, SetReference};
use crateyard_fetch::debs::{self, DebFile};
use crateyard_nix::Store;

/// Packages that a lock pins. Uses the packages that are in the Nix store. Downloads the others
/// once, into the user's cache.
pub(crate) struct Packages {
    lock: Lock,
    path: PathBuf,
    architecture: &'static str,
    store: Store,
    cache: PathBuf,
}

impl Packages {
    /// Reads a lock, for an architecture by Debian's name.
    ///
    /// # Errors
    /// When the lock can't be read.
    pub(crate) fn locked(lock: &Path, architecture: &'static str) -> Result<Packages> {
        Ok(Packages {
            lock: Lock::load(lock).context(
                "the lock of the Debian packages: `assemble lock` writes it, --debian-lock names \
                 another",
            )?,
            path: lock.to_owned(),
            architecture,
            store: Store::new(None),
            cache: crateyard_workspace::state::cache()?.join("debs"),
        })
    }

    /// Returns the files for a placeholder, in an image whose programs are linked from these
    /// crates.
    ///
    /// # Errors
    /// The errors of [`Packages::of_set`].
    pub(crate) fn of(&self, packages: &Placed, linked: &BTreeSet<String>) -> Result<Vec<PathBuf>> {
        let mut given = Vec::new();
        for set in &packages.beyond {
            given.extend(self.of_reference(set, &[], linked)?);
        }
        let mut files = self.of_reference(&packages.of, &packages.named, linked)?;
        files.retain(|file| !given.contains(file));
        Ok(files)
    }

    fn of_reference(
        &self,
        of: &SetReference,
        named: &[String],
        linked: &BTreeSet<String>,
    ) -> Result<Vec<PathBuf>> {
        let is_linked = of.linked_from.as_ref().is_none_or(|it| linked.contains(it));
        let may_lack = of.linked_from.is_some() || !named.is_empty();
        if !is_linked || (may_lack && !self.has(&of.set)) {
            return Ok(Vec::new());
        }
        self.of_set(&of.set, named)
    }

    fn has(&self, set: &str) -> bool {
        self.lock.set(set, self.architecture).is_some()
    }

    /// Returns the files of a set; if `named` is not empty, only those of packages with these
    /// names.
    ///
    /// # Errors
    /// When the lock does not have the set, or a file can't be downloaded.
    fn of_set(&self, set: &str, named: &[String]) -> Result<Vec<PathBuf>> {
        if !self.has(set) {
            bail!(
                "{} has no packages of the set {set:?} for {}\n  try: name the set in images.toml \
                 ([debian.sets.{set}]) and run `assemble lock`",
                self.path.display(),
                self.architecture
            );
        }
        let sets = [set.to_owned()];
        let architectures = [self.architecture.to_owned()];
        let mut debs = debs::select(&self.lock, &sets, &architectures, &self.store)?;
        let name = |deb: &DebFile<'_>| deb.file.split('_').next().unwrap_or_default().to_owned();
        debs.retain(|deb| named.is_empty() || named.contains(&name(deb)));
        let missing: Vec<&DebFile<'_>> = debs
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

    fn present(&self, deb: &DebFile<'_>) -> Option<PathBuf> {
        let places = [PathBuf::from(&deb.path), self.cached(deb)];
        places.into_iter().find(|path| path.is_file())
    }

    /// Returns the path in the cache. It has the file's name in the store, which contains the hash.
    fn cached(&self, deb: &DebFile<'_>) -> PathBuf {
        let name = Path::new(&deb.path).file_name().unwrap_or_default();
        self.cache.join(name)
    }

    fn download(&self, missing: &[&DebFile<'_>]) -> Result<()> {
        fs::create_dir_all(&self.cache)
            .with_context(|| format!("cannot create {}", self.cache.display()))?;
        let directory = crateyard_debian::apt::download_directory()
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
