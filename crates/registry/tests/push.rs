//! Pushes to and pulls from a real registry.
#![allow(missing_docs)]

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crateyard_oci::{Digest, Version};
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
            .manifest(&Version::Tag("v1".into()))
            .await;
        assert_eq!(manifest.unwrap().unwrap().digest.as_str(), image["digest"]);
    });
}

#[test]
fn what_this_machine_remembers_saves_waiting_and_is_never_believed() {
    need!("memory of tags", "docker-registry");
    let registry = Registry::start();
    let proxy = Proxy::start(registry.address);
    let home = Home::new();
    let target = proxy.reference("team/app:v1");
    let shared = crateyard_testing::noise(20, 50_000);
    let image = |seed: u64| {
        let mut layout = Layout::new();
        let image = layout.image(
            &[shared.clone(), crateyard_testing::noise(seed, 50_000)],
            "amd64",
        );
        layout.list(image);
        layout
    };
    let (old, new) = (image(21), image(22));
    run(async {
        let client = home.client();
        let push = |layout: &Layout| {
            let (client, source, target) = (client.clone(), layout.source(), target.clone());
            async move {
                push::push(&client, source, &target, &options())
                    .await
                    .unwrap()
            }
        };
        push(&old).await;
        proxy.take();
        // The client expects another image, so it opens uploads while it asks for blobs, and sends
        // each blob once.
        let report = push(&new).await;
        assert_eq!(report.blobs.existing, 1, "{report:?}");
        let entries = proxy.take();
        assert_eq!(count(&entries, "HEAD", "/blobs/"), 3);
        assert_eq!(count(&entries, "DELETE", "/uploads/"), 0);
        assert_eq!(check_whole(&client, &target).await, Some(report.digest));
        // Someone else moves the tag back. This machine still expects the other image, but finds
        // that nothing is missing.
        let other = Home::new().client();
        let moved = push::push(&other, old.source(), &target, &options())
            .await
            .unwrap();
        proxy.take();
        let report = push(&old).await;
        assert!(report.unchanged && report.bytes_sent == 0, "{report:?}");
        assert_eq!(check_whole(&client, &target).await, Some(moved.digest));
    });
}

#[test]
fn the_largest_new_blob_goes_before_all_else() {
    need!("head start", "docker-registry");
    const DELAY: Duration = Duration::from_millis(2);
    let registry = Registry::start();
    let proxy = Proxy::start(registry.address);
    let arrivals: Arc<Mutex<Vec<(Instant, String)>>> = Arc::default();
    let log = arrivals.clone();
    proxy.rule(move |head| {
        let request = format!("{} {}", head.method(), head.path());
        log.lock().unwrap().push((Instant::now(), request));
        None
    });
    let client = Home::new().client();
    let target = proxy.reference("team/app:v1");
    let push = |layout: &Layout| {
        run(push::push(&client, layout.source(), &target, &options())).unwrap();
    };
    push(&Layout::with_image(40, &[1000]));
    proxy.delay(DELAY);
    // A busy machine may use up the head start before the first request is out, so one success in
    // five tries is enough.
    let went_first = (41..46).any(|seed| {
        let layout = Layout::with_image(seed, &[100_000]);
        arrivals.lock().unwrap().clear();
        push(&layout);
        let arrivals = arrivals.lock().unwrap();
        let is_about_layer = |request: &str| {
            request.starts_with("POST ")
                || request.rsplit_once('/').is_some_and(|(_, digest)| {
                    let file = layout.blob_path(digest);
                    std::fs::metadata(file).is_ok_and(|file| file.len() == 100_000)
                })
        };
        arrivals[..2]
            .iter()
            .all(|(_, request)| is_about_layer(request))
            && arrivals[2].0 - arrivals[0].0 >= DELAY
    });
    assert!(went_first, "{:?}", arrivals.lock().unwrap());
}

#[test]
fn what_another_machine_has_sent_is_not_sent_again() {
    need!("memory of blobs", "docker-registry");
    let registry = Registry::start();
    let proxy = Proxy::start(registry.address);
    let target = proxy.reference("team/app:v1");
    let (old, new) = (
        Layout::with_image(30, &[1000]),
        Layout::with_image(31, &[90_000]),
    );
    let (home, other) = (Home::new(), Home::new().client());
    run(async {
        let client = home.client();
        push::push(&client, old.source(), &target, &options())
            .await
            .unwrap();
        let elsewhere = proxy.reference("team/app:other");
        push::push(&other, new.source(), &elsewhere, &options())
            .await
            .unwrap();
        proxy.take();
        // The client opened an upload for a blob that was there after all, and cancels it.
        let report = push::push(&client, new.source(), &target, &options())
            .await
            .unwrap();
        assert_eq!(
            (report.blobs.uploaded, report.blobs.existing),
            (0, 2),
            "{report:?}"
        );
        let entries = proxy.take();
        assert_eq!(
            count(&entries, "DELETE", "/uploads/"),
            count(&entries, "POST", "/uploads/")
        );
        assert_eq!(received(&entries), 0, "no bytes of blobs");
    });
}

