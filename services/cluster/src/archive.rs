//! OCI archives: an image layout in one tar file. Blobs are read where they lie, after their digest
//! was checked.
//!
//! <https://github.com/opencontainers/image-spec/blob/main/image-layout.md>

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use oci_spec::image::{Descriptor, ImageConfiguration, ImageIndex, ImageManifest, MediaType};
use sha2::{Digest, Sha256};

/// The largest document, in bytes. Indexes, manifests and configurations are far smaller; layers
/// are never read as a whole.
const MAX_JSON: u64 = 4 << 20;

/// The depth to which indexes may be nested.
const MAX_DEPTH: usize = 4;

/// An archive whose table of contents was read.
pub(crate) struct Archive {
    path: PathBuf,
    members: BTreeMap<PathBuf, Member>,
}

/// The place of a file's content in the archive.
#[derive(Clone, Copy)]
struct Member {
    offset: u64,
    size: u64,
}

/// The image for this machine's architecture.
pub(crate) struct Image {
    /// The image's configuration: how to run it, and the digests of its unpacked layers.
    pub config: ImageConfiguration,
    /// The layers, the lowest first.
    pub layers: Vec<Descriptor>,
}

impl Archive {
    /// Reads the table of contents.
    ///
    /// # Errors
    /// When the file can't be read or is no tar file.
    pub(crate) fn open(path: &Path) -> anyhow::Result<Self> {
        let members = File::open(path).and_then(contents);
        Ok(Archive {
            path: path.to_owned(),
            members: members
                .with_context(|| format!("can't read the OCI archive {}", path.display()))?,
        })
    }

    /// Finds the image for this machine.
    ///
    /// # Errors
    /// When the archive has no such image, more than one, or a damaged one.
    pub(crate) fn image(&self) -> anyhow::Result<Image> {
        self.find_image()
            .with_context(|| format!("in the OCI archive {}", self.path.display()))
    }

    fn find_image(&self) -> anyhow::Result<Image> {
        let index = self.member(Path::new("index.json"))?;
        let mut json = Vec::new();
        index.take(MAX_JSON).read_to_end(&mut json)?;
        let mut index: ImageIndex = serde_json::from_slice(&json).context("index.json")?;
        for _ in 0..MAX_DEPTH {
            let descriptor = for_this_machine(index.manifests())?;
            if *descriptor.media_type() == MediaType::ImageIndex {
                index = self.json(descriptor)?;
                continue;
            }
            let manifest: ImageManifest = self.json(descriptor)?;
            let config: ImageConfiguration = self.json(manifest.config())?;
            let (layers, diff_ids) = (manifest.layers().len(), config.rootfs().diff_ids().len());
            ensure!(
                layers == diff_ids,
                "the manifest has {layers} layers, its configuration {diff_ids}"
            );
            return Ok(Image {
                config,
                layers: manifest.layers().clone(),
            });
        }
        bail!("indexes lie more than {MAX_DEPTH} deep in each other")
    }

    /// Returns a reader of a blob's bytes, after checking them against its descriptor.
    ///
    /// # Errors
    /// When the blob is missing, or its size or digest differs from the descriptor's.
    pub(crate) fn blob(&self, descriptor: &Descriptor) -> anyhow::Result<impl Read + use<>> {
        let digest = descriptor.digest().to_string();
        let Some(hex) = descriptor.as_digest_sha256() else {
            bail!("blob {digest}: only sha256 digests are supported");
        };
        let path = Path::new("blobs/sha256").join(hex);
        let mut content = self.member(&path)?;
        let mut hasher = Sha256::new();
        let size = io::copy(&mut content, &mut hasher)?;
        ensure!(
            size == descriptor.size(),
            "blob {digest} has {size} bytes, its descriptor says {}",
            descriptor.size()
        );
        let actual = hex_of(hasher);
        ensure!(
            actual == hex,
            "blob {digest} has the digest sha256:{actual}"
        );
        self.member(&path)
    }

    fn json<T: serde::de::DeserializeOwned>(&self, descriptor: &Descriptor) -> anyhow::Result<T> {
        let (digest, size) = (descriptor.digest(), descriptor.size());
        ensure!(
            size <= MAX_JSON,
            "{digest}: {size} bytes of JSON are too many"
        );
        let mut bytes = Vec::new();
        self.blob(descriptor)?.read_to_end(&mut bytes)?;
        serde_json::from_slice(&bytes).with_context(|| format!("blob {digest}"))
    }

    /// Opens a file of the archive. Each reader has a position of its own.
    fn member(&self, path: &Path) -> anyhow::Result<io::Take<File>> {
        let Member { offset, size } = *self
            .members
            .get(path)
            .with_context(|| format!("there is no {}", path.display()))?;
        let mut file = File::open(&self.path)?;
        file.seek(SeekFrom::Start(offset))?;
        Ok(file.take(size))
    }
}

/// Returns a digest's value in hexadecimal.
pub(crate) fn hex_of(hasher: Sha256) -> String {
    let bytes = hasher.finalize();
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn contents(file: File) -> io::Result<BTreeMap<PathBuf, Member>> {
    let mut archive = tar::Archive::new(file);
    let mut members = BTreeMap::new();
    for entry in archive.entries_with_seek()? {
        let entry = entry?;
        if entry.header().entry_type().is_file() {
            let path = entry.path()?.components().collect::<PathBuf>();
            let path = path.strip_prefix(".").map(Path::to_owned).unwrap_or(path);
            let (offset, size) = (entry.raw_file_position(), entry.size());
            members.insert(path, Member { offset, size });
        }
    }
    Ok(members)
}

/// Returns the only manifest, or the only one for this machine's architecture.
fn for_this_machine(manifests: &[Descriptor]) -> anyhow::Result<&Descriptor> {
    if let [only] = manifests {
        return Ok(only);
    }
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    let fits = |descriptor: &&Descriptor| {
        descriptor.platform().as_ref().is_some_and(|platform| {
            platform.os().to_string() == "linux"
                && platform.architecture().to_string() == architecture
        })
    };
    let mut fitting = manifests.iter().filter(fits);
    match (fitting.next(), fitting.next()) {
        (Some(one), None) => Ok(one),
        (Some(_), Some(_)) => bail!("more than one image is for linux/{architecture}"),
        (None, _) => bail!(
            "of {} images none is for linux/{architecture}",
            manifests.len()
        ),
    }
}
