//! The program as it is shipped: one small static file without traces of the machine that made it.
#![allow(missing_docs)]

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::{
    Entry, build, compressed, deb, fail, has, scratch, seed, seed_path, skipped, succeed, tar,
};

/// The largest seed, in bytes.
const MAX_SIZE: usize = 400 << 10;

/// Reads a 64-bit field of an ELF file.
fn word(elf: &[u8], at: usize) -> usize {
    u64::from_le_bytes(elf[at..at + 8].try_into().unwrap()) as usize
}

fn half(elf: &[u8], at: usize) -> usize {
    usize::from(u16::from_le_bytes(elf[at..at + 2].try_into().unwrap()))
}

/// Returns the types of the program headers.
fn segments(elf: &[u8]) -> Vec<u32> {
    let (start, size, count) = (word(elf, 32), half(elf, 54), half(elf, 56));
    (0..count)
        .map(|index| start + index * size)
        .map(|at| u32::from_le_bytes(elf[at..at + 4].try_into().unwrap()))
        .collect()
}

fn check_file(path: &Path) {
    let bytes = fs::read(path).unwrap();
    assert!(
        bytes.len() <= MAX_SIZE,
        "{} has {} bytes",
        path.display(),
        bytes.len()
    );
    assert_eq!(&bytes[..4], b"\x7fELF");
    let (dynamic, interpreter) = (2, 3);
    let segments = segments(&bytes);
    assert!(
        !segments.contains(&dynamic) && !segments.contains(&interpreter),
        "{segments:?}"
    );
    for path in [
        env!("CARGO_MANIFEST_DIR"),
        "crates/seed",
        "/registry/src/",
        "/target/",
    ] {
        let contained = bytes
            .windows(path.len())
            .any(|window| window == path.as_bytes());
        assert!(!contained, "the program holds {path}");
    }
}

#[test]
fn it_is_one_small_static_file_without_paths() {
    check_file(seed_path());
}

#[test]
fn it_says_what_it_is_and_how_it_is_used() {
    assert_eq!(
        succeed(seed().arg("--version")),
        format!("seed {}\n", env!("CARGO_PKG_VERSION"))
    );
    assert!(succeed(seed().arg("--help")).contains("seed unpack --into DIR"));
    assert!(fail(&mut seed(), 64).contains("--help"));
    assert!(fail(seed().arg("pack"), 64).contains("`pack`"));
    assert_eq!(
        succeed(seed().arg("--version").env_clear()),
        format!("seed {}\n", env!("CARGO_PKG_VERSION"))
    );
}

#[test]
fn it_unpacks_on_the_other_architecture() {
    let test = "it_unpacks_on_the_other_architecture";
    let emulator = "qemu-aarch64-static";
    if cfg!(target_arch = "aarch64") {
        return skipped(test, "this is the other architecture");
    }
    if !has(emulator) {
        return skipped(test, "there is no qemu-aarch64-static");
    }
    let given = std::env::var_os("SEED_BINARY_AARCH64").map(PathBuf::from);
    let Some(seed) = given.or_else(|| build("aarch64-unknown-linux-gnu")) else {
        return skipped(
            test,
            "the toolchain has no target aarch64-unknown-linux-gnu, or there is no ld.lld",
        );
    };
    check_file(&seed);
    // Sizes around the steps of the copying loops, and data that a wrong copy would spoil.
    let entries: Vec<Entry> = (0..80)
        .chain([511, 512, 513, 70_000, 300_000])
        .map(|size| {
            let data: Vec<u8> = (0..size).map(|n: usize| (n * n / 7 + size) as u8).collect();
            Entry::file(&format!("./usr/share/{size}"), &data)
        })
        .collect();
    let archive = tar(&entries);
    for (name, tool) in [
        ("data.tar.xz", "xz"),
        ("data.tar.gz", "gzip"),
        ("data.tar.zst", "zstd"),
        ("data.tar", "cat"),
    ] {
        if !has(tool) {
            skipped(test, &format!("there is no {tool}"));
            continue;
        }
        let directory = scratch();
        fs::write(
            directory.path().join("p.deb"),
            deb(name, &compressed(&[tool], &archive)),
        )
        .unwrap();
        let mut command = Command::new(emulator);
        succeed(
            command
                .current_dir(&directory)
                .arg(&seed)
                .args(["unpack", "--into", "root", "p.deb"]),
        );
        for entry in &entries {
            assert_eq!(
                fs::read(directory.path().join("root").join(entry.path())).unwrap(),
                entry.data(),
                "{name}"
            );
        }
    }
    assert_eq!(
        succeed(Command::new(emulator).arg(&seed).arg("--version")),
        succeed(common::seed().arg("--version"))
    );
}
