//! Registries whose answers never end, in their headers, their pages or their compression.

use crateyard_oci::{Descriptor, media_type};
use crateyard_testing::scripted::{Answer, Scripted};
use serde_json::{Map, json};

use crate::bounded::{refuses, survives};
use crate::inputs::{directory, gzip};
use crate::server::endless;

const CONFIG: &[u8] = concat!(
    r#"{"architecture":"amd64","os":"linux","#,
    r#""rootfs":{"type":"layers","diff_ids":[]}}"#
)
.as_bytes();
const KEY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/keys/signer.pub");

fn manifest() -> String {
    let config = Descriptor::of(media_type::CONFIG, CONFIG);
    json!({"schemaVersion": 2, "mediaType": media_type::MANIFEST, "config": config, "layers": []})
        .to_string()
}

#[test]
fn headers_without_an_end_are_left() {
    let image = endless(
        "HTTP/1.1 200 OK\r\n".to_owned(),
        "X-Long: a\r\n".repeat(1_000),
    );
    let place = directory();
    let out = place.path().join("out").display().to_string();
    refuses(&["pull", &image, &out, "--retries", "1"], "");
    refuses(&["inspect", &image, "--retries", "1"], "");
}

#[test]
fn a_compressed_answer_is_not_unpacked() {
    let compressed = gzip(manifest().as_bytes());
    let inspected = |encoding: Option<&'static str>, body: Vec<u8>| {
        let registry = Scripted::start(move |seen| {
            let mut answer = Answer::new(200).header("Content-Type", media_type::MANIFEST);
            if !seen.path.contains("/manifests/") {
                return Answer::new(200).body(CONFIG);
            }
            if let Some(encoding) = encoding {
                answer = answer.header("Content-Encoding", encoding);
            }
            answer.body(body.clone())
        });
        let image = format!("{}/a:t", registry.address);
        survives(&["inspect", &image, "--retries", "1"])
    };
    let (code, said) = inspected(None, manifest().into_bytes());
    assert_eq!(code, 0, "{said}");
    let (code, said) = inspected(Some("gzip"), compressed);
    assert_ne!(code, 0);
    assert!(said.contains("neither a manifest nor an index"), "{said}");
}

/// Each page has as many values as one document may have, and names the next page.
#[test]
fn pages_of_referrers_without_an_end_are_left() {
    let annotations: Map<_, _> = (0..90_000)
        .map(|key| (format!("{key:x}"), json!("")))
        .collect();
    let mut listed = json!(Descriptor::of(media_type::MANIFEST, b"{}"));
    listed["annotations"] = annotations.into();
    let page = json!({"schemaVersion": 2, "mediaType": media_type::INDEX, "manifests": [listed]});
    let page = page.to_string();
    let registry = Scripted::start(move |seen| {
        let answer = Answer::new(200);
        match seen.path.as_str() {
            path if path.contains("/manifests/") => answer
                .header("Content-Type", media_type::MANIFEST)
                .body(manifest()),
            path if path.contains("/blobs/") => answer.body(CONFIG),
            path if path.contains("/referrers/") => answer
                .header("Content-Type", media_type::INDEX)
                .header("Link", format!("<{path}>; rel=\"next\""))
                .body(page.clone()),
            _ => answer,
        }
    });
    let image = format!("{}/a:t", registry.address);
    let verify = ["verify", &image, "--public-key", KEY, "--retries", "1"];
    refuses(&verify, "memory");
    survives(&["explain", &image, "--retries", "1"]);
    let pages = registry
        .seen()
        .iter()
        .filter(|seen| seen.path.contains("/referrers/"))
        .count();
    assert!((2..200).contains(&pages), "{pages} pages");
}
