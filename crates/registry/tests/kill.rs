//! Kills the pusher or the registry at random moments, and measures the memory of a push.
#![allow(missing_docs)]

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use crateyard_oci::{Digest, Reference};
use crateyard_registry::{Client, Environment, Options, Retry, push};
use crateyard_testing::moments::Moments;
use crateyard_testing::need;
use crateyard_testing::proxy::{Proxy, received};
use crateyard_testing::{Home, Layout, Registry, check_whole, run};
use serde_json::Value;

const CHUNK: u64 = 64 * 1024;

fn options() -> push::Options {
    push::Options {
        chunk_size: CHUNK,
        ..push::Options::default()
    }
}

/// A pusher in its own process, started by [`start_pusher`].
#[test]
#[ignore = "started by the other tests"]
fn pusher() {
    let variable = |name: &str| std::env::var(name).expect("set by the test that starts this one");
    let environment = Environment {
        home: Some(variable("PUSHER_HOME").into()),
        ..Environment::default()
    };
    let client = Client::new(Options::new(environment));
    let source = crateyard_registry::Source::open(Path::new(&variable("PUSHER_LAYOUT"))).unwrap();
    let target: Reference = variable("PUSHER_TARGET").parse().unwrap();
    let chunk_size = variable("PUSHER_CHUNK").parse().unwrap();
    let options = push::Options {
        chunk_size,
        ..push::Options::default()
    };
    run(push::push(&client, source, &target, &options)).unwrap();
    // The peak memory that the kernel reports, in kB.
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let peak = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .unwrap();
    std::fs::write(
        Path::new(&variable("PUSHER_HOME")).join("peak"),
        peak.replace("kB", "").trim(),
    )
    .unwrap();
}

fn start_pusher(layout: &Path, target: &Reference, home: &Home, chunk: u64) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "pusher"])
        .env("PUSHER_HOME", home.directory.path())
        .env("PUSHER_LAYOUT", layout)
        .env("PUSHER_TARGET", target.to_string())
        .env("PUSHER_CHUNK", chunk.to_string())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// Makes two images that share a layer. The second is pushed over the first.
fn images() -> (Layout, Layout) {
    let shared = crateyard_testing::noise(1, 200_000);
    let make = |seeds: &[u64]| {
        let mut layout = Layout::new();
        let mut layers = vec![shared.clone()];
        layers.extend(
            seeds
                .iter()
                .map(|seed| crateyard_testing::noise(*seed, 350_000)),
        );
        let image = layout.image(&layers, "amd64");
        layout.list(image);
        layout
    };
    (make(&[2]), make(&[3, 4, 5]))
}

/// Returns the digest of the only image of a layout, and the sizes of its blobs.
fn content(layout: &Layout) -> (Digest, Vec<(Digest, u64)>) {
    let index: Value = serde_json::to_value(layout.source().index()).unwrap();
    let digest: Digest = index["manifests"][0]["digest"]
        .as_str()
        .unwrap()
        .parse()
        .unwrap();
    let manifest = std::fs::read(layout.blob_path(digest.as_str())).unwrap();
    let manifest: Value = serde_json::from_slice(&manifest).unwrap();
    let blob = |value: &Value| {
        (
            value["digest"].as_str().unwrap().parse().unwrap(),
            value["size"].as_u64().unwrap(),
        )
    };
    let mut blobs: Vec<(Digest, u64)> = manifest["layers"]
        .as_array()
        .unwrap()
        .iter()
        .map(blob)
        .collect();
    blobs.push(blob(&manifest["config"]));
    (digest, blobs)
}

/// Returns the number of bytes of blobs that the repository lacks.
async fn lacking(client: &Client, target: &Reference, blobs: &[(Digest, u64)]) -> u64 {
    let repository = client.repository(target).unwrap();
    let mut bytes = 0;
    for (digest, size) in blobs {
        if !repository.has_blob(digest).await.unwrap() {
            bytes += size;
        }
    }
    bytes
}

/// Counts the requests of a push of this image that has to send everything.
fn requests(layout: &Layout, registry: &Registry) -> usize {
    let proxy = Proxy::start(registry.address);
    let (target, client) = (proxy.reference("whole:v1"), Home::new().client());
    run(push::push(&client, layout.source(), &target, &options())).unwrap();
    proxy.take().len()
}

