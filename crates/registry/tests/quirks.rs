//! Answers that the specification does not foresee. Public reports show each of them.
#![allow(missing_docs)]

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use crateyard_oci::{Digest, TagOrDigest};
use crateyard_registry::{Artifact, Error, pull, push};
use crateyard_testing::need;
use crateyard_testing::proxy::{Fault, Proxy, count};
use crateyard_testing::scripted::{Answer, Scripted};
use crateyard_testing::{Home, Layout, Registry, check_whole, run};
use serde_json::json;

/// A registry behind a proxy, and a client.
struct Scene {
    registry: Registry,
    proxy: Proxy,
    home: Home,
}

impl Scene {
    fn new() -> Scene {
        let registry = Registry::start();
        Scene {
            proxy: Proxy::start(registry.address),
            registry,
            home: Home::new(),
        }
    }

    fn push(&self, layout: &Layout) -> Result<push::Report, Error> {
        let target = self.proxy.reference("app:v1");
        let options = push::Options::default();
        run(push::push(
            &self.home.client(),
            layout.source(),
            &target,
            &options,
        ))
    }

    /// Checks with the registry itself that the pushed image is complete.
    fn check(&self, report: &push::Report) {
        let target = self.registry.reference("app:v1");
        let found = run(check_whole(&Home::new().client(), &target));
        assert_eq!(found.as_ref(), Some(&report.digest));
    }

    fn pull(&self) -> Result<pull::Report, Error> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("out");
        let source = self.proxy.reference("app:v1");
        run(pull::pull(
            &self.home.client(),
            &source,
            &path,
            &pull::Options::default(),
        ))
    }

    /// Returns the registry's directory for the repository.
    fn store(&self) -> PathBuf {
        let root = self.registry.directory.path();
        root.join("store/docker/registry/v2/repositories/app")
    }

    fn link(&self, digest: &str) -> PathBuf {
        let hex = digest.trim_start_matches("sha256:");
        self.store().join("_layers/sha256").join(hex).join("link")
    }
}

#[test]
fn manifests_are_asked_for_by_get_where_head_is_refused() {
    need!("HEAD", "docker-registry");
    for status in [
        "403 Forbidden",
        "405 Method Not Allowed",
        "501 Not Implemented",
    ] {
        let scene = Scene::new();
        scene.proxy.rule(move |head| {
            let is_head = head.method() == "HEAD" && head.path().contains("/manifests/");
            let headers = Vec::new();
            is_head.then_some(Fault::Answer { status, headers })
        });
        let layout = Layout::with_image(1, &[1000]);
        let report = scene.push(&layout).unwrap();
        scene.check(&report);
        assert!(scene.push(&layout).unwrap().unchanged, "{status}");
        let changed = Layout::with_image(2, &[1000]);
        let report = scene.push(&changed).unwrap();
        scene.check(&report);
        assert_eq!(scene.pull().unwrap().digest, report.digest, "{status}");
    }
}

#[test]
fn a_refusal_of_head_and_get_is_one() {
    need!("HEAD and GET", "docker-registry");
    let scene = Scene::new();
    scene.proxy.rule(|head| {
        head.path().contains("/manifests/").then_some(Fault::Say {
            status: "403 Forbidden",
            code: "DENIED",
            message: "not for you",
        })
    });
    let error = scene.push(&Layout::with_image(1, &[1000])).unwrap_err();
    assert_eq!(error.exit_code(), 4);
    assert!(error.to_string().contains("GET http"), "{error}");
}

#[test]
fn a_blob_that_a_registry_fails_over_is_sent_again() {
    need!("lost blobs", "docker-registry");
    let scene = Scene::new();
    let layout = Layout::with_image(3, &[5000, 4000]);
    let report = scene.push(&layout).unwrap();
    // A registry that was killed while it wrote a blob answers 500 until the blob is sent again.
    let victim = report.transfers[0].digest.to_string();
    std::fs::write(scene.link(&victim), "").unwrap();
    let repositories = scene.store();
    std::fs::remove_dir_all(repositories.join("_manifests")).unwrap();
    let client = Home::new().client();
    let repository = client.repository(&scene.registry.reference("app")).unwrap();
    let digest: Digest = victim.parse().unwrap();
    assert!(!run(repository.has_blob(&digest)).unwrap());
    scene.proxy.take();
    let again = scene.push(&layout).unwrap();
    let entries = scene.proxy.take();
    let failed = entries.iter().filter(|entry| entry.status == 500).count();
    assert!(
        (1..=3).contains(&failed),
        "it was asked a few times: {entries:?}"
    );
    assert_eq!(again.blobs.uploaded, 1, "{again:?}");
    assert!(!scene.home.told.notices.lock().unwrap().is_empty());
    scene.check(&again);
}

