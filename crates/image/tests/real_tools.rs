//! Other tools read our images, and we read theirs: skopeo, umoci, runc, dpkg, tar, docker, and the
//! JSON schemas of the image specification.
#![allow(missing_docs)]

mod common;

use std::fs;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use common::*;
use crateyard_image::archive::{ArchiveFormat, Selection, save};
use crateyard_image::files::{Listing, Options};
use crateyard_image::verify::verify;
use crateyard_oci::Layout;
use crateyard_spec::{CAPABILITY_ATTRIBUTE, CAPABILITY_NAMES, Capabilities, base64_values};
use serde_json::{Value, json};
use tempfile::{TempDir, tempdir};

fn archive(layout: &Layout, format: ArchiveFormat, path: &Path) {
    let selection = Selection {
        format,
        references: vec!["demo:1.0".parse().unwrap()],
        platform: None,
        epoch: EPOCH,
        documents: true,
    };
    save(layout, &selection, path).unwrap();
}

fn digest(layout: &Layout) -> String {
    layout
        .image(None, None)
        .unwrap()
        .descriptor
        .digest
        .to_string()
}

fn assert_sound(path: &Path) {
    let report = verify(path).unwrap();
    assert!(
        report.is_sound(),
        "{}: {:?}",
        path.display(),
        report.findings
    );
    assert!(report.images > 0 && report.entries > 0);
}

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
fn layouts_of_skopeo_are_read() {
    if !has_tool("layouts_of_skopeo_are_read", "skopeo") {
        return;
    }
    let directory = tempdir().unwrap();
    let layout = demo_image(directory.path());
    let source = format!("oci:{}:1.0", layout.path().display());
    for (name, target) in [
        ("theirs", "oci"),
        ("theirs.tar", "oci-archive"),
        ("docker.tar", "docker-archive"),
    ] {
        let path = directory.path().join(name);
        run(Command::new("skopeo").args([
            "copy",
            &source,
            &format!("{target}:{}:demo:2", path.display()),
        ]));
        assert_sound(&path);
        let theirs = Layout::open(&path).unwrap();
        assert!(
            theirs.image(Some("demo:2"), None).is_ok() || theirs.image(Some("2"), None).is_ok()
        );
        let list = |layout: &Layout| {
            let manifest = layout
                .manifest(&layout.image(None, None).unwrap().descriptor)
                .unwrap();
            let listing = Listing::read(
                layout,
                &manifest,
                &Options {
                    hash: true,
                    crates: false,
                    ..Options::default()
                },
            )
            .unwrap();
            listing
                .files()
                .map(|(path, file)| (path.to_owned(), file.digest.clone()))
                .collect::<Vec<_>>()
        };
        assert_eq!(list(&theirs), list(&layout));
    }
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
        json!([{"kind": "debian", "packages": [base]}, {"kind": "text", "to": "/srv/hello", "text": "x"},
               accounts("/etc/passwd", 10001), accounts("/etc/group", 10001),
               {"kind": "directory", "to": "/proc"}, {"kind": "directory", "to": "/dev"}, {"kind": "directory", "to": "/sys"}]),
        "gzip",
        &path("base.layer"),
        2,
    );
    let long = format!("/opt/{}ü", "long/".repeat(50));
    make_layer(
        json!([{"kind": "file", "from": path("main"), "to": "/opt/main", "xattrs": {"user.note": "aGk="}}, {"kind": "text", "to": long, "text": "x"}]),
        "gzip",
        &path("top.layer"),
        2,
    );
    let spec = image_spec(
        &[&path("base.layer"), &path("top.layer")],
        json!({"config": {"user": "app", "entrypoint": ["/opt/main"]}}),
    );
    crateyard_image::assemble::make(&spec, &path("image")).unwrap();
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
fn layouts_of_umoci_are_read() {
    if !has_tool("layouts_of_umoci_are_read", "umoci") {
        return;
    }
    let directory = tempdir().unwrap();
    let layout = directory.path().join("theirs");
    let image = format!("{}:new", layout.display());
    let file = directory.path().join("file");
    fs::write(&file, "from umoci").unwrap();
    run(Command::new("umoci")
        .arg("init")
        .arg("--layout")
        .arg(&layout));
    run(Command::new("umoci").args(["new", "--image", &image]));
    run(Command::new("umoci")
        .args(["insert", "--rootless", "--image", &image])
        .arg(&file)
        .arg("/srv/file"));
    assert_sound(&layout);
    let theirs = Layout::open(&layout).unwrap();
    let manifest = theirs
        .manifest(&theirs.image(Some("new"), None).unwrap().descriptor)
        .unwrap();
    let listing = Listing::read(&theirs, &manifest, &Options::default()).unwrap();
    let mut content = Vec::new();
    listing
        .copy_content(&theirs, &manifest, "/srv/file", &mut content)
        .unwrap();
    assert_eq!(content, b"from umoci");
    // The same image as the base of one of ours.
    let layer = directory.path().join("layer");
    make_layer(
        json!([{"kind": "text", "to": "/ours", "text": "x"}]),
        "gzip",
        &layer,
        1,
    );
    let spec = image_spec(&[&layer], json!({"base": layout}));
    crateyard_image::assemble::make(&spec, &directory.path().join("derived")).unwrap();
    assert_sound(&directory.path().join("derived"));
}

