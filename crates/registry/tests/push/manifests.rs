//! Tags, indexes, referrers and documents.

use super::*;

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
        let version = crateyard_oci::TagOrDigest::Digest(pushed.digest.clone());
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
