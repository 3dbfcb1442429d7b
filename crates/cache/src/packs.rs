//! Packs: a cache of a few large archives, with an index of their content.
//!
//! The cache is an OCI artifact: the packs are its layers, and the index is its config. In a
//! directory it is an OCI image layout; in a registry it is a tag. So the registry client sends it
//! like an image, and fetches parts of layers when Nix wants a path.

mod gc;
mod index;
mod layout;
mod publish;
mod write;

use std::collections::{BTreeSet, HashMap};
use std::fs::File;
use std::io::{Seek, Write};

use bytes::Bytes;
use crateyard_oci::{Document, Reference};
use crateyard_registry::{Client, Repository};

pub use gc::{Collected, Retention};
pub use index::{Build, Entry, Pack, PackIndex};
pub use layout::{DirectoryLock, PackDirectory};
pub use publish::publish;
pub use write::{PACK_SIZE, PackWriter};

use crate::error::{Error, Result};
use crateyard_nix::{NarInfo, PublicKey};

/// The artifact type of the cache.
pub(crate) const ARTIFACT_TYPE: &str = "application/vnd.crateyard.cache.v1";
/// The index's media type.
pub(crate) const INDEX_TYPE: &str = "application/vnd.crateyard.cache.index.v1+json";
/// A pack's media type.
pub(crate) const PACK_TYPE: &str = "application/vnd.crateyard.cache.pack.v1.tar";

/// The size limit of an index, in bytes.
const MAX_INDEX: usize = 256 << 20;
/// The size of a piece of a local pack that is read at once, in bytes.
const PIECE: u64 = 256 << 10;

/// A cache of packs, open for reading.
pub struct Packs {
    /// The name for messages.
    place: String,
    index: PackIndex,
    blobs: Blobs,
    /// Maps the hash of a store path to its narinfo, the index of its pack and of its entry.
    paths: HashMap<String, (NarInfo, usize, usize)>,
    /// Maps the URL of an archive to the hash of its path.
    archives: HashMap<String, String>,
}

/// The storage of the packs.
enum Blobs {
    Directory(PackDirectory),
    Registry(Repository),
}

/// A compressed archive that is being read.
pub struct Archive {
    /// Its size in bytes.
    pub size: u64,
    left: u64,
    source: ArchiveSource,
}

enum ArchiveSource {
    Local {
        blob: crateyard_oci::Stored,
        position: u64,
    },
    Remote {
        download: Box<crateyard_registry::Download>,
        skip: u64,
    },
}

impl Packs {
    /// Opens a directory of packs. `None` if it holds none yet.
    ///
    /// # Errors
    /// Fails if the cache is damaged.
    pub fn open_directory(directory: PackDirectory) -> Result<Option<Packs>> {
        let place = directory.path().display().to_string();
        match directory.index()? {
            Some(index) => Packs::new(place, index, Blobs::Directory(directory)).map(Some),
            None => Ok(None),
        }
    }

    /// Opens the cache under a registry's tag. `None` if the tag does not exist yet.
    ///
    /// # Errors
    /// Fails if the registry can't be reached, or if the tag is something else.
    pub async fn open_registry(client: &Client, reference: &Reference) -> Result<Option<Packs>> {
        let repository = client.repository(reference)?;
        let Some(manifest) = repository.manifest(&reference.version()).await? else {
            return Ok(None);
        };
        let place = reference.to_string();
        let bytes = fetch_small(&repository, index_of(&manifest, &place)?).await?;
        let index = PackIndex::parse(&bytes, &place)?;
        Packs::new(place, index, Blobs::Registry(repository)).map(Some)
    }

    fn new(place: String, index: PackIndex, blobs: Blobs) -> Result<Packs> {
        let mut paths = HashMap::new();
        let mut archives = HashMap::new();
        for (pack, entry, info) in index.infos(&place)? {
            archives.insert(info.url.clone(), info.path.hash().to_owned());
            paths.insert(info.path.hash().to_owned(), (info, pack, entry));
        }
        Ok(Packs {
            place,
            index,
            blobs,
            paths,
            archives,
        })
    }

    /// Returns the index of the cache.
    pub fn index(&self) -> &PackIndex {
        &self.index
    }

    /// Returns the name for messages.
    pub fn place(&self) -> &str {
        &self.place
    }

    /// Returns the narinfo of the path with this hash.
    pub fn narinfo(&self, hash: &str) -> Option<&NarInfo> {
        self.paths.get(hash).map(|(info, ..)| info)
    }

    /// From now on, ignores the paths that none of the keys has signed. Returns their number.
    pub fn trust(&mut self, keys: &[PublicKey]) -> usize {
        let before = self.paths.len();
        self.paths.retain(|_, (info, ..)| info.is_signed_by(keys));
        before - self.paths.len()
    }

