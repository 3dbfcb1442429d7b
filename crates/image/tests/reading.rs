//! Looks into images: files, packages, crates, differences, and findings of verification.
#![allow(missing_docs)]

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Command;

use common::*;
use crateyard_image::diff::{self, Side};
use crateyard_image::files::{FileKind, Listing, Options};
use crateyard_image::verify::{Severity, verify, verify_layout};
use serde_json::{Value, json};
use tempfile::tempdir;

fn parts(layout: &Layout) -> (Manifest, ImageConfig) {
    let image = layout.image(None, None).unwrap();
    let manifest = layout.manifest(&image.descriptor).unwrap();
    let config = layout.config(&manifest).unwrap();
    (manifest, config)
}

fn list(layout: &Layout, options: &Options) -> Listing {
    Listing::read(layout, &parts(layout).0, options).unwrap()
}

/// Makes an image whose layers are given as raw tar streams, as a stranger might have made it.
fn foreign_image(directory: &Path, layers: &[Vec<u8>]) -> Layout {
    let blobs = directory.join("blobs/sha256");
    fs::create_dir_all(&blobs).unwrap();
    let put = |bytes: &[u8], media_type: &str| {
        let digest = Digest::of(bytes);
        fs::write(blobs.join(digest.hex()), bytes).unwrap();
        json!({"mediaType": media_type, "digest": digest, "size": bytes.len()})
    };
    let descriptors: Vec<Value> = layers
        .iter()
        .map(|tar| {
            put(
                &gzip(tar),
                "application/vnd.docker.image.rootfs.diff.tar.gzip",
            )
        })
        .collect();
    let diff_ids: Vec<Digest> = layers.iter().map(|tar| Digest::of(tar)).collect();
    let config = json!({"architecture": "amd64", "os": "linux", "config": null, "history": null,
        "rootfs": {"type": "layers", "diff_ids": diff_ids}});
    let config = put(
        config.to_string().as_bytes(),
        "application/vnd.docker.container.image.v1+json",
    );
    let media_type = "application/vnd.docker.distribution.manifest.v2+json";
    let manifest = json!({"schemaVersion": 2, "mediaType": media_type, "config": config,
        "layers": descriptors});
    let manifest = put(manifest.to_string().as_bytes(), media_type);
    fs::write(
        directory.join("index.json"),
        json!({"schemaVersion": 2, "manifests": [manifest]}).to_string(),
    )
    .unwrap();
    fs::write(directory.join("oci-layout"), MARKER).unwrap();
    Layout::open(directory).unwrap()
}

use crateyard_oci::layout::Kind;
use crateyard_oci::{Budget, Digest, ImageConfig, Layout, Limits, Manifest};
use tar::EntryType::{Directory, Link, Regular, Symlink};

#[test]
fn files_are_listed_with_their_packages_and_read() {
    let directory = tempdir().unwrap();
    let layout = demo_image(directory.path());
    let (manifest, _) = parts(&layout);
    let listing = list(
        &layout,
        &Options {
            hash: true,
            ..Options::default()
        },
    );
    let file = |path: &str| listing.get(path).unwrap_or_else(|| panic!("no {path}"));
    assert_eq!(
        (file("/usr/bin/demo").mode, file("usr/bin/demo").layer),
        (0o4755, 0)
    );
    assert_eq!(file("srv/hello").digest, Some(Digest::of(b"hello\n")));
    assert_eq!(file("var/lib/dpkg/status").layer, 1);
    assert_eq!(file("usr/bin/zz-tool").kind, FileKind::HardLink);
    let owners = crateyard_image::packages::owners(&listing);
    assert_eq!(owners["usr/bin/demo"], "base-demo");
    assert_eq!(owners["usr/lib/extra.so"], "extra-demo");
    let packages = crateyard_image::packages::installed(&listing).unwrap();
    let names: Vec<_> = packages
        .iter()
        .map(|package| (package.name.as_str(), package.version.as_str()))
        .collect();
    assert_eq!(names, [("base-demo", "1.0-1"), ("extra-demo", "2.0")]);
    for (path, content) in [
        ("/srv/hello", "hello\n"),
        ("/bin/demo", "#!/bin/sh\necho demo\n"),
        ("/usr/bin/link", "a tool under two names"),
        ("usr/bin/zz-tool", "a tool under two names"),
    ] {
        let mut out = Vec::new();
        listing
            .copy_content(&layout, &manifest, path, &mut out)
            .unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), content, "{path}");
    }
    for path in ["/nowhere", "/usr", "/srv/hello/x"] {
        assert!(
            listing
                .copy_content(&layout, &manifest, path, &mut Vec::new())
                .is_err(),
            "{path}"
        );
    }
}

