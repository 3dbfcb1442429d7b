//! Packs in a directory: an OCI image layout.

use std::fs::File;
use std::path::{Path, PathBuf};

use crateyard_oci::{Digest, Document, Layout, Stored, media_type};
use serde_json::json;

use crate::error::{Error, Result};
use crate::packs::index::{Pack, PackIndex};
use crate::packs::{ARTIFACT_TYPE, INDEX_TYPE, MAX_INDEX, PACK_TYPE, index_of};

/// The directory of packs, indexes and manifests in the layout.
const BLOBS: &str = "blobs/sha256";

/// A directory of packs. Others may write to it, so this follows no link in it.
#[derive(Clone, Debug)]
pub struct PackDirectory {
    path: PathBuf,
}

/// A lock that is held while a directory is changed. Dropping it releases it.
pub struct DirectoryLock {
    _file: File,
}

impl PackDirectory {
    /// Creates a handle for the directory at `path`, which need not exist.
    pub fn new(path: &Path) -> PackDirectory {
        PackDirectory {
            path: path.to_owned(),
        }
    }

    /// Returns the path of the directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the directory of its blobs.
    pub fn blobs(&self) -> PathBuf {
        self.path.join(BLOBS)
    }

    /// Creates the directory if it is missing, and waits until nobody else changes it.
    ///
    /// # Errors
    /// Fails if the directory can't be written.
    pub fn lock(&self) -> Result<DirectoryLock> {
        let open = || {
            let directory = crateyard_disk::Directory::create(&self.path)?;
            directory.make_directory(BLOBS)?;
            directory.lock(".lock")
        };
        let file = open().map_err(Error::io("lock", &self.path))?;
        Ok(DirectoryLock { _file: file })
    }

    /// Reads the index. Returns `None` if the directory holds no cache yet.
    ///
    /// # Errors
    /// Fails if the cache is damaged.
    pub fn index(&self) -> Result<Option<PackIndex>> {
        if !self.path.join("index.json").exists() {
            return Ok(None);
        }
        let layout = Layout::open(&self.path)?;
        let [artifact] = &layout.index().manifests[..] else {
            return Err(self.damaged("must hold exactly one cache".to_owned()));
        };
        let bytes = self.small(&layout, &artifact.digest)?;
        let manifest = self.manifest(bytes.into(), media_type::MANIFEST)?;
        let place = self.path.display().to_string();
        let config = self.small(&layout, index_of(&manifest, &place)?)?;
        PackIndex::parse(&config, &place).map(Some)
    }

    /// Replaces the index. The directory must already hold its packs.
    ///
    /// # Errors
    /// Fails if the disk is full.
    pub fn commit(&self, index: &PackIndex) -> Result<()> {
        let config = index.to_bytes();
        let descriptor = |media_type: &str, digest: &Digest, size: u64| {
            json!({ "mediaType": media_type,
                "digest": digest, "size": size })
        };
        let layers: Vec<_> = index
            .packs
            .iter()
            .map(|pack| descriptor(PACK_TYPE, &pack.digest, pack.size))
            .collect();
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": media_type::MANIFEST,
            "artifactType": ARTIFACT_TYPE,
            "config": descriptor(INDEX_TYPE, &Digest::of(&config), config.len() as u64),
            "layers": layers,
        })
        .to_string();
        self.write_blob(&config)?;
        let digest = self.write_blob(manifest.as_bytes())?;
        let mut artifact = descriptor(media_type::MANIFEST, &digest, manifest.len() as u64);
        artifact["artifactType"] = ARTIFACT_TYPE.into();
        let top = json!({
            "schemaVersion": 2,
            "mediaType": media_type::INDEX,
            "manifests": [artifact],
        });
        self.write("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)?;
        self.write("index.json", top.to_string().as_bytes())
    }

    /// Removes the blobs that the index no longer needs, and returns how many bytes they had.
    ///
    /// # Errors
    /// Fails if the cache is damaged, or if a file can't be removed.
    pub fn sweep(&self, _lock: &DirectoryLock) -> Result<u64> {
        let Some(index) = self.index()? else {
            return Ok(0);
        };
        let layout = Layout::open(&self.path)?;
        let top = layout.index();
        let mut wanted: Vec<String> = vec![Digest::of(&index.to_bytes()).hex().to_owned()];
        wanted.extend(top.manifests.iter().map(|it| it.digest.hex().to_owned()));
        wanted.extend(index.packs.iter().map(|it| it.digest.hex().to_owned()));
        let blobs = self.open()?.directory(BLOBS);
        let failed = |action| Error::io(action, self.blobs());
        let Some(blobs) = blobs.map_err(failed("open"))? else {
            return Ok(0);
        };
        let mut freed = 0;
        for file in blobs.files().map_err(failed("read"))? {
            if !wanted.iter().any(|name| *file.name == **name) {
                freed += file.size;
                blobs
                    .remove_file(&file.name)
                    .map_err(failed("remove a file in"))?;
            }
        }
        Ok(freed)
    }

    /// Opens a pack if the directory has it.
    ///
    /// # Errors
    /// Fails if the pack can't be read, or if its size differs from the index.
    pub fn pack(&self, pack: &Pack) -> Result<Option<Stored>> {
        let blob = Layout::open(&self.path)?.stored(&pack.digest)?;
        match blob {
            Some(blob) if blob.size() != pack.size => Err(self.damaged(format!(
                "the pack {} has {} bytes, but the index says {}",
                pack.digest,
                blob.size(),
                pack.size
            ))),
            blob => Ok(blob),
        }
    }

    fn small(&self, layout: &Layout, digest: &Digest) -> Result<Vec<u8>> {
        let missing = || self.damaged(format!("lacks the blob {digest}"));
        let blob = layout.stored(digest)?.ok_or_else(missing)?;
        if blob.size() > MAX_INDEX as u64 {
            let size = blob.size();
            return Err(self.damaged(format!(
                "the blob {digest} has {size} bytes, more than the limit of {MAX_INDEX}"
            )));
        }
        let mut bytes = vec![0; blob.size() as usize];
        blob.read_exact_at(&mut bytes, 0)
            .map_err(Error::io("read", &self.path))?;
        if !digest.matches(&bytes) {
            return Err(self.damaged(format!("the blob {digest} has other bytes")));
        }
        Ok(bytes)
    }

    fn manifest(&self, bytes: bytes::Bytes, media_type: &str) -> Result<Document> {
        let digest = Digest::of(&bytes);
        Document::parse(bytes, digest, Some(media_type)).map_err(|reason| self.damaged(reason))
    }

    fn write_blob(&self, bytes: &[u8]) -> Result<Digest> {
        let digest = Digest::of(bytes);
        self.write(&format!("blobs/sha256/{}", digest.hex()), bytes)?;
        Ok(digest)
    }

    /// Writes a file, whole or not at all.
    fn write(&self, name: &str, bytes: &[u8]) -> Result<()> {
        self.open()?
            .write(name, bytes)
            .map_err(Error::io("write", self.path.join(name)))
    }

    fn open(&self) -> Result<crateyard_disk::Directory> {
        crateyard_disk::Directory::open(&self.path).map_err(Error::io("open", &self.path))
    }

    fn damaged(&self, reason: String) -> Error {
        Error::damaged(self.path.display().to_string(), reason)
    }
}
