//! The OCI layout that a pull writes to.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use crateyard_disk::unnamed::{self, Unnamed, remove_abandoned, tidy};
use crateyard_oci::{Descriptor, Digest, Document, annotation::REF_NAME, media_type};
use serde_json::{Map, Value, json};

use crate::error::Error;

/// The prefix of temporary names in a layout.
pub(super) const PREFIX: &str = ".new-";

/// The layout.
pub(super) struct Destination {
    path: PathBuf,
}

impl Destination {
    /// Accepts a directory that does not exist yet, is empty, or is a layout.
    pub(super) fn open(path: &Path) -> Result<Destination, Error> {
        let is_layout = path.join("oci-layout").is_file();
        let is_begun = path.join("blobs").is_dir();
        let is_empty = std::fs::read_dir(path).map_or(true, |mut entries| entries.next().is_none());
        if !is_layout && !is_begun && !is_empty {
            return Err(Error::Source {
                place: path.display().to_string(),
                reason:
                    "the directory is neither empty nor an OCI image layout; nothing was written"
                        .to_owned(),
                remedy: "name a new directory".to_owned(),
            });
        }
        let blobs = path.join("blobs");
        for directory in [&blobs, &blobs.join("sha256"), &blobs.join("sha512")] {
            if directory.is_symlink() {
                return Err(Error::Source {
                    place: directory.display().to_string(),
                    reason: "it is a symbolic link, which is not followed".to_owned(),
                    remedy: "name a new directory".to_owned(),
                });
            }
        }
        let destination = Destination {
            path: path.to_owned(),
        };
        // Refuses a malformed one before anything is fetched.
        destination.index()?;
        Ok(destination)
    }

    /// Creates the directory. Called only once the image is known to exist, so that a wrong name
    /// leaves nothing behind.
    pub(super) fn create(&self) -> Result<(), Error> {
        let directory = self.path.join("blobs/sha256");
        std::fs::create_dir_all(&directory).map_err(Error::io("create", directory))
    }

    fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.path
            .join("blobs")
            .join(digest.algorithm().name())
            .join(digest.hex())
    }

    /// Returns the directory for a digest's algorithm. Creates it if it does not exist.
    pub(super) fn blob_directory(&self, digest: &Digest) -> Result<PathBuf, Error> {
        let directory = self.path.join("blobs").join(digest.algorithm().name());
        std::fs::create_dir_all(&directory).map_err(Error::io("create", &directory))?;
        Ok(directory)
    }

    /// Removes incomplete files of earlier pulls, except those of `wanted` blobs.
    pub(super) fn tidy(&self, wanted: &[Descriptor]) {
        let is_wanted = |hex: &str| wanted.iter().any(|blob| blob.digest.hex() == hex);
        let blobs = self.path.join("blobs");
        for directory in [
            self.path.clone(),
            blobs.join("sha256"),
            blobs.join("sha512"),
        ] {
            tidy(&directory, PREFIX);
            let entries = std::fs::read_dir(directory).into_iter().flatten();
            for entry in entries.flatten() {
                let name = entry.file_name();
                let name = name.to_string_lossy();
                let is_left = name
                    .strip_prefix(".partial-")
                    .is_some_and(|hex| !is_wanted(hex));
                if is_left {
                    remove_abandoned(&entry.path());
                }
            }
        }
    }

    /// Returns whether the layout has a blob with the right digest. Removes a damaged one.
    ///
    /// # Errors
    /// Fails if the blob is intact but `descriptor` states another size. The blob stays, because
    /// another image may need it.
    pub(super) fn has(&self, descriptor: &Descriptor) -> Result<bool, Error> {
        let path = self.blob_path(&descriptor.digest);
        let Ok(metadata) = std::fs::symlink_metadata(&path) else {
            return Ok(false);
        };
        if metadata.is_file() {
            let file = File::open(&path).map_err(Error::io("open", &path))?;
            let blob = crateyard_oci::Stored::part(std::sync::Arc::new(file), 0, metadata.len());
            let actual = blob.digest(&descriptor.digest);
            let is_right = actual.map_err(Error::io("read", &path))? == descriptor.digest;
            if is_right && metadata.len() == descriptor.size {
                return Ok(true);
            }
            if is_right {
                return Err(Error::Source {
                    place: path.display().to_string(),
                    reason: format!(
                        "the layout has this blob with {} bytes, but the image says that it has {}",
                        metadata.len(),
                        descriptor.size
                    ),
                    remedy: "do not use this image: its manifest is wrong".to_owned(),
                });
            }
        }
        std::fs::remove_file(&path).map_err(Error::io("remove", &path))?;
        Ok(false)
    }

    /// Adds a verified manifest, unless the layout has it.
    pub(super) fn add(&self, manifest: &Document) -> Result<(), Error> {
        if self.has(&manifest.descriptor())? {
            return Ok(());
        }
        let directory = self.blob_directory(&manifest.digest)?;
        let path = self.blob_path(&manifest.digest);
        let write = || -> std::io::Result<()> {
            let mut file = Unnamed::create(&directory, PREFIX)?;
            file.file().write_all(&manifest.bytes)?;
            file.name(&path).map(drop)
        };
        write().map_err(Error::io("write", &path))
    }

    /// Locks the layout. While the returned file is open, no other pull changes the index or
    /// removes blobs.
    fn lock(&self) -> Result<File, Error> {
        let file = File::open(&self.path).map_err(Error::io("open", &self.path))?;
        unnamed::lock(&file).map_err(Error::io("lock", &self.path))?;
        Ok(file)
    }

    /// Adds the image to `index.json`. All `blobs` must be in the layout.
    pub(super) fn finish(
        &self,
        root: &Document,
        name: Option<&str>,
        blobs: &[Descriptor],
    ) -> Result<(), Error> {
        let _lock = self.lock()?;
        for blob in blobs {
            let path = self.blob_path(&blob.digest);
            std::fs::symlink_metadata(&path).map_err(Error::io("find", path))?;
        }
        let mut index = self.index()?;
        let mut images = match index.remove("manifests") {
            Some(Value::Array(images)) => images,
            _ => Vec::new(),
        };
        let is_replaced = |image: &Value| {
            let own_name = image["annotations"][REF_NAME].as_str();
            own_name == name
                && (name.is_some() || image["digest"].as_str() == Some(root.digest.as_str()))
        };
        images.retain(|image| !is_replaced(image));
        let mut descriptor = json!({
            "mediaType": root.media_type, "digest": root.digest, "size": root.bytes.len(),
        });
        if let Some(name) = name {
            descriptor["annotations"] = json!({ REF_NAME: name });
        }
        images.push(descriptor);
        self.write(
            &self.path.join("oci-layout"),
            br#"{"imageLayoutVersion":"1.0.0"}"#,
        )?;
        index.insert("schemaVersion".to_owned(), 2.into());
        index.insert("mediaType".to_owned(), media_type::INDEX.into());
        index.insert("manifests".to_owned(), images.into());
        let index = Value::Object(index);
        self.write(&self.index_path(), index.to_string().as_bytes())
    }

    /// Removes `blobs` if the layout's index names no image.
    pub(super) fn discard(&self, blobs: &[Descriptor]) {
        let Ok(_lock) = self.lock() else { return };
        if self.index_path().exists() {
            return;
        }
        for blob in blobs {
            let _ = std::fs::remove_file(self.blob_path(&blob.digest));
        }
        // This removes only empty directories.
        let own = self.path.join("blobs");
        for directory in [
            own.join("sha256"),
            own.join("sha512"),
            own,
            self.path.clone(),
        ] {
            let _ = std::fs::remove_dir(directory);
        }
    }

    fn index_path(&self) -> PathBuf {
        self.path.join("index.json")
    }

    /// Returns the layout's index, or a new one without images. An existing one may have fields
    /// that nothing here knows.
    fn index(&self) -> Result<Map<String, Value>, Error> {
        let path = self.index_path();
        let refused = |reason: String| Error::Source {
            place: path.display().to_string(),
            reason,
            remedy: "name a new directory".to_owned(),
        };
        let is_file = std::fs::symlink_metadata(&path).map(|it| it.is_file());
        if is_file.is_ok_and(|is_file| !is_file) {
            return Err(refused("not a regular file".to_owned()));
        }
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Map::new()),
            Err(error) => return Err(Error::io("read", &path)(error)),
        };
        let index: Value = serde_json::from_slice(&bytes)
            .map_err(|error| refused(format!("not JSON: {error}")))?;
        match index {
            Value::Object(index) if is_list(index.get("manifests")) => Ok(index),
            _ => Err(refused(
                "not an image index: it is no object with a list \"manifests\"".to_owned(),
            )),
        }
    }

    /// Writes a small file of the layout, whole or not at all.
    fn write(&self, path: &Path, bytes: &[u8]) -> Result<(), Error> {
        let write = || -> std::io::Result<()> {
            let mut file = Unnamed::create(&self.path, PREFIX)?;
            file.file().write_all(bytes)?;
            file.replace(path)
        };
        write().map_err(Error::io("write", path))
    }
}

/// Whether a value is a list. Some tools write null for an empty one.
fn is_list(value: Option<&Value>) -> bool {
    value.is_some_and(|value| value.is_array() || value.is_null())
}
