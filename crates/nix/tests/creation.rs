//! Tests the creation of stores with a real Nix.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use crateyard_nix::creation::create;

/// The number of threads that open a new store at once, and the number of rounds.
const THREADS: usize = 6;
const ROUNDS: usize = 10;

fn has_nix(test: &str) -> bool {
    let has_nix = Command::new("nix-store").arg("--version").output().is_ok();
    if !has_nix {
        eprintln!("SKIPPED: {test}: there is no nix-store");
    }
    has_nix
}

/// Opens a store as every command of Nix does.
fn open(root: &Path) -> Output {
    let mut command = Command::new("nix-store");
    command.arg("--store").arg(root).arg("--init");
    command.output().unwrap()
}

fn expect_sound(root: &Path) {
    let said = open(root).stderr;
    assert_eq!(String::from_utf8_lossy(&said), "");
    let state = root.join("nix/var/nix");
    let link = fs::read_link(state.join("gcroots/profiles")).unwrap();
    assert_eq!(link, state.join("profiles"));
    let left = fs::read_dir(root.join("nix/var")).unwrap().count();
    assert_eq!(
        left,
        1,
        "{:?} holds more than the state",
        root.join("nix/var")
    );
}

#[test]
fn many_at_once_create_one_store() {
    if !has_nix("many_at_once_create_one_store") {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    for round in 0..ROUNDS {
        let root = directory.path().join(round.to_string());
        let url = root.to_str().unwrap();
        std::thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(|| {
                    create(Some(url)).unwrap();
                    let said = open(&root).stderr;
                    assert_eq!(String::from_utf8_lossy(&said), "");
                });
            }
        });
        expect_sound(&root);
    }
}

/// Each state is one that a killed process of Nix leaves.
#[test]
fn a_store_that_is_half_there_is_completed() {
    if !has_nix("a_store_that_is_half_there_is_completed") {
        return;
    }
    let halves: [&[&str]; 4] = [
        &["nix/store/.links/"],
        &["nix/var/nix/profiles/", "nix/var/nix/gcroots/"],
        &["nix/var/nix/gcroots/", "nix/var/nix/db/schema"],
        &["nix/var/.nix-new-abc/nix/db/schema"],
    ];
    for half in halves {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        for name in half {
            let path = root.join(name);
            if name.ends_with('/') {
                fs::create_dir_all(path).unwrap();
            } else {
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, "").unwrap();
            }
        }
        create(root.to_str()).unwrap();
        expect_sound(root);
    }
}

#[test]
fn other_stores_are_left_to_nix() {
    create(Some("ssh-ng://builder.example")).unwrap();
    create(Some("daemon")).unwrap();
}
