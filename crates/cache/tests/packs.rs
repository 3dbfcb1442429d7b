//! Packs of real paths from a real store.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crateyard_cache::Retention;
use crateyard_cache::packs::{Build, PackDirectory, PackIndex, PackWriter, Packs};
use crateyard_nix::{Registered, SecretKey, Store, StorePath};
use tempfile::TempDir;

/// A size of packs so small that each path gets its own pack.
const SMALL: u64 = 1;
const LARGE: u64 = 1 << 30;

/// A store in a temporary directory, with two files and a tree.
struct Parts {
    directory: TempDir,
    store: Store,
    paths: Vec<StorePath>,
    key: SecretKey,
}

/// Makes the store. `None` if Nix is missing.
fn parts(test: &str) -> Option<Parts> {
    if Command::new("nix-store").arg("--version").output().is_err() {
        eprintln!("SKIPPED: {test}: Nix is not installed");
        return None;
    }
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path().join("store");
    let tree = directory.path().join("tree");
    std::fs::create_dir_all(tree.join("empty")).unwrap();
    std::fs::write(tree.join("a file"), "12345678").unwrap();
    std::os::unix::fs::symlink("a file", tree.join("link")).unwrap();
    let script = tree.join("run");
    std::fs::write(&script, "#!/bin/sh\n").unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&script, mode).unwrap();
    let file = |name: &str| {
        let path = directory.path().join(name);
        std::fs::write(&path, name.repeat(1000)).unwrap();
        path
    };
    let sources = [file("one"), file("two"), tree];
    let paths = sources.iter().map(|source| add(&place, source)).collect();
    let url = place.to_string_lossy().into_owned();
    Some(Parts {
        store: Store::new(Some(url)),
        directory,
        paths,
        key: key(),
    })
}

fn add(store: &Path, source: &Path) -> StorePath {
    let output = Command::new("nix-store")
        .arg("--store")
        .arg(store)
        .arg("--add")
        .arg(source)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout)
        .unwrap()
        .trim()
        .parse()
        .unwrap()
}

fn key() -> SecretKey {
    let output = Command::new("nix")
        .args(["--extra-experimental-features", "nix-command"])
        .args(["key", "generate-secret", "--key-name", "test-1"])
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap().parse().unwrap()
}

