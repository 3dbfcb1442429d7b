//! The contents of an assembled image, and the refused specifications.
#![allow(missing_docs)]

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use common::*;
use crateyard_oci::{ImageConfig, Layout, Manifest, media_type};
use serde_json::{Value, json};
use tempfile::tempdir;

fn parts(layout: &Layout) -> (Manifest, ImageConfig) {
    let image = layout.image(None, None).unwrap();
    let manifest = layout.manifest(&image.descriptor).unwrap();
    let config = layout.config(&manifest).unwrap();
    (manifest, config)
}

fn text_layer(directory: &Path, name: &str, to: &str, text: &str) -> PathBuf {
    let out = directory.join(name);
    make_layer(
        json!([{"kind": "text", "to": to, "text": text}]),
        "gzip",
        &out,
        1,
    );
    out
}

fn failure(layers: &[&Path], more: Value, out: &Path) -> String {
    let error = crateyard_image::layout::make(&image_spec(layers, more), out).unwrap_err();
    assert!(!out.exists(), "something stands under the final name");
    let left = fs::read_dir(out.parent().unwrap()).unwrap();
    let left: Vec<_> = left.map(|entry| entry.unwrap().file_name()).collect();
    assert!(
        !left
            .iter()
            .any(|name| name.to_string_lossy().contains("partial")),
        "{left:?}"
    );
    error.to_string()
}

#[test]
fn the_configuration_says_what_was_asked() {
    let directory = tempdir().unwrap();
    let layout = demo_image(directory.path());
    let (manifest, _) = parts(&layout);
    let bytes = layout.document_bytes(&manifest.config).unwrap();
    let config: Value = serde_json::from_slice(&bytes).unwrap();
    assert_eq!(config["created"], "2023-11-14T22:13:20Z");
    assert_eq!(
        config["config"],
        json!({
            "User": "app", "ExposedPorts": {"8080/tcp": {}}, "Env": ["PATH=/usr/bin:/bin", "A=1"],
            "Entrypoint": ["/usr/bin/demo"], "Volumes": {"/data": {}}, "WorkingDir": "/srv",
            "Labels": {"a": "b", "org.opencontainers.image.title": "demo"}, "StopSignal": "SIGTERM",
            "Healthcheck": {"Test": ["CMD", "/bin/demo", "health"], "Interval": 30_000_000_000_u64,
                "Retries": 3},
        })
    );
    assert_eq!(config["history"].as_array().unwrap().len(), 2);
    assert_eq!(manifest.layers.len(), 2);
    let index = layout.index();
    assert_eq!(index.manifests[0].ref_name(), Some("1.0"));
    assert!(
        crateyard_image::verify::verify_layout(&layout)
            .findings
            .is_empty()
    );
}

#[test]
fn an_image_made_twice_is_the_same() {
    let (one, two) = (tempdir().unwrap(), tempdir().unwrap());
    demo_image(one.path());
    demo_image(two.path());
    let listing = |root: &Path| {
        let output = std::process::Command::new("find")
            .args([".", "-type", "f"])
            .current_dir(root)
            .output()
            .unwrap();
        let mut names: Vec<String> = String::from_utf8(output.stdout)
            .unwrap()
            .lines()
            .map(str::to_owned)
            .collect();
        names.sort();
        names
            .into_iter()
            .map(|name| (fs::read(root.join(&name)).unwrap(), name))
            .collect::<Vec<_>>()
    };
    assert!(listing(&one.path().join("image")) == listing(&two.path().join("image")));
}

#[test]
fn real_files_that_anybody_may_read() {
    let directory = tempdir().unwrap();
    let layout = demo_image(directory.path());
    for path in layout.blob_paths().unwrap() {
        let metadata = fs::symlink_metadata(layout.path().join(path)).unwrap();
        assert!(metadata.is_file());
    }
    let mode = std::os::unix::fs::MetadataExt::mode(&fs::metadata(layout.path()).unwrap());
    assert_eq!(mode & 0o777, 0o755);
}