#[test]
fn killing_the_pusher_leaves_the_old_image_or_the_new_one() {
    need!("kill the pusher", "docker-registry");
    let registry = Registry::start();
    let proxy = Proxy::start(registry.address);
    let (old, new) = images();
    let (old_digest, _) = content(&old);
    let (new_digest, blobs) = content(&new);
    let observer = Home::new().client();
    let count = requests(&new, &registry);
    let mut moments = Moments::new("killed pushers");
    let (mut within, mut kept_old, mut became_new, mut resumed) = (0, 0, 0, 0_u64);
    let mut moment = 0;
    while moments.another(within.min(kept_old).min(resumed as usize)) {
        moment += 1;
        let target = proxy.reference(&format!("app{moment}:v1"));
        let direct = registry.reference(&format!("app{moment}:v1"));
        run(push::push(&observer, old.source(), &direct, &options())).unwrap();
        let home = Home::new();
        let start = || start_pusher(new.path(), &target, &home, CHUNK);
        within += usize::from(moments.kill_client(&proxy, count, start));
        let found = run(check_whole(&observer, &direct)).expect("the tag is there");
        assert!(found == old_digest || found == new_digest, "{found}");
        kept_old += usize::from(found == old_digest);
        became_new += usize::from(found == new_digest);

        // Wait until the proxy has finished the requests of the killed pusher.
        proxy.settle();
        let missing = run(lacking(&observer, &direct, &blobs));
        proxy.take();
        let report = run(push::push(
            &home.client(),
            new.source(),
            &target,
            &options(),
        ))
        .unwrap();
        let sent = received(&proxy.take());
        assert!(
            sent <= missing,
            "moment {moment}: sent {sent}, {missing} were missing: {report:?}"
        );
        resumed += missing - sent;
        assert_eq!(
            run(check_whole(&observer, &direct)).as_ref(),
            Some(&new_digest)
        );
    }
    eprintln!(
        "killed: {kept_old} times before the tag moved, {became_new} after; {resumed} bytes resumed"
    );
    moments.require(within, "an upload");
    moments.require(kept_old, "a push before its tag moved");
    assert!(resumed > 0, "no upload was resumed");
}

#[test]
fn killing_the_registry_leaves_the_old_image_or_the_new_one() {
    need!("kill the registry", "docker-registry");
    let mut registry = Registry::start();
    let proxy = Proxy::start(registry.address);
    let (old, new) = images();
    let (old_digest, _) = content(&old);
    let (new_digest, blobs) = content(&new);
    let observer = Home::new().client();
    let count = requests(&new, &registry);
    let mut moments = Moments::new("killed registries");
    let (mut within, mut survived, mut failed) = (0, 0, 0);
    let mut moment = 0;
    while moments.another(within.min(survived)) {
        moment += 1;
        let target = proxy.reference(&format!("app{moment}:v1"));
        let direct = registry.reference(&format!("app{moment}:v1"));
        run(push::push(&observer, old.source(), &direct, &options())).unwrap();
        let mut home = Home::new();
        // Half of the pushers wait long enough for the registry to come back.
        home.options.retry = Retry {
            attempts: if moment % 2 == 0 { 12 } else { 1 },
            first_wait: Duration::from_millis(50),
            ..home.options.retry
        };
        let (at, delay) = (moments.random.usize(..count), moments.random.u64(..2000));
        let (signal, signals) = mpsc::channel();
        let mut seen = 0;
        proxy.rule(move |head| {
            if seen == at {
                let _ = signal.send(head.is_upload());
            }
            seen += 1;
            None
        });
        let (client, source) = (home.client(), new.source());
        let pusher = {
            let target = target.clone();
            std::thread::spawn(move || run(push::push(&client, source, &target, &options())))
        };
        // The push may finish with fewer requests than were counted.
        let hit = signals
            .recv_timeout(Duration::from_secs(5))
            .unwrap_or(false);
        std::thread::sleep(Duration::from_micros(delay));
        registry.kill();
        std::thread::sleep(Duration::from_millis(20));
        registry.restart();
        within += usize::from(hit);
        match pusher.join().unwrap() {
            Ok(_) => survived += 1,
            Err(error) => {
                assert_eq!(error.exit_code(), 7, "{error}");
                failed += 1;
            }
        }
        proxy.heal();
        let found = run(check_whole(&observer, &direct)).expect("the tag is there");
        assert!(found == old_digest || found == new_digest, "{found}");
        let missing = run(lacking(&observer, &direct, &blobs));
        let report = run(push::push(
            &home.client(),
            new.source(),
            &target,
            &options(),
        ))
        .unwrap();
        assert!(
            report.bytes_sent <= missing + 2000,
            "moment {moment}: {missing} were missing: {report:?}"
        );
        assert_eq!(
            run(check_whole(&observer, &direct)).as_ref(),
            Some(&new_digest)
        );
    }
    eprintln!("the registry was killed: {survived} pushes went on, {failed} gave up");
    moments.require(within, "an upload");
    moments.require(survived, "a push that survives a restart");
}