impl Parts {
    fn registered(&self) -> Vec<Registered> {
        let paths: BTreeSet<StorePath> = self.paths.iter().cloned().collect();
        self.store.registered(&paths).unwrap()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Packs of all paths, in a directory.
    fn packs(&self, name: &str, size: u64) -> PackDirectory {
        let directory = PackDirectory::new(&self.path(name));
        let _lock = directory.lock().unwrap();
        let mut writer = PackWriter::new(&directory.blobs(), size);
        for each in self.registered() {
            writer.add(&self.store, &each, &self.key).unwrap();
        }
        let mut index = PackIndex::default();
        let paths = self.paths.iter().cloned().collect();
        index.add(writer.finish().unwrap(), "all", Build { pushed: 0, paths });
        directory.commit(&index).unwrap();
        directory
    }
}

fn open(directory: &PackDirectory) -> Packs {
    Packs::open_directory(directory.clone()).unwrap().unwrap()
}

#[test]
fn the_same_paths_give_the_same_packs() {
    let Some(parts) = parts("the_same_paths_give_the_same_packs") else {
        return;
    };
    let (one, other) = (
        parts.packs("one-dir", LARGE),
        parts.packs("other-dir", LARGE),
    );
    assert_eq!(one.index().unwrap(), other.index().unwrap());
    let index = one.index().unwrap().unwrap();
    assert_eq!(index.packs.len(), 1);
    assert_eq!(
        parts
            .packs("small", SMALL)
            .index()
            .unwrap()
            .unwrap()
            .packs
            .len(),
        3
    );

    // Each archive is at the index's offset, and each narinfo is signed.
    let mut packs = open(&one);
    let trusted = [parts.key.public()];
    assert_eq!(packs.trust(&trusted), 0);
    for path in &parts.paths {
        let info = packs.narinfo(path.hash()).unwrap().clone();
        let archive = crateyard_registry::run(packs.archive(&info.url))
            .unwrap()
            .unwrap();
        let mut bytes = Vec::new();
        let mut spooled = crateyard_registry::run(archive.spool()).unwrap();
        std::io::Read::read_to_end(&mut spooled, &mut bytes).unwrap();
        assert_eq!(crateyard_nix::Hash::of(&bytes), info.file_hash.unwrap());
    }
    assert_eq!(packs.trust(&[]), 3);
    assert!(packs.narinfo(parts.paths[0].hash()).is_none());
}

#[test]
fn what_the_store_did_not_register_is_not_packed() {
    let Some(parts) = parts("what_the_store_did_not_register_is_not_packed") else {
        return;
    };
    let first = &parts.registered()[0];
    let mut lying = first.clone();
    lying.nar_hash = crateyard_nix::Hash::of(b"something else");
    let mut writer = PackWriter::new(parts.directory.path(), LARGE);
    let error = writer.add(&parts.store, &lying, &parts.key).unwrap_err();
    assert!(error.to_string().contains("registered"), "{error}");
}

#[test]
fn collection_keeps_what_builds_reach_and_rewrites_thin_packs() {
    let Some(parts) = parts("collection_keeps_what_builds_reach_and_rewrites_thin_packs") else {
        return;
    };
    let directory = parts.packs("packs", LARGE);
    let mut index = directory.index().unwrap().unwrap();
    let paths = BTreeSet::from([parts.paths[0].clone()]);
    let pushed = crateyard_cache::now();
    index.add(Vec::new(), "young", Build { pushed, paths });
    directory.commit(&index).unwrap();
    let retention = |is_dry| Retention {
        age: Some(Duration::from_secs(3600)),
        keep: BTreeSet::new(),
        grace: Duration::ZERO,
        dry_run: is_dry,
    };
    let collect = |is_dry| {
        let lock = directory.lock().unwrap();
        let writer = PackWriter::new(&directory.blobs(), LARGE);
        let packs = open(&directory);
        let (index, collected) =
            crateyard_registry::run(packs.collect(&retention(is_dry), writer)).unwrap();
        if !is_dry {
            directory.commit(&index).unwrap();
            directory.sweep(&lock).unwrap();
        }
        collected
    };
    let foreseen = collect(true);
    assert_eq!((foreseen.builds.len(), foreseen.paths), (1, 2));
    assert_eq!(directory.index().unwrap().unwrap(), index);
    assert_eq!(collect(false).paths, 2);
    let packs = open(&directory);
    let info = packs.narinfo(parts.paths[0].hash()).unwrap();
    assert!(packs.narinfo(parts.paths[1].hash()).is_none());
    let archive = crateyard_registry::run(packs.archive(&info.url))
        .unwrap()
        .unwrap();
    assert_eq!(archive.size, info.download_size());
    assert_eq!(collect(false).paths, 0);
}

#[test]
fn what_another_key_signed_is_removed() {
    let Some(parts) = parts("what_another_key_signed_is_removed") else {
        return;
    };
    let mut index = parts.packs("packs", SMALL).index().unwrap().unwrap();
    assert_eq!(index.retain_signed(&[parts.key.public()]).unwrap(), 0);
    assert_eq!(index.paths().unwrap().len(), 3);
    assert_eq!(index.retain_signed(&[key().public()]).unwrap(), 3);
    assert!(index.packs.is_empty());
}

#[test]
fn damaged_packs_are_said() {
    let Some(parts) = parts("damaged_packs_are_said") else {
        return;
    };
    let directory = parts.packs("packs", LARGE);
    let index = directory.index().unwrap().unwrap();
    let config = directory.blobs().join(cache_digest(&index));
    std::fs::write(&config, b"{}").unwrap();
    let error = directory.index().unwrap_err().to_string();
    assert!(error.contains("other bytes"), "{error}");
    std::fs::write(&config, index.to_bytes()).unwrap();
    let pack = directory.blobs().join(index.packs[0].digest.hex());
    std::fs::remove_file(pack).unwrap();
    let packs = open(&directory);
    assert_eq!(crateyard_registry::run(packs.lost()).unwrap().len(), 1);
    let url = packs.narinfo(parts.paths[0].hash()).unwrap().url.clone();
    assert!(crateyard_registry::run(packs.archive(&url)).is_err());
}

fn cache_digest(index: &PackIndex) -> String {
    crateyard_oci::Digest::of(&index.to_bytes())
        .hex()
        .to_owned()
}

/// Others may write to a cache's directory, so a collection must not follow links and remove their
/// targets.
#[test]
fn a_collection_follows_no_link_and_empties_no_file() {
    let scene = tempfile::tempdir().unwrap();
    let letters = scene.path().join("letters");
    std::fs::create_dir(&letters).unwrap();
    let letter = letters.join("letter");
    std::fs::write(&letter, "mine").unwrap();
    let old = std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(1 << 30);
    let file = std::fs::File::open(&letter).unwrap();
    file.set_modified(old).unwrap();
    let retention = Retention {
        age: Some(Duration::from_secs(60)),
        keep: BTreeSet::new(),
        grace: Duration::ZERO,
        dry_run: false,
    };
    let place = |name: &str, link: &str, target: &Path| {
        let path = scene.path().join(name);
        let link = path.join(link);
        std::fs::create_dir_all(link.parent().unwrap()).unwrap();
        std::os::unix::fs::symlink(target, link).unwrap();
        path
    };
    for link in ["nar", "builds"] {
        let path = place(link, link, &letters);
        let error = crateyard_cache::Directory::new(&path)
            .collect(&retention)
            .unwrap_err();
        assert!(error.to_string().contains("symbolic link"), "{error}");
    }
    // A link among the files does not belong to the cache.
    let path = place("inner", "nar/letter", &letter);
    crateyard_cache::Directory::new(&path)
        .collect(&retention)
        .unwrap();
    for (name, link, target) in [
        ("blobs", "blobs", &letters),
        ("sha256", "blobs/sha256", &letters),
        ("lock", ".lock", &letter),
    ] {
        let path = place(name, link, target);
        let error = PackDirectory::new(&path).lock().map(drop).unwrap_err();
        assert!(error.to_string().contains("symbolic link"), "{error}");
    }
    assert_eq!(std::fs::read_to_string(&letter).unwrap(), "mine");
    assert_eq!(std::fs::read_dir(&letters).unwrap().count(), 1);
}

/// An index with too large packs, or with archives outside their pack, is refused before anything
/// is read.
#[test]
fn sizes_that_cannot_be_are_refused() {
    let narinfo = |size: u64| {
        format!(
            "StorePath: /nix/store/{0}-x\nURL: nar/x\nCompression: none\nFileHash: \
             sha256:{1}\nFileSize: {size}\nNarHash: sha256:{1}\nNarSize: {size}\nReferences: \n",
            "a".repeat(32),
            "0".repeat(52)
        )
    };
    let index = |pack: u64, offset: u64, size: u64| {
        let digest = crateyard_oci::Digest::of(b"").to_string();
        let entry = serde_json::json!({ "narinfo": narinfo(size), "offset": offset });
        let pack = serde_json::json!({ "digest": digest, "size": pack, "entries": [entry] });
        serde_json::json!({ "version": 1, "packs": [pack], "builds": {} }).to_string()
    };
    let paths = |text: String| PackIndex::parse(text.as_bytes(), "here")?.paths();
    assert_eq!(paths(index(1024, 512, 512)).unwrap().len(), 1);
    assert!(paths(index(1 << 40, 0, 1 << 40)).is_err());
    assert!(paths(index(1024, 513, 512)).is_err());
    assert!(paths(index(1024, u64::MAX, 512)).is_err());
}

/// A sparse file has a large size but costs nothing. It must not be read into memory.
#[test]
fn a_sparse_blob_is_not_read_into_memory() {
    let directory = tempfile::tempdir().unwrap();
    let packs = PackDirectory::new(directory.path());
    let lock = packs.lock().unwrap();
    packs.commit(&PackIndex::default()).unwrap();
    for blob in std::fs::read_dir(packs.blobs()).unwrap() {
        let file = std::fs::File::options()
            .write(true)
            .open(blob.unwrap().path());
        file.unwrap().set_len(1 << 40).unwrap();
    }
    let error = packs.index().unwrap_err();
    assert!(error.to_string().contains("1099511627776"), "{error}");
    drop(lock);
}
