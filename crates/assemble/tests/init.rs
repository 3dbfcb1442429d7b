//! Tests what `assemble init` prints in a repository.
#![allow(missing_docs)]

use std::fs;
use std::path::Path;
use std::process::Command;

/// Makes a workspace with one program in a new repository.
fn workspace() -> tempfile::TempDir {
    let place = tempfile::tempdir().unwrap();
    let write = |path: &str, text: &str| fs::write(place.path().join(path), text).unwrap();
    fs::create_dir(place.path().join("src")).unwrap();
    let manifest = "[package]\nname = \"a\"\nversion = \"0.1.0\"\nedition = \"2021\"\n";
    write("Cargo.toml", manifest);
    write("src/main.rs", "fn main() {}\n");
    let git = Command::new("git")
        .args(["init", "--quiet"])
        .current_dir(place.path())
        .status();
    assert!(git.unwrap().success());
    place
}

fn init(workspace: &Path, arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_assemble"))
        .arg("init")
        .args(arguments)
        .current_dir(workspace)
        .env("XDG_STATE_HOME", workspace.join("state"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    String::from_utf8(output.stdout).unwrap()
}

/// Nix makes git know the name of flake.lock alone, and a commit would leave it out.
#[test]
fn the_lock_of_the_flake_is_added_once_fetch_has_written_it() {
    let place = workspace();
    let said = init(place.path(), &[]);
    let end = "\n  assemble fetch\n  git add flake.lock\n  assemble build a\n";
    assert!(said.ends_with(end), "{said}");
    fs::write(place.path().join("flake.lock"), "{}").unwrap();
    let git = Command::new("git")
        .args(["add", "flake.lock"])
        .current_dir(place.path())
        .status();
    assert!(git.unwrap().success());
    let said = init(place.path(), &[]);
    assert!(!said.contains("flake.lock"), "{said}");
}

#[test]
fn an_address_that_an_existing_flake_does_not_take_is_named() {
    let place = workspace();
    let url = "github:other/crateyard";
    let said = init(place.path(), &["--crateyard", url]);
    assert!(said.contains("wrote flake.nix"), "{said}");
    let said = init(place.path(), &["--crateyard", url]);
    assert!(!said.contains(url), "the flake has it: {said}");
    let said = init(place.path(), &["--crateyard", "github:third/crateyard"]);
    let cure = "set inputs.crateyard.url = \"github:third/crateyard\"; in it";
    assert!(said.contains(cure), "{said}");
}
