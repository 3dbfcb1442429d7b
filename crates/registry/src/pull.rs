//! Pulling an image into an OCI layout, every digest verified.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use futures_util::stream::{self, StreamExt, TryStreamExt};
use serde::Serialize;
use serde_json::{Value, json};

use crate::client::Client;
use crate::content::{Descriptor, Manifest, media_type};
use crate::digest::{Digest, Hasher};
use crate::error::{Error, Failure, Kind};
use crate::progress::{Arrival, Event};
use crate::reference::{Reference, Version};
use crate::repository::Repository;
use crate::tree::{MAX_DEPTH, MAX_MANIFESTS, MAX_TOTAL_SIZE, Tree};
use crate::wire::Trouble;

const REFERENCE_NAME: &str = "org.opencontainers.image.ref.name";

/// How an image is pulled.
#[derive(Clone, Debug)]
pub struct Options {
    /// Only the image for this platform of an index, as `OS/ARCHITECTURE[/VARIANT]`; else the index with all of them.
    pub platform: Option<String>,
    /// How many blobs are fetched at the same time.
    pub jobs: usize,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            platform: None,
            jobs: 4,
        }
    }
}

/// What a pull came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// What was pulled.
    pub reference: String,
    /// The digest of the image that the layout holds now.
    pub digest: Digest,
    /// Its media type.
    pub media_type: String,
    /// How many blobs (without manifests) the layout had.
    pub existing: u64,
    /// How many were fetched.
    pub fetched: u64,
    /// Bytes of blobs that came over the connection.
    pub bytes_received: u64,
    /// Requests to the registry, without those to token servers.
    pub requests: u64,
    /// Requests that were sent again.
    pub retries: u64,
}

/// Pulls the image that `reference` names into the OCI layout at `destination`, which is made where there is none.
///
/// Nothing appears in the layout under its digest before it was verified; `index.json` changes last. An interrupted
/// pull goes on where it stopped. The same digest pulled into an empty layout gives the same bytes.
///
/// # Errors
/// When the registry refuses, sends something else than its digest says, stays unreachable, or `destination` is not
/// a layout.
pub async fn pull(
    client: &Client,
    reference: &Reference,
    destination: &Path,
    options: &Options,
) -> Result<Report, Error> {
    let repository = client.repository(reference)?;
    let layout = Destination::open(destination)?;
    let counters = repository.transport().counters();
    let (requests, retries) = (
        counters.requests.load(Ordering::Relaxed),
        counters.retries.load(Ordering::Relaxed),
    );
    let root = fetch_manifest(&repository, &reference.version()).await?;
    let root = match &options.platform {
        Some(platform) => choose_platform(&repository, root, platform).await?,
        None => root,
    };
    let manifests = fetch_tree(&repository, &root).await?;
    layout.create()?;
    let blobs: Vec<Descriptor> = Tree::blobs(&manifests)
        .into_iter()
        .filter(|blob| !blob.is_foreign())
        .collect();
    client.progress().event(Event::Start {
        blobs: blobs.len(),
        bytes: blobs.iter().map(|blob| blob.size).sum(),
    });
    let pull = Pull {
        client,
        repository: &repository,
        layout: &layout,
    };
    let received: Vec<Option<u64>> = stream::iter(&blobs)
        .map(|blob| pull.fetch_blob(blob))
        .buffer_unordered(options.jobs.max(1))
        .try_collect()
        .await?;
    for manifest in &manifests {
        layout.write(&layout.blob_path(&manifest.digest), &manifest.bytes)?;
    }
    layout.finish(
        &root,
        reference
            .digest()
            .is_none()
            .then(|| reference.version().to_string())
            .as_deref(),
    )?;
    Ok(Report {
        reference: reference.to_string(),
        digest: root.digest.clone(),
        media_type: root.media_type.clone(),
        existing: received.iter().filter(|bytes| bytes.is_none()).count() as u64,
        fetched: received.iter().filter(|bytes| bytes.is_some()).count() as u64,
        bytes_received: received.iter().flatten().sum(),
        requests: counters.requests.load(Ordering::Relaxed) - requests,
        retries: counters.retries.load(Ordering::Relaxed) - retries,
    })
}

async fn fetch_manifest(repository: &Repository, version: &Version) -> Result<Manifest, Error> {
    repository.manifest(version).await?.ok_or_else(|| {
        let reference = match version {
            Version::Tag(tag) => format!("{}:{tag}", repository.reference()),
            Version::Digest(digest) => format!("{}@{digest}", repository.reference()),
        };
        Failure {
            reference,
            request: format!(
                "GET /v2/{}/manifests/{version}",
                repository.reference().repository()
            ),
            kind: Kind::NotFound,
            detail: "404 Not Found".to_owned(),
            remedy: "check repository and tag; the registry may also hide what needs a login"
                .to_owned(),
        }
        .into()
    })
}