#[test]
fn documents_are_attached_to_a_source_that_does_not_have_them() {
    need!("artifacts", "docker-registry");
    let registry = Registry::start();
    let layout = Layout::with_image(40, &[1000]);
    let target = registry.reference("app:v1");
    run(async {
        let client = Home::new().client();
        let pushed = push::push(&client, layout.source(), &target, &options())
            .await
            .unwrap();
        let repository = client.repository(&target).unwrap();
        let version = crateyard_oci::Version::Digest(pushed.digest.clone());
        let subject = repository
            .manifest(&version)
            .await
            .unwrap()
            .unwrap()
            .plain_descriptor();
        let artifact = crateyard_registry::Artifact {
            subject,
            artifact_type: "application/spdx+json".to_owned(),
            media_type: "application/spdx+json".to_owned(),
            document: bytes::Bytes::from_static(b"{\"a\":1}"),
            annotations: Default::default(),
        };
        let both = [artifact.clone(), artifact.clone()];
        let source = layout.source().attach(&both);
        let report = push::push(&client, source, &target, &options())
            .await
            .unwrap();
        assert_eq!(
            (report.digest, report.manifests.uploaded),
            (pushed.digest.clone(), 1)
        );
        let (listed, _) = repository.referrers(&pushed.digest, false).await.unwrap();
        assert_eq!(listed.len(), 1, "{listed:?}");
        assert_eq!(listed[0].digest, artifact.digest());
        assert_eq!(
            &repository.document(&listed[0]).await.unwrap()[..],
            &artifact.document[..]
        );
    });
}

#[test]
fn blobs_of_other_repositories_are_mounted() {
    need!("mount", "docker-registry");
    let registry = Registry::start();
    let proxy = Proxy::start(registry.address);
    let layout = Layout::with_image(2, &[200_000, 50_000]);
    let home = Home::new();
    run(async {
        let client = home.client();
        push::push(
            &client,
            layout.source(),
            &proxy.reference("first"),
            &options(),
        )
        .await
        .unwrap();
        proxy.take();
        // This machine remembers the repository.
        let report = push::push(
            &client,
            layout.source(),
            &proxy.reference("second"),
            &options(),
        )
        .await
        .unwrap();
        assert_eq!((report.blobs.mounted, report.blobs.uploaded), (3, 0));
        assert_eq!(received(&proxy.take()), 0);
        check_whole(&client, &registry.reference("second"))
            .await
            .unwrap();
    });
    // Another machine gets the repository as an option.
    let other = Home::new();
    let options = push::Options {
        mount_from: vec!["none".into(), "first".into()],
        ..options()
    };
    run(async {
        let client = other.client();
        let report = push::push(
            &client,
            layout.source(),
            &proxy.reference("third"),
            &options,
        )
        .await
        .unwrap();
        assert_eq!((report.blobs.mounted, report.blobs.uploaded), (3, 0));
        assert!(
            report
                .transfers
                .iter()
                .all(|transfer| transfer.how == How::Mounted)
        );
        assert_eq!(received(&proxy.take()), 0);
    });
    // An outdated hint only costs an upload.
    let mut registry = registry;
    registry.kill();
    std::fs::remove_dir_all(registry.directory.path().join("store")).unwrap();
    registry.restart();
    run(async {
        let client = home.client();
        let report = push::push(
            &client,
            layout.source(),
            &proxy.reference("fourth"),
            &self::options(),
        )
        .await
        .unwrap();
        assert_eq!((report.blobs.mounted, report.blobs.uploaded), (0, 3));
        check_whole(&client, &registry.reference("fourth"))
            .await
            .unwrap();
    });
}

