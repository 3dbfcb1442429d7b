//! Images that one program reads in one way and another program in another: they are not sound.
#![allow(missing_docs)]

mod common;

use std::cell::Cell;
use std::fs;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use common::*;
use crateyard_image::files::{Listing, Options};
use crateyard_image::verify::verify;
use crateyard_oci::{Blobs, Budget, Descriptor, Digest, Layout, media_type};
use serde_json::{Value, json};
use tar::EntryType::{GNULongName, Link, Regular, Symlink, XHeader};
use tempfile::tempdir;

/// An image in memory: its blobs by path, and the descriptor of its manifest.
struct Made {
    blobs: Vec<(String, Vec<u8>)>,
    manifest: Value,
    config: Digest,
    layer: Digest,
}

/// Makes an image of one layer.
fn made(layer: &[u8]) -> Made {
    let rootfs = json!({"type": "layers", "diff_ids": [Digest::of(layer)]});
    let config = json!({"architecture": "amd64", "os": "linux", "rootfs": rootfs}).to_string();
    let mut blobs = Vec::new();
    let mut put = |bytes: &[u8], media_type: &str| {
        let digest = Digest::of(bytes);
        blobs.push((digest.blob_path(), bytes.to_vec()));
        json!({"mediaType": media_type, "digest": digest, "size": bytes.len()})
    };
    let config_descriptor = put(config.as_bytes(), media_type::CONFIG);
    let layers = [put(layer, media_type::LAYER)];
    let manifest = json!({"schemaVersion": 2, "mediaType": media_type::MANIFEST,
        "config": config_descriptor, "layers": layers});
    let manifest = put(manifest.to_string().as_bytes(), media_type::MANIFEST);
    Made {
        blobs,
        manifest,
        config: Digest::of(config.as_bytes()),
        layer: Digest::of(layer),
    }
}

