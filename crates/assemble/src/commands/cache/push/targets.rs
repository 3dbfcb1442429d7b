//! Sends the paths of a build to a cache of each kind.

use std::collections::BTreeSet;

use anyhow::{Context, Result};
use crateyard_cache::packs::{Build, PackDirectory, PackWriter, Packs, publish};
use crateyard_cache::status::ask;
use crateyard_cache::{Address, Directory};
use crateyard_flake::Nix;
use crateyard_nix::{Registered, StorePath, environment};
use crateyard_oci::Reference;
use crateyard_terminal::{count, warning};

use super::copy::{copy, progress};
use super::key::Key;
use super::{Args, Report};
use crate::caches::packs;

/// A push.
pub(super) struct Push<'a> {
    pub(super) args: &'a Args,
    pub(super) key: &'a Key,
    /// Paths of the build.
    pub(super) wanted: &'a BTreeSet<StorePath>,
    /// The paths that the store has.
    pub(super) present: &'a BTreeSet<StorePath>,
}

impl Push<'_> {
    /// Returns the paths that the store has and that no cache except the target has.
    pub(super) fn lacking(&self) -> Result<BTreeSet<StorePath>> {
        let (client, _) = self.args.connection.client()?;
        let known = crateyard_registry::run(async {
            let caches = self.args.caches.open(&client).await;
            ask(&caches, &self.args.caches.trusted(), self.present).await
        });
        for failure in &known.failures {
            warning!("not asked: {failure}");
        }
        let is_new = |path: &&StorePath| !known.cached.contains_key(path);
        Ok(self.present.iter().filter(is_new).cloned().collect())
    }

    pub(super) fn to_directory(&self, directory: &Directory, nix: &Nix) -> Result<Report> {
        directory.touch(self.wanted)?;
        let lacking = self.lacking()?;
        let path = std::path::absolute(directory.path())?;
        let url = Address::Directory(path).to_string();
        let report = self.by_nix(&url, nix, &lacking)?;
        let mut there = BTreeSet::new();
        for path in self.wanted {
            if directory.narinfo(path.hash())?.is_some() {
                there.insert(path.clone());
            }
        }
        directory.name_build(&self.args.name, &there)?;
        Ok(Report {
            paths: there.len(),
            ..report
        })
    }

    /// Pushes by `nix copy`: archives before narinfos, and references before referrers.
    pub(super) fn by_nix(
        &self,
        url: &str,
        nix: &Nix,
        paths: &BTreeSet<StorePath>,
    ) -> Result<Report> {
        let separator = if url.contains('?') { '&' } else { '?' };
        let key = self.key.path.display();
        let to =
            format!("{url}{separator}compression=zstd&parallel-compression=true&secret-key={key}");
        let config = nix.config()?;
        let mut command = environment::with_credentials(&config.nix);
        command.env("NIX_CONFIG", &config.text).arg("copy");
        command.args(self.args.work.store.iter().flat_map(|it| ["--store", it]));
        command
            .args(["--to", &to])
            .args(paths.iter().map(StorePath::to_string));
        let sent = if paths.is_empty() { 0 } else { copy(command)? };
        Ok(Report {
            paths: paths.len(),
            sent,
            ..Report::default()
        })
    }

    pub(super) fn to_packs(&self, directory: &PackDirectory) -> Result<Report> {
        let lock = directory.lock()?;
        let packs = Packs::open_directory(directory.clone())?;
        let report = self.write(packs.as_ref(), directory, &BTreeSet::new())?;
        directory.sweep(&lock)?;
        Ok(report)
    }

    pub(super) fn to_registry(&self, reference: &Reference) -> Result<Report> {
        let (client, display) = self.args.connection.client()?;
        let temporary = tempfile::tempdir().context("cannot make a temporary directory")?;
        let directory = PackDirectory::new(temporary.path());
        let _lock = directory.lock()?;
        let (there, lost) = crateyard_registry::run(async {
            let there = packs(&Address::Registry(reference.clone()), &client).await?;
            let lost = match &there {
                Some(packs) => packs.lost().await?,
                None => BTreeSet::new(),
            };
            Ok::<_, crateyard_cache::Error>((there, lost))
        })?;
        if !lost.is_empty() {
            warning!(
                "{reference}: the registry has lost {}",
                count(lost.len(), "pack")
            );
        }
        let mut report = self.write(there.as_ref(), &directory, &lost)?;
        display.begin(&reference.to_string());
        let sent = crateyard_registry::run(publish(&client, &directory, reference));
        display.end();
        let sent = sent.with_context(|| format!("cannot push to {reference}"))?;
        report.bytes = sent.bytes_sent;
        report.requests = sent.requests;
        Ok(report)
    }

    /// Writes the missing paths into new packs, and an index of old and new packs.
    fn write(
        &self,
        there: Option<&Packs>,
        directory: &PackDirectory,
        lost: &BTreeSet<crateyard_oci::Digest>,
    ) -> Result<Report> {
        let mut index = there.map(|packs| packs.index().clone()).unwrap_or_default();
        index.packs.retain(|pack| !lost.contains(&pack.digest));
        // Other people may be able to write to the cache. The push drops their paths, which no
        // trusted key has signed.
        let mut keys = self.args.caches.trusted();
        keys.push(self.key.secret.public());
        let refused = index.retain_signed(&keys)?;
        if refused > 0 {
            warning!("removed {refused} paths that no trusted key has signed");
        }
        let known: BTreeSet<StorePath> = index.paths()?;
        let lacking = self.lacking()?;
        let new: BTreeSet<StorePath> = lacking.difference(&known).cloned().collect();
        let elsewhere = self.present.difference(&lacking);
        let not_sent = known.iter().chain(elsewhere).cloned().collect();
        let new = self.with_references(new, not_sent)?;
        let mut writer = PackWriter::new(&directory.blobs(), self.args.pack_size);
        let bar = progress(new.len());
        for registered in &new {
            writer.add(&self.args.work.store(), registered, &self.key.secret)?;
            bar.inc(1);
        }
        bar.finish_and_clear();
        let added = writer.finish()?;
        let report_bytes = added.iter().map(|pack| pack.size).sum();
        let mut paths: BTreeSet<StorePath> = self.wanted.intersection(&known).cloned().collect();
        paths.extend(new.iter().map(|registered| registered.path.clone()));
        let count = paths.len();
        let build = Build {
            pushed: crateyard_cache::now(),
            paths,
        };
        index.add(added, &self.args.name, build);
        directory.commit(&index)?;
        Ok(Report {
            paths: count,
            sent: new.len(),
            bytes: report_bytes,
            requests: 0,
        })
    }

    /// Returns the registrations of paths and of their closure, except those in `seen`.
    fn with_references(
        &self,
        paths: BTreeSet<StorePath>,
        mut seen: BTreeSet<StorePath>,
    ) -> Result<Vec<Registered>> {
        let store = self.args.work.store();
        let mut found = Vec::new();
        let mut open = paths;
        while !open.is_empty() {
            let registered = store.registered(&open)?;
            seen.append(&mut open);
            let references = registered.iter().flat_map(|it| &it.references);
            open.extend(references.filter(|path| !seen.contains(path)).cloned());
            found.extend(registered);
        }
        found.sort_by(|one, other| one.path.cmp(&other.path));
        Ok(found)
    }
}
