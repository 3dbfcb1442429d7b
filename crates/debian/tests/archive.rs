//! Indexes of an archive with its own key: which are accepted, and which are refused.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use common::{Archive, NEEDED, Package, absent, skipped};
use crateyard_debian::apt::{
    IndexOptions, Indexes, Mirrors, download, download_directory, read_indexes,
};
use crateyard_debian::keys::Keys;
use crateyard_debian::lock::Suite;
use crateyard_debian::release::Release;

mod common;

const PACKAGES: &[Package<'_>] = &[
    Package {
        name: "a",
        version: "1:2~rc1-3",
        architecture: "amd64",
        fields: "Depends: b\n",
    },
    Package {
        name: "b",
        version: "1",
        architecture: "all",
        fields: "",
    },
];

fn archive(test: &str) -> Option<Archive> {
    match absent(NEEDED) {
        Some(program) => {
            skipped(test, &format!("there is no {program}"));
            None
        }
        None => Some(Archive::new(PACKAGES)),
    }
}

fn suites(name: &str) -> [Suite; 1] {
    [Suite {
        name: name.to_owned(),
        archive: "debian".to_owned(),
        components: vec!["main".to_owned()],
        url: None,
    }]
}

fn read(
    archive: &Archive,
    suite: &str,
    keyring: &Path,
    allow_stale: bool,
) -> Result<Indexes, String> {
    let mut mirrors = Mirrors::default();
    mirrors.add("debian", &archive.mirror());
    let options = IndexOptions {
        suites: &suites(suite),
        architectures: &["amd64".to_owned(), "arm64".to_owned()],
        keys: &Keys::read(keyring).map_err(|error| error.to_string())?,
        sources: &BTreeMap::new(),
        allow_stale,
    };
    read_indexes(&mirrors, &options).map_err(|error| error.to_string())
}

#[test]
fn signed_indexes_are_read_for_every_architecture() {
    let Some(archive) = archive("signed_indexes_are_read_for_every_architecture") else {
        return;
    };
    let indexes = read(&archive, "bookworm", &archive.keyring(), false).expect("indexes");
    let keys: Vec<String> = indexes
        .packages
        .iter()
        .map(|package| package.key())
        .collect();
    assert_eq!(keys, ["a:amd64", "b:all", "b:all"]);
    assert_eq!(indexes.date.timestamp(), "20260711T101637Z");
}

#[test]
fn a_release_file_that_was_changed_is_refused() {
    let Some(archive) = archive("a_release_file_that_was_changed_is_refused") else {
        return;
    };
    let path = archive.dist("InRelease");
    let text = fs::read_to_string(&path).expect("the release file");
    fs::write(&path, text.replace("Origin: Debian", "Origin: debian")).expect("changed");
    let error = Release::open(&path, &archive.keys())
        .expect_err("a bad signature")
        .to_string();
    assert!(
        error.contains("InRelease: no valid signature by a key of"),
        "{error}"
    );
    assert!(error.contains("BAD signature"), "{error}");
    let error = read(&archive, "bookworm", &archive.keyring(), false).expect_err("a bad signature");
    assert!(error.contains("signature"), "{error}");
}

#[test]
fn a_text_around_the_signed_one_is_not_believed() {
    let Some(archive) = archive("a_text_around_the_signed_one_is_not_believed") else {
        return;
    };
    let path = archive.dist("InRelease");
    let text = fs::read_to_string(&path).expect("the release file");
    for changed in [
        format!("Suite: evil\nCodename: evil\n\n{text}"),
        format!("{text}\nSuite: evil\n"),
    ] {
        fs::write(&path, changed).expect("changed");
        match Release::open(&path, &archive.keys()) {
            Ok(release) => assert_eq!(release.names, ["bookworm", "stable"]),
            Err(error) => assert!(error.to_string().contains("no valid signature"), "{error}"),
        }
    }
}

#[test]
fn an_unsigned_release_file_is_refused() {
    let Some(archive) = archive("an_unsigned_release_file_is_refused") else {
        return;
    };
    let path = archive.dist("InRelease");
    fs::write(
        &path,
        "Suite: stable\nDate: Sat, 11 Jul 2026 10:16:37 UTC\nSHA256:\n",
    )
    .expect("changed");
    let error = Release::open(&path, &archive.keys())
        .expect_err("no signature")
        .to_string();
    assert!(error.contains("no valid signature"), "{error}");
}