#[test]
fn a_base_comes_first_and_is_completed() {
    let directory = tempdir().unwrap();
    let base = demo_image(directory.path());
    let top = text_layer(directory.path(), "top", "/opt/top", "x");
    let out = directory.path().join("derived");
    let spec = image_spec(
        &[&top],
        json!({"base": base.path(), "references": ["derived"], "config": {
            "env": [{"name": "B", "value": "2"}, {"name": "A", "value": "changed"}],
            "entrypoint": ["/usr/bin/link"], "exposedPorts": ["53/udp"], "labels": {"a": "c"}}}),
    );
    crateyard_image::layout::make(&spec, &out).unwrap();
    let derived = Layout::open(&out).unwrap();
    let (manifest, config) = parts(&derived);
    let (base_manifest, _) = parts(&base);
    assert_eq!(manifest.layers[..2], base_manifest.layers[..]);
    assert_eq!((config.rootfs.diff_ids.len(), config.history.len()), (3, 3));
    let execution = config.config.unwrap();
    assert_eq!(
        execution.env.unwrap(),
        ["PATH=/usr/bin:/bin", "A=changed", "B=2"]
    );
    assert_eq!(execution.user.as_deref(), Some("app"));
    assert_eq!(
        execution
            .exposed_ports
            .unwrap()
            .into_keys()
            .collect::<Vec<_>>(),
        ["53/udp", "8080/tcp"]
    );
    assert_eq!(execution.labels.unwrap()["a"], "c");
    assert!(execution.healthcheck.is_some());
    assert!(
        crateyard_image::verify::verify_layout(&derived)
            .findings
            .is_empty()
    );

    // The base's files count as those of a lower layer.
    let clash = text_layer(directory.path(), "clash", "/srv/hello", "other");
    let out = directory.path().join("no");
    let error = failure(&[&clash], json!({"base": base.path()}), &out);
    assert!(
        error.contains("/srv/hello is given twice: by the base image"),
        "{error}"
    );
    let arm = json!({"os": "linux", "architecture": "arm64"});
    let error = failure(&[], json!({"base": base.path(), "platform": arm}), &out);
    assert!(error.contains("linux/arm64"), "{error}");
}

/// Makes a package of libraries, which are empty files.
fn libraries(directory: &Path, name: &str, files: &[&str]) -> PathBuf {
    let mut package = Package::new(name, "1");
    package
        .directory("./usr/", 0o755)
        .directory("./usr/lib/", 0o755);
    for file in files {
        package.file(&format!("./usr/lib/{file}"), 0o644, b"");
    }
    package.write(&directory.join(format!("{name}.deb")))
}

