//! Layouts, archives and layers that nobody makes by accident.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use crateyard_oci::{Descriptor, Digest, media_type};
use serde_json::{Value, json};
use tempfile::TempDir;

/// Makes a directory for a test's files.
pub(crate) fn directory() -> TempDir {
    tempfile::tempdir().unwrap()
}

/// A layout directory that is being made.
pub(crate) struct Layout(PathBuf);

impl Layout {
    pub(crate) fn new(place: &Path) -> Layout {
        let root = place.join("layout");
        fs::create_dir_all(root.join("blobs/sha256")).unwrap();
        fs::write(root.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
        Layout(root)
    }

    pub(crate) fn path(&self) -> String {
        self.0.display().to_string()
    }

    pub(crate) fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.0.join(digest.blob_path())
    }

    pub(crate) fn blob(&self, media_type: &str, bytes: &[u8]) -> Descriptor {
        let descriptor = Descriptor::of(media_type, bytes);
        fs::write(self.blob_path(&descriptor.digest), bytes).unwrap();
        descriptor
    }

    /// Makes an index that names `manifests`.
    pub(crate) fn index_blob(&self, manifests: &[Descriptor]) -> Descriptor {
        self.blob(media_type::INDEX, index(manifests).to_string().as_bytes())
    }

    /// Makes an image of several layers.
    pub(crate) fn image_of_layers(&self, tars: &[Vec<u8>]) {
        let layers: Vec<Descriptor> = tars
            .iter()
            .map(|tar| self.blob(media_type::LAYER_GZIP, &gzip(tar)))
            .collect();
        let ids: Vec<Digest> = tars.iter().map(|tar| Digest::of(tar)).collect();
        let config = json!({"architecture": "amd64", "os": "linux",
            "rootfs": {"type": "layers", "diff_ids": ids}});
        let config = self.blob(media_type::CONFIG, config.to_string().as_bytes());
        let manifest = json!({"schemaVersion": 2, "mediaType": media_type::MANIFEST,
            "config": config, "layers": layers});
        let manifest = self.blob(media_type::MANIFEST, manifest.to_string().as_bytes());
        self.finish(&[manifest]);
    }

    /// Makes an image of one layer, and returns the layer's digest.
    pub(crate) fn image(&self, layer: &[u8], tar: &[u8]) -> Digest {
        self.image_of(media_type::LAYER_GZIP, layer, tar)
    }

    pub(crate) fn image_of(&self, media_type: &str, layer: &[u8], tar: &[u8]) -> Digest {
        let layer = self.blob(media_type, layer);
        let config = json!({"architecture": "amd64", "os": "linux",
            "rootfs": {"type": "layers", "diff_ids": [Digest::of(tar)]}});
        let config = self.blob(media_type::CONFIG, config.to_string().as_bytes());
        let manifest = json!({"schemaVersion": 2, "mediaType": media_type::MANIFEST,
            "config": config, "layers": [layer]});
        let manifest = self.blob(media_type::MANIFEST, manifest.to_string().as_bytes());
        self.finish(&[manifest]);
        layer.digest
    }

    /// Writes a document beside the image, where `assemble build` puts it.
    pub(crate) fn document(&self, name: &str, document: &Value) {
        let directory = self.0.join("attestations/linux-amd64");
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join(name), document.to_string()).unwrap();
    }

    /// Returns the digest of the first manifest.
    pub(crate) fn manifest(&self) -> Digest {
        let index: Value =
            serde_json::from_slice(&fs::read(self.0.join("index.json")).unwrap()).unwrap();
        index["manifests"][0]["digest"]
            .as_str()
            .unwrap()
            .parse()
            .unwrap()
    }

    pub(crate) fn finish(&self, manifests: &[Descriptor]) {
        fs::write(self.0.join("index.json"), index(manifests).to_string()).unwrap();
    }
}

pub(crate) fn index(manifests: &[Descriptor]) -> Value {
    json!({"schemaVersion": 2, "mediaType": media_type::INDEX, "manifests": manifests})
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Makes a tar entry with a header of 512 bytes.
fn entry(name: &str, kind: tar::EntryType, link: &str, content: &[u8]) -> Vec<u8> {
    let mut header = tar::Header::new_ustar();
    header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
    header.as_mut_bytes()[157..157 + link.len()].copy_from_slice(link.as_bytes());
    header.set_entry_type(kind);
    header.set_mode(0o644);
    header.set_size(content.len() as u64);
    header.set_cksum();
    let mut bytes = header.as_bytes().to_vec();
    bytes.extend_from_slice(content);
    bytes.resize(bytes.len().next_multiple_of(512), 0);
    bytes
}

pub(crate) fn tar_of(name: &str, content: &[u8]) -> Vec<u8> {
    entry(name, tar::EntryType::Regular, "", content)
}

pub(crate) fn symlink(name: &str, target: &str) -> Vec<u8> {
    entry(name, tar::EntryType::Symlink, target, b"")
}

pub(crate) fn hard_link(name: &str, target: &str) -> Vec<u8> {
    entry(name, tar::EntryType::Link, target, b"")
}

/// Makes an extended header for the entry that follows.
pub(crate) fn pax(records: &[(String, String)]) -> Vec<u8> {
    let mut content = Vec::new();
    for (key, value) in records {
        let rest = key.len() + value.len() + 3;
        // The length includes its own digits.
        let length = (rest..).find(|length| rest + length.to_string().len() == *length);
        writeln!(content, "{} {key}={value}", length.unwrap()).unwrap();
    }
    entry("pax", tar::EntryType::XHeader, "", &content)
}

/// Corrects the checksum of a changed header.
pub(crate) fn fix_checksum(header: &mut [u8]) {
    header[148..156].fill(b' ');
    let sum: u32 = header.iter().map(|&byte| u32::from(byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}

/// Makes a zstd frame with one tar header that claims a file of `size` zero bytes, and the zeros.
/// Four bytes encode each 128 KiB of them.
pub(crate) fn zstd_of_zeros(size: u64) -> Vec<u8> {
    let mut header = tar_of("x", b"");
    header[124] = 0x80;
    header[125..128].fill(0);
    header[128..136].copy_from_slice(&size.to_be_bytes());
    fix_checksum(&mut header[..512]);
    // A frame with a window of 2 MiB and without a content size; the first block is raw.
    let mut frame = vec![0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x58];
    frame.extend_from_slice(&(512_u32 << 3).to_le_bytes()[..3]);
    frame.extend_from_slice(&header[..512]);
    let blocks = size >> 17;
    for number in 1..=blocks {
        let last = u32::from(number == blocks);
        frame.extend_from_slice(&((1_u32 << 17) << 3 | 2 | last).to_le_bytes()[..3]);
        frame.push(0);
    }
    frame
}