#[test]
fn upper_layers_delete_replace_and_link() {
    let directory = tempdir().unwrap();
    let lower = raw_tar(&[
        ("a/", Directory, "", b""),
        ("a/one", Regular, "", b"1"),
        ("a/two", Regular, "", b"2"),
        ("b/", Directory, "", b""),
        ("b/old", Regular, "", b"old"),
        ("c/", Directory, "", b""),
        ("c/x", Regular, "", b"x"),
        ("d", Regular, "", b"d"),
        ("h", Link, "d", b""),
    ]);
    let upper = raw_tar(&[
        ("./a/.wh.one", Regular, "", b""),
        ("b/new", Regular, "", b"new"),
        ("b/.wh..wh..opq", Regular, "", b""),
        ("c", Regular, "", b"now a file"),
        ("d", Regular, "", b"other d"),
        ("loop", Symlink, "loop", b""),
        ("up", Symlink, "../../a/two", b""),
    ]);
    let layout = foreign_image(directory.path(), &[lower, upper]);
    let listing = list(&layout, &Options::default());
    let paths: Vec<&str> = listing.files().map(|(path, _)| path).collect();
    assert_eq!(
        paths,
        ["a", "a/two", "b", "b/new", "c", "d", "h", "loop", "up"]
    );
    let manifest = parts(&layout).0;
    let read = |path: &str| {
        let mut out = Vec::new();
        listing
            .copy_content(&layout, &manifest, path, &mut out)
            .map(|_| String::from_utf8(out).unwrap())
    };
    // The link keeps its original content, although the other name has a new one.
    assert_eq!(read("h").unwrap(), "d");
    assert_eq!(read("d").unwrap(), "other d");
    assert_eq!(read("up").unwrap(), "2");
    assert!(read("loop").unwrap_err().to_string().contains("circles"));
    assert!(verify(directory.path()).unwrap().is_sound());
}

#[test]
fn differences_are_told_by_kind() {
    let directory = tempdir().unwrap();
    let one = demo_image(directory.path());
    let path = directory.path();
    let mut newer = Package::new("extra-demo", "2.1");
    newer
        .directory("./usr/", 0o755)
        .directory("./usr/lib/", 0o755)
        .file("./usr/lib/extra.so", 0o600, b"EXTRA");
    let newer = newer.write(&path.join("newer.deb"));
    make_layer(
        json!([{"kind": "debian", "packages": [newer],
            "alsoInstalled": [path.join("base-demo.deb")]},
               {"kind": "text", "to": "/srv/hallo", "text": "hello\n"}]),
        "gzip",
        &path.join("newer.layer"),
        2,
    );
    let spec = image_spec(
        &[&path.join("one.layer"), &path.join("newer.layer")],
        json!({"config": {"env": [{"name": "A", "value": "2"}], "user": "app"}}),
    );
    crateyard_image::layout::make(&spec, &path.join("other")).unwrap();
    let other = Layout::open(&path.join("other")).unwrap();
    let ((one_manifest, one_config), (other_manifest, other_config)) = (parts(&one), parts(&other));
    let nothing = BTreeMap::new();
    let before = Side {
        blobs: &one,
        manifest: &one_manifest,
        config: &one_config,
        crates: &nothing,
    };
    let after = Side {
        blobs: &other,
        manifest: &other_manifest,
        config: &other_config,
        crates: &nothing,
    };
    assert!(diff::compare(before, before).unwrap().is_empty());
    let diff = diff::compare(before, after).unwrap();
    let config: Vec<&str> = diff
        .config
        .iter()
        .map(|change| change.name.as_str())
        .collect();
    assert!(
        config.contains(&"config.Env.A") && config.contains(&"config.Healthcheck.Interval"),
        "{config:?}"
    );
    assert!(!config.contains(&"config.User"));
    assert_eq!((diff.layers.len(), diff.layers_in_common), (1, 1));
    assert!(diff.layers[0].before.is_some() && diff.layers[0].after.is_some());
    assert_eq!(
        diff.packages,
        [diff::Change {
            name: "extra-demo:amd64".into(),
            before: Some("2.0".into()),
            after: Some("2.1".into())
        }]
    );
    let files: Vec<(&str, &[&str])> = diff
        .files
        .iter()
        .map(|file| (file.path.as_str(), &file.differs[..]))
        .collect();
    assert_eq!(
        files,
        [
            ("srv/hallo", &[][..]),
            ("srv/hello", &[]),
            ("usr/lib/extra.so", &["mode", "content"]),
            ("var/lib/dpkg/info/extra-demo.md5sums", &["content"]),
            ("var/lib/dpkg/status", &["content"])
        ]
    );
    assert_eq!(diff.files[2].package.as_deref(), Some("extra-demo"));
    serde_json::to_string(&diff).unwrap();
}

