//! Tests each kind of malicious image against the real program, with bounds on memory and time.

mod answers;
mod bounded;
mod documents;
mod entries;
mod escapes;
mod inputs;
mod odd;
mod server;
mod workspaces;

use std::fs;
use std::path::Path;
use std::process::Command;

use bounded::{refuses, survives};
use inputs::{Layout, directory, gzip, hard_link, pax, symlink, tar_of};
use serde_json::json;

/// Returns all commands that read a layout or an archive.
fn reading(image: &str, out: &Path) -> Vec<Vec<String>> {
    let archive = out.join("out.tar").display().to_string();
    let commands: [&[&str]; 6] = [
        &["inspect", image],
        &["ls", image, "--recursive"],
        &["verify", image],
        &["save", image, "--format", "docker", "--out", &archive],
        &["save", image, "--out", &archive],
        &["push", image, "--to", "127.0.0.1:1/x", "--dry-run"],
    ];
    let owned = |words: &&[&str]| words.iter().map(ToString::to_string).collect();
    commands.iter().map(owned).collect()
}

#[test]
fn indexes_that_name_each_other_many_times_are_read_once() {
    let place = directory();
    let layout = Layout::new(place.path());
    let mut index = layout.index_blob(&[]);
    for _ in 0..3 {
        index = layout.index_blob(&vec![index; 1_500]);
    }
    layout.finish(&[index]);
    for command in reading(&layout.path(), place.path()) {
        survives(&command);
    }
}

#[test]
fn a_long_chain_of_indexes_is_refused() {
    let place = directory();
    let layout = Layout::new(place.path());
    let mut index = layout.index_blob(&[]);
    for _ in 0..5_000 {
        index = layout.index_blob(&[index]);
    }
    layout.finish(&[index]);
    for command in reading(&layout.path(), place.path()) {
        if command[0] != "verify" {
            refuses(&command, "nested");
        }
    }
    survives(&["verify", &layout.path()]);
}

#[test]
fn attributes_that_hard_links_share_are_paid_for() {
    let place = directory();
    let layout = Layout::new(place.path());
    let value = "v".repeat(60_000);
    let records: Vec<(String, String)> = (0..16)
        .map(|number| (format!("SCHILY.xattr.user.a{number}"), value.clone()))
        .collect();
    let mut tar = pax(&records);
    tar.extend(tar_of("file", b""));
    for number in 0..2_500 {
        tar.extend(hard_link(&format!("link{number}"), "file"));
    }
    layout.image(&gzip(&tar), &tar);
    refuses(&["ls", &layout.path()], "memory");
    refuses(&["inspect", &layout.path(), "--packages"], "memory");
    survives(&["verify", &layout.path()]);
}

#[test]
fn a_global_header_of_an_archive_changes_nothing() {
    let place = directory();
    let mut tar = pax(&[("linkpath".to_owned(), "v".repeat(1_000_000))]);
    tar[156] = b'g';
    inputs::fix_checksum(&mut tar[..512]);
    for number in 0..2_500 {
        tar.extend(hard_link(&format!("link{number}"), "file"));
    }
    tar.extend(tar_of("oci-layout", b"{}"));
    tar.extend(tar_of("index.json", b"{}"));
    let path = place.path().join("global.tar");
    fs::write(&path, tar).unwrap();
    refuses(&["inspect", path.to_str().unwrap()], "oci-layout");
}

#[test]
fn a_docker_archive_has_each_layer_hashed_once() {
    let place = directory();
    let mut layer = vec![0x1f, 0x8b, 8, 0];
    layer.resize(1 << 20, 7);
    let ids = vec![format!("sha256:{}", "0".repeat(64)); 100];
    let config =
        json!({"architecture": "a", "os": "l", "rootfs": {"type": "layers", "diff_ids": ids}});
    let image = json!({"Config": "config", "Layers": vec!["layer"; 100]});
    let manifest = json!(vec![image; 500]).to_string();
    let mut tar = tar_of("manifest.json", manifest.as_bytes());
    tar.extend(tar_of("config", config.to_string().as_bytes()));
    tar.extend(tar_of("layer", &layer));
    let path = place.path().join("docker.tar");
    fs::write(&path, tar).unwrap();
    survives(&["inspect", path.to_str().unwrap()]);
    survives(&["verify", path.to_str().unwrap()]);
}

#[test]
fn paths_that_no_system_can_open_are_refused() {
    let place = directory();
    let layout = Layout::new(place.path());
    let mut tar = Vec::new();
    for number in 0..20 {
        let path = format!("{}{number}", "a/".repeat(500_000));
        tar.extend(pax(&[("path".to_owned(), path)]));
        tar.extend(tar_of("x", b""));
    }
    layout.image(&gzip(&tar), &tar);
    refuses(&["ls", &layout.path()], "4096");
    survives(&["verify", &layout.path()]);
}