/// Reads back the one file that the builders below put into an image.
fn assert_has_file(path: &Path) {
    assert_sound(path);
    let layout = Layout::open(path).unwrap();
    let manifest = layout
        .manifest(&layout.image(None, None).unwrap().descriptor)
        .unwrap();
    let listing = Listing::read(&layout, &manifest, &Options::default()).unwrap();
    let mut content = Vec::new();
    listing
        .copy_content(&layout, &manifest, "/srv/file", &mut content)
        .unwrap();
    assert_eq!(content, b"content");
}

#[test]
fn layouts_of_buildx_are_read() {
    let test = "layouts_of_buildx_are_read";
    if !has_tool(test, "docker") {
        return;
    }
    let directory = tempdir().unwrap();
    fs::write(
        directory.path().join("Dockerfile"),
        "FROM scratch\nCOPY file /srv/file\n",
    )
    .unwrap();
    fs::write(directory.path().join("file"), "content").unwrap();
    // With a statement of provenance, there is a second manifest that is no image.
    for (number, provenance) in ["false", "true"].iter().enumerate() {
        let archive = directory.path().join(format!("{number}.tar"));
        let output = Command::new("docker")
            .args([
                "buildx",
                "build",
                "-q",
                &format!("--provenance={provenance}"),
            ])
            .args(["-o", &format!("type=oci,dest={}", archive.display())])
            .arg(directory.path())
            .output()
            .unwrap();
        if !output.status.success() {
            let errors = String::from_utf8_lossy(&output.stderr).into_owned();
            eprintln!(
                "SKIPPED: {test}: buildx can't write layouts here: {}",
                errors.trim()
            );
            return;
        }
        assert_has_file(&archive);
        let count = Layout::open(&archive).unwrap().images().unwrap().len();
        assert_eq!(count, 1 + number);
    }
}

