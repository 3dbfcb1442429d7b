//! Registries and caches whose answers no honest one gives.

use std::fs;
use std::path::Path;

use crateyard_oci::{Descriptor, Digest, media_type};
use crateyard_testing::scripted::{Answer, Scripted, Seen};
use serde_json::{Value, json};

use crate::bounded::{refuses, survives};
use crate::inputs::{directory, index};
use crate::server::endless;

const CONFIG: &[u8] = br#"{"architecture":"amd64","os":"linux"}"#;

fn manifest(layers: &Value) -> String {
    let config = Descriptor::of(media_type::CONFIG, CONFIG);
    json!({"schemaVersion": 2, "mediaType": media_type::MANIFEST, "config": config,
        "layers": layers})
    .to_string()
}

fn document(kind: &str, body: impl Into<Vec<u8>>) -> Answer {
    Answer::new(200).header("Content-Type", kind).body(body)
}

/// Answers a question for a manifest.
fn odd(name: &str, seen: &Seen) -> Answer {
    let huge = u64::MAX;
    let layer = |digest: &str, size: u64| {
        json!([{"mediaType": media_type::LAYER,
            "digest": digest, "size": size}])
    };
    let zeros = Digest::of(b"").to_string();
    match name {
        "large" => document(media_type::MANIFEST, vec![b' '; 5 << 20]),
        "nested" => document(media_type::MANIFEST, vec![b'['; 4 << 20]),
        "values" => document(media_type::INDEX, format!("[{}0]", "0,".repeat(2_000_000))),
        "circle" => Answer::new(307).header("Location", seen.path.clone()),
        "file" => Answer::new(307).header("Location", "file:///etc/passwd"),
        "late" => Answer::new(503).header("Retry-After", huge.to_string()),
        "digest" => document(media_type::MANIFEST, manifest(&json!([])))
            .header("Docker-Content-Digest", "sha256:../../../x"),
        "other digest" => document(media_type::MANIFEST, manifest(&json!([])))
            .header("Docker-Content-Digest", zeros),
        "size" => document(media_type::MANIFEST, manifest(&layer(&zeros, huge))),
        "path" => document(
            media_type::MANIFEST,
            manifest(&layer("sha256:../../../../x", 1)),
        ),
        "type" => document(media_type::INDEX, manifest(&json!([]))),
        "two kinds" => document(
            "application/json",
            r#"{"schemaVersion": 2, "config": {}, "layers": [], "manifests": []}"#,
        ),
        _ => Answer::new(404),
    }
}

/// The names of all files below a directory.
fn files(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let mut found = Vec::new();
    for entry in entries {
        match entry.path().is_dir() {
            true => found.extend(files(&entry.path())),
            false => found.push(entry.path().display().to_string()),
        }
    }
    found
}

#[test]
fn odd_answers_write_nothing_and_end() {
    let names = [
        "large",
        "nested",
        "values",
        "circle",
        "file",
        "late",
        "digest",
        "other digest",
        "size",
        "path",
        "type",
        "two kinds",
    ];
    for name in names {
        let registry = Scripted::start(move |seen| match seen.path.contains("/manifests/") {
            true => odd(name, seen),
            false => document("application/octet-stream", CONFIG),
        });
        let place = directory();
        let image = format!("{}/a:t", registry.address);
        let out = place.path().join("out").display().to_string();
        refuses(&["pull", &image, &out, "--retries", "1"], "");
        survives(&["inspect", &image, "--retries", "1"]);
        survives(&["verify", &image, "--retries", "1"]);
        assert!(
            registry.seen().len() < 60,
            "{name}: {} requests",
            registry.seen().len()
        );
        // Nothing is called an image, and nothing lies elsewhere.
        let left = files(place.path());
        assert!(
            left.iter().all(|it| !it.ends_with("index.json")),
            "{name}: {left:?}"
        );
    }
}

#[test]
fn an_answer_without_an_end_is_left() {
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: {}\r\nTransfer-Encoding: chunked\r\n\r\n",
        media_type::MANIFEST
    );
    let image = endless(head, format!("10000\r\n{}\r\n", " ".repeat(0x10000)));
    let place = directory();
    let out = place.path().join("out").display().to_string();
    refuses(&["pull", &image, &out, "--retries", "1"], "");
    refuses(&["inspect", &image], "");
}

#[test]
fn a_cache_that_is_no_cache_is_no_panic() {
    let mut named = index(&[]);
    named["artifactType"] = json!("application/vnd.crateyard.cache.v1");
    for (kind, body) in [
        (media_type::INDEX, named.to_string()),
        (media_type::MANIFEST, manifest(&json!([]))),
        (media_type::MANIFEST, "{}".to_owned()),
    ] {
        let registry = Scripted::start(move |seen| match seen.path.contains("/manifests/") {
            true => document(kind, body.clone()),
            false => Answer::new(404),
        });
        let cache = format!("oci://{}/c:main", registry.address);
        refuses(&["cache", "gc", &cache], "");
        survives(&["cache", "status", "--cache", &cache]);
    }
}
