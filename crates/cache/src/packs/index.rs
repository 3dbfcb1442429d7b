//! What packs hold: an artifact's config.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::key::PublicKey;
use crate::narinfo::NarInfo;
use crate::path::StorePath;

/// The version of the format that this program writes and reads.
const VERSION: u32 = 1;
/// The largest pack that is read, in bytes. A writer closes one at 64 MiB ([`PACK_SIZE`](super::PACK_SIZE)) unless it is
/// told otherwise, or a single path is larger.
const MAX_PACK: u64 = 32 << 30;

/// What is in a cache of packs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Index {
    version: u32,
    /// The packs, the oldest first.
    pub packs: Vec<Pack>,
    /// Name of a build to what it needs.
    pub builds: BTreeMap<String, Build>,
}

/// A pack: an uncompressed tar archive of what a binary cache in a directory would have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Pack {
    /// Digest of the archive.
    pub digest: crateyard_oci::Digest,
    /// Its size in bytes.
    pub size: u64,
    /// The paths in it that are still wanted.
    pub entries: Vec<Entry>,
}

/// A path in a pack.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Entry {
    /// The narinfo's text.
    pub narinfo: String,
    /// Where in the pack the compressed archive begins, in bytes.
    pub offset: u64,
}

/// A named build: what must not be collected as garbage.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Build {
    /// When it was pushed, in seconds since 1970.
    pub pushed: u64,
    /// The paths that it consists of.
    pub paths: BTreeSet<StorePath>,
}

impl Default for Index {
    fn default() -> Index {
        Index {
            version: VERSION,
            packs: Vec::new(),
            builds: BTreeMap::new(),
        }
    }
}

impl Index {
    /// Reads an index; `place` is for messages.
    ///
    /// # Errors
    /// When it is malformed or of another version.
    pub fn parse(bytes: &[u8], place: &str) -> Result<Index> {
        let damaged = |reason: String| Error::Damaged {
            place: place.to_owned(),
            reason,
        };
        let index: Index = serde_json::from_slice(bytes)
            .map_err(|error| damaged(format!("is no index of a cache: {error}")))?;
        if index.version != VERSION {
            return Err(damaged(format!(
                "has version {}, this program reads {VERSION}",
                index.version
            )));
        }
        if let Some(pack) = index.packs.iter().find(|pack| pack.size > MAX_PACK) {
            return Err(damaged(format!(
                "the pack {} has {} bytes, at most {MAX_PACK} are read",
                pack.digest, pack.size
            )));
        }
        Ok(index)
    }

    /// Its bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// The paths that it has.
    ///
    /// # Errors
    /// When a narinfo is malformed.
    pub fn paths(&self) -> Result<BTreeSet<StorePath>> {
        let infos = self.infos("the index of a cache")?;
        Ok(infos.into_iter().map(|(_, _, info)| info.path).collect())
    }

    /// Removes what none of the keys has signed, and gives how many paths that were.
    ///
    /// # Errors
    /// When a narinfo is malformed.
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

    /// The narinfo of each path, with its pack's place in the list and its own.
    ///
    /// # Errors
    /// When a narinfo is malformed, or its archive does not lie in the pack.
    pub fn infos(&self, place: &str) -> Result<Vec<(usize, usize, NarInfo)>> {
        let mut found = Vec::new();
        for (pack, content) in self.packs.iter().enumerate() {
            for (entry, each) in content.entries.iter().enumerate() {
                let info = NarInfo::parse(&each.narinfo, place)?;
                let end = each.offset.checked_add(info.download_size());
                if end.is_none_or(|end| end > content.size) {
                    return Err(Error::Damaged {
                        place: place.to_owned(),
                        reason: format!("{} does not lie in its pack", info.path),
                    });
                }
                found.push((pack, entry, info));
            }
        }
        Ok(found)
    }
}
