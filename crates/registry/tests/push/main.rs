//! Pushes to and pulls from a real registry.
#![allow(missing_docs)]

mod blobs;
mod manifests;
mod whole;

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crateyard_oci::{Digest, TagOrDigest};
use crateyard_registry::push::{self, How};
use crateyard_registry::{Source, pull};
use crateyard_testing::need;
use crateyard_testing::proxy::{Proxy, count, received};
use crateyard_testing::{Home, Layout, Registry, check_whole, run};
use serde_json::json;

fn options() -> push::Options {
    push::Options {
        chunk_size: 64 * 1024,
        ..push::Options::default()
    }
}

#[test]
fn what_was_pushed_is_there_and_an_unchanged_push_asks_once() {
    need!("push", "docker-registry");
    let registry = Registry::start();
    let proxy = Proxy::start(registry.address);
    let home = Home::new();
    let layout = Layout::with_image(1, &[10, 0, 70_000, 300_000]);
    let target = proxy.reference("team/app:v1");
    run(async {
        let client = home.client();
        let report = push::push(&client, layout.source(), &target, &options())
            .await
            .unwrap();
        assert_eq!(
            (report.blobs.uploaded, report.blobs.existing, report.retries),
            (5, 0, 0)
        );
        assert_eq!(report.bytes_sent, layout.size());
        let entries = proxy.take();
        assert_eq!(received(&entries) + manifest_size(&layout), layout.size());
        assert_eq!(
            count(&entries, "PATCH", "/uploads/"),
            2 + 5,
            "chunks of the two large layers"
        );
        assert_eq!(
            check_whole(&client, &target).await,
            Some(report.digest.clone())
        );
        proxy.take();
        let again = push::push(&client, layout.source(), &target, &options())
            .await
            .unwrap();
        assert!(again.unchanged);
        assert_eq!((again.requests, again.bytes_sent), (1, 0));
        assert_eq!(again.bytes_saved, layout.size() - manifest_size(&layout));
        assert_eq!(proxy.take().len(), 1);
    });
}

fn manifest_size(layout: &Layout) -> u64 {
    layout.source().index().manifests[0].size
}

#[test]
fn an_edit_sends_only_the_layer_and_the_config() {
    need!("edit", "docker-registry");
    let registry = Registry::start();
    let proxy = Proxy::start(registry.address);
    let home = Home::new();
    let mut first = Layout::new();
    let layers: Vec<Vec<u8>> = (0..6)
        .map(|seed| crateyard_testing::noise(seed, 100_000))
        .collect();
    let image = first.image(&layers, "amd64");
    first.list(image);
    let mut second = Layout::new();
    let mut edited = layers.clone();
    edited[5] = crateyard_testing::noise(99, 50_000);
    let image = second.image(&edited, "amd64");
    second.list(image.clone());
    let target = proxy.reference("app:v1");
    run(async {
        let client = home.client();
        push::push(&client, first.source(), &target, &options())
            .await
            .unwrap();
        proxy.take();
        let report = push::push(&client, second.source(), &target, &options())
            .await
            .unwrap();
        assert_eq!((report.blobs.uploaded, report.blobs.existing), (2, 5));
        let config = report.transfers.iter().map(|it| it.size).min().unwrap();
        assert_eq!(received(&proxy.take()), 50_000 + config);
        assert_eq!(report.bytes_saved, 500_000);
        let manifest = client
            .repository(&target)
            .unwrap()
            .manifest(&TagOrDigest::Tag("v1".into()))
            .await;
        assert_eq!(manifest.unwrap().unwrap().digest.as_str(), image["digest"]);
    });
}
