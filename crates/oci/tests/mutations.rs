//! Ten thousand mutated inputs for each reader. Each gives an answer or an error, never a panic,
//! and takes little memory.
#![allow(missing_docs)]

use std::io::Read;
use std::path::Path;

use crateyard_oci::{
    Descriptor, Digest, Document, ImageConfig, ImageName, Index, Layout, Manifest, Platform,
    Reference, media_type, tar, to_bytes,
};
use crateyard_testing::mutations::{fix_checksums, survive};
use serde_json::json;

fn descriptor() -> Descriptor {
    let mut descriptor = Descriptor::of(media_type::LAYER, b"layer");
    descriptor.platform = Some("linux/arm/v7".parse().unwrap());
    descriptor.annotations.insert("key".into(), "value".into());
    descriptor
}

fn config() -> serde_json::Value {
    json!({"architecture": "amd64", "os": "linux",
        "config": {"Env": ["A=1"], "ExposedPorts": {"80/tcp": {}}},
        "rootfs": {"type": "layers", "diff_ids": [Digest::of(b"layer")]},
        "history": [{"created_by": "test"}]})
}

#[test]
fn descriptors_manifests_and_indexes() {
    let config = Descriptor::of(media_type::CONFIG, b"{}");
    let manifest = to_bytes(&Manifest::new(config, vec![descriptor()])).unwrap();
    let index = to_bytes(&Index::new(vec![descriptor(), descriptor()])).unwrap();
    survive(
        "descriptors",
        &[to_bytes(&descriptor()).unwrap()],
        |bytes| serde_json::from_slice::<Descriptor>(bytes).is_ok(),
    );
    survive("manifests and indexes", &[manifest, index], |bytes| {
        let copy = bytes.to_vec().into();
        Document::parse(copy, Digest::of(bytes), None).is_ok()
    });
    survive("configurations", &[config_bytes()], |bytes| {
        serde_json::from_slice::<ImageConfig>(bytes).is_ok()
    });
}

fn config_bytes() -> Vec<u8> {
    config().to_string().into_bytes()
}

#[test]
fn names() {
    let digest = Digest::of(b"");
    let seeds = [format!("[::1]:5000/a/b_c:t@{digest}"), "debian".to_owned()];
    let seeds = seeds.map(String::into_bytes);
    survive("names", &seeds, |bytes| {
        let text = String::from_utf8_lossy(bytes);
        let _ = text.parse::<ImageName>();
        let _ = text.parse::<Platform>();
        // An understood reference is written in a form that is understood again.
        text.parse::<Reference>().is_ok_and(|reference| {
            assert_eq!(reference.to_string().parse(), Ok(reference));
            true
        })
    });
}

/// Makes a tar stream of several entries, by the tar crate.
fn tar_stream(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut builder = ::tar::Builder::new(Vec::new());
    for (name, content) in entries {
        let mut header = ::tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        builder.append_data(&mut header, name, *content).unwrap();
    }
    builder.into_inner().unwrap()
}

#[test]
fn tar_streams() {
    let long = "long/".repeat(60);
    let seed = tar_stream(&[("a", b"content"), (&long, b""), ("b/c", &[7; 600])]);
    survive("tar streams", &[seed], |bytes| {
        let mut bytes = bytes.to_vec();
        fix_checksums(&mut bytes);
        let mut reader = tar::Reader::within(&bytes[..], &Default::default());
        loop {
            match reader.next_entry() {
                Ok(Some(_)) => drop(reader.by_ref().take(10).read_to_end(&mut Vec::new())),
                Ok(None) => return true,
                Err(_) => return false,
            }
        }
    });
}

#[test]
fn docker_archives() {
    let manifest =
        json!([{"Config": "c.json", "RepoTags": ["a:1"], "Layers": ["l.tar"]}]).to_string();
    let seed = tar_stream(&[
        ("manifest.json", manifest.as_bytes()),
        ("c.json", &config_bytes()),
        ("l.tar", b"layer"),
    ]);
    // There are many small files, so they are in memory if the machine allows it.
    let memory = Path::new("/dev/shm");
    let place = if memory.is_dir() {
        memory.to_owned()
    } else {
        std::env::temp_dir()
    };
    let directory = tempfile::tempdir_in(place).unwrap();
    let path = directory.path().join("archive.tar");
    survive("docker archives", &[seed], |bytes| {
        let mut bytes = bytes.to_vec();
        fix_checksums(&mut bytes);
        std::fs::write(&path, &bytes).unwrap();
        let Ok(layout) = Layout::open(&path) else {
            return false;
        };
        let image = layout.image(None, None);
        image.is_ok_and(|image| layout.manifest(&image.descriptor).is_ok())
    });
}