#[test]
fn a_layer_of_libraries_is_taken_where_a_program_is_linked_to_one() {
    let directory = tempdir().unwrap();
    let place = |name: &str| directory.path().join(name);
    let firm = libraries(
        directory.path(),
        "firm",
        &["libgcc_s.so.1", "libm.so.6", "ld-linux-x86-64.so.2"],
    );
    let debian = |packages: &[&PathBuf], below: &[&PathBuf]| {
        json!([{"kind": "debian",
            "packages": packages, "alsoInstalled": below}])
    };
    make_layer(debian(&[&firm], &[]), "none", &place("firm"), 1);
    for (name, file) in [("libc6", "libc.so.6"), ("libother1", "libother.so.1")] {
        let package = libraries(directory.path(), name, &[file]);
        make_layer(debian(&[&package], &[&firm]), "none", &place(name), 1);
    }
    // This test itself is a program that is linked to libc.so.6.
    let own = std::env::current_exe().unwrap();
    make_layer(
        json!([{"kind": "file", "from": own, "to": "/usr/bin/own", "mode": "0755"}]),
        "none",
        &place("own"),
        1,
    );
    let optional = |name: &str| {
        let package = json!({"role": "image", "name": name, "architecture": "amd64", "version": "1",
            "sha256": "00"});
        json!({"path": place(name), "onlyIfLinked": true, "packages": [package]})
    };
    let all = json!([
        place("firm"),
        optional("libother1"),
        optional("libc6"),
        place("own")
    ]);
    let inputs = json!({"description": {},
        "build": {"profile": "release", "target": "x86_64-unknown-linux-gnu"}});
    let out = place("image");
    let spec = image_spec(&[], json!({"layers": all, "inputs": inputs}));
    crateyard_image::layout::make(&spec, &out).unwrap();
    let (manifest, _) = parts(&Layout::open(&out).unwrap());
    let digest = |name: &str| {
        let text = fs::read_to_string(place(name).join("layer.json")).unwrap();
        let record: Value = serde_json::from_str(&text).unwrap();
        record["digest"].as_str().unwrap().to_owned()
    };
    let layers: Vec<String> = manifest
        .layers
        .iter()
        .map(|l| l.digest.to_string())
        .collect();
    assert_eq!(layers, [digest("firm"), digest("libc6"), digest("own")]);
    let bill = fs::read_to_string(out.join("attestations/linux-amd64/sbom.spdx.json")).unwrap();
    assert!(bill.contains("\"name\":\"libc6\""), "{bill}");
    assert!(!bill.contains("\"name\":\"libother1\""), "{bill}");

    // The same layers without the program.
    let out = place("without");
    let all = json!([place("firm"), optional("libother1"), optional("libc6")]);
    crateyard_image::layout::make(&image_spec(&[], json!({"layers": all})), &out).unwrap();
    let (manifest, _) = parts(&Layout::open(&out).unwrap());
    assert_eq!(manifest.layers.len(), 1);
}

#[test]
fn layers_that_clash_are_refused_unless_meant() {
    let directory = tempdir().unwrap();
    let one = text_layer(directory.path(), "one", "/etc/x", "1");
    let two = text_layer(directory.path(), "two", "/etc/x", "2");
    let out = directory.path().join("image");
    let error = failure(&[&one, &two], json!({}), &out);
    assert!(
        error.contains("/etc/x is given twice") && error.contains("replace = true"),
        "{error}"
    );
    let meant = json!({"layers": [one, {"path": two, "mayOverride": true}]});
    crateyard_image::layout::make(&image_spec(&[], meant), &out).unwrap();

    // `replaces` may list single files, if there is something to replace.
    let said = |path: &str| json!({"layers": [one, {"path": two, "replaces": [path]}]});
    let out = directory.path().join("replaced");
    crateyard_image::layout::make(&image_spec(&[], said("/etc/x")), &out).unwrap();
    let (manifest, _) = parts(&Layout::open(&out).unwrap());
    assert_eq!(manifest.layers.len(), 2);
    for path in ["/etc/y", "/et"] {
        let spec = image_spec(&[], said(path));
        let error =
            crateyard_image::layout::make(&spec, &directory.path().join("none")).unwrap_err();
        assert!(
            error.to_string().contains("/etc/x is given twice"),
            "{error}"
        );
    }
    let three = text_layer(directory.path(), "three", "/etc/three", "3");
    let vain = json!({"layers": [one, {"path": three, "replaces": ["/etc/three"]}]});
    let vain =
        crateyard_image::layout::make(&image_spec(&[], vain), &directory.path().join("vain"));
    let error = vain.unwrap_err().to_string();
    assert!(error.contains("/etc/three replaces nothing"), "{error}");

    // A file below /bin would hide the link /bin.
    let (base, _) = packages(directory.path());
    let debian = directory.path().join("debian");
    make_layer(
        json!([{"kind": "debian", "packages": [base]}]),
        "none",
        &debian,
        1,
    );
    let below = text_layer(directory.path(), "below", "/bin/x", "");
    let error = failure(&[&debian, &below], json!({}), &directory.path().join("no"));
    assert!(
        error.contains("makes /bin a directory") && error.contains("usr/bin"),
        "{error}"
    );

    // A directory's mode may change only if the specification says so.
    let private = directory.path().join("private");
    make_layer(
        json!([{"kind": "directory", "to": "/var/lib/x", "mode": "0700", "uid": 5}]),
        "none",
        &private,
        1,
    );
    let inside = text_layer(directory.path(), "inside", "/var/lib/x/file", "");
    let error = failure(
        &[&private, &inside],
        json!({}),
        &directory.path().join("no"),
    );
    assert!(
        error.contains("/var/lib/x") && error.contains("kind \"directory\""),
        "{error}"
    );
}