#[test]
fn several_tags_an_archive_and_digests() {
    need!("tags", "docker-registry");
    let registry = Registry::start();
    let home = Home::new();
    let layout = Layout::with_image(3, &[100_000]);
    let archive = layout.archive();
    run(async {
        let client = home.client();
        let source = Source::open(archive.path()).unwrap();
        let tags = push::Options {
            tags: vec!["v1".into(), "v2".into(), "v1".into()],
            ..options()
        };
        let report = push::push(&client, source.clone(), &registry.reference("app"), &tags)
            .await
            .unwrap();
        assert_eq!(report.tags, ["v1", "v2"]);
        for tag in ["v1", "v2"] {
            let reference = registry.reference(&format!("app:{tag}"));
            assert_eq!(
                check_whole(&client, &reference).await,
                Some(report.digest.clone())
            );
        }
        let latest = registry.reference("app:latest");
        assert_eq!(
            check_whole(&client, &latest).await,
            None,
            "no other tag was set"
        );
        let by_digest = registry.reference(&format!("other@{}", report.digest));
        let other = push::push(&client, source.clone(), &by_digest, &options())
            .await
            .unwrap();
        assert!(other.tags.is_empty());
        assert_eq!(check_whole(&client, &by_digest).await, Some(report.digest));
        let wrong = registry.reference(&format!("other@{}", Digest::of(b"wrong")));
        let error = push::push(&client, source, &wrong, &options())
            .await
            .unwrap_err();
        assert_eq!(error.exit_code(), 3, "{error}");
    });
}

#[test]
fn nested_indexes_with_platforms() {
    need!("indexes", "docker-registry");
    let registry = Registry::start();
    let home = Home::new();
    let mut layout = Layout::new();
    let shared = crateyard_testing::noise(7, 80_000);
    let amd64 = layout.image(
        &[shared.clone(), crateyard_testing::noise(8, 10_000)],
        "amd64",
    );
    let arm64 = layout.image(&[shared, crateyard_testing::noise(9, 10_000)], "arm64");
    let inner = layout.index(std::slice::from_ref(&amd64));
    let outer = layout.index(&[inner, arm64]);
    layout.list_as(outer.clone(), "multi");
    layout.list_as(amd64.clone(), "single");
    let target = registry.reference("app:v1");
    run(async {
        let client = home.client();
        let error = push::push(&client, layout.source(), &target, &options())
            .await
            .unwrap_err();
        assert!(error.to_string().contains("multi, single"), "{error}");
        let named = push::Options {
            name: Some("multi".into()),
            ..options()
        };
        let report = push::push(&client, layout.source(), &target, &named)
            .await
            .unwrap();
        assert_eq!((report.manifests.uploaded, report.blobs.uploaded), (4, 5));
        let digest: Digest = outer["digest"].as_str().unwrap().parse().unwrap();
        assert_eq!(check_whole(&client, &target).await, Some(digest.clone()));
        assert_eq!(
            push::push(&client, layout.source(), &target, &named)
                .await
                .unwrap()
                .requests,
            1
        );

        let directory = tempfile::tempdir().unwrap();
        let all = directory.path().join("all");
        pull::pull(&client, &target, &all, &pull::Options::default())
            .await
            .unwrap();
        let again = push::push(&client, Source::open(&all).unwrap(), &target, &options())
            .await
            .unwrap();
        assert!(again.unchanged);
        let one = directory.path().join("one");
        let platform = pull::Options {
            platform: Some("linux/arm64".parse().unwrap()),
            ..pull::Options::default()
        };
        let by_digest = target.with_digest(&digest);
        let report = pull::pull(&client, &by_digest, &one, &platform)
            .await
            .unwrap();
        assert_eq!(report.fetched, 3);
        let none = pull::Options {
            platform: Some("linux/s390x".parse().unwrap()),
            ..pull::Options::default()
        };
        let error = pull::pull(&client, &target, &directory.path().join("none"), &none)
            .await
            .unwrap_err();
        assert!(
            error.to_string().contains("linux/amd64") || error.to_string().contains("linux/arm64"),
            "{error}"
        );
    });
}