#[test]
fn a_manifest_whose_blobs_are_not_seen_yet_is_sent_again() {
    need!("eventual consistency", "docker-registry");
    for times in [1, 2, 4] {
        let scene = Scene::new();
        scene.proxy.fail(
            "PUT",
            "/manifests/",
            times,
            Fault::Say {
                status: "404 Not Found",
                code: "MANIFEST_BLOB_UNKNOWN",
                message: "blob unknown to registry",
            },
        );
        let layout = Layout::with_image(4, &[3000, 2000]);
        let report = scene.push(&layout).unwrap();
        scene.check(&report);
        assert_eq!(
            report.retries, times as u64,
            "{:?}",
            scene.home.told.retries
        );
        let sent = count(&scene.proxy.take(), "POST", "/uploads/");
        // After the third refusal the client no longer believes that the blobs are there, and sends
        // all of them once more.
        let expected = if times < 3 { 3 } else { 6 };
        assert_eq!(sent, expected, "refused {times} times");
    }
    // A registry that always refuses gives an error after a bounded number of attempts.
    let scene = Scene::new();
    let say = Fault::Say {
        status: "400 Bad Request",
        code: "BLOB_UNKNOWN",
        message: "never heard of it",
    };
    scene.proxy.fail("PUT", "/manifests/", 99, say);
    let error = scene.push(&Layout::with_image(4, &[3000])).unwrap_err();
    assert_eq!(error.exit_code(), 7, "{error}");
    assert!(error.to_string().contains("never heard of it"), "{error}");
}

#[test]
fn a_blob_that_is_collected_before_the_manifest_comes_is_sent_again() {
    need!("collected blobs", "docker-registry");
    let scene = Scene::new();
    let layout = Layout::with_image(5, &[3000, 2000]);
    let report = scene.push(&layout).unwrap();
    let victim = report.transfers[1].digest.to_string();
    std::fs::remove_dir_all(scene.store().join("_manifests")).unwrap();
    let link = scene.link(&victim);
    let mut is_first = true;
    scene.proxy.rule(move |head| {
        if head.method() == "PUT" && head.path().contains("/manifests/") && is_first {
            is_first = false;
            std::fs::remove_dir_all(link.parent().unwrap()).unwrap();
        }
        // The registry itself names the blob that it lacks.
        None
    });
    let again = scene.push(&layout).unwrap();
    assert_eq!(again.retries, 1);
    scene.check(&again);
}

#[test]
fn where_tags_cannot_move_referrers_are_listed_at_once() {
    need!("immutable tags", "docker-registry");
    let scene = Scene::new();
    let mut tags = BTreeSet::new();
    scene.proxy.rule(move |head| {
        let tag = head
            .path()
            .rsplit('/')
            .next()
            .unwrap_or_default()
            .to_owned();
        let is_put = head.method() == "PUT" && head.path().contains("/manifests/");
        let is_again = is_put && !tag.contains("sha256:") && !tags.insert(tag);
        is_again.then_some(Fault::Say {
            status: "400 Bad Request",
            code: "TAG_INVALID",
            message: "the tag already exists and is immutable",
        })
    });
    // An image with three documents about it.
    let mut layout = Layout::new();
    let image = layout.image(&[vec![1; 1000]], "amd64");
    for text in ["one", "two", "three"] {
        let artifact = layout.artifact(&image, "application/spdx+json", text.as_bytes());
        layout.list(artifact);
    }
    layout.list_as(image, "app");
    let push = |source: Arc<crateyard_registry::Source>, target: &str| {
        let target = scene.proxy.reference(target);
        let options = push::Options::default();
        run(push::push(&scene.home.client(), source, &target, &options))
    };
    let report = push(layout.source(), "app:v1").unwrap();
    let client = Home::new().client();
    let repository = client.repository(&scene.registry.reference("app")).unwrap();
    let listed = run(repository.referrers(&report.digest, false)).unwrap().0;
    assert_eq!(listed.len(), 3);
    assert!(push(layout.source(), "app:v1").unwrap().unchanged);

    // A later referrer can't be listed. The error says which tag has to move.
    let version = TagOrDigest::Digest(report.digest.clone());
    let subject = run(repository.manifest(&version)).unwrap().unwrap();
    let artifact = Artifact {
        subject: subject.plain_descriptor(),
        artifact_type: "text/plain".to_owned(),
        media_type: "text/plain".to_owned(),
        document: "late".into(),
        annotations: Default::default(),
    };
    let source = crateyard_registry::Source::artifact(&artifact);
    let error = push(source, &format!("app@{}", artifact.digest())).unwrap_err();
    assert_eq!(error.exit_code(), 6, "{error}");
    let tag = format!("allow the tag sha256-{} to move", report.digest.hex());
    assert!(error.to_string().contains(&tag), "{error}");
    // For an image whose tag is taken, the error advises another tag.
    let error = push(Layout::with_image(6, &[10]).source(), "app:v1").unwrap_err();
    assert_eq!(error.exit_code(), 6, "{error}");
    assert!(error.to_string().contains("choose another tag"), "{error}");
}

