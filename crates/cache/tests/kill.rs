//! Kills pushes of a cache at random moments. The cache is then the old one or the new one, and
//! complete.
#![allow(missing_docs)]

use std::collections::BTreeSet;
use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use crateyard_cache::packs::{Build, PackDirectory, PackIndex, PackWriter, Packs, publish};
use crateyard_nix::{Hash, NarInfo};
use crateyard_oci::Reference;
use crateyard_registry::{Client, Environment, Options};
use crateyard_testing::moments::{Moments, kill};
use crateyard_testing::proxy::Proxy;
use crateyard_testing::{Home, Registry, need, noise, run};
use tempfile::TempDir;

/// The size of packs: each path gets a pack of its own.
const PACK_SIZE: u64 = 1;
const PATH_SIZE: usize = 200_000;

/// The paths of the existing cache, and those that a push adds.
const OLD: [u64; 2] = [1, 2];
const NEW: [u64; 3] = [3, 4, 5];

/// Returns a cache's entry for a path.
fn info(number: u64) -> NarInfo {
    let archive = noise(number, PATH_SIZE);
    let hash = Hash::of(&archive);
    let text = format!(
        "StorePath: /nix/store/{}-path{number}\nURL: nar/{number}.nar\nCompression: \
         none\nFileHash: {hash}\nFileSize: {PATH_SIZE}\nNarHash: {hash}\nNarSize: \
         {PATH_SIZE}\nReferences: \n",
        number.to_string().repeat(32)
    );
    NarInfo::parse(&text, "here").unwrap()
}

/// Adds paths to an index: writes new packs to a directory, and the index of all.
fn add(directory: &PackDirectory, mut index: PackIndex, numbers: &[u64]) -> PackIndex {
    let mut writer = PackWriter::new(&directory.blobs(), PACK_SIZE);
    let mut paths = index.paths().unwrap();
    for number in numbers {
        let info = info(*number);
        let archive = noise(*number, PATH_SIZE);
        writer.append(&info, &mut archive.as_slice()).unwrap();
        paths.insert(info.path);
    }
    let build = Build { pushed: 0, paths };
    index.add(writer.finish().unwrap(), "main", build);
    directory.commit(&index).unwrap();
    index
}

/// A directory with packs.
struct Scene {
    _directory: TempDir,
    packs: PackDirectory,
    index: PackIndex,
}

impl Scene {
    fn old() -> Scene {
        let directory = tempfile::tempdir().unwrap();
        let packs = PackDirectory::new(directory.path());
        let _lock = packs.lock().unwrap();
        let index = add(&packs, PackIndex::default(), &OLD);
        Scene {
            _directory: directory,
            packs,
            index,
        }
    }
}

/// Returns the index that [`pusher`] makes from the old one.
fn new_index(old: &PackIndex) -> PackIndex {
    let directory = tempfile::tempdir().unwrap();
    let packs = PackDirectory::new(directory.path());
    let _lock = packs.lock().unwrap();
    add(&packs, old.clone(), &NEW)
}

fn client(home: &Path) -> Client {
    let environment = Environment {
        home: Some(home.to_owned()),
        ..Environment::default()
    };
    Client::new(Options::new(environment))
}

/// Runs as a pusher in a process of its own, like `assemble cache push`. [`start_pusher`] starts
/// it.
#[test]
#[ignore = "started by the other tests"]
fn pusher() {
    let variable = |name: &str| std::env::var(name).expect("set by the test that starts this one");
    let place = variable("PUSHER_PACKS");
    let Ok(target) = std::env::var("PUSHER_TARGET") else {
        let packs = PackDirectory::new(Path::new(&place));
        let lock = packs.lock().unwrap();
        add(&packs, packs.index().unwrap().unwrap(), &NEW);
        packs.sweep(&lock).unwrap();
        return;
    };
    let target: Reference = target.parse().unwrap();
    let packs = PackDirectory::new(Path::new(&place));
    let _lock = packs.lock().unwrap();
    let client = client(Path::new(&variable("PUSHER_HOME")));
    let there = run(Packs::open_registry(&client, &target)).unwrap();
    add(&packs, there.unwrap().index().clone(), &NEW);
    run(publish(&client, &packs, &target)).unwrap();
}

fn start_pusher(packs: &Path, target: Option<(&Reference, &Path)>) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--ignored", "--exact", "pusher"])
        .env("PUSHER_PACKS", packs)
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    if let Some((target, home)) = target {
        command
            .env("PUSHER_TARGET", target.to_string())
            .env("PUSHER_HOME", home);
    }
    command.spawn().unwrap()
}

