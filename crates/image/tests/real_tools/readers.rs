//! Tools that read the images that the crate writes.

use super::*;

#[test]
fn skopeo_keeps_every_digest() {
    if !has_tool("skopeo_keeps_every_digest", "skopeo") {
        return;
    }
    let directory = tempdir().unwrap();
    let layout = demo_image(directory.path());
    let path = |name: &str| directory.path().join(name).display().to_string();
    archive(
        &layout,
        ArchiveFormat::Oci,
        &directory.path().join("oci.tar"),
    );
    archive(
        &layout,
        ArchiveFormat::Docker,
        &directory.path().join("docker.tar"),
    );
    for source in [
        format!("oci:{}:1.0", path("image")),
        format!("oci-archive:{}:1.0", path("oci.tar")),
    ] {
        let target = format!("dir:{}", path("copied"));
        run(Command::new("skopeo").args(["copy", "--preserve-digests", &source, &target]));
        let manifest = fs::read(directory.path().join("copied/manifest.json")).unwrap();
        assert_eq!(
            crateyard_oci::digest::Digest::of(&manifest).to_string(),
            digest(&layout)
        );
        fs::remove_dir_all(directory.path().join("copied")).unwrap();
    }
    let inspected = stdout(Command::new("skopeo").args([
        "inspect",
        "--config",
        &format!("docker-archive:{}:demo:1.0", path("docker.tar")),
    ]));
    let inspected: Value = serde_json::from_str(&inspected).unwrap();
    assert_eq!(inspected["config"]["User"], "app");
}

#[test]
fn umoci_unpacks_and_runc_runs() {
    let test = "umoci_unpacks_and_runc_runs";
    if !is_root(test) || !has_tool(test, "umoci") || !has_tool(test, "cc") {
        return;
    }
    let directory = tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    let (base, _) = packages(directory.path());
    fs::write(
        path("main.c"),
        "#include <stdio.h>\n#include <unistd.h>\nint main(void) { printf(\"uid %d\\n\", \
         getuid()); return access(\"/srv/hello\", R_OK); }\n",
    )
    .unwrap();
    run(Command::new("cc")
        .arg("-static")
        .arg(path("main.c"))
        .arg("-o")
        .arg(path("main")));
    make_layer(
        json!([{"kind": "debian", "packages": [base]},
            {"kind": "text", "to": "/srv/hello", "text": "x"},
               accounts("/etc/passwd", 10001), accounts("/etc/group", 10001),
               {"kind": "directory", "to": "/proc"}, {"kind": "directory", "to": "/dev"},
               {"kind": "directory", "to": "/sys"}]),
        "gzip",
        &path("base.layer"),
        2,
    );
    let long = format!("/opt/{}ü", "long/".repeat(50));
    make_layer(
        json!([{"kind": "file", "from": path("main"), "to": "/opt/main",
            "xattrs": {"user.note": "aGk="}}, {"kind": "text", "to": long, "text": "x"}]),
        "gzip",
        &path("top.layer"),
        2,
    );
    let spec = image_spec(
        &[&path("base.layer"), &path("top.layer")],
        json!({"config": {"user": "app", "entrypoint": ["/opt/main"]}}),
    );
    crateyard_image::layout::make(&spec, &path("image")).unwrap();
    run(Command::new("umoci")
        .arg("unpack")
        .arg("--image")
        .arg(format!("{}:1.0", path("image").display()))
        .arg(path("bundle")));
    let root = path("bundle").join("rootfs");
    assert!(root.join(&long[1..]).is_file());
    let mode =
        std::os::unix::fs::MetadataExt::mode(&fs::metadata(root.join("usr/bin/demo")).unwrap());
    assert_eq!(mode & 0o7777, 0o4755);
    let inode =
        |name: &str| std::os::unix::fs::MetadataExt::ino(&fs::metadata(root.join(name)).unwrap());
    assert_eq!(inode("usr/bin/aa-tool"), inode("usr/bin/zz-tool"));
    run_bundle(test, &path("bundle"));
}

fn run_bundle(test: &str, bundle: &Path) {
    let config = bundle.join("config.json");
    let mut parsed: Value = serde_json::from_slice(&fs::read(&config).unwrap()).unwrap();
    assert_eq!(parsed["process"]["user"]["uid"], 10001);
    parsed["process"]["terminal"] = json!(false);
    fs::write(&config, parsed.to_string()).unwrap();
    for runtime in ["runc", "crun"] {
        if !has_tool(test, runtime) {
            continue;
        }
        let name = format!("image-test-{}", std::process::id());
        // crun refuses machines that have both versions of cgroups mounted, so this hides one from
        // it.
        let script = "umount /sys/fs/cgroup/unified 2>/dev/null; exec \"$@\"";
        let output = Command::new("unshare")
            .args(["-m", "sh", "-c", script, "sh", runtime, "run", &name])
            .current_dir(bundle)
            .output()
            .unwrap();
        if !output.status.success() {
            // Some machines let no container start, which is not the image's fault.
            eprintln!(
                "SKIPPED: {test}: {runtime} can't start containers here: {}",
                String::from_utf8_lossy(&output.stderr).trim()
            );
            continue;
        }
        assert_eq!(String::from_utf8_lossy(&output.stdout), "uid 10001\n");
    }
}

