//! Packages that `dpkg-deb` built, whole and damaged.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;

use crateyard_debian::control::Stanza;
use crateyard_unpack::deb::DebReader;

const CONTROL: &str = "Package: thing\nVersion: 1\nArchitecture: all\nMaintainer: nobody \
                       <nobody@test.example>\nDepends: a,\n b | c\nDescription: a thing\n of no \
                       use\n";

/// A package with a file of three megabytes that compress badly, built in a temporary directory.
struct Case {
    directory: tempfile::TempDir,
}

impl Case {
    fn new(test: &str) -> Option<Self> {
        if Command::new("dpkg-deb").arg("--version").output().is_err() {
            eprintln!("SKIPPED: {test}: there is no dpkg-deb");
            return None;
        }
        let directory = tempfile::tempdir().expect("a directory");
        let tree = directory.path().join("tree");
        fs::create_dir_all(tree.join("DEBIAN")).expect("a directory");
        fs::create_dir_all(tree.join("usr/share/thing")).expect("a directory");
        fs::write(tree.join("DEBIAN/control"), CONTROL).expect("a file");
        fs::write(tree.join("DEBIAN/conffiles"), "").expect("a file");
        fs::write(tree.join("usr/share/thing/noise"), noise()).expect("a file");
        Some(Case { directory })
    }

    fn build(&self, compression: &str) -> PathBuf {
        let path = self.directory.path().join(format!("{compression}.deb"));
        let mut command = Command::new("dpkg-deb");
        command
            .arg(format!("-Z{compression}"))
            .args(["--root-owner-group", "--build"]);
        let output = command
            .arg(self.directory.path().join("tree"))
            .arg(&path)
            .output()
            .expect("dpkg-deb");
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        path
    }
}

fn noise() -> Vec<u8> {
    let mut state = 1_u64;
    let mut next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as u8
    };
    (0..3_000_001).map(|_| next()).collect()
}

fn data_of(path: &Path) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let mut data = DebReader::open(path)
        .map_err(|error| error.to_string())?
        .into_data();
    data.read_to_end(&mut bytes)
        .map_err(|error| error.to_string())?;
    Ok(bytes)
}

fn oracle_data(path: &Path) -> Vec<u8> {
    Command::new("dpkg-deb")
        .arg("--fsys-tarfile")
        .arg(path)
        .output()
        .expect("dpkg-deb")
        .stdout
}

#[test]
fn every_compression_gives_the_same_package() {
    let Some(case) = Case::new("every_compression_gives_the_same_package") else {
        return;
    };
    for compression in ["none", "gzip", "xz", "zstd"] {
        let path = case.build(compression);
        let deb = DebReader::open(&path).expect(compression);
        assert_eq!(deb.control().expect("control"), CONTROL);
        assert_eq!(deb.required_field("Package").expect("a name"), "thing");
        assert_eq!(
            Stanza::whole(deb.control().expect("control")).get("depends"),
            Some("a,\n b | c")
        );
        assert!(deb.control_files().contains_key("conffiles"));
        let error = deb
            .required_field("Essential")
            .expect_err("no such field")
            .to_string();
        assert_eq!(
            error,
            "damaged package: its file `control` has no field `Essential`"
        );
        assert!(
            data_of(&path).expect(compression) == oracle_data(&path),
            "{compression}: another tar"
        );
    }
}

#[test]
fn a_package_cut_short_is_an_error_wherever_the_cut_is() {
    let Some(case) = Case::new("a_package_cut_short_is_an_error_wherever_the_cut_is") else {
        return;
    };
    for compression in ["none", "gzip", "xz", "zstd"] {
        let path = case.build(compression);
        let whole = fs::read(&path).expect("a package");
        for length in [0, 7, 30, 69, 100, 200, whole.len() / 2, whole.len() - 10] {
            fs::write(&path, &whole[..length]).expect("cut");
            assert!(
                data_of(&path).is_err(),
                "{compression}: {length} of {} bytes",
                whole.len()
            );
        }
    }
}

#[test]
fn a_changed_byte_is_found_by_the_checksum() {
    let Some(case) = Case::new("a_changed_byte_is_found_by_the_checksum") else {
        return;
    };
    for compression in ["gzip", "xz"] {
        let path = case.build(compression);
        let mut bytes = fs::read(&path).expect("a package");
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(&path, bytes).expect("changed");
        assert!(data_of(&path).is_err(), "{compression}");
    }
}

#[test]
fn what_is_no_package_is_told() {
    let Some(case) = Case::new("what_is_no_package_is_told") else {
        return;
    };
    let path = case.build("xz");
    let whole = fs::read(&path).expect("a package");
    let changed = |from: &str, to: &str| {
        let place = whole
            .windows(from.len())
            .position(|window| window == from.as_bytes())
            .expect(from);
        let mut bytes = whole.clone();
        bytes[place..place + to.len()].copy_from_slice(to.as_bytes());
        fs::write(&path, bytes).expect("changed");
        data_of(&path).expect_err(to)
    };
    for (from, to, expected) in [
        (
            "!<arch>",
            "?<arch>",
            "damaged package: it does not begin with `!<arch>`",
        ),
        (
            "debian-binary",
            "debian_binary",
            "damaged package: its first part is `debian_binary`, not `debian-binary`",
        ),
        (
            "2.0\n",
            "3.0\n",
            "damaged package: format version `3.0`, not 2",
        ),
        (
            "control.tar.xz",
            "kontrol.tar.xz",
            "damaged package: found `kontrol.tar.xz`, expected `control.tar`",
        ),
        (
            "data.tar.xz",
            "data.tar.bz",
            "damaged package: the compression of `data.tar.bz` is none of .gz, .xz, .zst",
        ),
    ] {
        assert_eq!(changed(from, to), expected);
    }
    let error = data_of(Path::new("/nowhere.deb")).expect_err("no file");
    assert!(error.starts_with("/nowhere.deb: "), "{error}");
}

#[test]
fn parts_of_other_programs_are_passed_over() {
    let Some(case) = Case::new("parts_of_other_programs_are_passed_over") else {
        return;
    };
    let path = case.build("gzip");
    let whole = fs::read(&path).expect("a package");
    let expected = oracle_data(&path);
    // The archive begins with 8 bytes of magic. The first part has a header of 60 bytes and 4 bytes
    // of content.
    let (head, tail) = whole.split_at(8 + 60 + 4);
    let extra = format!(
        "{:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`\nabc\n",
        "_extra", 0, 0, 0, 644, 3
    );
    fs::write(&path, [head, extra.as_bytes(), tail].concat()).expect("changed");
    assert!(data_of(&path).expect("a package") == expected);
}