#[test]
fn crates_are_read_from_executables() {
    let test = "crates_are_read_from_executables";
    if !has_tool(test, "objcopy") || !has_tool(test, "cc") {
        return;
    }
    let directory = tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    fs::write(path("main.c"), "int main(void) { return 0; }").unwrap();
    // The image has no libc.
    run(Command::new("cc")
        .arg("-static")
        .arg(path("main.c"))
        .arg("-o")
        .arg(path("plain")));
    let section = json!({"packages": [
        {"name": "serde", "version": "1.0.200", "source": "crates.io"},
        {"name": "cc", "version": "1.0.0", "source": "crates.io", "kind": "build"},
        {"name": "demo", "version": "0.1.0", "source": "local", "root": true}]});
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(section.to_string().as_bytes()).unwrap();
    fs::write(path("section"), encoder.finish().unwrap()).unwrap();
    let section = format!(".dep-v0={}", path("section").display());
    run(Command::new("objcopy")
        .args(["--add-section", &section])
        .arg(path("plain"))
        .arg(path("auditable")));
    make_layer(
        json!([{"kind": "file", "from": path("plain"), "to": "/plain"},
            {"kind": "file", "from": path("auditable"), "to": "/auditable"},
               {"kind": "text", "to": "/short", "text": "\u{7f}ELF", "mode": "0755"}]),
        "zstd",
        &path("layer"),
        1,
    );
    crateyard_image::layout::make(&image_spec(&[&path("layer")], json!({})), &path("image"))
        .unwrap();
    let layout = Layout::open(&path("image")).unwrap();
    let listing = list(
        &layout,
        &Options {
            crates: true,
            hash: true,
            ..Options::default()
        },
    );
    assert_eq!(listing.crates().keys().collect::<Vec<_>>(), ["auditable"]);
    let crates: Vec<String> = listing.crates()["auditable"]
        .iter()
        .map(|one| format!("{} {}", one.name, one.version))
        .collect();
    assert_eq!(crates, ["demo 0.1.0", "serde 1.0.200"]);
    let bytes = fs::read(path("auditable")).unwrap();
    assert_eq!(
        listing.get("auditable").unwrap().digest,
        Some(Digest::of(&bytes))
    );
}

#[test]
fn hostile_layers_get_a_verdict() {
    for (entries, severity, says) in [
        (
            vec![("../evil", Regular, "", &b"x"[..])],
            Severity::Error,
            "leads upwards",
        ),
        (
            vec![("a/../../evil", Regular, "", b"x")],
            Severity::Error,
            "leads upwards",
        ),
        (
            vec![("l", Symlink, "/etc", b""), ("l/passwd", Regular, "", b"x")],
            Severity::Error,
            "lies below \"l\"",
        ),
        (
            vec![("h", Link, "../../etc/passwd", b"")],
            Severity::Error,
            "hard link to \"../../etc/passwd\"",
        ),
        (
            vec![("h", Link, "nowhere", b"")],
            Severity::Warning,
            "not an earlier file",
        ),
        (
            vec![("/abs", Regular, "", b"x")],
            Severity::Warning,
            "absolute",
        ),
        (
            vec![("two", Regular, "", b"x"), ("two", Regular, "", b"y")],
            Severity::Warning,
            "twice",
        ),
        (
            vec![("dev", tar::EntryType::Char, "", b"")],
            Severity::Warning,
            "device",
        ),
        (
            vec![(".wh.x/y", Regular, "", b"x")],
            Severity::Error,
            "below a deletion",
        ),
        (
            vec![("esc\u{1b}[2J", Link, "../\u{1b}]0;", b"")],
            Severity::Error,
            "\\u{1b}",
        ),
    ] {
        let directory = tempdir().unwrap();
        foreign_image(directory.path(), &[raw_tar(&entries)]);
        let report = verify(directory.path()).unwrap();
        let found = report.findings.iter().any(|finding| {
            finding.severity == severity
                && format!("{} {}", finding.subject, finding.problem).contains(says)
        });
        assert!(found, "{says}: {:?}", report.findings);
        assert_eq!(report.is_sound(), severity != Severity::Error);
        let raw = report.findings.iter().any(|finding| {
            finding.subject.contains('\u{1b}') || finding.problem.contains('\u{1b}')
        });
        assert!(!raw, "an escape sequence reaches the terminal");
    }
}