#[test]
fn layouts_of_buildah_are_read() {
    let test = "layouts_of_buildah_are_read";
    if !has_tool(test, "buildah") {
        return;
    }
    let directory = tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    fs::write(path("file"), "content").unwrap();
    let buildah = |arguments: &[&str]| {
        let mut command = Command::new("buildah");
        command
            .arg("--root")
            .arg(path("root"))
            .arg("--runroot")
            .arg(path("runroot"));
        command.args(["--storage-driver", "vfs"]).args(arguments);
        command
    };
    let output = buildah(&["from", "scratch"]).output().unwrap();
    if !output.status.success() {
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        eprintln!(
            "SKIPPED: {test}: buildah can't work here: {}",
            errors.trim()
        );
        return;
    }
    let container = String::from_utf8(output.stdout).unwrap().trim().to_owned();
    run(buildah(&["copy", &container])
        .arg(path("file"))
        .arg("/srv/file"));
    for (name, target) in [
        ("layout", "oci"),
        ("oci.tar", "oci-archive"),
        ("docker.tar", "docker-archive"),
    ] {
        let target = format!("{target}:{}:made:1", path(name).display());
        run(&mut buildah(&["commit", &container, &target]));
        assert_has_file(&path(name));
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
fn dpkg_knows_its_packages() {
    let test = "dpkg_knows_its_packages";
    if !has_tool(test, "dpkg-query") || !has_tool(test, "tar") {
        return;
    }
    let directory = tempdir().unwrap();
    demo_image(directory.path());
    let root = directory.path().join("root");
    fs::create_dir(&root).unwrap();
    for layer in ["one.layer", "two.layer"] {
        let blob = directory.path().join(layer).join("blob");
        run(Command::new("tar")
            .arg("-xzf")
            .arg(blob)
            .arg("-C")
            .arg(&root)
            .arg("--no-same-owner"));
    }
    let data = format!("--admindir={}", root.join("var/lib/dpkg").display());
    let listed = stdout(Command::new("dpkg-query").args([
        &data,
        "-W",
        "-f",
        "${Package} ${Version} ${db:Status-Abbrev}\n",
    ]));
    assert_eq!(listed, "base-demo 1.0-1 ii \nextra-demo 2.0 ii \n");
    let owner = stdout(Command::new("dpkg-query").args([&data, "-S", "/usr/lib/extra.so"]));
    assert_eq!(owner, "extra-demo: /usr/lib/extra.so\n");
    let conffiles =
        stdout(Command::new("dpkg-query").args([&data, "-W", "-f", "${Conffiles}", "base-demo"]));
    assert!(conffiles.contains("/etc/demo.conf "), "{conffiles}");
    assert_eq!(stdout(Command::new("dpkg").args([&data, "--audit"])), "");
}

#[test]
fn packages_of_dpkg_deb_are_read_in_every_compression() {
    let test = "packages_of_dpkg_deb_are_read_in_every_compression";
    if !has_tool(test, "dpkg-deb") {
        return;
    }
    let directory = tempdir().unwrap();
    let tree = directory.path().join("tree");
    fs::create_dir_all(tree.join("DEBIAN")).unwrap();
    fs::create_dir_all(tree.join("usr/share/demo")).unwrap();
    fs::write(
        tree.join("DEBIAN/control"),
        "Package: demo\nVersion: 1:2.3-4\nArchitecture: all\nMaintainer: Nobody \
         <n@example.org>\nDescription: d\n",
    )
    .unwrap();
    let long = "n".repeat(150);
    fs::write(tree.join("usr/share/demo").join(&long), "content").unwrap();
    for compression in ["xz", "gzip", "zstd", "none"] {
        let deb = directory.path().join(format!("{compression}.deb"));
        let built = Command::new("dpkg-deb")
            .arg("--root-owner-group")
            .arg(format!("-Z{compression}"))
            .arg("--build")
            .arg(&tree)
            .arg(&deb)
            .output()
            .unwrap();
        if !built.status.success() {
            eprintln!("SKIPPED: {test}: this dpkg-deb does not know {compression}");
            continue;
        }
        let out = directory.path().join(compression);
        let record = make_layer(
            json!([{"kind": "debian", "packages": [deb]}]),
            "none",
            &out,
            1,
        );
        assert_eq!(record.debian_packages[0].version, "1:2.3-4");
        let tar = layer_tar(&out, &record);
        let wanted = format!("usr/share/demo/{long}");
        assert!(
            tar.windows(wanted.len())
                .any(|window| window == wanted.as_bytes())
        );
        // A flipped bit of the data is detected.
        let mut bytes = fs::read(&deb).unwrap();
        if compression != "none" {
            let at = bytes.len() - 100;
            bytes[at] ^= 4;
            fs::write(&deb, &bytes).unwrap();
            let spec = layer_spec(json!([{"kind": "debian", "packages": [deb]}]), "none");
            let result = crateyard_image::layer::make(&spec, &directory.path().join("damaged"), 1);
            let error = result.map(|_| ()).unwrap_err().to_string();
            assert!(error.contains(&format!("{compression}.deb")), "{error}");
        }
    }
}

#[test]
fn documents_fit_the_schemas() {
    let test = "documents_fit_the_schemas";
    let schemas =
        PathBuf::from("/usr/share/gocode/src/github.com/opencontainers/image-spec/schema");
    let python = Path::new("/usr/bin/python3");
    if !schemas.join("defs.json").is_file() {
        eprintln!(
            "SKIPPED: {test}: the schemas are not installed \
             (golang-github-opencontainers-image-spec-dev)"
        );
        return;
    }
    let has_module = Command::new(python)
        .args(["-c", "import jsonschema"])
        .output();
    if !has_module.is_ok_and(|output| output.status.success()) {
        eprintln!("SKIPPED: {test}: python3-jsonschema is not installed");
        return;
    }
    let directory = tempdir().unwrap();
    let layout = demo_image(directory.path());
    let manifest = layout.image(None, None).unwrap().descriptor;
    let config = layout.manifest(&manifest).unwrap().config;
    let spec = serde_json::from_value(
        json!({"version": 1, "name": "demo", "references": ["demo:1"], "layouts": [layout.path()], "annotations": {"a": "b"}}),
    );
    let both = directory.path().join("index");
    let index = crateyard_image::multi::make(&spec.unwrap(), &both).unwrap();
    let blob = |root: &Path, descriptor: &crateyard_oci::Descriptor| {
        root.join(descriptor.digest.blob_path())
    };
    let documents = [
        ("image-index-schema.json", layout.path().join("index.json")),
        ("image-index-schema.json", blob(&both, &index)),
        ("image-layout-schema.json", layout.path().join("oci-layout")),
        ("image-manifest-schema.json", blob(layout.path(), &manifest)),
        ("config-schema.json", blob(layout.path(), &config)),
    ];
    for (schema, document) in documents {
        run(Command::new(python)
            .arg("-c")
            .arg(VALIDATE)
            .arg(&schemas)
            .arg(schema)
            .arg(&document));
    }
    // The check itself must be able to fail.
    let broken = directory.path().join("broken.json");
    fs::write(
        &broken,
        r#"{"schemaVersion":2,"manifests":[{"mediaType":"x","size":-1}]}"#,
    )
    .unwrap();
    let output = Command::new(python)
        .arg("-c")
        .arg(VALIDATE)
        .arg(&schemas)
        .arg("image-index-schema.json")
        .arg(&broken)
        .output();
    let errors = String::from_utf8(output.unwrap().stderr).unwrap();
    assert!(errors.contains("ValidationError"), "{errors}");
}

/// Validates a document against a schema. The schemas refer to each other by addresses whose last
/// part is the file name.
const VALIDATE: &str = r#"
import json, os, sys
import jsonschema
directory, name, document = sys.argv[1:]
class Local(jsonschema.RefResolver):
    def resolve_remote(self, uri):
        return json.load(open(os.path.join(directory, os.path.basename(uri))))
schema = json.load(open(os.path.join(directory, name)))
resolver = Local(base_uri=schema.get("id", ""), referrer=schema)
jsonschema.Draft4Validator(schema, resolver=resolver).validate(json.load(open(document)))
"#;

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

/// Returns a file's attributes with these capabilities, in a specification's format.
fn in_base64(capabilities: &Capabilities) -> Value {
    let all = [(CAPABILITY_ATTRIBUTE.to_owned(), capabilities.attribute())];
    base64_values::serialize(&all.into(), serde_json::value::Serializer).unwrap()
}

/// Each capability that setcap writes equals ours, and getcap reads ours.
#[test]
fn setcap_and_getcap_agree_on_every_capability() {
    let test = "setcap_and_getcap_agree_on_every_capability";
    let tools = ["setcap", "getcap", "tar"];
    if !is_root(test) || !tools.iter().all(|tool| has_tool(test, tool)) {
        return;
    }
    let directory = tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    let one = |name: &&'static str| vec![*name];
    let mut sets: Vec<Vec<&str>> = CAPABILITY_NAMES.iter().map(one).collect();
    sets.push(vec!["cap_net_bind_service", "cap_sys_nice", "cap_bpf"]);
    let ours = |set: &Vec<&str>| Capabilities::named(set.iter().copied()).unwrap();
    fs::create_dir(path("theirs")).unwrap();
    let mut sources = Vec::new();
    for (number, set) in sets.iter().enumerate() {
        let file = path("theirs").join(number.to_string());
        fs::write(&file, "").unwrap();
        run(Command::new("setcap")
            .arg(format!("{}=ep", set.join(",")))
            .arg(&file));
        sources.push(
            json!({"kind": "text", "to": format!("/{number}"), "text": "",
                            "xattrs": in_base64(&ours(set))}),
        );
    }
    let kept = ["--format=pax", "--xattrs", "--xattrs-include=*", "-C"];
    let mut pack = Command::new("tar");
    let theirs = run(pack.args(kept).arg(path("theirs")).args(["-c", "."])).stdout;
    let mut reader = crateyard_oci::tar::Reader::new(&theirs[..]);
    let mut compared = 0;
    while let Some(entry) = reader.next_entry().unwrap() {
        let name = String::from_utf8(entry.path.clone()).unwrap();
        let Ok(number) = name.trim_start_matches("./").parse::<usize>() else {
            continue;
        };
        let attribute = &entry.xattrs[CAPABILITY_ATTRIBUTE];
        assert_eq!(
            *attribute,
            ours(&sets[number]).attribute(),
            "{:?}",
            sets[number]
        );
        compared += 1;
    }
    assert_eq!(compared, sets.len());
    make_layer(Value::Array(sources), "none", &path("layer"), 1);
    fs::create_dir(path("ours")).unwrap();
    run(Command::new("tar")
        .args(kept)
        .arg(path("ours"))
        .arg("-xf")
        .arg(path("layer/blob")));
    for (number, set) in sets.iter().enumerate() {
        let file = path("ours").join(number.to_string());
        let said = stdout(Command::new("getcap").arg(&file));
        let expected = format!("{} {}", file.display(), ours(set));
        assert_eq!(said.trim(), expected);
    }
}