/// A file below a directory that is a link in a lower layer lies where the link leads.
#[test]
fn the_ways_of_links_are_paid_for() {
    let place = directory();
    // Forty links lead from one to the next over thousands of steps.
    let mut lower = Vec::new();
    for number in 0..39 {
        let target = format!("{}l{}", "x/../".repeat(800), number + 1);
        lower.extend(pax(&[("linkpath".to_owned(), target)]));
        lower.extend(symlink(&format!("l{number}"), "x"));
    }
    let files = |below: &str, count: usize| -> Vec<u8> {
        let names = (0..count).map(|number| format!("{below}/{number}"));
        names.flat_map(|name| tar_of(&name, b"")).collect()
    };
    let steps = Layout::new(&place.path().join("steps"));
    steps.image_of_layers(&[lower, files("l0", 20_000)]);
    // One link leads to a long path, which each file's own path would repeat.
    let mut lower = pax(&[(
        "linkpath".to_owned(),
        format!("{}/", "x".repeat(250)).repeat(15),
    )]);
    lower.extend(symlink("l", "x"));
    let paths = Layout::new(&place.path().join("paths"));
    paths.image_of_layers(&[lower, files("l", 100_000)]);
    for (layout, why) in [(steps, "entries"), (paths, "memory")] {
        refuses(&["ls", &layout.path()], why);
        refuses(&["inspect", &layout.path(), "--packages"], why);
        survives(&["verify", &layout.path()]);
    }
}

#[test]
fn a_bomb_is_stopped_by_every_command() {
    let place = directory();
    let layout = Layout::new(place.path());
    // It only has a block of zeros that is repeated: 8 GiB in 256 kB.
    let bomb = inputs::zstd_of_zeros(8 << 30);
    layout.image_of("application/vnd.oci.image.layer.v1.tar+zstd", &bomb, b"");
    for command in [
        vec!["ls".to_owned(), layout.path()],
        vec!["inspect".to_owned(), layout.path(), "--packages".to_owned()],
        vec!["cat".to_owned(), layout.path(), "/x".to_owned()],
    ] {
        refuses(&command, "uncompressed");
    }
    survives(&["verify", &layout.path()]);
}

#[test]
fn what_is_no_plain_file_makes_nobody_wait() {
    let pipe = |path: &Path| {
        fs::remove_file(path).unwrap();
        assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
    };
    for name in ["index.json", "oci-layout", "blob"] {
        let place = directory();
        let layout = Layout::new(place.path());
        let digest = layout.image(&gzip(b""), b"");
        match name {
            "blob" => pipe(&layout.blob_path(&digest)),
            name => pipe(&place.path().join("layout").join(name)),
        }
        for command in reading(&layout.path(), place.path()) {
            survives(&command);
        }
    }
    let place = directory();
    let alone = place.path().join("pipe");
    assert!(
        Command::new("mkfifo")
            .arg(&alone)
            .status()
            .unwrap()
            .success()
    );
    for command in reading(alone.to_str().unwrap(), place.path()) {
        refuses(&command, "");
    }
}

#[test]
fn a_hole_of_a_terabyte_is_not_read() {
    let place = directory();
    let layout = Layout::new(place.path());
    let digest = layout.image(&gzip(b"x"), b"x");
    let file = fs::File::create(layout.blob_path(&digest)).unwrap();
    file.set_len(1 << 40).unwrap();
    for command in reading(&layout.path(), place.path()) {
        survives(&command);
    }
    let archive = place.path().join("hole.tar");
    let file = fs::File::create(&archive).unwrap();
    file.set_len(1 << 40).unwrap();
    for command in reading(archive.to_str().unwrap(), place.path()) {
        // `verify` reports an error on opening as a finding.
        let why = if command[0] == "verify" { "" } else { "sparse" };
        refuses(&command, why);
    }
}

#[test]
fn a_registry_that_names_too_much_is_left() {
    let place = directory();
    let out = place.path().join("out").display().to_string();
    let flood = server::flood(200, 4 << 20);
    refuses(&["pull", &flood.image(), &out], "memory");
    assert!(!Path::new(&out).join("index.json").exists());
    let fanout = server::fanout(3, 60);
    survives(&["inspect", &fanout.image()]);
    survives(&["verify", &fanout.image()]);
    assert!(fanout.requests() < 40, "{} requests", fanout.requests());
}