#[test]
fn a_large_layer_takes_little_memory() {
    need!("memory", "docker-registry");
    let size = large_layer();
    /// In kB, like the kernel's figure.
    const MAX_MEMORY: u64 = 64 * 1024;
    let registry = Registry::start();
    let free = free_space(registry.directory.path());
    if free < 3 * size {
        crateyard_testing::skip(
            "memory",
            &format!("{free} bytes of disk are free, {} are needed", 3 * size),
        );
        return;
    }
    let mut layout = Layout::new();
    // A sparse file takes no disk here, but the registry stores all of it.
    let sparse = layout.path().join("sparse");
    std::fs::File::create(&sparse)
        .unwrap()
        .set_len(size)
        .unwrap();
    let digest = digest_of(&sparse);
    std::fs::rename(&sparse, layout.blob_path(&digest)).unwrap();
    let layer = serde_json::json!({
        "mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": digest, "size": size,
    });
    let config = layout.blob("application/vnd.oci.image.config.v1+json", b"{}");
    let manifest = serde_json::json!({
        "schemaVersion": 2, "mediaType": crateyard_oci::media_type::MANIFEST, "config": config,
        "layers": [layer],
    });
    let manifest = layout.blob(
        crateyard_oci::media_type::MANIFEST,
        manifest.to_string().as_bytes(),
    );
    layout.list(manifest);
    for (name, chunk) in [("chunks", 32 << 20), ("whole", u64::MAX)] {
        let home = Home::new();
        let target = registry.reference(&format!("{name}:v1"));
        let mut child = start_pusher(layout.path(), &target, &home, chunk);
        assert!(child.wait().unwrap().success());
        let peak: u64 = std::fs::read_to_string(home.directory.path().join("peak"))
            .unwrap()
            .parse()
            .unwrap();
        eprintln!("{name}: {peak} kB at most for a layer of {size} bytes");
        assert!(peak < MAX_MEMORY, "{peak} kB");
    }
}

/// Returns the size of a large layer in bytes: four times the memory that a push may take, or
/// `LARGE_LAYER_GIB`. The test needs three times that on disk.
fn large_layer() -> u64 {
    let asked = std::env::var("LARGE_LAYER_GIB").ok();
    let asked = asked.and_then(|asked| asked.parse::<u64>().ok());
    asked.map_or(256 << 20, |gibibytes| gibibytes << 30) + 12_345
}

/// Uses sha256sum, which is much faster than this crate without optimization.
fn digest_of(path: &Path) -> String {
    let output = Command::new("sha256sum").arg(path).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    format!("sha256:{}", text.split(' ').next().unwrap())
}

fn free_space(path: &Path) -> u64 {
    let path = std::ffi::CString::new(path.to_str().unwrap()).unwrap();
    let mut information = std::mem::MaybeUninit::<libc::statvfs>::uninit();
    // SAFETY: the path ends in a zero byte, and the pointer is to memory of the right size.
    let result = unsafe { libc::statvfs(path.as_ptr(), information.as_mut_ptr()) };
    assert_eq!(result, 0);
    // SAFETY: the call succeeded and has filled it.
    let information = unsafe { information.assume_init() };
    information.f_bavail * information.f_frsize
}