async fn choose_platform(
    repository: &Repository,
    root: Manifest,
    wanted: &str,
) -> Result<Manifest, Error> {
    if !root.is_index() {
        return Ok(root);
    }
    let matches = |descriptor: &&Descriptor| {
        descriptor.platform.as_ref().is_some_and(|platform| {
            let name = platform.to_string();
            name == wanted
                || name
                    .strip_prefix(wanted)
                    .is_some_and(|rest| rest.starts_with('/'))
        })
    };
    match root.manifests.iter().find(matches) {
        Some(found) => fetch_manifest(repository, &Version::Digest(found.digest.clone())).await,
        None => {
            let there: BTreeSet<String> = root
                .manifests
                .iter()
                .filter_map(|it| Some(it.platform.as_ref()?.to_string()))
                .collect();
            let there = there.into_iter().collect::<Vec<_>>().join(", ");
            Err(Failure {
                reference: format!("{}@{}", repository.reference(), root.digest),
                request: format!(
                    "GET /v2/{}/manifests/{}",
                    repository.reference().repository(),
                    root.digest
                ),
                kind: Kind::NotFound,
                detail: format!("has no image for the platform {wanted:?}"),
                remedy: format!("choose one of: {there}"),
            }
            .into())
        }
    }
}

/// The manifest and everything that it points to, children first.
async fn fetch_tree(repository: &Repository, root: &Manifest) -> Result<Vec<Manifest>, Error> {
    let mut found = vec![root.clone()];
    let mut seen = BTreeSet::from([root.digest.clone()]);
    let mut level: Vec<Descriptor> = root.manifests.clone();
    let mut size = root.bytes.len() as u64;
    for _ in 0..MAX_DEPTH {
        level.retain(|descriptor| {
            descriptor.is_manifest() && seen.insert(descriptor.digest.clone())
        });
        let fetched: Vec<Manifest> = stream::iter(std::mem::take(&mut level))
            .map(|descriptor| async move {
                fetch_manifest(repository, &Version::Digest(descriptor.digest)).await
            })
            .buffered(4)
            .try_collect()
            .await?;
        size += fetched
            .iter()
            .map(|manifest| manifest.bytes.len() as u64)
            .sum::<u64>();
        level.extend(
            fetched
                .iter()
                .flat_map(|manifest| manifest.manifests.iter().cloned()),
        );
        found.extend(fetched);
        if level.is_empty() {
            found.reverse();
            return Ok(found);
        }
        if seen.len() > MAX_MANIFESTS || size > MAX_TOTAL_SIZE {
            break;
        }
    }
    Err(Failure {
        reference: format!("{}@{}", repository.reference(), root.digest),
        request: "GET manifests".to_owned(),
        kind: Kind::Contradiction,
        detail: format!("indexes nested deeper than {MAX_DEPTH}, or more than {MAX_TOTAL_SIZE} bytes of manifests"),
        remedy: "pull a single platform with --platform".to_owned(),
    }
    .into())
}

/// One pull while it runs.
struct Pull<'a> {
    client: &'a Client,
    repository: &'a Repository,
    layout: &'a Destination,
}