#[test]
fn a_status_file_must_not_forget_packages() {
    let directory = tempdir().unwrap();
    let (base, extra) = packages(directory.path());
    let (one, two) = (directory.path().join("one"), directory.path().join("two"));
    make_layer(
        json!([{"kind": "debian", "packages": [base]}]),
        "none",
        &one,
        1,
    );
    make_layer(
        json!([{"kind": "debian", "packages": [extra]}]),
        "none",
        &two,
        1,
    );
    let error = failure(&[&one, &two], json!({}), &directory.path().join("no"));
    assert!(error.contains("does not list base-demo 1.0-1"), "{error}");
    assert!(error.contains("alsoInstalled"), "{error}");
}

#[test]
fn mistakes_in_the_configuration_are_named() {
    let directory = tempdir().unwrap();
    let out = directory.path().join("image");
    for (config, says) in [
        (
            json!({"env": [{"name": "A=B", "value": ""}]}),
            "config.env[0]",
        ),
        (
            json!({"env": [{"name": "A", "value": ""}, {"name": "A", "value": "1"}]}),
            "\"A\" is set twice",
        ),
        (
            json!({"workingDir": "srv"}),
            "\"srv\" is not an absolute path",
        ),
        (json!({"volumes": ["data"]}), "\"data\""),
        (json!({"stopSignal": "TERM"}), "\"TERM\""),
        (
            json!({"healthcheck": {"test": ["curl"]}}),
            "config.healthcheck.test",
        ),
        (
            json!({"healthcheck": {"test": ["CMD", "x"], "interval": 30}}),
            "nanoseconds",
        ),
    ] {
        let error = failure(&[], json!({ "config": config }), &out);
        assert!(error.contains(says), "{error}");
    }
    let error = failure(&[], json!({"references": ["Demo:1"]}), &out);
    assert!(error.contains("references[0]"), "{error}");
}

#[test]
fn what_is_not_a_port_is_not_read() {
    for port in ["web", "0/tcp", "65536"] {
        let config = json!({"exposedPorts": ["8080", port]});
        let error = serde_json::from_value::<crateyard_spec::Config>(config).unwrap_err();
        let says = format!("{port:?} is not a port");
        assert!(error.to_string().contains(&says), "{error}");
    }
}

#[test]
fn programs_that_are_not_there_are_named() {
    let directory = tempdir().unwrap();
    let layer = directory.path().join("layer");
    make_layer(
        json!([{"kind": "text", "to": "/opt/app/run", "text": "#!/bin/sh\n", "mode": "0755"},
               {"kind": "text", "to": "/opt/data", "text": ""},
               {"kind": "symlink", "to": "/opt/current", "target": "/opt/app"},
               {"kind": "symlink", "to": "/opt/loop", "target": "loop"}]),
        "none",
        &layer,
        1,
    );
    let check = |program: &str| {
        let out = tempdir().unwrap();
        let more = json!({"config": {"entrypoint": [program]}});
        crateyard_image::layout::make(&image_spec(&[&layer], more), &out.path().join("image"))
            .map_err(|error| error.to_string())
    };
    for program in [
        "/opt/app/run",
        "/opt/current/run",
        "/opt/current/../app/./run",
        "run",
    ] {
        check(program).unwrap();
    }
    for (program, says) in [
        ("/opt/ran", "/opt/ran is in no layer"),
        ("/opt/loop/run", "is in no layer"),
        ("/opt/data", "is not executable"),
        ("/opt/app", "is not executable"),
    ] {
        let error = check(program).unwrap_err();
        assert!(
            error.contains(says) && error.contains("config.entrypoint"),
            "{error}"
        );
    }
}

