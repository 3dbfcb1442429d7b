//! Thousands of mutated layouts, archives and tar streams: nothing panics, runs for ever, or writes
//! outside.
//!
//! There are 10,000 of each, or as many as fit into a bounded time; the tests print the number.
//! `IMAGE_MUTATIONS` sets the number of each, regardless of the time.
#![allow(missing_docs)]

mod common;

use std::fs;
use std::io::Read;
use std::path::Path;
use std::time::{Duration, Instant};

use common::*;
use crateyard_image::archive::{ArchiveFormat, Selection};
use crateyard_image::files::{Listing, Options};
use crateyard_image::verify::verify_layout;
use crateyard_oci::{Digest, Layout};
use crateyard_testing::mutations::{Mutations, fix_checksums, is_bounded};
use serde_json::{Value, json};
use tempfile::{TempDir, tempdir};

const MUTATIONS: usize = 10_000;
const TIME: Duration = Duration::from_secs(120);

/// Makes a directory for many small files, in memory if the machine allows it.
fn scratch() -> TempDir {
    let memory = Path::new("/dev/shm");
    let made = memory.is_dir().then(|| tempfile::tempdir_in(memory));
    made.and_then(Result::ok)
        .unwrap_or_else(|| tempdir().unwrap())
}

/// Runs `mutation` with numbers from 0 on, and returns the number of runs.
fn repeat(what: &str, mut mutation: impl FnMut(usize)) -> usize {
    let asked: Option<usize> = std::env::var("IMAGE_MUTATIONS")
        .ok()
        .and_then(|count| count.parse().ok());
    let (begin, count) = (Instant::now(), asked.unwrap_or(MUTATIONS));
    for number in 0..count {
        // Even a slow machine must run enough mutations.
        if asked.is_none() && number >= MUTATIONS / 20 && begin.elapsed() > TIME {
            eprintln!("{what}: {number} mutations in {} s", TIME.as_secs());
            return number;
        }
        mutation(number);
    }
    eprintln!("{what}: {count} mutations");
    count
}

/// Runs every operation on an image. It only matters that they end.
fn use_all(layout: &Layout) {
    let report = verify_layout(layout);
    assert!(report.findings.len() <= 1_001);
    let Ok(images) = layout.images() else { return };
    for image in images.iter().take(4) {
        let Ok(manifest) = layout.manifest(&image.descriptor) else {
            continue;
        };
        let _ = layout.config(&manifest);
        let options = Options {
            hash: true,
            crates: true,
            ..Options::default()
        };
        let Ok(listing) = Listing::read(layout, &manifest, &options) else {
            continue;
        };
        let _ = crateyard_image::packages::installed(&listing);
        let _ = crateyard_image::packages::owners(&listing);
        let paths: Vec<String> = listing
            .files()
            .take(5)
            .map(|(path, _)| path.to_owned())
            .collect();
        for path in paths {
            assert!(
                !path.starts_with('/') && !path.split('/').any(|part| part == ".."),
                "{path:?}"
            );
            let _ = listing.copy_content(layout, &manifest, &path, &mut std::io::sink());
        }
    }
}

/// A small layout with all kinds of content, as files by name.
struct Seeds {
    tar: Vec<u8>,
    config: Value,
}

fn seeds() -> Seeds {
    let mut builder = tar::Builder::new(Vec::new());
    let mut add = |path: &str, kind, link: &str, content: &[u8]| {
        let header = raw_header(path.as_bytes(), kind, 0o755, link, content.len() as u64);
        builder.append(&header, content).unwrap();
    };
    use tar::EntryType as Kind;
    add("usr/", Kind::Directory, "", b"");
    add("usr/file", Kind::Regular, "", b"content of the file");
    add("usr/link", Kind::Symlink, "../usr/file", b"");
    add("usr/hard", Kind::Link, "usr/file", b"");
    add(
        "PaxHeaders/x",
        Kind::XHeader,
        "",
        b"28 SCHILY.xattr.user.a=bcde\n22 path=usr/other-one\n",
    );
    add("usr/short", Kind::Regular, "", b"");
    add(
        "././@LongLink",
        Kind::GNULongName,
        "",
        b"usr/long/long/long/name\0",
    );
    add(
        "usr/cut",
        Kind::Regular,
        "",
        &[0x7f, b'E', b'L', b'F', 2, 1, 1, 0],
    );
    add("usr/.wh.gone", Kind::Regular, "", b"");
    add(
        "var/lib/dpkg/status",
        Kind::Regular,
        "",
        b"Package: a\nStatus: install ok installed\nVersion: 1\nArchitecture: all\n\n",
    );
    add(
        "var/lib/dpkg/info/a.list",
        Kind::Regular,
        "",
        b"/.\n/usr/file\n",
    );
    let tar = builder.into_inner().unwrap();
    let config = json!({"architecture": "amd64", "os": "linux", "config": {"Env": ["A=1"]},
        "rootfs": {"type": "layers", "diff_ids": [Digest::of(&tar)]},
        "history": [{"created_by": "test"}]});
    Seeds { tar, config }
}

