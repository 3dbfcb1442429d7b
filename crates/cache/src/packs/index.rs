//! The index of packs, which is the artifact's config.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crateyard_nix::{NarInfo, PublicKey, StorePath};

/// The version of the format.
const VERSION: u32 = 1;
/// The size limit of a pack, in bytes. A writer closes a pack at [`PACK_SIZE`](super::PACK_SIZE) by
/// default, but a single path may be larger.
const MAX_PACK: u64 = 32 << 30;

/// The content of a cache of packs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PackIndex {
    version: u32,
    /// The packs, the oldest first.
    pub packs: Vec<Pack>,
    /// Maps the name of each build to its paths.
    pub builds: BTreeMap<String, Build>,
}

/// A pack: an uncompressed tar archive with the files of a binary cache.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Pack {
    /// Digest of the archive.
    pub digest: crateyard_oci::Digest,
    /// Its size in bytes.
    pub size: u64,
    /// The paths in it that are still needed.
    pub entries: Vec<Entry>,
}

/// A path in a pack.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Entry {
    /// The narinfo's text.
    pub narinfo: String,
    /// The offset of the compressed archive in the pack, in bytes.
    pub offset: u64,
}

/// A named build, whose paths are not collected as garbage.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Build {
    /// When it was pushed, in seconds since 1970.
    pub pushed: u64,
    /// Its paths.
    pub paths: BTreeSet<StorePath>,
}

impl Default for PackIndex {
    fn default() -> PackIndex {
        PackIndex {
            version: VERSION,
            packs: Vec::new(),
            builds: BTreeMap::new(),
        }
    }
}

impl PackIndex {
    /// Parses an index. `place` is its name in messages.
    ///
    /// # Errors
    /// Fails if the index is malformed or has another version.
    pub fn parse(bytes: &[u8], place: &str) -> Result<PackIndex> {
        let damaged = |reason: String| Error::damaged(place, reason);
        let index: PackIndex = serde_json::from_slice(bytes)
            .map_err(|error| damaged(format!("is not the index of a cache: {error}")))?;
        if index.version != VERSION {
            return Err(damaged(format!(
                "has version {}, but this program reads {VERSION}",
                index.version
            )));
        }
        if let Some(pack) = index.packs.iter().find(|pack| pack.size > MAX_PACK) {
            return Err(damaged(format!(
                "the pack {} has {} bytes, more than the limit of {MAX_PACK}",
                pack.digest, pack.size
            )));
        }
        Ok(index)
    }

    /// Returns the index as JSON.
    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Returns the paths in the cache.
    ///
    /// # Errors
    /// Fails if a narinfo is malformed.
    pub fn paths(&self) -> Result<BTreeSet<StorePath>> {
        let infos = self.infos("the index of a cache")?;
        Ok(infos.into_iter().map(|(_, _, info)| info.path).collect())
    }

    /// Removes the paths that none of the keys has signed, and returns their number.
    ///
    /// # Errors
    /// Fails if a narinfo is malformed.
    pub fn retain_signed(&mut self, keys: &[PublicKey]) -> Result<usize> {
        let mut removed = 0;
        for pack in &mut self.packs {
            let mut kept = Vec::new();
            for entry in std::mem::take(&mut pack.entries) {
                let info = NarInfo::parse(&entry.narinfo, "the index of a cache")?;
                match info.is_signed_by(keys) {
                    true => kept.push(entry),
                    false => removed += 1,
                }
            }
            pack.entries = kept;
        }
        self.packs.retain(|pack| !pack.entries.is_empty());
        Ok(removed)
    }

    /// Reads the narinfo of each path, with the index of its pack and of its entry.
    ///
    /// # Errors
    /// Fails if a narinfo is malformed, or if its archive is not inside the pack.
    pub fn infos(&self, place: &str) -> Result<Vec<(usize, usize, NarInfo)>> {
        let mut found = Vec::new();
        for (pack, content) in self.packs.iter().enumerate() {
            for (entry, each) in content.entries.iter().enumerate() {
                let info = NarInfo::parse(&each.narinfo, place)?;
                let end = each.offset.checked_add(info.download_size());
                if end.is_none_or(|end| end > content.size) {
                    let reason = format!("{} is outside its pack", info.path);
                    return Err(Error::damaged(place, reason));
                }
                found.push((pack, entry, info));
            }
        }
        Ok(found)
    }
}