#[test]
fn damage_of_every_kind_is_found() {
    let directory = tempdir().unwrap();
    let good = demo_image(directory.path()).path().to_owned();
    let (manifest, _) = parts(&Layout::open(&good).unwrap());
    let layer = manifest.layers[0].digest.blob_path();
    let config = manifest.config.digest.blob_path();
    let image = Layout::open(&good)
        .unwrap()
        .image(None, None)
        .unwrap()
        .descriptor
        .digest
        .blob_path();
    type Damage<'a> = Box<dyn Fn(&Path) + 'a>;
    let flip = |name: &str| -> Damage<'_> {
        let name = name.to_owned();
        Box::new(move |root| {
            let mut bytes = fs::read(root.join(&name)).unwrap();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            fs::write(root.join(&name), bytes).unwrap();
        })
    };
    let cut = |name: &str| -> Damage<'_> {
        let name = name.to_owned();
        Box::new(move |root| {
            let bytes = fs::read(root.join(&name)).unwrap();
            fs::write(root.join(&name), &bytes[..bytes.len() - 1]).unwrap();
        })
    };
    let cases: Vec<(&str, Damage<'_>)> = vec![
        ("digest", flip(&layer)),
        ("digest", flip(&config)),
        ("digest", flip(&image)),
        ("bytes, but should have", cut(&layer)),
        (
            "is not in",
            Box::new(|root| fs::remove_file(root.join(&layer)).unwrap()),
        ),
        (
            "symbolic link",
            Box::new(|root| {
                fs::rename(root.join(&layer), root.join("aside")).unwrap();
                std::os::unix::fs::symlink("../../aside", root.join(&layer)).unwrap();
            }),
        ),
        (
            "symbolic link",
            Box::new(|root| {
                fs::rename(root.join("blobs"), root.join("aside")).unwrap();
                std::os::unix::fs::symlink("aside", root.join("blobs")).unwrap();
            }),
        ),
        (
            "not a regular file",
            Box::new(|root| {
                fs::remove_file(root.join(&layer)).unwrap();
                run(Command::new("mkfifo").arg(root.join(&layer)));
            }),
        ),
        ("not a valid document", cut("index.json")),
        (
            "version \"2.0.0\"",
            Box::new(|root| {
                fs::write(root.join("oci-layout"), r#"{"imageLayoutVersion":"2.0.0"}"#).unwrap();
            }),
        ),
        (
            "cannot open",
            Box::new(|root| fs::remove_file(root.join("oci-layout")).unwrap()),
        ),
        (
            "more than",
            Box::new(|root| fs::write(root.join("index.json"), vec![b' '; 9 << 20]).unwrap()),
        ),
    ];
    for (says, damage) in cases {
        let copy = directory.path().join("copy");
        run(Command::new("cp").arg("-r").arg(&good).arg(&copy));
        damage(&copy);
        let report = verify(&copy).unwrap();
        assert!(!report.is_sound());
        let found = report
            .findings
            .iter()
            .any(|finding| finding.problem.contains(says));
        assert!(found, "{says}: {:?}", report.findings);
        fs::remove_dir_all(&copy).unwrap();
    }
    assert!(verify(&directory.path().join("missing")).is_err());
}

#[test]
fn wrong_claims_are_found_though_all_digests_are_right() {
    type Claim = fn(&mut Value, &mut Value);
    let claims: [(&str, Claim); 5] = [
        ("has sha256:", |config, _| {
            config["rootfs"]["diff_ids"][0] = json!(Digest::of(b"other"));
        }),
        ("lists 0 diff ids", |config, _| {
            config["rootfs"]["diff_ids"] = json!([]);
        }),
        ("rootfs.type", |config, _| {
            config["rootfs"]["type"] = json!("disk");
        }),
        ("mediaType is", |_, manifest| {
            manifest["mediaType"] = json!("application/vnd.oci.image.manifest.v1+json");
        }),
        ("schemaVersion is 1", |_, manifest| {
            manifest["schemaVersion"] = json!(1);
        }),
    ];
    for (says, claim) in claims {
        let directory = tempdir().unwrap();
        foreign_image(directory.path(), &[raw_tar(&[("a", Regular, "", b"x")])]);
        rewrite(directory.path(), claim);
        let report = verify(directory.path()).unwrap();
        let found = report
            .findings
            .iter()
            .any(|finding| finding.problem.contains(says));
        assert!(found, "{says}: {:?}", report.findings);
    }
}