/// The part of a layout that is mutated before the digests are corrected. With correct digests, the
/// damage gets past the hashes to the parsers behind them.
#[derive(Clone, Copy)]
enum Part {
    Tar,
    Blob,
    Config,
    Manifest,
    Index,
    Marker,
}

fn write_layout(root: &Path, seeds: &Seeds, random: &mut Mutations, part: Part) {
    let blobs = root.join("blobs/sha256");
    let _ = fs::remove_dir_all(&blobs);
    fs::create_dir_all(&blobs).unwrap();
    let put = |bytes: &[u8], media_type: &str| {
        let digest = Digest::of(bytes);
        fs::write(blobs.join(digest.hex()), bytes).unwrap();
        json!({"mediaType": media_type, "digest": digest, "size": bytes.len()})
    };
    let mut tar = seeds.tar.clone();
    if matches!(part, Part::Tar) {
        random.damage(&mut tar);
        fix_checksums(&mut tar);
    }
    let (mut blob, media_type) = match random.random.usize(..3) {
        0 => (gzip(&tar), "application/vnd.oci.image.layer.v1.tar+gzip"),
        1 => (
            zstd::bulk::compress(&tar, 1).unwrap(),
            "application/vnd.oci.image.layer.v1.tar+zstd",
        ),
        _ => (tar, "application/vnd.oci.image.layer.v1.tar"),
    };
    if matches!(part, Part::Blob) {
        random.damage(&mut blob);
    }
    let layer = put(&blob, media_type);
    let mut config = seeds.config.to_string().into_bytes();
    if matches!(part, Part::Config) {
        random.damage(&mut config);
    }
    let config = put(&config, "application/vnd.oci.image.config.v1+json");
    let media_type = "application/vnd.oci.image.manifest.v1+json";
    let manifest =
        json!({"schemaVersion": 2, "mediaType": media_type, "config": config, "layers": [layer]});
    let mut manifest = manifest.to_string().into_bytes();
    if matches!(part, Part::Manifest) {
        random.damage(&mut manifest);
    }
    let mut descriptor = put(&manifest, media_type);
    descriptor["annotations"] = json!({"org.opencontainers.image.ref.name": "x"});
    let index = json!({"schemaVersion": 2, "manifests": [descriptor]});
    let mut index = index.to_string().into_bytes();
    if matches!(part, Part::Index) {
        random.damage(&mut index);
    }
    let mut marker = br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec();
    if matches!(part, Part::Marker) {
        random.damage(&mut marker);
    }
    fs::write(root.join("index.json"), index).unwrap();
    fs::write(root.join("oci-layout"), marker).unwrap();
}

#[test]
fn mutated_layouts_are_survived() {
    if !is_bounded("mutated_layouts_are_survived") {
        return;
    }
    let directory = scratch();
    let outside = directory.path().join("outside");
    fs::write(&outside, "secret").unwrap();
    let root = directory.path().join("layout");
    let (seeds, mut random) = (seeds(), Mutations::new("layouts"));
    let parts = [
        Part::Tar,
        Part::Tar,
        Part::Blob,
        Part::Config,
        Part::Manifest,
        Part::Index,
        Part::Marker,
    ];
    let mut opened = 0;
    let count = repeat("layouts", |number| {
        let part = parts[number % parts.len()];
        write_layout(&root, &seeds, &mut random, part);
        let start = Instant::now();
        if let Ok(layout) = Layout::open(&root) {
            opened += 1;
            use_all(&layout);
        }
        assert!(
            start.elapsed() < Duration::from_secs(20),
            "number {number} takes too long"
        );
    });
    assert!(
        opened > count / 2,
        "the mutations are too coarse to test anything"
    );
    assert_eq!(fs::read_to_string(outside).unwrap(), "secret");
}