#[test]
fn lists_of_referrers_have_pages() {
    let entry = |number: usize| {
        json!({
            "mediaType": crateyard_oci::media_type::MANIFEST, "size": 2,
            "digest": Digest::of(number.to_string().as_bytes()),
        })
    };
    let page = |entries: &[serde_json::Value]| {
        let index = json!({
            "schemaVersion": 2, "mediaType": crateyard_oci::media_type::INDEX,
            "manifests": entries,
        });
        Answer::new(200)
            .header("Content-Type", crateyard_oci::media_type::INDEX)
            .body(index.to_string())
    };
    for is_endless in [false, true] {
        let registry = Scripted::start(move |seen| {
            let number = seen.path.rsplit_once("page=").map_or("0", |(_, page)| page);
            let number: usize = number.parse().unwrap();
            let path = seen.path.split('?').next().unwrap();
            let next = format!("<{path}?page={}>; rel=\"next\"", number + 1);
            let answer = page(&[entry(number)]);
            match is_endless || number < 4 {
                true => answer.header("Link", next),
                false => answer,
            }
        });
        let client = Home::new().client();
        let repository = registry.repository(&client, "app");
        let listed = run(repository.referrers(&Digest::of(b""), false));
        match is_endless {
            false => assert_eq!(listed.unwrap().0.len(), 5),
            true => assert_eq!(listed.unwrap_err().exit_code(), 8),
        }
    }
    // A list that breaks off is not a shorter one.
    for status in [400, 404, 405, 501] {
        let registry = Scripted::start(move |seen| match seen.path.contains("page=") {
            true => Answer::new(status),
            false => page(&[entry(0)]).header("Link", "</v2/app/referrers/x?page=1>; rel=next"),
        });
        let client = Home::new().client();
        let repository = registry.repository(&client, "app");
        let error = run(repository.referrers(&Digest::of(b""), false)).unwrap_err();
        assert_eq!(error.exit_code(), 8, "{error}");
        assert!(error.to_string().contains("page 2"), "{error}");
    }
    // Pages may name the previous one, too, in the same header or in another.
    let registry = Scripted::start(move |seen| {
        let link = |page: usize, to: &str| format!("</v2/app/referrers/x?page={page}>; rel={to}");
        let both = [link(0, "\"prev start\""), link(2, "\"next\"")].join(", ");
        match seen.path.rsplit_once("page=").map(|(_, page)| page) {
            None | Some("0") => page(&[entry(0)]).header("Link", link(1, "next")),
            Some("1") => page(&[entry(1)]).header("Link", both),
            Some("2") => page(&[entry(2)])
                .header("Link", link(1, "prev"))
                .header("Link", link(3, "next")),
            _ => page(&[entry(3)]).header("Link", link(2, "prev")),
        }
    });
    let client = Home::new().client();
    let repository = registry.repository(&client, "app");
    let (listed, _) = run(repository.referrers(&Digest::of(b""), false)).unwrap();
    assert_eq!(listed.len(), 4);
    // Registries without the referrers API say so in different ways.
    for status in [400, 404, 405, 501] {
        let registry = Scripted::start(move |seen| match seen.path.contains("/referrers/") {
            true => Answer::new(status),
            false => Answer::new(404),
        });
        let client = Home::new().client();
        let repository = registry.repository(&client, "app");
        // If the first answer were 400, the client would try TLS.
        assert!(!run(repository.has_blob(&Digest::of(b""))).unwrap());
        let (listed, _) = run(repository.referrers(&Digest::of(b""), false)).unwrap();
        assert!(listed.is_empty(), "{status}");
    }
}
