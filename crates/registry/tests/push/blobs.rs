//! Blobs that are remembered, mounted, or sent first.

use super::*;

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