#[test]
fn docker_loads_what_we_save() {
    let test = "docker_loads_what_we_save";
    if !has_tool(test, "docker") {
        return;
    }
    if !Command::new("docker")
        .arg("version")
        .output()
        .unwrap()
        .status
        .success()
    {
        eprintln!("SKIPPED: {test}: no docker engine is running");
        return;
    }
    let directory = tempdir().unwrap();
    let layout = demo_image(directory.path());
    let path = directory.path().join("docker.tar");
    let name = format!("image-test:{}", std::process::id());
    let selection = Selection {
        format: ArchiveFormat::Docker,
        references: vec![name.parse().unwrap()],
        platform: None,
        epoch: EPOCH,
        documents: true,
    };
    save(&layout, &selection, &path).unwrap();
    run(Command::new("docker").arg("load").arg("-i").arg(&path));
    let inspected = stdout(Command::new("docker").args(["image", "inspect", &name]));
    let theirs = directory.path().join("theirs.tar");
    run(Command::new("docker")
        .args(["save", &name, "-o"])
        .arg(&theirs));
    run(Command::new("docker").args(["rmi", &name]));
    let inspected: Value = serde_json::from_str(&inspected).unwrap();
    assert_eq!(inspected[0]["Config"]["User"], "app");
    assert_eq!(
        inspected[0]["Config"]["Healthcheck"]["Interval"],
        30_000_000_000_u64
    );
    assert_sound(&theirs);
}

/// A containerd of its own, whose state is in a temporary directory. It ends on drop.
struct Containerd {
    process: Child,
    directory: TempDir,
}

impl Containerd {
    fn start() -> Self {
        let directory = tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        let process = Command::new("containerd")
            .arg("--root")
            .arg(at("root"))
            .arg("--state")
            .arg(at("state"))
            .arg("--address")
            .arg(at("socket"))
            .stderr(fs::File::create(at("log")).unwrap())
            .spawn()
            .unwrap();
        let mut daemon = Self { process, directory };
        let start = Instant::now();
        while UnixStream::connect(daemon.socket()).is_err() {
            let log = || fs::read_to_string(daemon.directory.path().join("log"));
            let ended = daemon.process.try_wait().unwrap();
            assert!(ended.is_none(), "{ended:?}\n{}", log().unwrap());
            assert!(
                start.elapsed() < Duration::from_secs(60),
                "{}",
                log().unwrap()
            );
            std::thread::sleep(Duration::from_millis(100));
        }
        daemon
    }

    fn socket(&self) -> PathBuf {
        self.directory.path().join("socket")
    }
}

impl Drop for Containerd {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn containerd_imports_under_the_full_name() {
    let test = "containerd_imports_under_the_full_name";
    if !is_root(test) || !has_tool(test, "ctr") || !has_tool(test, "containerd") {
        return;
    }
    let containerd = Containerd::start();
    let directory = tempdir().unwrap();
    let layout = demo_image(directory.path());
    let path = directory.path().join("oci.tar");
    archive(&layout, ArchiveFormat::Oci, &path);
    let ctr = |arguments: &[&str]| {
        let mut command = Command::new("ctr");
        command.arg("--address").arg(containerd.socket());
        command.args(arguments);
        command
    };
    let imported = ctr(&["images", "import", "--no-unpack"])
        .arg(&path)
        .output()
        .unwrap();
    let listed = stdout(&mut ctr(&["images", "list"]));
    assert!(imported.status.success(), "{imported:?}");
    assert!(
        listed.contains("docker.io/library/demo:1.0") && listed.contains(&digest(&layout)),
        "{listed}"
    );
}

#[test]
fn gnu_tar_lists_our_layers() {
    if !has_tool("gnu_tar_lists_our_layers", "tar") {
        return;
    }
    let directory = tempdir().unwrap();
    let out = directory.path().join("layer");
    let long = format!("/{}", "directory/".repeat(30));
    let file = format!("{long}fi\u{fc}le");
    make_layer(
        json!([{"kind": "text", "to": file, "text": "x", "uid": 3_000_000}]),
        "gzip",
        &out,
        1,
    );
    let listed = stdout(
        Command::new("tar")
            .args(["--numeric-owner", "--quoting-style=literal", "-tvzf"])
            .arg(out.join("blob")),
    );
    let last = listed.lines().last().unwrap();
    assert!(
        last.contains("3000000/0") && last.ends_with(&file[1..]),
        "{last}"
    );
}