#[test]
fn referrers_go_along_and_are_listed_under_the_fallback_tag() {
    need!("referrers", "docker-registry");
    let registry = Registry::start();
    let proxy = Proxy::start(registry.address);
    let home = Home::new();
    let mut layout = Layout::new();
    let image = layout.image(&[crateyard_testing::noise(1, 1000)], "amd64");
    let sbom = layout.artifact(&image, "application/spdx+json", b"an sbom");
    let signature = layout.artifact(&sbom, "application/x-signature", b"of the sbom");
    for descriptor in [&image, &sbom, &signature] {
        layout.list(descriptor.clone());
    }
    let target = proxy.reference("app:v1");
    let subject: Digest = image["digest"].as_str().unwrap().parse().unwrap();
    run(async {
        let client = home.client();
        let report = push::push(&client, layout.source(), &target, &options())
            .await
            .unwrap();
        assert_eq!(report.manifests.uploaded, 3);
        let repository = client.repository(&target).unwrap();
        let (listed, _) = repository.referrers(&subject, false).await.unwrap();
        assert_eq!(listed.len(), 1);
        assert_eq!(listed[0].digest.as_str(), sbom["digest"]);
        assert_eq!(
            listed[0].artifact_type.as_deref(),
            Some("application/spdx+json")
        );
        proxy.take();
        let again = push::push(&client, layout.source(), &target, &options())
            .await
            .unwrap();
        assert!(again.unchanged);
        assert_eq!(
            again.requests,
            3,
            "the tag, and a list for each of two subjects: {:?}",
            proxy.take()
        );

        // Another referrer is added to the list.
        let provenance = layout.artifact(&image, "application/vnd.in-toto+json", b"provenance");
        layout.list(provenance);
        let third = push::push(&client, layout.source(), &target, &options())
            .await
            .unwrap();
        assert_eq!((third.unchanged, third.manifests.uploaded), (false, 1));
        assert_eq!(
            repository.referrers(&subject, true).await.unwrap().0.len(),
            2
        );
        assert_eq!(check_whole(&client, &target).await, Some(subject.clone()));
    });
    // If the registry says that it keeps the list, the client makes no tag.
    let other = proxy.reference("kept:v1");
    proxy.rule(|head| {
        (head.method() == "PUT" && head.path().contains("/manifests/")).then_some(
            crateyard_testing::proxy::Fault::Rewrite(|head| {
                head.set("OCI-Subject", "sha256:of the subject");
            }),
        )
    });
    run(async {
        let client = home.client();
        push::push(&client, layout.source(), &other, &options())
            .await
            .unwrap();
        let repository = client.repository(&other).unwrap();
        assert!(
            repository
                .referrers(&subject, true)
                .await
                .unwrap()
                .0
                .is_empty()
        );
    });
}

#[test]
fn a_dry_run_sends_nothing() {
    need!("dry run", "docker-registry");
    let registry = Registry::start();
    let proxy = Proxy::start(registry.address);
    let home = Home::new();
    let layout = Layout::with_image(4, &[1000, 2000]);
    run(async {
        let client = home.client();
        let dry = push::Options {
            dry_run: true,
            ..options()
        };
        let report = push::push(&client, layout.source(), &proxy.reference("app"), &dry)
            .await
            .unwrap();
        assert!(report.dry_run && !report.unchanged);
        assert_eq!((report.blobs.uploaded, report.transfers.len()), (3, 3));
        let entries = proxy.take();
        assert!(
            entries.iter().all(|entry| entry.method == "HEAD"),
            "{entries:?}"
        );
        assert_eq!(check_whole(&client, &registry.reference("app")).await, None);
    });
}

#[test]
fn damaged_layouts_are_found_before_a_tag_moves() {
    need!("damage", "docker-registry");
    let registry = Registry::start();
    let home = Home::new();
    let target = registry.reference("app:v1");
    run(async {
        let client = home.client();
        let good = Layout::with_image(5, &[100_000]);
        let old = push::push(&client, good.source(), &target, &options())
            .await
            .unwrap()
            .digest;
        let damage: [fn(&Path); 4] = [
            |path| std::fs::remove_file(path).unwrap(),
            |path| std::fs::write(path, b"short").unwrap(),
            |path| {
                let mut bytes = std::fs::read(path).unwrap();
                bytes[0] ^= 1;
                std::fs::write(path, bytes).unwrap();
            },
            |path| {
                std::fs::remove_file(path).unwrap();
                std::os::unix::fs::symlink("/etc/passwd", path).unwrap();
            },
        ];
        for (number, damage) in damage.iter().enumerate() {
            // A blob in chunks, a blob in one request, and the manifest.
            for (at, size) in [(0, 200_000), (1, 1000)] {
                let seed = 100 + 2 * number as u64 + at;
                let layout = Layout::with_image(seed, &[200_000, 1000]);
                let blob = crateyard_testing::noise(seed * 1000 + at, size);
                damage(&layout.blob_path(Digest::of(&blob).as_str()));
                let error = push::push(&client, layout.source(), &target, &options())
                    .await
                    .unwrap_err();
                assert_eq!(error.exit_code(), 3, "{number}: {error}");
                assert!(error.to_string().contains("try: "), "{error}");
            }
            let layout = Layout::with_image(200 + number as u64, &[1000]);
            let index: serde_json::Value = serde_json::to_value(layout.source().index()).unwrap();
            damage(&layout.blob_path(index["manifests"][0]["digest"].as_str().unwrap()));
            let error = push::push(&client, layout.source(), &target, &options())
                .await
                .unwrap_err();
            assert_eq!(error.exit_code(), 3, "{number}: {error}");
            assert_eq!(check_whole(&client, &target).await.as_ref(), Some(&old));
        }
    });
    assert!(
        home.told.retries.lock().unwrap().is_empty(),
        "{:?}",
        home.told.retries
    );
}