#[test]
fn damaged_layers_are_refused() {
    let directory = tempdir().unwrap();
    let layer = text_layer(directory.path(), "layer", "/a", "x");
    let blob = layer.join("blob");
    let mut bytes = fs::read(&blob).unwrap();
    bytes[30] ^= 1;
    fs::write(&blob, &bytes).unwrap();
    let error = failure(&[&layer], json!({}), &directory.path().join("image"));
    assert!(
        error.contains("blob") && error.contains("should be sha256:"),
        "{error}"
    );
    fs::remove_file(layer.join("layer.json")).unwrap();
    let error = failure(&[&layer], json!({}), &directory.path().join("image"));
    assert!(error.contains("layer.json"), "{error}");
}

#[test]
fn platforms_join_to_an_index() {
    let directory = tempdir().unwrap();
    let layer = text_layer(directory.path(), "layer", "/a", "x");
    let mut layouts = Vec::new();
    for architecture in ["arm64", "amd64"] {
        let out = directory.path().join(architecture);
        let platform = json!({"os": "linux", "architecture": architecture});
        crateyard_image::layout::make(&image_spec(&[&layer], json!({"platform": platform})), &out)
            .unwrap();
        layouts.push(out);
    }
    let spec = |layouts: &[PathBuf]| {
        serde_json::from_value(
            json!({"version": 1, "name": "demo", "references": ["demo:1.0"],
            "layouts": layouts, "annotations": {"org.opencontainers.image.title": "demo"}}),
        )
        .unwrap()
    };
    let out = directory.path().join("both");
    let descriptor = crateyard_image::multi::make(&spec(&layouts), &out).unwrap();
    let layout = Layout::open(&out).unwrap();
    assert_eq!(descriptor.media_type, media_type::INDEX);
    assert_eq!(layout.images().unwrap().len(), 2);
    let arm = layout
        .image(Some("demo:1.0"), Some(&"linux/arm64".parse().unwrap()))
        .unwrap();
    assert_eq!(arm.platform.unwrap().architecture, "arm64");
    assert!(
        layout
            .image(None, None)
            .unwrap_err()
            .to_string()
            .contains("choose one")
    );
    assert!(
        crateyard_image::verify::verify_layout(&layout)
            .findings
            .is_empty()
    );
    layouts.rotate_left(1);
    let again = directory.path().join("again");
    assert_eq!(
        crateyard_image::multi::make(&spec(&layouts), &again).unwrap(),
        descriptor
    );
    layouts.push(layouts[0].clone());
    let error =
        crateyard_image::multi::make(&spec(&layouts), &directory.path().join("no")).unwrap_err();
    assert!(
        error.to_string().contains("two layouts are for linux/"),
        "{error}"
    );
}

#[test]
fn archives_are_layouts_too() {
    let directory = tempdir().unwrap();
    let layout = demo_image(directory.path());
    let digest = layout.image(None, None).unwrap().descriptor.digest;
    for format in [
        crateyard_image::archive::ArchiveFormat::Oci,
        crateyard_image::archive::ArchiveFormat::Docker,
    ] {
        let selection = |references: &[&str]| crateyard_image::archive::Selection {
            format,
            references: references
                .iter()
                .map(|name| name.parse().unwrap())
                .collect(),
            platform: None,
            epoch: EPOCH,
            documents: true,
        };
        let path = directory.path().join("archive.tar");
        crateyard_image::archive::save(&layout, &selection(&["other:2", "another:3"]), &path)
            .unwrap();
        let first = fs::read(&path).unwrap();
        let opened = Layout::open(&path).unwrap();
        for name in ["other:2", "docker.io/library/another:3", "3"] {
            assert_eq!(
                opened.image(Some(name), None).unwrap().descriptor.digest,
                digest
            );
        }
        assert!(
            crateyard_image::verify::verify(&path)
                .unwrap()
                .findings
                .is_empty()
        );
        // Reading the archive again gives the same bytes.
        let again = directory.path().join("again.tar");
        crateyard_image::archive::save(&opened, &selection(&["other:2", "another:3"]), &again)
            .unwrap();
        assert!(fs::read(&again).unwrap() == first);
    }
}