    /// Finds the packs that the directory or registry has lost.
    ///
    /// # Errors
    /// Fails if the registry can't be asked.
    pub async fn lost(&self) -> Result<BTreeSet<crateyard_oci::Digest>> {
        let mut lost = BTreeSet::new();
        for pack in &self.index.packs {
            let is_there = match &self.blobs {
                Blobs::Directory(directory) => directory.pack(pack)?.is_some(),
                Blobs::Registry(repository) => repository.has_blob(&pack.digest).await?,
            };
            if !is_there {
                lost.insert(pack.digest.clone());
            }
        }
        Ok(lost)
    }

    /// Opens the archive at the URL of a narinfo.
    ///
    /// # Errors
    /// Fails if the pack is gone or can't be reached.
    pub async fn archive(&self, url: &str) -> Result<Option<Archive>> {
        let found = self.archives.get(url).and_then(|hash| self.paths.get(hash));
        let Some((info, pack, entry)) = found else {
            return Ok(None);
        };
        let pack = &self.index.packs[*pack];
        let (size, offset) = (info.download_size(), pack.entries[*entry].offset);
        let source = match &self.blobs {
            Blobs::Directory(directory) => ArchiveSource::Local {
                blob: directory.pack(pack)?.ok_or_else(|| self.lost_pack(pack))?,
                position: offset,
            },
            Blobs::Registry(repository) => {
                let download = repository
                    .blob_part(&pack.digest, offset, size)
                    .await
                    .map_err(Error::from)?;
                let skip = offset.saturating_sub(download.offset);
                let download = Box::new(download);
                ArchiveSource::Remote { download, skip }
            }
        };
        Ok(Some(Archive {
            size,
            left: size,
            source,
        }))
    }

    fn lost_pack(&self, pack: &Pack) -> Error {
        let reason = format!("the pack {} is gone; push again", pack.digest);
        Error::damaged(&self.place, reason)
    }
}

impl Archive {
    /// Reads the next bytes. Returns `None` at the end.
    ///
    /// # Errors
    /// Fails if the pack is truncated, or if the connection breaks.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>> {
        if self.left == 0 {
            return Ok(None);
        }
        let piece = match &mut self.source {
            ArchiveSource::Local { blob, position } => {
                let mut piece = vec![0; self.left.min(PIECE) as usize];
                blob.read_exact_at(&mut piece, *position)
                    .map_err(Error::io("read", "a pack"))?;
                *position += piece.len() as u64;
                Bytes::from(piece)
            }
            ArchiveSource::Remote { download, skip } => remote_piece(download, skip).await?,
        };
        let piece = piece.slice(..(piece.len() as u64).min(self.left) as usize);
        self.left -= piece.len() as u64;
        Ok(Some(piece))
    }

    /// Reads the whole archive into an unnamed temporary file.
    ///
    /// # Errors
    /// Fails if the pack is truncated, if the connection breaks or if the disk is full.
    pub async fn spool(mut self) -> Result<File> {
        let failed = Error::io("write a temporary file in", std::env::temp_dir());
        let mut file = tempfile::tempfile().map_err(&failed)?;
        while let Some(piece) = self.chunk().await? {
            file.write_all(&piece).map_err(&failed)?;
        }
        file.rewind().map_err(&failed)?;
        Ok(file)
    }
}

/// Reads the next piece. Skips the bytes before the archive, which a registry that sends no parts
/// also sends.
async fn remote_piece(
    download: &mut crateyard_registry::Download,
    skip: &mut u64,
) -> Result<Bytes> {
    loop {
        let piece = download.chunk().await?.ok_or_else(|| {
            Error::damaged("the registry", "a pack ends before its last archive does")
        })?;
        let skipped = (piece.len() as u64).min(*skip);
        *skip -= skipped;
        if skipped < piece.len() as u64 {
            return Ok(piece.slice(skipped as usize..));
        }
    }
}

/// Returns the blob with the index, from a cache's manifest.
fn index_of<'m>(manifest: &'m Document, place: &str) -> Result<&'m crateyard_oci::Digest> {
    let damaged = |reason: String| Error::damaged(place, reason);
    if manifest.artifact_type.as_deref() != Some(ARTIFACT_TYPE) {
        let what = &manifest.artifact_type;
        return Err(damaged(format!("is not a cache but {what:?}")));
    }
    let config = manifest.blobs.first().map(|blob| &blob.digest);
    config.ok_or_else(|| damaged("is not a cache: its manifest has no config".to_owned()))
}

/// Fetches a blob into memory and verifies its digest.
async fn fetch_small(repository: &Repository, digest: &crateyard_oci::Digest) -> Result<Vec<u8>> {
    let mut download = repository.blob(digest, 0).await?;
    let mut bytes = Vec::new();
    while let Some(piece) = download.chunk().await? {
        bytes.extend_from_slice(&piece);
        if bytes.len() > MAX_INDEX {
            break;
        }
    }
    if !digest.matches(&bytes) {
        let place = repository.reference().to_string();
        let reason = format!("the registry sent other bytes than the blob {digest}");
        return Err(Error::damaged(place, reason));
    }
    Ok(bytes)
}