#[test]
fn a_pull_verifies_and_is_the_same_each_time() {
    need!("pull", "docker-registry");
    let registry = Registry::start();
    let home = Home::new();
    let layout = Layout::with_image(6, &[100_000, 0, 5000]);
    let directory = tempfile::tempdir().unwrap();
    run(async {
        let client = home.client();
        let target = registry.reference("app:v1");
        let digest = push::push(&client, layout.source(), &target, &options())
            .await
            .unwrap()
            .digest;
        let by_digest = target.with_digest(&digest);
        let mut listings = Vec::new();
        for name in ["one", "two"] {
            let path = directory.path().join(name);
            let report = pull::pull(&client, &by_digest, &path, &pull::Options::default())
                .await
                .unwrap();
            assert_eq!((report.fetched, report.bytes_received > 105_000), (4, true));
            listings.push(list(&path));
        }
        assert_eq!(listings[0], listings[1]);
        let path = directory.path().join("one");
        // Only a damaged blob is fetched again.
        let blob = layout.blob_path(Digest::of(&crateyard_testing::noise(6000, 100_000)).as_str());
        std::fs::write(
            path.join("blobs/sha256").join(blob.file_name().unwrap()),
            "spoiled",
        )
        .unwrap();
        let report = pull::pull(&client, &by_digest, &path, &pull::Options::default())
            .await
            .unwrap();
        assert_eq!((report.fetched, report.existing), (1, 3));
        assert_eq!(list(&path), listings[0]);
        // A second image is added under its tag.
        pull::pull(&client, &target, &path, &pull::Options::default())
            .await
            .unwrap();
        let index: serde_json::Value =
            serde_json::from_slice(&std::fs::read(path.join("index.json")).unwrap()).unwrap();
        assert_eq!(index["manifests"].as_array().unwrap().len(), 2);
        // A directory that is not a layout is not touched.
        let foreign = directory.path().join("foreign");
        std::fs::create_dir(&foreign).unwrap();
        std::fs::write(foreign.join("thesis.txt"), "").unwrap();
        let error = pull::pull(&client, &target, &foreign, &pull::Options::default())
            .await
            .unwrap_err();
        assert_eq!(error.exit_code(), 3, "{error}");
        assert_eq!(list(&foreign).len(), 1);
    });
}

/// Returns all files below `path` with their content.
fn list(path: &Path) -> Vec<(String, Vec<u8>)> {
    let mut files = Vec::new();
    let mut waiting = vec![path.to_owned()];
    while let Some(directory) = waiting.pop() {
        for entry in std::fs::read_dir(directory).unwrap() {
            let entry = entry.unwrap().path();
            if entry.is_dir() {
                waiting.push(entry);
            } else {
                let name = entry.strip_prefix(path).unwrap().display().to_string();
                files.push((name, std::fs::read(entry).unwrap()));
            }
        }
    }
    files.sort();
    files
}

#[test]
fn foreign_layers_stay_where_they_are() {
    need!("foreign", "docker-registry");
    let registry = Registry::start();
    let proxy = Proxy::start(registry.address);
    let home = Home::new();
    let mut layout = Layout::new();
    let config = layout.blob("application/vnd.oci.image.config.v1+json", b"{}");
    let media_type = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip";
    let mut foreign = layout.blob(media_type, b"elsewhere");
    std::fs::remove_file(layout.blob_path(foreign["digest"].as_str().unwrap())).unwrap();
    foreign["urls"] = json!(["https://elsewhere.example/layer"]);
    let docker = crateyard_oci::media_type::DOCKER_MANIFEST;
    let mut config = config;
    config["mediaType"] = json!("application/vnd.docker.container.image.v1+json");
    let manifest =
        json!({"schemaVersion": 2, "mediaType": docker, "config": config, "layers": [foreign]});
    let manifest = layout.blob(docker, manifest.to_string().as_bytes());
    layout.list(manifest);
    run(async {
        let client = home.client();
        let report = push::push(
            &client,
            layout.source(),
            &proxy.reference("app"),
            &options(),
        )
        .await;
        // The registry decides whether it takes such images. In either case the client did not ask
        // for the layer.
        assert_eq!(received(&proxy.take()), 2);
        match report {
            Ok(report) => assert_eq!((report.blobs.foreign, report.blobs.uploaded), (1, 1)),
            Err(error) => assert!(matches!(error.exit_code(), 6 | 7), "{error}"),
        }
    });
}
