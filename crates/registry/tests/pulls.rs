//! Pulls into one layout at the same time, and pulls that are killed.
#![allow(missing_docs)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::time::Duration;

use crateyard_oci::{Digest, Reference};
use crateyard_registry::{Client, Environment, Options, pull};
use crateyard_testing::moments::{Moments, kill};
use crateyard_testing::scripted::{Answer, Scripted, Seen};
use crateyard_testing::{Home, Layout, run};

/// A puller in its own process, started by [`start_puller`].
#[test]
#[ignore = "started by the other tests"]
fn puller() {
    let variable = |name: &str| std::env::var(name).expect("set by the test that starts this one");
    let environment = Environment {
        home: Some(variable("PULLER_HOME").into()),
        ..Environment::default()
    };
    let client = Client::new(Options::new(environment));
    let reference: Reference = variable("PULLER_SOURCE").parse().unwrap();
    let path = PathBuf::from(variable("PULLER_LAYOUT"));
    run(pull::pull(
        &client,
        &reference,
        &path,
        &pull::Options::default(),
    ))
    .unwrap();
}

fn start_puller(source: &Reference, layout: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "puller"])
        .env("PULLER_HOME", layout.parent().unwrap())
        .env("PULLER_SOURCE", source.to_string())
        .env("PULLER_LAYOUT", layout)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// Returns the content of a registry that serves the image of a layout: all blobs by digest, and
/// the image's digest.
fn contents(layout: &Layout) -> (BTreeMap<String, Vec<u8>>, String) {
    let mut blobs = BTreeMap::new();
    for entry in std::fs::read_dir(layout.path().join("blobs/sha256")).unwrap() {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        blobs.insert(Digest::of(&bytes).to_string(), bytes);
    }
    let root = layout.source().index().manifests[0].digest.to_string();
    (blobs, root)
}

/// Serves an image. Like many proxies, it sends only whole blobs.
fn serve(blobs: &BTreeMap<String, Vec<u8>>, root: &str, seen: &Seen) -> Answer {
    let last = seen.path.rsplit('/').next().unwrap_or_default();
    let digest = if last == "v1" { root } else { last };
    match blobs.get(digest) {
        None => Answer::new(404),
        Some(bytes) if seen.path.contains("/manifests/") => Answer::new(200)
            .header("Content-Type", crateyard_oci::media_type::MANIFEST)
            .body(bytes.clone()),
        Some(bytes) => Answer::new(200).body(bytes.clone()),
    }
}

/// Returns the faults of a layout: a blob with another digest than its name, an index entry without
/// a blob, or an unexpected file.
fn faults(layout: &Path) -> Vec<String> {
    let mut faults = Vec::new();
    for directory in ["blobs/sha256", "blobs/sha512", "."] {
        let entries = std::fs::read_dir(layout.join(directory))
            .into_iter()
            .flatten();
        for entry in entries.flatten() {
            let name = entry.file_name().into_string().unwrap();
            let is_blob = directory != "." && {
                let bytes = std::fs::read(entry.path()).unwrap();
                Digest::of(&bytes).hex() == name
            };
            let is_own =
                directory == "." && ["blobs", "index.json", "oci-layout"].contains(&&*name);
            if !is_blob && !is_own {
                faults.push(format!("{directory}/{name}"));
            }
        }
    }
    if let Ok(bytes) = std::fs::read(layout.join("index.json")) {
        let index: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
        for image in index["manifests"].as_array().unwrap() {
            let hex = image["digest"].as_str().unwrap().replace("sha256:", "");
            if !layout.join("blobs/sha256").join(&hex).exists() {
                faults.push(format!("the index names {hex}"));
            }
        }
    }
    faults
}