#[test]
fn a_signature_by_another_key_is_refused() {
    let Some(archive) = archive("a_signature_by_another_key_is_refused") else {
        return;
    };
    let other = Archive::new(&[]);
    let error = Release::open(&archive.dist("InRelease"), &other.keys())
        .expect_err("another key")
        .to_string();
    assert!(error.contains("No public key"), "{error}");
    let error = read(&archive, "bookworm", &other.keyring(), false).expect_err("another key");
    assert!(error.contains("NO_PUBKEY"), "{error}");
    let error =
        read(&archive, "bookworm", Path::new("/nowhere.gpg"), false).expect_err("no keyring");
    assert!(
        error.contains("the keyring /nowhere.gpg does not exist"),
        "{error}"
    );
}

#[test]
fn an_index_that_was_changed_is_refused() {
    let Some(archive) = archive("an_index_that_was_changed_is_refused") else {
        return;
    };
    let name = "main/binary-amd64/Packages";
    let path = archive.dist(name);
    let release = Release::open(&archive.dist("InRelease"), &archive.keys()).expect("a release");
    let text = fs::read_to_string(&path).expect("the index");
    fs::write(&path, text.replacen("Depends: b", "Depends: c", 1)).expect("changed");
    let error = release
        .read_index(&path, name)
        .expect_err("another hash")
        .to_string();
    assert!(
        error.contains("does not match the signed release file: SHA-256"),
        "{error}"
    );
    fs::write(&path, text + "\n").expect("changed");
    let error = release
        .read_index(&path, name)
        .expect_err("another size")
        .to_string();
    assert!(error.contains("release file: size"), "{error}");
    let error = release
        .read_index(&path, "main/binary-s390x/Packages")
        .expect_err("not listed")
        .to_string();
    assert!(
        error.contains("lists no `main/binary-s390x/Packages`"),
        "{error}"
    );
    let error = read(&archive, "bookworm", &archive.keyring(), false).expect_err("another hash");
    assert!(error.contains("apt-get update failed"), "{error}");
}

#[test]
fn a_suite_under_another_name_is_refused() {
    let Some(archive) = archive("a_suite_under_another_name_is_refused") else {
        return;
    };
    let dists = archive.root().join("dists");
    std::os::unix::fs::symlink("bookworm", dists.join("trixie")).expect("a link");
    let error = read(&archive, "trixie", &archive.keyring(), false).expect_err("another suite");
    assert!(
        error.contains("is the release file of bookworm, stable, not of trixie"),
        "{error}"
    );
}

#[test]
fn a_release_file_whose_time_has_run_out_is_refused() {
    let Some(mut archive) = archive("a_release_file_whose_time_has_run_out_is_refused") else {
        return;
    };
    archive.sign_with("Valid-Until: Sun, 12 Jul 2020 10:16:37 UTC\n");
    let path = archive.dist("InRelease");
    let release = Release::open(&path, &archive.keys()).expect("a release");
    let error = release
        .check(&path, "bookworm", release.date, false)
        .expect_err("stale")
        .to_string();
    assert!(
        error.contains("expired: it was valid until 2020-07-12 10:16 UTC"),
        "{error}"
    );
    assert!(read(&archive, "bookworm", &archive.keyring(), true).is_ok());
}

#[test]
fn downloads_are_checked_and_other_mirrors_asked() {
    let Some(archive) = archive("downloads_are_checked_and_other_mirrors_asked") else {
        return;
    };
    let damaged = Archive::new(PACKAGES);
    fs::write(damaged.root().join("pool/main/b/b_1_all.deb"), "not it").expect("damaged");
    let indexes = read(&archive, "bookworm", &archive.keyring(), false).expect("indexes");
    let directory = download_directory().expect("a directory");
    let mut files: Vec<_> = indexes.packages[..2]
        .iter()
        .map(|package| crateyard_debian::apt::Download {
            archive: "debian".to_owned(),
            path: package.path.clone(),
            to: directory.path().join(&package.name),
            sha256: package.sha256.clone(),
            size: package.size,
        })
        .collect();
    files.push(crateyard_debian::apt::Download {
        path: "pool/main/gone_1_all.deb".to_owned(),
        to: directory.path().join("gone"),
        ..files[1].clone()
    });
    let mut mirrors = Mirrors::default();
    mirrors.add("debian", &damaged.mirror());
    mirrors.add("debian", &archive.mirror());
    let missing = download(&mirrors, &files, |_| ()).expect("downloads");
    assert_eq!(missing.keys().collect::<Vec<_>>(), [&2], "{missing:?}");
    assert!(missing[&2].contains(": File not found"), "{missing:?}");
    assert_eq!(
        fs::read_to_string(&files[1].to).expect("b"),
        "the package b 1 all\n"
    );
}
