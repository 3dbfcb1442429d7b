//! The program's output for a description that has every field.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crateyard_description::normal;

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/normalize")
}

fn description(directory: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_description"))
        .current_dir(directory)
        .args(arguments)
        .output()
        .unwrap()
}

fn normalized(out: &str) -> Output {
    let arguments = [
        "normalize",
        "images.toml",
        "--targets",
        "targets.json",
        "--source-list",
        "files.txt",
        "--out",
        out,
    ];
    description(&directory(), &arguments)
}

/// `UPDATE=1` writes the expected file. Read it before you commit it.
#[test]
fn everything_is_resolved() {
    let output = normalized("-");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    let said = String::from_utf8(output.stdout).unwrap();
    let expected = directory().join("description.json");
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&expected, &said).unwrap();
    }
    assert_eq!(said, fs::read_to_string(&expected).unwrap());
}

#[test]
fn what_is_written_can_be_read_back() {
    let text = fs::read_to_string(directory().join("description.json")).unwrap();
    let read: normal::Description = serde_json::from_str(&text).unwrap();
    assert_eq!(read.to_json(), text);
}

#[test]
fn the_output_is_whole_or_not_there() {
    let scratch = tempfile::tempdir().unwrap();
    let out = scratch.path().join("out.json");
    let output = normalized(out.to_str().unwrap());
    assert!(output.status.success());
    let expected = fs::read(directory().join("description.json")).unwrap();
    assert_eq!(fs::read(&out).unwrap(), expected);
    let names: Vec<_> = fs::read_dir(scratch.path()).unwrap().collect();
    assert_eq!(names.len(), 1, "{names:?}");

    let output = normalized(
        scratch
            .path()
            .join("no/such/directory.json")
            .to_str()
            .unwrap(),
    );
    assert_eq!(output.status.code(), Some(73));
}

#[test]
fn wrong_usage_and_missing_input_have_their_own_codes() {
    let here = directory();
    let code = |arguments: &[&str]| description(&here, arguments).status.code();
    assert_eq!(code(&[]), Some(64));
    assert_eq!(code(&["normalise", "images.toml"]), Some(64));
    assert_eq!(code(&["normalize", "images.toml", "--out", "-"]), Some(64));
    assert_eq!(code(&["check", "images.toml", "other.toml"]), Some(64));
    assert_eq!(code(&["check", "no-such.toml"]), Some(66));
    assert_eq!(
        code(&[
            "normalize",
            "images.toml",
            "--targets",
            "images.toml",
            "--out",
            "-"
        ]),
        Some(65)
    );
}

/// `check` looks for the sources on disk.
#[test]
fn check_looks_beside_the_file_or_where_it_is_told() {
    let here = directory();
    let output = description(&here, &["check", "images.toml"]);
    assert_eq!(output.status.code(), Some(65));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        said.contains("there is no `deploy/etc` in the workspace"),
        "{said}"
    );

    let root = tempfile::tempdir().unwrap();
    for file in fs::read_to_string(here.join("files.txt")).unwrap().lines() {
        let path = root.path().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "").unwrap();
    }
    let output = description(
        &here,
        &[
            "check",
            "images.toml",
            "--root",
            root.path().to_str().unwrap(),
        ],
    );
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    assert!(output.status.success());
}

/// The description of this workspace itself is valid.
#[test]
fn our_own_description_is_right() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let text = fs::read_to_string(root.join("images.toml")).unwrap();
    if let Err(problems) = crateyard_description::Description::parse(&text, "images.toml") {
        panic!("{problems}");
    }
}