impl Pull<'_> {
    /// Fetches a blob, unless the layout has it, and says how many bytes came.
    async fn fetch_blob(&self, descriptor: &Descriptor) -> Result<Option<u64>, Error> {
        let digest = &descriptor.digest;
        let progress = self.client.progress();
        if self.layout.has(descriptor)? {
            let size = descriptor.size;
            progress.event(Event::Blob {
                digest,
                offset: size,
                size,
            });
            progress.event(Event::Done {
                digest,
                how: Arrival::Existing,
            });
            return Ok(None);
        }
        let mut partial = Partial::open(self.layout.partial_path(digest), digest)?;
        let was_resumed = partial.length > 0;
        let mut received = self.receive(descriptor, &mut partial).await?;
        let mut actual = partial.hasher.clone().finish();
        if actual != *digest && was_resumed {
            // What an earlier run left was spoiled.
            partial.restart()?;
            received += self.receive(descriptor, &mut partial).await?;
            actual = partial.hasher.clone().finish();
        }
        if actual != *digest {
            let _ = std::fs::remove_file(&partial.path);
            let detail = format!("sent bytes with the digest {actual}");
            return Err(self.contradiction(digest, detail));
        }
        partial.finish(&self.layout.blob_path(digest))?;
        progress.event(Event::Done {
            digest,
            how: Arrival::Transferred,
        });
        Ok(Some(received))
    }

    /// Fetches until the blob is as long as it should be, going on where a connection broke.
    async fn receive(&self, descriptor: &Descriptor, partial: &mut Partial) -> Result<u64, Error> {
        let digest = &descriptor.digest;
        let reference = self.repository.reference().to_string();
        let mut attempts = self.repository.transport().attempts(&reference);
        let mut received = 0;
        if partial.length > descriptor.size {
            partial.restart()?;
        }
        while partial.length < descriptor.size {
            let before = partial.length;
            let event = Event::Blob {
                digest,
                offset: partial.length,
                size: descriptor.size,
            };
            self.client.progress().event(event);
            let mut download = self.repository.blob(digest, partial.length).await?;
            if download.offset != partial.length {
                // The registry sends all of it again.
                partial.restart()?;
            }
            let cause = loop {
                match download.piece().await {
                    Ok(Some(piece)) => {
                        received += piece.len() as u64;
                        if partial.length + piece.len() as u64 > descriptor.size {
                            let _ = std::fs::remove_file(&partial.path);
                            let detail = format!(
                                "sent more than the {} bytes of its descriptor",
                                descriptor.size
                            );
                            return Err(self.contradiction(digest, detail));
                        }
                        partial.append(&piece)?;
                        self.client.progress().event(Event::Bytes {
                            digest,
                            bytes: piece.len() as u64,
                        });
                    }
                    Ok(None) if partial.length == descriptor.size => return Ok(received),
                    Ok(None) => break format!("the answer ended at byte {}", partial.length),
                    Err(cause) => break cause,
                }
            };
            if partial.length > before {
                attempts.succeed();
            }
            attempts
                .pause(Trouble::transient(download.request(), cause))
                .await?;
        }
        Ok(received)
    }

    fn contradiction(&self, digest: &Digest, detail: String) -> Error {
        Failure {
            reference: format!("{}@{digest}", self.repository.reference()),
            request: format!(
                "GET /v2/{}/blobs/{digest}",
                self.repository.reference().repository()
            ),
            kind: Kind::Contradiction,
            detail,
            remedy: "pull again; where it stays so, the registry or a proxy before it is at fault"
                .to_owned(),
        }
        .into()
    }
}

/// A blob that is being written.
struct Partial {
    file: File,
    path: PathBuf,
    length: u64,
    hasher: Hasher,
    empty: Hasher,
}

impl Partial {
    /// Goes on with what an earlier run left at `path`.
    fn open(path: PathBuf, digest: &Digest) -> Result<Partial, Error> {
        let mut options = OpenOptions::new();
        options
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .custom_flags(libc::O_NOFOLLOW);
        let mut file = options.open(&path).map_err(Error::io("open", &path))?;
        let empty = digest.hasher();
        let mut hasher = empty.clone();
        let mut length = 0;
        let mut buffer = vec![0; 256 * 1024];
        loop {
            let count = file.read(&mut buffer).map_err(Error::io("read", &path))?;
            if count == 0 {
                return Ok(Partial {
                    file,
                    path,
                    length,
                    hasher,
                    empty,
                });
            }
            hasher.update(&buffer[..count]);
            length += count as u64;
        }
    }

    fn append(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.file
            .write_all(bytes)
            .map_err(Error::io("write", &self.path))?;
        self.hasher.update(bytes);
        self.length += bytes.len() as u64;
        Ok(())
    }

    fn restart(&mut self) -> Result<(), Error> {
        self.file
            .set_len(0)
            .map_err(Error::io("truncate", &self.path))?;
        self.file
            .seek(SeekFrom::Start(0))
            .map_err(Error::io("rewind", &self.path))?;
        self.hasher = self.empty.clone();
        self.length = 0;
        Ok(())
    }

    /// Gives the verified file its name.
    fn finish(self, path: &Path) -> Result<(), Error> {
        self.file
            .sync_all()
            .map_err(Error::io("write", &self.path))?;
        std::fs::rename(&self.path, path).map_err(Error::io("name", path))
    }
}

/// The layout that is written.
struct Destination {
    path: PathBuf,
}

