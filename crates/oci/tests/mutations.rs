//! Ten thousand mutated inputs for each reader: an answer or an error, never a panic, and little memory.
//!
//! The seed is fixed, so a failure comes back.

use std::io::Read;
use std::path::Path;

use crateyard_oci::{
    Descriptor, Digest, Document, ImageConfig, ImageName, Index, Layout, Manifest, Platform,
    Reference, media_type, tar, to_bytes,
};
use serde_json::json;

const MUTATIONS: usize = 10_000;
/// The most memory that this process may ever have in use, in KiB.
const MEMORY: u64 = 256 << 10;

/// Changes some bytes, or cuts, repeats or removes a piece.
fn mutate(random: &mut fastrand::Rng, bytes: &mut Vec<u8>) {
    const PIECES: [&[u8]; 10] = [
        b"\0",
        b"\xff",
        b"..",
        b"/",
        b"-1",
        b"18446744073709551615",
        b"null",
        b"\"",
        b"{}",
        b"[",
    ];
    for _ in 0..random.usize(1..4) {
        let at = random.usize(..=bytes.len());
        let end = (at + random.usize(1..64)).min(bytes.len());
        match random.u8(..5) {
            0 if at < bytes.len() => bytes[at] ^= 1 << random.u8(..8),
            1 => drop(bytes.drain(at..end)),
            2 => {
                let piece = bytes[at..end].to_vec();
                bytes.splice(at..at, piece);
            }
            3 => bytes.truncate(at),
            _ => {
                let piece = PIECES[random.usize(..PIECES.len())];
                bytes.splice(at..at, piece.iter().copied());
            }
        }
    }
}

/// Hands mutations of `seeds` to `read`, which says whether it understood.
fn survive(seeds: &[Vec<u8>], mut read: impl FnMut(&[u8]) -> bool) {
    let mut random = fastrand::Rng::with_seed(11);
    let mut understood = 0;
    for seed in seeds {
        assert!(read(seed), "a seed is not understood");
    }
    for number in 0..MUTATIONS {
        let mut bytes = seeds[number % seeds.len()].clone();
        mutate(&mut random, &mut bytes);
        understood += usize::from(read(&bytes));
    }
    assert!(understood > 100, "the mutations destroy too much");
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let peak: u64 = peak
        .unwrap()
        .trim()
        .trim_end_matches(" kB")
        .parse()
        .unwrap();
    assert!(peak < MEMORY, "{peak} KiB");
}

fn descriptor() -> Descriptor {
    let mut descriptor = Descriptor::of(media_type::LAYER, b"layer");
    descriptor.platform = Some("linux/arm/v7".parse().unwrap());
    descriptor.annotations.insert("key".into(), "value".into());
    descriptor
}

fn config() -> serde_json::Value {
    json!({"architecture": "amd64", "os": "linux", "config": {"Env": ["A=1"], "ExposedPorts": {"80/tcp": {}}},
        "rootfs": {"type": "layers", "diff_ids": [Digest::of(b"layer")]}, "history": [{"created_by": "test"}]})
}

#[test]
fn descriptors_manifests_and_indexes() {
    let config = Descriptor::of(media_type::CONFIG, b"{}");
    let manifest = to_bytes(&Manifest::new(config, vec![descriptor()])).unwrap();
    let index = to_bytes(&Index::new(vec![descriptor(), descriptor()])).unwrap();
    survive(&[to_bytes(&descriptor()).unwrap()], |bytes| {
        serde_json::from_slice::<Descriptor>(bytes).is_ok()
    });
    survive(&[manifest, index], |bytes| {
        let copy = bytes.to_vec().into();
        Document::parse(copy, Digest::of(bytes), None).is_ok()
    });
    survive(&[config_bytes()], |bytes| {
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
    survive(&seeds, |bytes| {
        let text = String::from_utf8_lossy(bytes);
        let _ = text.parse::<ImageName>();
        let _ = text.parse::<Platform>();
        // What is understood is written so that it is understood again.
        text.parse::<Reference>().is_ok_and(|reference| {
            assert_eq!(reference.to_string().parse(), Ok(reference));
            true
        })
    });
}

/// A tar stream of several entries, by the tar crate.
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

/// Sets the checksum of every block that looks like a header right, so that what was mutated is read.
fn fix_checksums(bytes: &mut [u8]) {
    for block in bytes.chunks_exact_mut(512) {
        if &block[257..262] == b"ustar" {
            block[148..156].fill(b' ');
            let sum: u32 = block.iter().map(|&byte| u32::from(byte)).sum();
            block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        }
    }
}

#[test]
fn tar_streams() {
    let long = "long/".repeat(60);
    let seed = tar_stream(&[("a", b"content"), (&long, b""), ("b/c", &[7; 600])]);
    survive(&[seed], |bytes| {
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
    // Many small files: in memory where the machine lets us.
    let memory = Path::new("/dev/shm");
    let place = if memory.is_dir() {
        memory.to_owned()
    } else {
        std::env::temp_dir()
    };
    let directory = tempfile::tempdir_in(place).unwrap();
    let path = directory.path().join("archive.tar");
    survive(&[seed], |bytes| {
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
