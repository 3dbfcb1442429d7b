//! Names in images that would move a terminal's cursor, set its title, or be a command for a CI
//! system.

use std::process::Command;

use crateyard_oci::{Descriptor, media_type};
use serde_json::json;

use crate::inputs::{Layout, directory, symlink, tar_of};

const ESCAPE: &str =
    "\u{1b}]0;title\u{7}\u{1b}[31mred\u{9b}2J##[set-output name=a]b##vso[a]\n::add-mask::c";

/// Runs a command, and fails if a control character other than a line's end reaches the terminal,
/// or if GitHub's runner would find a command.
fn says_nothing_odd(words: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_assemble"))
        .args(words)
        .env("XDG_CACHE_HOME", std::env::temp_dir())
        .env("GITHUB_ACTIONS", "true")
        .output()
        .unwrap();
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8(said).unwrap();
    let odd = |letter: char| letter.is_control() && letter != '\n' && letter != '\t';
    assert!(!said.contains(odd), "{words:?}: {said:?}");
    let is_command = |line: &str| line.contains("##") || line.trim_start().starts_with("::");
    assert!(!said.lines().any(is_command), "{words:?}: {said}");
    said
}

/// Makes an image of one uncompressed layer with this operating system in its configuration.
fn image(layout: &Layout, layer: &[u8], os: &str) -> Descriptor {
    let layer = layout.blob(media_type::LAYER, layer);
    let config = json!({"architecture": "amd64", "os": os, "author": ESCAPE,
        "rootfs": {"type": "layers", "diff_ids": [layer.digest]}});
    let config = layout.blob(media_type::CONFIG, config.to_string().as_bytes());
    let manifest = json!({"schemaVersion": 2, "mediaType": media_type::MANIFEST,
        "config": config, "layers": [layer], "annotations": {ESCAPE: ESCAPE}});
    layout.blob(media_type::MANIFEST, manifest.to_string().as_bytes())
}

#[test]
fn names_in_layouts_are_escaped_everywhere() {
    let place = directory();
    let layout = Layout::new(place.path());
    let mut tar = tar_of(&format!("f{ESCAPE}"), b"x");
    tar.extend(symlink("link", &format!("gone{ESCAPE}")));
    let named = |os: &str, name: &str| {
        let mut descriptor = image(&layout, &tar, os);
        let name = format!("{name}{ESCAPE}");
        descriptor
            .annotations
            .insert("org.opencontainers.image.ref.name".to_owned(), name);
        descriptor
    };
    let (one, other) = (named("linux", "a"), named(&format!("linux{ESCAPE}"), "b"));
    layout.finish(&[one.clone(), other.clone()]);
    let path = layout.path();
    let out = place.path().join("out.tar").display().to_string();
    let mut said = String::new();
    for words in [
        &["ls", &path][..],
        &["cat", &path, "/x"],
        &["inspect", &path],
        &["inspect", &path, "--json"],
        &["inspect", &path, "--name", "zz"],
        &["verify", &path],
        &["push", &path, "--to", "127.0.0.1:1/x"],
        &["save", &path, "--platform", "linux/arm64", "--out", &out],
        &["save", &path, "--out", &out],
    ] {
        said += &says_nothing_odd(words);
    }
    for descriptor in [one, other] {
        layout.finish(&[descriptor]);
        for words in [
            &["ls", &path][..],
            &["ls", &path, "--platform", "linux/amd64"],
            &["cat", &path, "/link"],
            &["inspect", &path, "--packages"],
            &["diff", &path, &path],
        ] {
            said += &says_nothing_odd(words);
        }
    }
    assert!(
        said.contains("\\u{1b}]0;title"),
        "nothing of it is shown: {said}"
    );
}

#[test]
fn names_in_archives_are_escaped_everywhere() {
    let place = directory();
    let name = format!("c{ESCAPE}");
    let manifest = json!([{"Config": name, "Layers": []}]).to_string();
    let docker = [
        tar_of("manifest.json", manifest.as_bytes()),
        tar_of(&name, b"[]"),
    ]
    .concat();
    let twice = [tar_of(&name, b"x"), tar_of(&name, b"xy")].concat();
    for (file, content) in [("docker.tar", docker), ("twice.tar", twice)] {
        let path = place.path().join(file);
        std::fs::write(&path, content).unwrap();
        for command in ["inspect", "ls", "verify"] {
            says_nothing_odd(&[command, path.to_str().unwrap()]);
        }
    }
}