#[test]
fn mutated_archives_are_survived() {
    if !is_bounded("mutated_archives_are_survived") {
        return;
    }
    let directory = scratch();
    let mut random = Mutations::new("archives");
    let root = directory.path().join("layout");
    write_layout(&root, &seeds(), &mut random, Part::Marker);
    fs::write(root.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
    let layout = Layout::open(&root).unwrap();
    let mut archives = Vec::new();
    for format in [ArchiveFormat::Oci, ArchiveFormat::Docker] {
        let selection = Selection {
            format,
            references: vec!["a:1".parse().unwrap()],
            platform: None,
            epoch: 0,
            documents: true,
        };
        let mut bytes = Vec::new();
        crateyard_image::archive::write(&layout, &selection, &mut bytes).unwrap();
        archives.push(bytes);
    }
    // Without the marker, it is an archive as docker wrote it before it wrote layouts.
    let marker = archives[1]
        .windows(10)
        .position(|window| window == b"oci-layout")
        .unwrap();
    let mut old = archives[1].clone();
    old[marker] = b'x';
    archives.push(old);
    let path = directory.path().join("archive.tar");
    repeat("archives", |number| {
        let mut bytes = archives[number % archives.len()].clone();
        random.damage(&mut bytes);
        fix_checksums(&mut bytes);
        fs::write(&path, bytes).unwrap();
        if let Ok(layout) = Layout::open(&path) {
            use_all(&layout);
        }
    });
}

#[test]
fn mutated_tar_streams_are_survived() {
    if !is_bounded("mutated_tar_streams_are_survived") {
        return;
    }
    let seeds = seeds();
    let mut random = Mutations::new("tar streams");
    repeat("tar streams", |_| {
        let mut bytes = seeds.tar.clone();
        random.damage(&mut bytes);
        if random.random.usize(..4) > 0 {
            fix_checksums(&mut bytes);
        }
        let mut reader = crateyard_oci::tar::Reader::new(&bytes[..]);
        let mut entries = 0;
        while let Ok(Some(_)) = reader.next_entry() {
            let _ = reader.by_ref().take(10).read_to_end(&mut Vec::new());
            entries += 1;
        }
        assert!(entries <= bytes.len() / 512);
    });
}

#[test]
fn mutated_packages_are_survived() {
    if !is_bounded("mutated_packages_are_survived") {
        return;
    }
    let directory = scratch();
    let (base, _) = packages(directory.path());
    let good = fs::read(base).unwrap();
    let path = directory.path().join("x.deb");
    let mut random = Mutations::new("packages");
    repeat("packages", |number| {
        let mut bytes = good.clone();
        random.damage(&mut bytes);
        fix_checksums(&mut bytes);
        fs::write(&path, bytes).unwrap();
        let out = directory.path().join(format!("layer{number}"));
        let sources = json!([{"kind": "debian", "packages": [path]}]);
        match crateyard_image::layer::make(&layer_spec(sources, "none"), &out, 1) {
            Ok(record) => {
                let tar = layer_tar(&out, &record);
                let mut reader = crateyard_oci::tar::Reader::new(&tar[..]);
                while let Some(entry) = reader.next_entry().unwrap() {
                    let path = String::from_utf8(entry.path).unwrap();
                    assert!(!path.starts_with('/') && !path.split('/').any(|part| part == ".."));
                }
            }
            Err(error) => assert!(
                error.to_string().contains("x.deb") || error.to_string().contains("Debian package"),
                "{error}"
            ),
        }
    });
}

#[test]
fn headers_that_never_end_are_refused() {
    // An endless stream of extended headers, each of which is fine by itself.
    let mut builder = tar::Builder::new(Vec::new());
    let record = b"28 SCHILY.xattr.user.a=bcde\n";
    let header = raw_header(
        b"x",
        tar::EntryType::XHeader,
        0o644,
        "",
        record.len() as u64,
    );
    builder.append(&header, &record[..]).unwrap();
    let mut one = builder.into_inner().unwrap();
    one.truncate(1024);
    struct Endless(Vec<u8>, usize);
    impl Read for Endless {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            let rest = &self.0[self.1..];
            let read = rest.len().min(buffer.len());
            buffer[..read].copy_from_slice(&rest[..read]);
            self.1 = (self.1 + read) % self.0.len();
            Ok(read)
        }
    }
    let mut reader = crateyard_oci::tar::Reader::new(Endless(one, 0));
    let error = reader.next_entry().unwrap_err();
    assert!(error.to_string().contains("extended headers"), "{error}");
}
