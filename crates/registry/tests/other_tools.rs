//! Other tools read images that were pushed, and write images that can be pushed.
#![allow(missing_docs)]

use std::process::Command;

use crateyard_registry::Source;
use crateyard_registry::push;
use crateyard_testing::need;
use crateyard_testing::{Home, Layout, Registry, check_whole, run};

fn tool(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap();
    assert!(
        output.status.success(),
        "{program} {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn other_tools_read_what_was_pushed() {
    need!("readers", "docker-registry");
    let registry = Registry::start();
    let home = Home::new();
    let layout = Layout::with_image(10, &[200_000, 3000]);
    // Readers that unpack need real tar layers.
    let mut layout_with_tar = Layout::new();
    let mut tar = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(5);
    header.set_mode(0o644);
    header.set_cksum();
    tar.append_data(&mut header, "hello", &b"hello"[..])
        .unwrap();
    let layer = tar.into_inner().unwrap();
    let image = layout_with_tar.image(&[layer], "amd64");
    layout_with_tar.list(image);
    let digest = run(async {
        let client = home.client();
        push::push(
            &client,
            layout_with_tar.source(),
            &registry.reference("real:v1"),
            &push::Options::default(),
        )
        .await
        .unwrap();
        push::push(
            &client,
            layout.source(),
            &registry.reference("app:v1"),
            &push::Options::default(),
        )
        .await
        .unwrap()
        .digest
    });
    let reference = registry.reference("app:v1").to_string();
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).display().to_string();
    if crateyard_testing::has("skopeo") {
        let remote = format!("docker://{reference}");
        let told = tool("skopeo", &["inspect", "--tls-verify=false", &remote]);
        assert!(told.contains(digest.as_str()));
        let local = format!("oci:{}:v1", path("skopeo"));
        tool(
            "skopeo",
            &[
                "copy",
                "--src-tls-verify=false",
                "--preserve-digests",
                &remote,
                &local,
            ],
        );
        if crateyard_testing::has("umoci") {
            let remote = format!("docker://{}", registry.reference("real:v1"));
            let local = format!("oci:{}:v1", path("umoci"));
            tool(
                "skopeo",
                &[
                    "copy",
                    "--src-tls-verify=false",
                    "--preserve-digests",
                    &remote,
                    &local,
                ],
            );
            let (image, bundle) = (format!("{}:v1", path("umoci")), path("bundle"));
            tool(
                "umoci",
                &["unpack", "--rootless", "--image", &image, &bundle],
            );
            assert_eq!(
                std::fs::read(format!("{bundle}/rootfs/hello")).unwrap(),
                b"hello"
            );
        } else {
            crateyard_testing::skip("readers: umoci", "umoci is not installed");
        }
    } else {
        crateyard_testing::skip("readers: skopeo", "skopeo is not installed");
    }
    if crateyard_testing::has("oras") {
        let told = tool(
            "oras",
            &[
                "manifest",
                "fetch",
                "--plain-http",
                "--descriptor",
                &reference,
            ],
        );
        assert!(told.contains(digest.as_str()), "{told}");
        let local = format!("{}:v1", path("oras"));
        tool(
            "oras",
            &[
                "cp",
                "--from-plain-http",
                "--to-oci-layout",
                &reference,
                &local,
            ],
        );
    } else {
        crateyard_testing::skip("readers: oras", "oras is not installed");
    }
    if is_registry_tool_crane() {
        assert_eq!(
            tool("crane", &["digest", "--insecure", &reference]).trim(),
            digest.as_str()
        );
        // The layers of these images are not compressed, and only crane's fast mode accepts that.
        let real = registry.reference("real:v1").to_string();
        tool(
            "crane",
            &["validate", "--insecure", "--fast", "--remote", &real],
        );
    } else {
        crateyard_testing::skip(
            "readers: crane",
            "go-containerregistry's crane is not installed",
        );
    }
}

/// Whether `crane` is go-containerregistry's. Other programs have that name too.
fn is_registry_tool_crane() -> bool {
    crateyard_testing::has("crane")
        && Command::new("crane")
            .arg("--help")
            .output()
            .is_ok_and(|output| {
                String::from_utf8_lossy(&output.stdout).contains("container images")
            })
}

#[test]
fn layouts_of_other_tools_can_be_pushed() {
    need!("writers", "docker-registry", "skopeo");
    let registry = Registry::start();
    let home = Home::new();
    let layout = Layout::with_image(11, &[100_000]);
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    let mut pushes = Vec::new();
    for (kind, name) in [("oci", "skopeo"), ("oci-archive", "skopeo.tar")] {
        let from = format!("oci:{}", layout.path().display());
        let to = format!("{kind}:{}:v1", path(name).display());
        tool("skopeo", &["copy", &from, &to]);
        pushes.push(name);
    }
    if crateyard_testing::has("umoci") {
        tool(
            "umoci",
            &["init", "--layout", path("umoci").to_str().unwrap()],
        );
        tool(
            "umoci",
            &["new", "--image", &format!("{}:v1", path("umoci").display())],
        );
        pushes.push("umoci");
    } else {
        crateyard_testing::skip("writers: umoci", "umoci is not installed");
    }
    if crateyard_testing::has("buildah") {
        let storage = path("storage").display().to_string();
        let root = [
            "--root",
            &storage,
            "--runroot",
            &storage,
            "--storage-driver",
            "vfs",
        ];
        let buildah = |arguments: &[&str]| tool("buildah", &[&root[..], arguments].concat());
        let container = buildah(&["from", "scratch"]).trim().to_owned();
        buildah(&["config", "--label", "made=here", &container]);
        let image = buildah(&["commit", "--format", "oci", &container])
            .trim()
            .to_owned();
        let to = format!("oci:{}:v1", path("buildah").display());
        buildah(&["push", &image, &to]);
        pushes.push("buildah");
    } else {
        crateyard_testing::skip("writers: buildah", "buildah is not installed");
    }
    run(async {
        let client = home.client();
        for name in pushes {
            let source = Source::open(&path(name)).unwrap();
            let target = registry.reference(&format!("{}:v1", name.replace('.', "-")));
            let report = push::push(&client, source, &target, &push::Options::default())
                .await
                .unwrap();
            assert_eq!(
                check_whole(&client, &target).await,
                Some(report.digest),
                "{name}"
            );
        }
    });
}
