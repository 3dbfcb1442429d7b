//! Images as other tools have left them, where the specification does not say what they mean.
#![allow(missing_docs)]

mod common;

use std::fs;
use std::path::Path;

use common::*;
use crateyard_image::files::{FileKind, Listing, Options};
use crateyard_image::verify::{Severity, verify};
use crateyard_oci::layout::Kind;
use crateyard_oci::{Digest, Layout, media_type};
use serde_json::{Value, json};
use tar::EntryType::{Directory, Regular, Symlink, XHeader};
use tempfile::tempdir;

fn put(directory: &Path, bytes: &[u8], media_type: &str) -> Value {
    let digest = Digest::of(bytes);
    let path = directory.join(digest.blob_path());
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
    json!({"mediaType": media_type, "digest": digest, "size": bytes.len()})
}

fn config(layers: &[Vec<u8>]) -> String {
    let ids: Vec<Digest> = layers.iter().map(|tar| Digest::of(tar)).collect();
    let rootfs = json!({"type": "layers", "diff_ids": ids});
    json!({"architecture": "amd64", "os": "linux", "rootfs": rootfs}).to_string()
}

/// Makes an image of uncompressed layers, and returns its descriptor.
fn image(directory: &Path, layers: &[Vec<u8>]) -> Value {
    let config = put(directory, config(layers).as_bytes(), media_type::CONFIG);
    let layers: Vec<Value> = layers
        .iter()
        .map(|tar| put(directory, tar, media_type::LAYER))
        .collect();
    let manifest = json!({"schemaVersion": 2, "mediaType": media_type::MANIFEST,
        "config": config, "layers": layers});
    put(
        directory,
        manifest.to_string().as_bytes(),
        media_type::MANIFEST,
    )
}

/// Completes a layout, and opens it.
fn finish(directory: &Path, manifest: &Value) -> Layout {
    fs::write(directory.join("index.json"), index(&json!([manifest]))).unwrap();
    fs::write(directory.join("oci-layout"), MARKER).unwrap();
    Layout::open(directory).unwrap()
}

fn list(layout: &Layout) -> Listing {
    let image = layout.image(None, None).unwrap();
    let manifest = layout.manifest(&image.descriptor).unwrap();
    Listing::read(layout, &manifest, &Options::default()).unwrap()
}

fn paths(listing: &Listing) -> Vec<&str> {
    listing.files().map(|(path, _)| path).collect()
}

#[test]
fn a_file_added_through_a_link_of_a_lower_layer_lies_where_it_leads() {
    let directory = tempdir().unwrap();
    let lower = raw_tar(&[
        ("usr/", Directory, "", b""),
        ("usr/lib/", Directory, "", b""),
        ("usr/lib/old", Regular, "", b"1"),
        ("lib", Symlink, "usr/lib", b""),
        ("deep", Symlink, "/lib", b""),
    ]);
    let upper = raw_tar(&[
        ("lib/new", Regular, "", b"2"),
        ("deep/other", Regular, "", b"3"),
        ("lib/.wh.old", Regular, "", b""),
    ]);
    let manifest = image(directory.path(), &[lower, upper]);
    let layout = finish(directory.path(), &manifest);
    let listing = list(&layout);
    let expected = [
        "deep",
        "lib",
        "usr",
        "usr/lib",
        "usr/lib/new",
        "usr/lib/other",
    ];
    assert_eq!(paths(&listing), expected);
    assert_eq!(listing.get("lib").unwrap().kind, FileKind::Symlink);
    assert!(verify(directory.path()).unwrap().is_sound());
}

#[test]
fn leftovers_of_aufs_are_no_files() {
    let directory = tempdir().unwrap();
    let layer = raw_tar(&[
        (".wh..wh.aufs", Regular, "", b""),
        (".wh..wh.orph/", Directory, "", b""),
        (".wh..wh.plnk/", Directory, "", b""),
        (".wh..wh.plnk/12.34", Regular, "", b"x"),
        ("a", Regular, "", b"x"),
    ]);
    let manifest = image(directory.path(), &[layer]);
    let layout = finish(directory.path(), &manifest);
    assert_eq!(paths(&list(&layout)), ["a"]);
    let report = verify(directory.path()).unwrap();
    assert!(report.is_sound(), "{:?}", report.findings);
    assert_eq!(report.count(Severity::Note), 4);
}

#[test]
fn attributes_that_bsdtar_wrote_are_read() {
    let directory = tempdir().unwrap();
    let records = b"43 LIBARCHIVE.xattr.user.name=dmFsdWUgb25l\n";
    assert_eq!(records.len(), 43);
    let layer = raw_tar(&[("pax", XHeader, "", records), ("a", Regular, "", b"x")]);
    let manifest = image(directory.path(), &[layer]);
    let listing = list(&finish(directory.path(), &manifest));
    let file = listing.get("a").unwrap();
    assert_eq!(file.xattrs["user.name"], b"value one");
}

#[test]
fn an_archive_whose_index_names_nothing_is_read_as_dockers() {
    let directory = tempdir().unwrap();
    let layer = raw_tar(&[("a", Regular, "", b"x")]);
    let config = config(std::slice::from_ref(&layer));
    let manifest = json!([{"Config": "c.json", "RepoTags": ["app:1"], "Layers": ["l.tar"]}]);
    for nothing in [json!(null), json!([])] {
        let archive = raw_tar(&[
            ("oci-layout", Regular, "", MARKER.as_bytes()),
            ("index.json", Regular, "", index(&nothing).as_bytes()),
            (
                "manifest.json",
                Regular,
                "",
                manifest.to_string().as_bytes(),
            ),
            ("c.json", Regular, "", config.as_bytes()),
            ("l.tar", Regular, "", &layer),
        ]);
        let path = directory.path().join("image.tar");
        fs::write(&path, archive).unwrap();
        let layout = Layout::open(&path).unwrap();
        assert_eq!(layout.kind(), Kind::DockerArchive);
        assert_eq!(paths(&list(&layout)), ["a"]);
    }
}

#[test]
fn a_platform_may_stand_on_the_index_around() {
    let directory = tempdir().unwrap();
    let mut indexes = Vec::new();
    for (architecture, name) in [("amd64", "a"), ("arm64", "b")] {
        let inner = image(directory.path(), &[raw_tar(&[(name, Regular, "", b"")])]);
        let bytes = index(&json!([inner]));
        let mut inner = put(directory.path(), bytes.as_bytes(), media_type::INDEX);
        inner["platform"] = json!({"architecture": architecture, "os": "linux"});
        indexes.push(inner);
    }
    let bytes = index(&json!(indexes));
    let outer = put(directory.path(), bytes.as_bytes(), media_type::INDEX);
    let layout = finish(directory.path(), &outer);
    for (platform, name) in [("linux/amd64", "a"), ("linux/arm64", "b")] {
        let image = layout
            .image(None, Some(&platform.parse().unwrap()))
            .unwrap();
        let manifest = layout.manifest(&image.descriptor).unwrap();
        let listing = Listing::read(&layout, &manifest, &Options::default()).unwrap();
        assert_eq!(paths(&listing), [name]);
    }
}