#[test]
fn two_pulls_into_one_layout_do_not_disturb_each_other() {
    let layout = Layout::with_image(1, &[1_000_000, 300_000]);
    let (blobs, root) = contents(&layout);
    let large = blobs.iter().max_by_key(|(_, bytes)| bytes.len()).unwrap();
    let large = large.0.clone();
    // The first request for the large blob is answered slowly, the second even more slowly.
    let asked = Arc::new(AtomicUsize::new(0));
    let counter = asked.clone();
    let registry = Scripted::start(move |seen| {
        let answer = serve(&blobs, &root, seen);
        if !seen.path.ends_with(&large) {
            return answer;
        }
        let pause = match counter.fetch_add(1, Ordering::SeqCst) {
            0 => Duration::from_millis(20),
            _ => Duration::from_millis(60),
        };
        answer.before_piece(move |_| std::thread::sleep(pause))
    });
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("layout");
    let source = registry.reference("app:v1");
    let wait_for = |count: usize| {
        while asked.load(Ordering::SeqCst) < count {
            std::thread::sleep(Duration::from_millis(5));
        }
    };
    let mut first = start_puller(&source, &path);
    wait_for(1);
    std::thread::sleep(Duration::from_millis(200));
    let mut second = start_puller(&source, &path);
    wait_for(2);
    assert!(first.wait().unwrap().success());
    assert!(faults(&path).is_empty(), "{:?}", faults(&path));
    // The second pull is still receiving the blob that the layout has by now.
    assert!(second.try_wait().unwrap().is_none(), "it was too fast");
    second.kill().unwrap();
    second.wait().unwrap();
    assert!(faults(&path).is_empty(), "{:?}", faults(&path));

    // Several undisturbed pulls at once all succeed, and the index names all their images.
    let path = directory.path().join("many");
    let names = ["a", "b", "c", "d"];
    let pullers = names.map(|name| start_puller(&registry.reference(&format!("{name}:v1")), &path));
    for mut puller in pullers {
        assert!(puller.wait().unwrap().success());
    }
    assert!(faults(&path).is_empty(), "{:?}", faults(&path));
}

#[test]
fn pulls_at_the_same_time_lose_no_name() {
    let layout = Layout::with_image(2, &[1000]);
    let (blobs, root) = contents(&layout);
    let registry = Scripted::start(move |seen| {
        let is_tag = seen.path.contains("/manifests/") && !seen.path.contains("sha256:");
        match is_tag {
            true => Answer::new(200)
                .header("Content-Type", crateyard_oci::media_type::MANIFEST)
                .body(blobs[&root].clone()),
            false => serve(&blobs, &root, seen),
        }
    });
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("layout");
    let client = Home::new().client();
    std::thread::scope(|scope| {
        for at in 0..8 {
            let (client, path) = (client.clone(), &path);
            let reference = registry.reference(&format!("app:v{at}"));
            scope.spawn(move || {
                run(pull::pull(
                    &client,
                    &reference,
                    path,
                    &pull::Options::default(),
                ))
                .unwrap();
            });
        }
    });
    let index = std::fs::read_to_string(path.join("index.json")).unwrap();
    for at in 0..8 {
        assert!(index.contains(&format!("\"v{at}\"")), "{index}");
    }
}

#[test]
fn a_killed_pull_leaves_whole_blobs_and_nothing_else() {
    let layout = Layout::with_image(3, &[400_000, 300_000, 200_000]);
    let (blobs, root) = contents(&layout);
    let total: usize = blobs.values().map(Vec::len).sum();
    // The registry kills the puller after it has sent this many bytes.
    let (victim, limit) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicUsize::new(0)));
    let sent = Arc::new(AtomicUsize::new(0));
    let (shared, shared_limit, shared_sent) = (victim.clone(), limit.clone(), sent.clone());
    let registry = Scripted::start(move |seen| {
        let (victim, limit, sent) = (shared.clone(), shared_limit.clone(), shared_sent.clone());
        serve(&blobs, &root, seen).before_piece(move |_| {
            let before = sent.fetch_add(crateyard_testing::scripted::PIECE, Ordering::SeqCst);
            if before >= limit.load(Ordering::SeqCst) {
                kill(victim.load(Ordering::SeqCst));
            }
            // Let other requests run, so that several blobs are under way.
            std::thread::sleep(Duration::from_millis(1));
        })
    });
    let source = registry.reference("app:v1");
    let directory = tempfile::tempdir().unwrap();
    let mut moments = Moments::new("killed pulls");
    let (mut within, mut round) = (0, 0);
    while moments.another(within) {
        // Five rounds in a row continue in the same layout.
        let path = directory.path().join(format!("layout{}", round / 5));
        round += 1;
        sent.store(0, Ordering::SeqCst);
        victim.store(0, Ordering::SeqCst);
        limit.store(moments.random.usize(..total), Ordering::SeqCst);
        let mut puller = start_puller(&source, &path);
        victim.store(puller.id(), Ordering::SeqCst);
        let is_killed = !puller.wait().unwrap().success();
        within += usize::from(is_killed && sent.load(Ordering::SeqCst) > 0);
        assert!(faults(&path).is_empty(), "{:?}", faults(&path));
        let is_named = path.join("index.json").exists();
        assert!(is_killed || is_named, "it finished and named nothing");
    }
    moments.require(within, "a download");
    victim.store(0, Ordering::SeqCst);
    let path = directory.path().join("layout0");
    let client = Home::new().client();
    run(pull::pull(
        &client,
        &source,
        &path,
        &pull::Options::default(),
    ))
    .unwrap();
    assert!(faults(&path).is_empty(), "{:?}", faults(&path));
    let source = crateyard_registry::Source::open(&path).unwrap();
    assert!(!source.index().manifests.is_empty());
}

