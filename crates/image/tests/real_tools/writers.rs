//! Tools that write images, which the crate reads.

use super::*;

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
    crateyard_image::layout::make(&spec, &directory.path().join("derived")).unwrap();
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
