//! Programs that contain the list of their crates. cargo auditable's own reader reads the list, and
//! the programs run.
#![allow(missing_docs)]

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use common::*;
use crateyard_image::auditable::{SECTION, is_same_program};
use crateyard_image::files::{Listing, Options};
use crateyard_oci::Layout;
use serde_json::{Value, json};
use tempfile::tempdir;

const CRATES_IO: &str = "registry+https://github.com/rust-lang/crates.io-index";

fn crates() -> Value {
    json!({"root": "app", "units": {
        "app": {"name": "app", "version": "0.1.0", "uses": ["serde"]},
        "serde": {"name": "serde", "version": "1.0.219", "source": CRATES_IO, "uses": ["core"]},
        "core": {"name": "serde_core", "version": "1.0.219", "source": CRATES_IO},
    }})
}

/// Returns the program's bytes in an image's layer.
fn in_a_layer(directory: &Path, program: &Path, name: &str) -> Vec<u8> {
    let path = |suffix: &str| directory.join(format!("{name}.{suffix}"));
    let source = json!({"kind": "file", "from": program, "to": "/app", "crates": crates()});
    make_layer(json!([source]), "zstd", &path("layer"), 1);
    let base = json!([{"kind": "text", "to": "/base", "text": ""}]);
    make_layer(base, "zstd", &path("base"), 1);
    crateyard_image::layout::make(&image_spec(&[&path("layer")], json!({})), &path("image"))
        .unwrap();
    let layout = Layout::open(&path("image")).unwrap();
    let image = layout.image(None, None).unwrap();
    let manifest = layout.manifest(&image.descriptor).unwrap();
    let listing = Listing::read(&layout, &manifest, &Options::default()).unwrap();
    let mut bytes = Vec::new();
    listing
        .copy_content(&layout, &manifest, "/app", &mut bytes)
        .unwrap();
    bytes
}

/// Compiles a program, and returns its path.
fn compile(directory: &Path, compiler: &str, name: &str, arguments: &[&str]) -> std::path::PathBuf {
    let source = directory.join("main.c");
    let text = "#include <stdio.h>\n_Thread_local int n = 7; int main(int c, char **v) { \
                printf(\"%d %s\\n\", n, v[c - 1]); return 3; }";
    fs::write(&source, text).unwrap();
    let program = directory.join(name);
    run(Command::new(compiler)
        .args(arguments)
        .arg(&source)
        .arg("-o")
        .arg(&program));
    program
}

/// Runs a program, and returns its output and exit code.
fn behaviour(runner: &[&str], program: &Path) -> (String, Option<i32>) {
    let mut words = runner.iter().map(|word| (*word).to_owned());
    let mut command = match words.next() {
        Some(first) => Command::new(first),
        None => Command::new(program),
    };
    command.args(words);
    if !runner.is_empty() {
        command.arg(program);
    }
    let output = command.arg("hello").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    (text, output.status.code())
}

fn check(compiler: &str, runner: &[&str], variants: &[(&str, &[&str])]) {
    let directory = tempdir().unwrap();
    for (name, arguments) in variants {
        let program = compile(directory.path(), compiler, name, arguments);
        let before = fs::read(&program).unwrap();
        let after = in_a_layer(directory.path(), &program, name);
        let listed = auditable_info::audit_info_from_slice(&after, 1 << 20).unwrap();
        let names: Vec<_> = listed.packages.iter().map(|it| it.name.as_str()).collect();
        assert_eq!(names, ["app", "serde", "serde_core"], "{name}");
        assert_eq!(listed.packages[0].dependencies, [1], "{name}");
        assert_eq!(listed.packages[1].dependencies, [2], "{name}");
        assert!(listed.packages[0].root);
        assert!(is_same_program(&before, &after), "{name}");
        assert_ne!(before, after);
        let again = directory.path().join(format!("{name}.again"));
        fs::write(&again, &after).unwrap();
        fs::set_permissions(&again, fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(behaviour(runner, &program), ("7 hello\n".into(), Some(3)));
        assert_eq!(behaviour(runner, &again), ("7 hello\n".into(), Some(3)));
        let sections = run(Command::new("readelf")
            .args(["--wide", "--sections"])
            .arg(&again));
        let sections = String::from_utf8(sections.stdout).unwrap();
        assert!(sections.contains(SECTION), "{sections}");
    }
}

#[test]
fn dynamic_static_and_stripped_programs_run_as_before() {
    let test = "dynamic_static_and_stripped_programs_run_as_before";
    if !has_tool(test, "cc") || !has_tool(test, "readelf") {
        return;
    }
    check(
        "cc",
        &[],
        &[
            ("dynamic", &[]),
            ("stripped", &["-s"]),
            ("static", &["-static"]),
            ("static-stripped", &["-static", "-s"]),
            ("debug", &["-g", "-static-pie"]),
        ],
    );
}

#[test]
fn programs_for_arm_run_as_before() {
    let test = "programs_for_arm_run_as_before";
    let tools = ["aarch64-linux-gnu-gcc", "qemu-aarch64-static", "readelf"];
    if !tools.iter().all(|tool| has_tool(test, tool)) {
        return;
    }
    let variants: [(&str, &[&str]); 2] =
        [("static", &["-static"]), ("stripped", &["-static", "-s"])];
    check(tools[0], &[tools[1]], &variants);
}