#[test]
fn what_older_pulls_left_is_removed() {
    let layout = Layout::with_image(4, &[1000]);
    let (blobs, root) = contents(&layout);
    let layer = blobs.iter().find(|(_, bytes)| bytes.len() == 1000).unwrap();
    let layer = layer.0.replace("sha256:", "");
    let registry = Scripted::start(move |seen| serve(&blobs, &root, seen));
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("layout");
    let place = path.join("blobs/sha256");
    std::fs::create_dir_all(&place).unwrap();
    std::fs::write(place.join(format!(".partial-{layer}")), "wrong").unwrap();
    std::fs::write(
        place.join(format!(".partial-{}", "0".repeat(64))),
        "of another image",
    )
    .unwrap();
    std::fs::write(place.join(".new-x"), "half a manifest").unwrap();
    std::fs::write(path.join(".new-y"), "half an index").unwrap();
    let client = Home::new().client();
    let reference = registry.reference("app:v1");
    run(pull::pull(
        &client,
        &reference,
        &path,
        &pull::Options::default(),
    ))
    .unwrap();
    assert!(faults(&path).is_empty(), "{:?}", faults(&path));
}

#[test]
fn an_image_that_lies_about_a_size_harms_no_other_one() {
    let mut layout = Layout::with_image(5, &[1000]);
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("layout");
    let pull = |layout: &Layout, name: &str| {
        let (blobs, root) = contents(layout);
        let registry = Scripted::start(move |seen| serve(&blobs, &root, seen));
        let reference = registry.reference(&format!("{name}:v1"));
        run(pull::pull(
            &Home::new().client(),
            &reference,
            &path,
            &pull::Options::default(),
        ))
    };
    let report = pull(&layout, "good").unwrap();
    let bytes = std::fs::read(layout.blob_path(report.digest.as_str())).unwrap();
    let text = String::from_utf8(bytes)
        .unwrap()
        .replace("\"size\":1000", "\"size\":999");
    let media_type = crateyard_oci::media_type::MANIFEST;
    let lie = layout.blob(media_type, text.as_bytes());
    let mut other = Layout::new();
    for entry in std::fs::read_dir(layout.path().join("blobs/sha256")).unwrap() {
        other.blob("", &std::fs::read(entry.unwrap().path()).unwrap());
    }
    other.list(lie);
    let error = pull(&other, "bad").unwrap_err();
    assert_eq!(error.exit_code(), 3, "{error}");
    assert!(error.to_string().contains("1000 bytes"), "{error}");
    assert!(faults(&path).is_empty(), "{:?}", faults(&path));
    assert_eq!(
        pull(&layout, "good").unwrap().existing,
        2,
        "everything is still there"
    );
}

