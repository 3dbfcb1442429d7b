//! Garbage collection of packs.

use std::collections::{BTreeMap, HashSet};

use crate::error::Result;
use crate::packs::index::{Entry, Pack, PackIndex};
use crate::packs::{PackWriter, Packs};
use crate::retention::reachable;
use crateyard_nix::NarInfo;

pub use crate::retention::{Collected, Retention};

/// The part of a pack that must still be needed. Packs with less are rewritten.
const DENSE: f64 = 0.5;

impl Packs {
    /// Returns the index without everything that the retention does not keep. Rewrites packs with
    /// `writer` if little of them is left.
    ///
    /// # Errors
    /// Fails if a pack can't be read, or if a new one can't be written.
    pub async fn collect(
        &self,
        retention: &Retention,
        mut writer: PackWriter,
    ) -> Result<(PackIndex, Collected)> {
        let mut index = self.index.clone();
        let builds = index.builds.iter().map(|(n, b)| (n.as_str(), b.pushed));
        let mut collected = Collected {
            builds: retention.expired(builds),
            ..Collected::default()
        };
        index
            .builds
            .retain(|name, _| !collected.builds.contains(name));
        let roots = index.builds.values().flat_map(|build| &build.paths);
        let live = reachable(roots, |hash| {
            self.narinfo(hash).map(|info| info.references.clone())
        });
        let mut kept = Vec::new();
        for pack in std::mem::take(&mut index.packs) {
            let (entries, infos) = self.split(&pack, &live, &mut collected)?;
            let wanted: u64 = infos.iter().map(NarInfo::download_size).sum();
            if entries.is_empty() {
                collected.bytes += pack.size;
            } else if (wanted as f64) < DENSE * pack.size as f64 && !retention.dry_run {
                for info in infos {
                    self.copy(&info, &mut writer).await?;
                }
                collected.bytes += pack.size - wanted;
            } else {
                kept.push(Pack { entries, ..pack });
            }
        }
        kept.extend(writer.finish()?);
        index.packs = kept;
        Ok((index, collected))
    }

    /// Returns the live entries of a pack, with their narinfos. Counts the others in `collected`.
    fn split(
        &self,
        pack: &Pack,
        live: &HashSet<String>,
        collected: &mut Collected,
    ) -> Result<(Vec<Entry>, Vec<NarInfo>)> {
        let mut entries = Vec::new();
        let mut infos = Vec::new();
        for entry in &pack.entries {
            let info = NarInfo::parse(&entry.narinfo, &self.place)?;
            if live.contains(info.path.hash()) {
                entries.push(entry.clone());
                infos.push(info);
            } else {
                collected.paths += 1;
            }
        }
        Ok((entries, infos))
    }

    async fn copy(&self, info: &NarInfo, writer: &mut PackWriter) -> Result<()> {
        if let Some(archive) = self.archive(&info.url).await? {
            writer.append(info, &mut archive.spool().await?)?;
        }
        Ok(())
    }
}

impl PackIndex {
    /// Adds packs and a build. Replaces an older build of the same name.
    pub fn add(&mut self, packs: Vec<Pack>, name: &str, build: super::Build) {
        let known: HashSet<crateyard_oci::Digest> =
            self.packs.iter().map(|pack| pack.digest.clone()).collect();
        let new = packs
            .into_iter()
            .filter(|pack| !known.contains(&pack.digest));
        self.packs.extend(new);
        let mut builds: BTreeMap<_, _> = std::mem::take(&mut self.builds);
        builds.insert(name.to_owned(), build);
        self.builds = builds;
    }
}
