//! OCI archives for tests.
#![allow(dead_code)]

use std::io::Write;

use sha2::{Digest, Sha256};
use tar::{Builder, EntryType, Header};

/// A layer that is being written.
pub(crate) struct Layer(Builder<Vec<u8>>);

/// The compression of a layer in the archive.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Compression {
    None,
    Gzip,
    Zstd,
}

impl Layer {
    pub(crate) fn new() -> Self {
        Layer(Builder::new(Vec::new()))
    }

    pub(crate) fn file(self, path: &str, content: &str) -> Self {
        self.file_with_mode(path, content, 0o644)
    }

    pub(crate) fn program(mut self, path: &str, content: &[u8]) -> Self {
        self.append(EntryType::Regular, path, "", 0o755, content);
        self
    }

    pub(crate) fn file_with_mode(mut self, path: &str, content: &str, mode: u32) -> Self {
        self.append(EntryType::Regular, path, "", mode, content.as_bytes());
        self
    }

    pub(crate) fn directory(mut self, path: &str) -> Self {
        self.append(EntryType::Directory, path, "", 0o755, b"");
        self
    }

    pub(crate) fn symlink(mut self, path: &str, target: &str) -> Self {
        self.append(EntryType::Symlink, path, target, 0o777, b"");
        self
    }

    pub(crate) fn link(mut self, path: &str, target: &str) -> Self {
        self.append(EntryType::Link, path, target, 0o644, b"");
        self
    }

    /// Appends an entry. Names are set as bytes, because the tar crate refuses those that leave the
    /// root.
    fn append(&mut self, kind: EntryType, path: &str, target: &str, mode: u32, content: &[u8]) {
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_size(content.len() as u64);
        let fields = header.as_gnu_mut().unwrap();
        fields.name[..path.len()].copy_from_slice(path.as_bytes());
        fields.linkname[..target.len()].copy_from_slice(target.as_bytes());
        header.set_cksum();
        self.0.append(&header, content).unwrap();
    }

    fn finish(self) -> Vec<u8> {
        self.0.into_inner().unwrap()
    }
}

/// Makes an OCI archive with one image.
pub(crate) fn archive(
    layers: impl IntoIterator<Item = (Layer, Compression)>,
    entrypoint: &[&str],
    environment: &[&str],
) -> Vec<u8> {
    let mut blobs = Vec::new();
    let mut diff_ids = Vec::new();
    let mut descriptors = Vec::new();
    for (layer, compression) in layers {
        let content = layer.finish();
        diff_ids.push(digest(&content));
        let (suffix, bytes) = compress(compression, content);
        let media_type = format!("application/vnd.oci.image.layer.v1.tar{suffix}");
        descriptors.push(descriptor(&mut blobs, &media_type, bytes));
    }
    let config = serde_json::json!({
        "architecture": "amd64", "os": "linux",
        "config": {"Entrypoint": entrypoint, "Env": environment},
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
    });
    let config = serde_json::to_vec(&config).unwrap();
    let media_type = "application/vnd.oci.image.config.v1+json";
    let config = descriptor(&mut blobs, media_type, config);
    let media_type = "application/vnd.oci.image.manifest.v1+json";
    let manifest = serde_json::json!({
        "schemaVersion": 2, "mediaType": media_type, "config": config, "layers": descriptors,
    });
    let manifest = serde_json::to_vec(&manifest).unwrap();
    let manifest = descriptor(&mut blobs, media_type, manifest);
    let index = serde_json::json!({"schemaVersion": 2, "manifests": [manifest]});
    let index = serde_json::to_vec(&index).unwrap();

    let mut tar = Layer::new();
    tar = tar.file("oci-layout", r#"{"imageLayoutVersion":"1.0.0"}"#);
    for (digest, content) in blobs {
        let path = format!("blobs/{}", digest.replace(':', "/"));
        tar.append(EntryType::Regular, &path, "", 0o644, &content);
    }
    tar.append(EntryType::Regular, "index.json", "", 0o644, &index);
    tar.finish()
}

fn descriptor(
    blobs: &mut Vec<(String, Vec<u8>)>,
    media_type: &str,
    content: Vec<u8>,
) -> serde_json::Value {
    let digest = digest(&content);
    let size = content.len();
    blobs.push((digest.clone(), content));
    serde_json::json!({"mediaType": media_type, "digest": digest, "size": size})
}

fn compress(compression: Compression, content: Vec<u8>) -> (&'static str, Vec<u8>) {
    match compression {
        Compression::None => ("", content),
        Compression::Gzip => {
            let level = flate2::Compression::fast();
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), level);
            encoder.write_all(&content).unwrap();
            ("+gzip", encoder.finish().unwrap())
        }
        Compression::Zstd => ("+zstd", zstd::encode_all(content.as_slice(), 1).unwrap()),
    }
}

fn digest(content: &[u8]) -> String {
    let bytes = Sha256::digest(content);
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}