/// Changes configuration and manifest of a layout, and corrects all digests.
fn rewrite(root: &Path, change: impl Fn(&mut Value, &mut Value)) {
    let read = |path: &str| -> Value {
        serde_json::from_slice(&fs::read(root.join(path)).unwrap()).unwrap()
    };
    let path = |descriptor: &Value| {
        format!(
            "blobs/{}",
            descriptor["digest"].as_str().unwrap().replace(':', "/")
        )
    };
    let mut index = read("index.json");
    let mut manifest = read(&path(&index["manifests"][0]));
    let mut config = read(&path(&manifest["config"]));
    change(&mut config, &mut manifest);
    let put = |descriptor: &mut Value, document: &Value| {
        let bytes = document.to_string().into_bytes();
        let digest = Digest::of(&bytes);
        fs::write(root.join(digest.blob_path()), &bytes).unwrap();
        descriptor["digest"] = json!(digest);
        descriptor["size"] = json!(bytes.len());
    };
    put(&mut manifest["config"], &config);
    put(&mut index["manifests"][0], &manifest);
    fs::write(root.join("index.json"), index.to_string()).unwrap();
}

#[test]
fn a_bomb_is_stopped() {
    let directory = tempdir().unwrap();
    // zstd compresses them to a few hundred bytes.
    let mut encoder = zstd::stream::Encoder::new(Vec::new(), 1).unwrap();
    let zeroes = vec![0; 1 << 20];
    for _ in 0..8 {
        encoder.write_all(&zeroes).unwrap();
    }
    let bomb = encoder.finish().unwrap();
    foreign_image(directory.path(), &[raw_tar(&[("a", Regular, "", b"x")])]);
    let digest = Digest::of(&bomb);
    fs::write(directory.path().join(digest.blob_path()), &bomb).unwrap();
    rewrite(directory.path(), |_, manifest| {
        manifest["layers"][0] = json!({"mediaType": "application/vnd.oci.image.layer.v1.tar+zstd",
            "digest": digest, "size": bomb.len()});
    });
    let limits = Limits {
        read: 4 << 20,
        growth: 1_000,
        ..Limits::default()
    };
    let report =
        verify_layout(&Layout::open_within(directory.path(), Budget::new(limits)).unwrap());
    let found = report
        .findings
        .iter()
        .any(|finding| finding.problem.contains("when uncompressed"));
    assert!(found, "{:?}", report.findings);
}

#[test]
fn archives_that_docker_once_wrote_are_images() {
    let directory = tempdir().unwrap();
    let layers = [
        raw_tar(&[("a", Regular, "", b"x")]),
        raw_tar(&[("b", Regular, "", b"y")]),
    ];
    let diff_ids: Vec<Digest> = layers.iter().map(|layer| Digest::of(layer)).collect();
    let config = json!({"architecture": "amd64", "os": "linux",
        "rootfs": {"type": "layers",
            "diff_ids": [diff_ids[0], diff_ids[1], diff_ids[0]]}})
    .to_string();
    let manifest = json!([{"Config": "c.json", "RepoTags": ["old:1"],
        "Layers": ["1/layer.tar", "2/layer.tar", "3/layer.tar"]}])
    .to_string();
    let compressed = gzip(&layers[1]);
    let tar = raw_tar(&[
        ("c.json", Regular, "", config.as_bytes()),
        ("1/layer.tar", Regular, "", &layers[0]),
        ("2/layer.tar", Regular, "", &compressed),
        ("3/layer.tar", Symlink, "../1/layer.tar", b""),
        ("manifest.json", Regular, "", manifest.as_bytes()),
    ]);
    let path = directory.path().join("old.tar");
    fs::write(&path, tar).unwrap();
    let layout = Layout::open(&path).unwrap();
    assert_eq!(layout.kind(), Kind::DockerArchive);
    assert_eq!(
        layout.image(Some("old:1"), None).unwrap().names[0],
        "docker.io/library/old:1"
    );
    assert_eq!(parts(&layout).0.layers.len(), 3);
    let report = verify(&path).unwrap();
    assert!(report.findings.is_empty(), "{:?}", report.findings);
    let paths: Vec<String> = list(&layout, &Options::default())
        .files()
        .map(|(path, _)| path.to_owned())
        .collect();
    assert_eq!(paths, ["a", "b"]);
}
