//! Directories that others could write to.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use crateyard_disk::Directory;
use rustix::fs::{FileType, Mode};

/// Makes a directory, and beside it files that nobody may touch.
fn scene() -> (tempfile::TempDir, Directory, PathBuf) {
    let scene = tempfile::tempdir().unwrap();
    let other = scene.path().join("other");
    fs::create_dir_all(other.join("inner")).unwrap();
    fs::write(other.join("letter"), "mine").unwrap();
    let directory = Directory::create(&scene.path().join("ours")).unwrap();
    (scene, directory, other)
}

#[test]
fn links_are_followed_neither_on_the_way_nor_at_the_end() {
    let (_scene, ours, other) = scene();
    symlink(&other, ours.path().join("away")).unwrap();
    symlink(other.join("letter"), ours.path().join("letter")).unwrap();
    symlink(other.join("new"), ours.path().join("lock")).unwrap();
    let refused = |result: io::Result<()>| {
        let error = result.unwrap_err().to_string();
        assert!(error.contains("symbolic link"), "{error}");
    };
    refused(ours.directory("away").map(drop));
    refused(ours.make_directory("away/inner").map(drop));
    refused(ours.read("away/letter", 10).map(drop));
    refused(ours.read("letter", 10).map(drop));
    refused(ours.write("away/letter", b"theirs"));
    refused(ours.touch("letter").map(drop));
    refused(ours.lock("letter").map(drop));
    refused(ours.lock("lock").map(drop));
    assert!(ours.files().unwrap().is_empty());
    // Replacing or removing a link leaves its target alone.
    ours.write("letter", b"ours").unwrap();
    ours.remove_all("away").unwrap();
    ours.remove_file("lock").unwrap();
    assert_eq!(fs::read(other.join("letter")).unwrap(), b"mine");
    assert_eq!(
        ours.read("letter", 10).unwrap().as_deref(),
        Some(&b"ours"[..])
    );
    assert!(other.join("inner").is_dir() && !other.join("new").exists());
}

#[test]
fn all_of_a_tree_is_removed_and_nothing_that_it_links_to() {
    let (_scene, ours, other) = scene();
    ours.write("a/b/c", b"").unwrap();
    symlink(&other, ours.path().join("a/b/away")).unwrap();
    ours.remove_all("a").unwrap();
    ours.remove_all("a").unwrap();
    assert!(ours.names().unwrap().is_empty());
    assert!(other.join("letter").exists());
}

#[test]
fn what_cannot_get_its_name_leaves_nothing() {
    let (_scene, ours, other) = scene();
    ours.write("a/b", b"").unwrap();
    assert!(ours.link("a", &other).is_err(), "a directory is there");
    assert!(ours.write("a", b"").is_err(), "a directory is there");
    assert_eq!(ours.names().unwrap(), ["a"]);
}

#[test]
fn a_path_does_not_lead_up() {
    let (_scene, ours, _) = scene();
    for path in ["../other/letter", "/etc/hostname", "..", "", "a/../../x"] {
        assert!(ours.read(path, 10).is_err(), "{path}");
        assert!(ours.write(path, b"").is_err(), "{path}");
    }
    assert!(ours.remove_all("../other").is_err());
    assert!(ours.rename("a/b", "c").is_err());
}

#[test]
fn what_is_no_file_is_not_waited_for_and_what_is_large_is_not_read() {
    let (_scene, ours, _) = scene();
    let pipe = ours.path().join("pipe");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &pipe,
        FileType::Fifo,
        Mode::from_raw_mode(0o600),
        0,
    )
    .unwrap();
    assert!(ours.read("pipe", 10).is_err());
    assert!(ours.lock("pipe").is_err());
    ours.write("large", &[0; 11]).unwrap();
    assert!(ours.read("large", 10).is_err());
    assert_eq!(ours.read("large", 11).unwrap().unwrap().len(), 11);
}

#[test]
fn a_lock_is_held_once_and_keeps_its_file() {
    let (_scene, ours, _) = scene();
    ours.write("lock", b"text").unwrap();
    let held = ours.try_lock("lock").unwrap();
    assert!(held.is_some() && ours.try_lock("lock").unwrap().is_none());
    drop(held);
    assert!(ours.try_lock("lock").unwrap().is_some());
    assert_eq!(
        ours.read("lock", 10).unwrap().as_deref(),
        Some(&b"text"[..])
    );
}