/// Writes a layout with an image's blobs and an index of these manifests.
fn layout(directory: &Path, image: &Made, manifests: &Value) {
    for (path, bytes) in &image.blobs {
        let path = directory.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
    fs::write(directory.join("index.json"), index(manifests)).unwrap();
    fs::write(directory.join("oci-layout"), MARKER).unwrap();
}

fn findings(path: &Path) -> String {
    let report = verify(path).unwrap();
    if report.is_sound() {
        return String::new();
    }
    format!("{:?}", report.findings)
}

/// Asserts that the image of one layer is refused for a reason.
fn refused(entries: &[Raw<'_>], says: &str) {
    let directory = tempdir().unwrap();
    let image = made(&raw_tar(entries));
    layout(directory.path(), &image, &json!([image.manifest]));
    let found = findings(directory.path());
    assert!(found.contains(says), "{says:?} is not in {found:?}");
}

#[test]
fn an_image_that_is_called_a_statement_is_checked() {
    let image = made(&raw_tar(&[("../../etc/evil", Regular, "", b"x")]));
    let plain = image.manifest.clone();
    let with = |key: &str, value: Value| {
        let mut labelled = plain.clone();
        labelled[key] = value;
        labelled
    };
    let labelled = with("artifactType", json!("application/x"));
    for manifests in [
        json!([labelled]),
        json!([labelled, plain]),
        json!([with(
            "annotations",
            json!({"vnd.docker.reference.type": "a"})
        )]),
        json!([with(
            "platform",
            json!({"os": "unknown", "architecture": "unknown"})
        )]),
    ] {
        let directory = tempdir().unwrap();
        layout(directory.path(), &image, &manifests);
        let found = findings(directory.path());
        assert!(found.contains("leads upwards"), "{manifests}: {found:?}");
    }
}

/// Returns the entries of an archive with an index of one image.
fn archive<'a>(image: &'a Made, index: &'a str) -> Vec<Raw<'a>> {
    let mut entries: Vec<Raw<'_>> = vec![
        ("oci-layout", Regular, "", MARKER.as_bytes()),
        ("index.json", Regular, "", index.as_bytes()),
    ];
    for (path, bytes) in &image.blobs {
        entries.push((path, Regular, "", bytes));
    }
    entries
}

#[test]
fn an_archive_has_one_index() {
    let directory = tempdir().unwrap();
    let path = directory.path().join("image.tar");
    let image = made(&raw_tar(&[("a", Regular, "", b"x")]));
    let own = index(&json!([image.manifest]));
    let other = index(&json!([]));
    let plain = archive(&image, &own);
    fs::write(&path, raw_tar(&plain)).unwrap();
    assert_eq!(findings(&path), "");
    for name in [
        "a/../index.json",
        "/index.json",
        ".//index.json",
        "./././/index.json",
        "index.json/",
        "blobs/../index.json",
        "blobs//x",
    ] {
        let mut entries = plain.clone();
        entries.push((name, Regular, "", other.as_bytes()));
        fs::write(&path, raw_tar(&entries)).unwrap();
        assert_ne!(findings(&path), "", "{name}");
    }
    let mut entries = plain.clone();
    entries.push(("k", Symlink, ".", b""));
    entries.push(("k/index.json", Regular, "", other.as_bytes()));
    fs::write(&path, raw_tar(&entries)).unwrap();
    let found = findings(&path);
    assert!(found.contains("below the link"), "{found:?}");
}

#[test]
fn index_and_docker_manifest_name_the_same_images() {
    let directory = tempdir().unwrap();
    let path = directory.path().join("image.tar");
    let image = made(&raw_tar(&[("a", Regular, "", b"good")]));
    let other = made(&raw_tar(&[("a", Regular, "", b"evil")]));
    let mut named = image.manifest.clone();
    named["annotations"] = json!({"io.containerd.image.name": "docker.io/library/app:1"});
    let own = index(&json!([named, other.manifest]));
    let entry = |image: &Made, tag: &str| {
        json!({"Config": image.config.blob_path(), "RepoTags": [tag],
            "Layers": [image.layer.blob_path()]})
    };
    let mixed = json!({"Config": image.config.blob_path(), "Layers": [other.layer.blob_path()]});
    let lower = json!({"Config": image.config.blob_path(), "config": other.config.blob_path(),
        "Layers": [image.layer.blob_path()]});
    for (images, says) in [
        (json!([entry(&image, "app:1"), entry(&other, "b:1")]), ""),
        (
            json!([entry(&other, "app:1")]),
            "gives docker.io/library/app:1 to another",
        ),
        (json!([mixed]), "which the index does not"),
        (json!([lower]), "some programs"),
    ] {
        let images = images.to_string();
        let mut entries = archive(&image, &own);
        for (path, bytes) in &other.blobs {
            entries.push((path, Regular, "", bytes));
        }
        entries.push(("manifest.json", Regular, "", images.as_bytes()));
        fs::write(&path, raw_tar(&entries)).unwrap();
        let found = findings(&path);
        assert!(found.contains(says), "{says:?} is not in {found:?}");
        assert_eq!(found.is_empty(), says.is_empty(), "{found:?}");
    }
}

#[test]
fn two_files_for_one_layer_must_be_equal() {
    let directory = tempdir().unwrap();
    let path = directory.path().join("image.tar");
    let good = raw_tar(&[("a", Regular, "", b"good")]);
    let evil = raw_tar(&[("a", Regular, "", b"evil")]);
    let rootfs = json!({"type": "layers", "diff_ids": [Digest::of(&good)]});
    let config = json!({"architecture": "amd64", "os": "linux", "rootfs": rootfs}).to_string();
    let images = json!([
        {"Config": "c.json", "RepoTags": ["victim:1"], "Layers": ["1.tar"]},
        {"Config": "c.json", "RepoTags": ["other:1"], "Layers": ["2.tar"]},
    ])
    .to_string();
    for (first, is_sound) in [(&good, true), (&evil, false)] {
        let archive = raw_tar(&[
            ("c.json", Regular, "", config.as_bytes()),
            ("1.tar", Regular, "", first),
            ("2.tar", Regular, "", &good),
            ("manifest.json", Regular, "", images.as_bytes()),
        ]);
        fs::write(&path, archive).unwrap();
        assert_eq!(findings(&path).is_empty(), is_sound);
    }
}

#[test]
fn entries_that_programs_read_differently_are_refused() {
    let inner = raw_tar(&[("hidden", Regular, "", b"x")]);
    refused(&[("d/", Regular, "", &inner)], "a directory with");
    let records = b"10 path=p\n";
    assert_eq!(records.len(), 10);
    refused(
        &[
            ("pax", XHeader, "", records),
            ("pax", XHeader, "", records),
            ("a", Regular, "", b"x"),
        ],
        "two extended headers",
    );
    refused(
        &[
            ("long", GNULongName, "", b"other\0"),
            ("pax", XHeader, "", records),
            ("a", Regular, "", b"x"),
        ],
        "different names",
    );
    refused(
        &[
            ("a", Regular, "", b"old"),
            ("b", Link, "a", b""),
            ("a", Regular, "", b"new"),
        ],
        "a hard link leads to its first content",
    );
}

#[test]
fn names_are_those_that_engines_read() {
    // An empty record leaves the name of the entry's own header.
    let mut gnu = raw_header(b"name", Regular, 0o644, "", 0);
    gnu.as_mut_bytes()[257..265].copy_from_slice(b"ustar  \0");
    gnu.as_mut_bytes()[345..348].copy_from_slice(b"dir");
    gnu.set_cksum();
    let mut times = raw_header(b"timed", Regular, 0o644, "", 0);
    times.as_mut_bytes()[257..265].copy_from_slice(b"ustar  \0");
    times.as_mut_bytes()[345..356].copy_from_slice(b"14000000000");
    times.set_cksum();
    let mut builder = tar::Builder::new(Vec::new());
    let pax = raw_header(b"pax", XHeader, 0o644, "", 8);
    builder.append(&pax, &b"8 path=\n"[..]).unwrap();
    builder
        .append(&raw_header(b"own", Regular, 0o644, "", 0), &b""[..])
        .unwrap();
    builder.append(&gnu, &b""[..]).unwrap();
    builder.append(&times, &b""[..]).unwrap();
    let image = made(&builder.into_inner().unwrap());
    let directory = tempdir().unwrap();
    layout(directory.path(), &image, &json!([image.manifest]));
    let opened = Layout::open(directory.path()).unwrap();
    let chosen = opened.image(None, None).unwrap();
    let manifest = opened.manifest(&chosen.descriptor).unwrap();
    let listing = Listing::read(&opened, &manifest, &Options::default()).unwrap();
    let paths: Vec<&str> = listing.files().map(|(path, _)| path).collect();
    assert_eq!(paths, ["dir/name", "own", "timed"]);
}

/// Blobs that answer with other bytes after the first time.
struct Changing {
    layout: Layout,
    other: Vec<u8>,
    layer: Digest,
    opened: Cell<bool>,
}

impl Blobs for Changing {
    fn open_blob(
        &self,
        descriptor: &Descriptor,
    ) -> crateyard_oci::Result<Box<dyn Read + Send + '_>> {
        if descriptor.digest == self.layer && self.opened.replace(true) {
            return Ok(Box::new(&self.other[..]));
        }
        self.layout.open_blob(descriptor)
    }

    fn title(&self) -> String {
        self.layout.title()
    }

    fn budget(&self) -> &Arc<Budget> {
        self.layout.budget()
    }
}

#[test]
fn a_file_is_shown_after_its_layer_is_checked() {
    let directory = tempdir().unwrap();
    let layer = raw_tar(&[("a", Regular, "", b"good")]);
    let image = made(&layer);
    layout(directory.path(), &image, &json!([image.manifest]));
    let opened = Layout::open(directory.path()).unwrap();
    let chosen = opened.image(None, None).unwrap();
    let manifest = opened.manifest(&chosen.descriptor).unwrap();
    let changing = Changing {
        layout: opened,
        other: raw_tar(&[("a", Regular, "", b"evil")]),
        layer: Digest::of(&layer),
        opened: Cell::new(false),
    };
    let listing = Listing::read(&changing, &manifest, &Options::default()).unwrap();
    let mut out = Vec::new();
    let copied = listing.copy_content(&changing, &manifest, "/a", &mut out);
    assert!(copied.is_err());
    assert_eq!(out, b"");
}