#[test]
fn sizes_that_no_number_holds_are_no_panic() {
    let layout = Layout::with_image(6, &[1000, 2000]);
    let (mut blobs, root) = contents(&layout);
    let huge = |size: &str| (size.to_owned(), format!("\"size\":{}", u64::MAX));
    let mut text = String::from_utf8(blobs.remove(&root).unwrap()).unwrap();
    for (from, to) in [huge("\"size\":1000"), huge("\"size\":2000")] {
        text = text.replace(&from, &to);
    }
    let root = Digest::of(text.as_bytes()).to_string();
    blobs.insert(root.clone(), text.into_bytes());
    let registry = Scripted::start(move |seen| serve(&blobs, &root, seen));
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("layout");
    let mut home = Home::new();
    home.options.retry.attempts = 2;
    let reference = registry.reference("app:v1");
    let pulled = run(pull::pull(
        &home.client(),
        &reference,
        &path,
        &pull::Options::default(),
    ));
    assert!(pulled.is_err());
    assert!(!path.join("index.json").exists());
}

#[test]
fn the_index_of_a_layout_keeps_what_it_says_and_a_malformed_one_is_refused() {
    let layout = Layout::with_image(7, &[1000]);
    let (blobs, root) = contents(&layout);
    let registry = Scripted::start(move |seen| serve(&blobs, &root, seen));
    let directory = tempfile::tempdir().unwrap();
    let index = directory.path().join("index.json");
    std::fs::write(directory.path().join("oci-layout"), "{}").unwrap();
    let pull = || {
        let client = Home::new().client();
        let reference = registry.reference("app:v1");
        let options = pull::Options::default();
        run(pull::pull(&client, &reference, directory.path(), &options))
    };
    for malformed in ["[]", "{}", "{\"manifests\":{}}", "{\"manifests\":\"\"}"] {
        std::fs::write(&index, malformed).unwrap();
        let error = pull().unwrap_err();
        assert_eq!(error.exit_code(), 3, "{error}");
        assert!(error.to_string().contains("not an image index"), "{error}");
        assert_eq!(std::fs::read_to_string(&index).unwrap(), malformed);
        assert!(!directory.path().join("blobs").exists());
    }
    for manifests in ["null", "[{\"digest\":\"x\"}]"] {
        let text = format!(
            "{{\"manifests\":{manifests},\"annotations\":{{\"a\":\"b\"}},\"artifactType\":\"c/d\"}}"
        );
        std::fs::write(&index, text).unwrap();
        pull().unwrap();
        let read: serde_json::Value =
            serde_json::from_slice(&std::fs::read(&index).unwrap()).unwrap();
        assert_eq!(read["annotations"]["a"], "b");
        assert_eq!(read["artifactType"], "c/d");
        let images = read["manifests"].as_array().unwrap().len();
        assert_eq!(images, if manifests == "null" { 1 } else { 2 });
    }
}

/// Registries need not hold some layers, such as those of Windows.
#[test]
fn a_foreign_layer_is_fetched_or_named() {
    let layout = Layout::with_image(6, &[1000, 2000]);
    let (mut blobs, root) = contents(&layout);
    let text = String::from_utf8(blobs.remove(&root).unwrap()).unwrap();
    let mut manifest: serde_json::Value = serde_json::from_str(&text).unwrap();
    let media_type = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip";
    let url = "https://vendor.example/layer\u{1b}[2J";
    manifest["layers"][0]["mediaType"] = media_type.into();
    manifest["layers"][0]["urls"] = serde_json::json!([url]);
    let foreign = manifest["layers"][0]["digest"].as_str().unwrap().to_owned();
    let text = manifest.to_string();
    let root = Digest::of(text.as_bytes()).to_string();
    blobs.insert(root.clone(), text.into_bytes());
    for is_there in [true, false] {
        if !is_there {
            blobs.remove(&foreign);
        }
        let (served, root) = (blobs.clone(), root.clone());
        let registry = Scripted::start(move |seen| serve(&served, &root, seen));
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("layout");
        let (home, reference) = (Home::new(), registry.reference("app:v1"));
        let options = pull::Options::default();
        let pulled = run(pull::pull(&home.client(), &reference, &path, &options));
        if is_there {
            assert_eq!(pulled.unwrap().fetched, 3);
            continue;
        }
        let error = pulled.unwrap_err();
        assert_eq!(error.exit_code(), 5);
        let said = error.to_string();
        for part in [media_type, "https://vendor.example/layer", &foreign] {
            assert!(said.contains(part), "{said}");
        }
        assert!(!path.join("index.json").exists());
    }
}
