//! Images as a whole: refused, only shown, pulled back.

use super::*;

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
