//! A full disk, a kill in the middle, a directory without write access: nothing incomplete ever has
//! the final name.
#![allow(missing_docs)]

mod common;

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use common::*;
use serde_json::json;
use tempfile::tempdir;

const IMAGE: &str = env!("CARGO_BIN_EXE_image");

/// Writes a specification of a layer with one large, incompressible file.
fn large_layer(directory: &Path, megabytes: usize) -> std::path::PathBuf {
    let mut random = Random(42);
    let noise: Vec<u8> = (0..megabytes << 17)
        .flat_map(|_| random.next().to_le_bytes())
        .collect();
    let big = directory.join("big");
    fs::write(&big, noise).unwrap();
    let spec = layer_spec(json!([{"kind": "file", "from": big, "to": "/big"}]), "gzip");
    let path = directory.join("spec.json");
    fs::write(&path, serde_json::to_string(&spec).unwrap()).unwrap();
    path
}

#[test]
fn a_full_disk_leaves_nothing() {
    let test = "a_full_disk_leaves_nothing";
    if !is_root(test) || !has_tool(test, "unshare") {
        return;
    }
    let directory = tempdir().unwrap();
    let spec = large_layer(directory.path(), 8);
    let disk = directory.path().join("disk");
    fs::create_dir(&disk).unwrap();
    // Only this process tree sees the small disk, and it vanishes with the tree.
    let script = format!(
        "mount -t tmpfs -o size=2m none {disk} || exit 42; {IMAGE} layer {spec} --out \
         {disk}/layer; echo status $?; ls -A {disk}",
        disk = disk.display(),
        spec = spec.display()
    );
    let output = Command::new("unshare")
        .args(["-m", "sh", "-c", &script])
        .output()
        .unwrap();
    if output.status.code() == Some(42) || !output.stdout.starts_with(b"status") {
        eprintln!("SKIPPED: {test}: no file system can be mounted here");
        return;
    }
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "status 1\n");
    assert!(
        errors.contains("No space left") && errors.contains("free some space"),
        "{errors}"
    );
}

#[test]
fn a_kill_leaves_nothing_under_the_name() {
    let directory = tempdir().unwrap();
    let spec = large_layer(directory.path(), 8);
    let out = directory.path().join("layer");
    let mut killed = 0;
    for round in 0..15_u64 {
        let mut child = Command::new(IMAGE)
            .arg("layer")
            .arg(&spec)
            .arg("--out")
            .arg(&out)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(5 + 37 * round));
        child.kill().unwrap();
        let status = child.wait().unwrap();
        if status.success() {
            break;
        }
        killed += 1;
        // If the kill came after the rename, the layer is complete.
        if out.exists() {
            assert!(out.join("layer.json").exists(), "round {round}");
            fs::remove_dir_all(&out).unwrap();
        }
    }
    assert!(killed > 0);
    let _ = fs::remove_dir_all(&out);
    run(Command::new(IMAGE)
        .arg("layer")
        .arg(&spec)
        .arg("--out")
        .arg(&out));
    assert!(out.join("layer.json").exists());
    // The remains of the killed runs are gone as well.
    let names = fs::read_dir(directory.path()).unwrap();
    let mut names: Vec<_> = names.map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["big", "layer", "spec.json"]);
}

#[test]
fn where_only_the_output_itself_may_be_written_it_is_made_in_place() {
    let test = "where_only_the_output_itself_may_be_written_it_is_made_in_place";
    if !is_root(test) || !has_tool(test, "setpriv") {
        return;
    }
    let directory = tempdir().unwrap();
    let store = directory.path().join("store");
    let out = store.join("out");
    fs::create_dir_all(&out).unwrap();
    let spec = directory.path().join("spec.json");
    let text =
        |spec: serde_json::Value| fs::write(spec_path(directory.path()), spec.to_string()).unwrap();
    text(json!({"version": 1, "sources": [{"kind": "text", "to": "/a", "text": "x"}]}));
    run(Command::new("chown").args(["-R", "65534:65534"]).arg(&out));
    run(Command::new("chmod")
        .arg("a+rx")
        .arg(directory.path())
        .arg(&store));
    let nobody = |out: &Path| {
        // The program is copied to a directory that the user `nobody` can reach.
        let program = directory.path().join("image");
        fs::copy(IMAGE, &program).unwrap();
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]);
        command
            .arg(program)
            .arg("layer")
            .arg(&spec)
            .arg("--out")
            .arg(out);
        command.env("TMPDIR", "/tmp").output().unwrap()
    };
    let output = nobody(&out);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(out.join("layer.json").exists());
    let output = nobody(&store.join("other"));
    assert!(!output.status.success());
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(errors.contains("Permission denied"), "{errors}");
}

fn spec_path(directory: &Path) -> std::path::PathBuf {
    directory.join("spec.json")
}

#[test]
fn what_is_there_is_not_touched() {
    let directory = tempdir().unwrap();
    let out = directory.path().join("layer");
    fs::create_dir(&out).unwrap();
    fs::write(out.join("mine"), "x").unwrap();
    let spec = layer_spec(json!([]), "none");
    let error = crateyard_image::layer::make(&spec, &out, 1)
        .unwrap_err()
        .to_string();
    assert!(error.contains("exists and is not empty"), "{error}");
    assert!(out.join("mine").exists());
}

#[test]
fn messages_say_where_and_what_to_do() {
    let directory = tempdir().unwrap();
    let spec = spec_path(directory.path());
    for (text, says) in [
        (
            "{\"version\": 1,\n \"sources\": [{\"kind\": \"text\", \"to\": \"/a\", \"text\": \"\", \
             \"moed\": \"0644\"}]}",
            "unknown field `moed`",
        ),
        ("{\"version\": 1,\n", "line 2"),
        (
            "{\"version\": 1, \"sources\": [{\"kind\": \"text\", \"to\": \"a\", \"text\": \"\"}]}",
            "sources[0].to: \"a\" is not an absolute path; write",
        ),
        (
            "{\"version\": 1, \"sources\": [{\"kind\": \"debian\", \"packages\": \
             [\"/none.deb\"]}]}",
            "/none.deb",
        ),
    ] {
        fs::write(&spec, text).unwrap();
        let output = Command::new(IMAGE)
            .arg("layer")
            .arg(&spec)
            .arg("--out")
            .arg(directory.path().join("out"))
            .output()
            .unwrap();
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            !output.status.success() && errors.contains(says),
            "{errors}"
        );
    }
}

#[test]
fn memory_does_not_grow_with_the_files() {
    let test = "memory_does_not_grow_with_the_files";
    if !has_tool(test, "truncate") {
        return;
    }
    let directory = tempdir().unwrap();
    let big = directory.path().join("big");
    run(Command::new("truncate").args(["-s", "250M"]).arg(&big));
    let spec = spec_path(directory.path());
    let layer = layer_spec(json!([{"kind": "file", "from": big, "to": "/big"}]), "none");
    fs::write(&spec, serde_json::to_string(&layer).unwrap()).unwrap();
    // With 200 MB of address space, a file of 250 MB fits only piece by piece.
    let script = format!(
        "ulimit -v 200000; exec {IMAGE} layer {} --threads 2 --out {}",
        spec.display(),
        directory.path().join("out").display()
    );
    run(Command::new("sh").args(["-c", &script]));
}
