//! Packs in a directory: an OCI image layout.

use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use crateyard_oci::{Digest, Document, Layout, Stored, media_type};
use serde_json::json;

use crate::error::{Error, Result};
use crate::file::replace;
use crate::packs::index::Index;
use crate::packs::{ARTIFACT_TYPE, INDEX_TYPE, MAX_INDEX, PACK_TYPE};

/// A directory of packs.
#[derive(Clone, Debug)]
pub struct PackDirectory {
    path: PathBuf,
}

/// Held while a directory is changed; gone when it is dropped.
pub struct Lock {
    _file: File,
}

impl PackDirectory {
    /// The directory at `path`, which need not exist.
    pub fn new(path: &Path) -> PackDirectory {
        PackDirectory {
            path: path.to_owned(),
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where its blobs are.
    pub fn blobs(&self) -> PathBuf {
        self.path.join("blobs/sha256")
    }

    /// Makes it where it is missing, and waits until nobody else changes it.
    ///
    /// # Errors
    /// When it can't be written to.
    pub fn lock(&self) -> Result<Lock> {
        let blobs = self.blobs();
        fs::create_dir_all(&blobs).map_err(Error::io("create", &blobs))?;
        let path = self.path.join(".lock");
        let file = File::create(&path).map_err(Error::io("create", &path))?;
        // SAFETY: the descriptor is open as long as `file` is.
        let result = unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX) };
        match result {
            0 => Ok(Lock { _file: file }),
            _ => Err(Error::io("lock", path)(std::io::Error::last_os_error())),
        }
    }

    /// What it holds; `None` where it holds nothing yet.
    ///
    /// # Errors
    /// When it is damaged.
    pub fn index(&self) -> Result<Option<Index>> {
        if !self.path.join("index.json").exists() {
            return Ok(None);
        }
        let layout = Layout::open(&self.path)?;
        let [artifact] = &layout.index().manifests[..] else {
            return Err(self.damaged("does not hold exactly one cache".to_owned()));
        };
        let bytes = self.small(&layout, &artifact.digest)?;
        let manifest = self.manifest(bytes.into(), media_type::MANIFEST)?;
        if manifest.artifact_type.as_deref() != Some(ARTIFACT_TYPE) {
            return Err(self.damaged(format!("is no cache but {:?}", manifest.artifact_type)));
        }
        let config = manifest.blobs.first();
        let config = config.ok_or_else(|| self.damaged("is an index and no cache".to_owned()))?;
        let config = self.small(&layout, &config.digest)?;
        Index::parse(&config, &self.path.display().to_string()).map(Some)
    }

    /// Puts an index in the place of the one that is there. Its packs are there already.
    ///
    /// # Errors
    /// When the disk is full.
    pub fn commit(&self, index: &Index) -> Result<()> {
        let config = index.to_bytes();
        let descriptor = |media_type: &str, digest: &Digest, size: u64| json!({ "mediaType": media_type, "digest": digest, "size": size });
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

    /// Removes the blobs that the index does not need any more, and gives their bytes.
    ///
    /// # Errors
    /// When it is damaged, or a file can't be removed.
    pub fn sweep(&self, _lock: &Lock) -> Result<u64> {
        let Some(index) = self.index()? else {
            return Ok(0);
        };
        let layout = Layout::open(&self.path)?;
        let top = layout.index();
        let mut wanted: Vec<String> = vec![Digest::of(&index.to_bytes()).hex().to_owned()];
        wanted.extend(top.manifests.iter().map(|it| it.digest.hex().to_owned()));
        wanted.extend(index.packs.iter().map(|it| it.digest.hex().to_owned()));
        let blobs = self.blobs();
        let mut freed = 0;
        for entry in fs::read_dir(&blobs)
            .map_err(Error::io("read", &blobs))?
            .flatten()
        {
            let name = entry.file_name().to_string_lossy().into_owned();
            if !wanted.contains(&name) {
                freed += entry.metadata().map_or(0, |metadata| metadata.len());
                fs::remove_file(entry.path()).map_err(Error::io("remove", entry.path()))?;
            }
        }
        Ok(freed)
    }

    /// A pack, if it is there.
    ///
    /// # Errors
    /// When it can't be read.
    pub fn pack(&self, digest: &Digest) -> Result<Option<Stored>> {
        Ok(Layout::open(&self.path)?.stored(digest)?)
    }

    fn small(&self, layout: &Layout, digest: &Digest) -> Result<Vec<u8>> {
        let missing = || self.damaged(format!("lacks the blob {digest}"));
        let blob = layout.stored(digest)?.ok_or_else(missing)?;
        if blob.size() > MAX_INDEX as u64 {
            let reason = format!("has a document {digest} of {} bytes", blob.size());
            return Err(self.damaged(reason));
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

    /// Whole or not at all.
    fn write(&self, name: &str, bytes: &[u8]) -> Result<()> {
        replace(&self.path.join(name), bytes)
    }

    fn damaged(&self, reason: String) -> Error {
        Error::Damaged {
            place: self.path.display().to_string(),
            reason,
        }
    }
}