/// Fails if a cache lacks something that its index names.
fn check_whole(packs: &Packs) {
    let index = packs.index();
    assert!(run(packs.lost()).unwrap().is_empty());
    let builds: BTreeSet<_> = index.builds.values().flat_map(|it| &it.paths).collect();
    for (_, _, info) in index.infos("here").unwrap() {
        // Both steps share one runtime, which drives the connection that delivers the archive.
        let spooled = run(async { packs.archive(&info.url).await?.unwrap().spool().await });
        let (mut file, mut bytes) = (spooled.unwrap(), Vec::new());
        file.read_to_end(&mut bytes).unwrap();
        assert_eq!(Some(Hash::of(&bytes)), info.file_hash, "{}", info.path);
        assert!(builds.contains(&info.path), "{} is of no build", info.path);
    }
}

/// Counts the requests of a push.
fn requests(old: &Scene, registry: &Registry) -> usize {
    let proxy = Proxy::start(registry.address);
    let (direct, target) = (
        registry.reference("whole:main"),
        proxy.reference("whole:main"),
    );
    let home = Home::new();
    run(publish(&home.client(), &old.packs, &direct)).unwrap();
    let place = tempfile::tempdir().unwrap();
    let home = Some((&target, home.directory.path()));
    let mut child = start_pusher(place.path(), home);
    assert!(child.wait().unwrap().success());
    proxy.take().len()
}

#[test]
fn a_killed_push_to_a_registry_leaves_the_old_cache_or_the_new_one() {
    need!("kill the push of a cache", "docker-registry");
    let registry = Registry::start();
    let proxy = Proxy::start(registry.address);
    let old = Scene::old();
    let new = new_index(&old.index);
    let observer = Home::new().client();
    let count = requests(&old, &registry);
    let mut moments = Moments::new("killed pushes of a cache");
    let (mut within, mut moment) = (0, 0);
    while moments.another(within) {
        moment += 1;
        let name = format!("app{moment}:main");
        let (direct, target) = (registry.reference(&name), proxy.reference(&name));
        run(publish(&observer, &old.packs, &direct)).unwrap();
        let (home, place) = (Home::new(), tempfile::tempdir().unwrap());
        let home = Some((&target, home.directory.path()));
        let start = || start_pusher(place.path(), home);
        within += usize::from(moments.kill_client(&proxy, count, start));
        // The killed pusher's pending requests finish at the proxy.
        proxy.settle();
        let packs = run(Packs::open_registry(&observer, &direct))
            .unwrap()
            .unwrap();
        assert!([&old.index, &new].contains(&packs.index()), "another cache");
        check_whole(&packs);

        let again = tempfile::tempdir().unwrap();
        let mut child = start_pusher(again.path(), home);
        assert!(child.wait().unwrap().success(), "the push does not go on");
        let packs = run(Packs::open_registry(&observer, &direct))
            .unwrap()
            .unwrap();
        assert!(*packs.index() == new, "the push did not go on");
        proxy.take();
    }
    moments.require(within, "an upload");
}

#[test]
fn a_killed_push_to_a_directory_leaves_the_old_cache_or_the_new_one() {
    let old = Scene::old();
    let new = new_index(&old.index);
    let begin = Instant::now();
    assert!(
        start_pusher(old.packs.path(), None)
            .wait()
            .unwrap()
            .success()
    );
    let whole = begin.elapsed();
    let mut moments = Moments::new("killed pushes to a directory");
    let mut within = 0;
    while moments.another(within) {
        let scene = Scene::old();
        let before = blobs(&scene.packs);
        let mut child = start_pusher(scene.packs.path(), None);
        std::thread::sleep(whole.mul_f64(moments.random.f64() * 1.1));
        kill(child.id());
        let is_killed = !child.wait().unwrap().success();
        within += usize::from(is_killed && blobs(&scene.packs) > before);
        let packs = Packs::open_directory(scene.packs.clone()).unwrap().unwrap();
        assert!(
            [&scene.index, &new].contains(&packs.index()),
            "another cache"
        );
        check_whole(&packs);

        assert!(
            start_pusher(scene.packs.path(), None)
                .wait()
                .unwrap()
                .success()
        );
        let packs = Packs::open_directory(scene.packs.clone()).unwrap().unwrap();
        assert!(*packs.index() == new, "the push did not go on");
        // Nothing remains of the killed push: packs, the index, the manifest.
        assert_eq!(blobs(&scene.packs), new.packs.len() + 2);
    }
    moments.require(within, "a pack that was being written");
}

fn blobs(packs: &PackDirectory) -> usize {
    std::fs::read_dir(packs.blobs()).unwrap().count()
}