impl Destination {
    /// Accepts a directory that is not there yet, is empty, or is a layout.
    fn open(path: &Path) -> Result<Destination, Error> {
        let is_layout = path.join("oci-layout").is_file();
        let is_begun = path.join("blobs").is_dir();
        let is_empty = std::fs::read_dir(path).map_or(true, |mut entries| entries.next().is_none());
        if !is_layout && !is_begun && !is_empty {
            return Err(Error::Source {
                place: path.display().to_string(),
                reason: "neither empty nor an OCI image layout; nothing was written".to_owned(),
                remedy: "name a new directory".to_owned(),
            });
        }
        let blobs = path.join("blobs");
        for directory in [&blobs, &blobs.join("sha256"), &blobs.join("sha512")] {
            if directory.is_symlink() {
                return Err(Error::Source {
                    place: directory.display().to_string(),
                    reason: "a symbolic link; links are not followed".to_owned(),
                    remedy: "name a new directory".to_owned(),
                });
            }
        }
        Ok(Destination {
            path: path.to_owned(),
        })
    }

    /// Makes the directory. Not before the image is known to exist: a wrong name leaves nothing behind.
    fn create(&self) -> Result<(), Error> {
        let directory = self.path.join("blobs/sha256");
        std::fs::create_dir_all(&directory).map_err(Error::io("create", directory))
    }

    fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.path
            .join("blobs")
            .join(digest.algorithm())
            .join(digest.hex())
    }

    fn partial_path(&self, digest: &Digest) -> PathBuf {
        let directory = self.path.join("blobs").join(digest.algorithm());
        // Where it cannot be made, opening the file says so.
        let _ = std::fs::create_dir_all(&directory);
        directory.join(format!(".partial-{}", digest.hex()))
    }

    /// Whether a blob is there and has its digest; one that has not is removed.
    fn has(&self, descriptor: &Descriptor) -> Result<bool, Error> {
        let path = self.blob_path(&descriptor.digest);
        let Ok(metadata) = std::fs::symlink_metadata(&path) else {
            return Ok(false);
        };
        if metadata.is_file() && metadata.len() == descriptor.size {
            let file = File::open(&path).map_err(Error::io("open", &path))?;
            let blob = crate::source::Blob::new(std::sync::Arc::new(file), 0, metadata.len());
            if blob
                .digest(&descriptor.digest)
                .map_err(Error::io("read", &path))?
                == descriptor.digest
            {
                return Ok(true);
            }
        }
        std::fs::remove_file(&path).map_err(Error::io("remove", &path))?;
        Ok(false)
    }

    /// Names the image in `index.json`, beside others that the layout holds.
    fn finish(&self, root: &Manifest, name: Option<&str>) -> Result<(), Error> {
        let path = self.path.join("index.json");
        let mut images = self.listed(&path)?;
        let is_replaced = |image: &Value| {
            let own_name = image["annotations"][REFERENCE_NAME].as_str();
            own_name == name
                && (name.is_some() || image["digest"].as_str() == Some(root.digest.as_str()))
        };
        images.retain(|image| !is_replaced(image));
        let mut descriptor = json!({
            "mediaType": root.media_type, "digest": root.digest, "size": root.bytes.len(),
        });
        if let Some(name) = name {
            descriptor["annotations"] = json!({ REFERENCE_NAME: name });
        }
        images.push(descriptor);
        self.write(
            &self.path.join("oci-layout"),
            br#"{"imageLayoutVersion":"1.0.0"}"#,
        )?;
        let index =
            json!({ "schemaVersion": 2, "mediaType": media_type::INDEX, "manifests": images });
        self.write(&path, index.to_string().as_bytes())
    }

    fn listed(&self, path: &Path) -> Result<Vec<Value>, Error> {
        let bytes = match std::fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(Error::io("read", path)(error)),
        };
        let index: Value = serde_json::from_slice(&bytes).map_err(|error| Error::Source {
            place: path.display().to_string(),
            reason: format!("not JSON: {error}"),
            remedy: "name a new directory".to_owned(),
        })?;
        Ok(index["manifests"].as_array().cloned().unwrap_or_default())
    }

    /// Writes a small file, whole or not at all.
    fn write(&self, path: &Path, bytes: &[u8]) -> Result<(), Error> {
        use std::os::unix::fs::PermissionsExt;
        let write = || -> std::io::Result<()> {
            let directory = path.parent().unwrap_or(path);
            std::fs::create_dir_all(directory)?;
            let mut file = tempfile::Builder::new()
                .prefix(".new-")
                .permissions(std::fs::Permissions::from_mode(0o644))
                .tempfile_in(directory)?;
            file.write_all(bytes)?;
            file.as_file().sync_all()?;
            file.persist(path)?;
            Ok(())
        };
        write().map_err(Error::io("write", path))
    }
}
