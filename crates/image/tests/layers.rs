//! The contents of a layer. Its bytes depend on nothing else.
#![allow(missing_docs)]

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use common::*;
use crateyard_testing::need;
use serde_json::{Value, json};
use tempfile::tempdir;

fn paths(tar: &[u8]) -> Vec<String> {
    read_tar(tar).into_iter().map(|entry| entry.path).collect()
}

fn failure(sources: Value, out: &Path) -> String {
    let error = crateyard_image::layer::make(&layer_spec(sources, "gzip"), out, 1).unwrap_err();
    assert!(!out.exists(), "something stands under the final name");
    error.to_string()
}

#[test]
fn a_debian_package_is_laid_out_as_dpkg_would() {
    let directory = tempdir().unwrap();
    let (base, _) = packages(directory.path());
    let out = directory.path().join("layer");
    let sources = json!([{"kind": "debian", "packages": [base],
        "exclude": ["usr/share/doc", "!usr/share/doc/copyright"]}]);
    let record = make_layer(sources, "gzip", &out, 2);
    let entries = read_tar(&layer_tar(&out, &record));
    let by_path: BTreeMap<&str, _> = entries
        .iter()
        .map(|entry| (entry.path.as_str(), entry))
        .collect();
    let get = |path: &str| *by_path.get(path).unwrap_or_else(|| panic!("no {path}"));

    assert_eq!(get("bin").content, "usr/bin");
    assert_eq!(get("lib").content, "usr/lib");
    assert!(!by_path.contains_key("lib64"));
    assert_eq!(
        (get("usr/bin/demo").mode, &*get("usr/bin/demo").content),
        (0o4755, "#!/bin/sh\necho demo\n")
    );
    assert_eq!(get("var/tmp/").mode, 0o1777);
    // The first name in order is the file, the later ones are links to it.
    assert_eq!(get("usr/bin/aa-tool").kind, tar::EntryType::Regular);
    assert_eq!(get("usr/bin/zz-tool").kind, tar::EntryType::Link);
    assert_eq!(get("usr/bin/zz-tool").content, "usr/bin/aa-tool");
    assert!(by_path.contains_key("usr/share/doc/copyright"));
    assert!(!by_path.contains_key("usr/share/doc/NEWS"));

    let status = &get("var/lib/dpkg/status").content;
    let digest = md5(b"colour = blue\n");
    assert_eq!(
        status,
        &format!(
            "Package: base-demo\nStatus: install ok installed\nVersion: 1.0-1\nArchitecture: \
             amd64\nMaintainer: Nobody <nobody@example.org>\nDescription: made for a test\n with a \
             second line\nConffiles:\n /etc/demo.conf {digest}\n\n"
        )
    );
    let list = &get("var/lib/dpkg/info/base-demo.list").content;
    assert!(
        list.starts_with("/.\n/etc\n/etc/demo.conf\n/bin\n/bin/demo\n"),
        "{list}"
    );
    assert_eq!(get("var/lib/dpkg/info/base-demo.postinst").mode, 0o755);
    assert_eq!(record.debian_packages[0].name, "base-demo");
    assert_eq!(record.entries as usize, entries.len());
}

fn md5(bytes: &[u8]) -> String {
    use md5::Digest;
    md5::Md5::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

#[test]
fn bytes_depend_on_nothing_but_the_sources() {
    let directory = tempdir().unwrap();
    let (base, extra) = packages(directory.path());
    let big = directory.path().join("big");
    let words: Vec<String> = (0..600_000_u64)
        .map(|number| format!("{}", number * 7919 % 10_007))
        .collect();
    fs::write(&big, words.join(" ")).unwrap();
    let mut sources = vec![
        json!({"kind": "debian", "packages": [base, extra]}),
        json!({"kind": "file", "from": big, "to": "/big"}),
        json!({"kind": "text", "to": "/a/b", "text": "x"}),
        json!({"kind": "directory", "to": "/a", "mode": "0700", "uid": 5}),
        accounts("/etc/passwd", 7),
        accounts("/etc/group", 7),
    ];
    for algorithm in ["gzip", "zstd", "none"] {
        let mut digests = Vec::new();
        for threads in [1, 2, 3, 8] {
            sources.rotate_left(1);
            // Files and packages come in another order, and the files have other times.
            sources.iter_mut().for_each(|source| {
                if let Some(packages) = source.get_mut("packages").and_then(Value::as_array_mut) {
                    packages.reverse();
                }
            });
            fs::write(&big, words.join(" ")).unwrap();
            let out = directory.path().join(format!("{algorithm}{threads}"));
            let record = make_layer(json!(sources), algorithm, &out, threads);
            digests.push((
                record.digest,
                record.diff_id,
                fs::read(out.join("blob")).unwrap(),
            ));
        }
        digests.dedup();
        assert_eq!(digests.len(), 1, "{algorithm}");
    }
}

#[test]
fn entries_are_sorted_and_parents_are_there() {
    let directory = tempdir().unwrap();
    let out = directory.path().join("layer");
    let sources = json!([
        {"kind": "text", "to": "/usr/z", "text": ""},
        {"kind": "text", "to": "/tmp/x", "text": ""},
        {"kind": "text", "to": "/usr-b", "text": ""},
        {"kind": "symlink", "to": "/a/l", "target": "../usr/z"},
        {"kind": "directory", "to": "/srv/data", "mode": "0750", "uid": 10, "gid": 20},
    ]);
    let record = make_layer(sources, "none", &out, 1);
    let entries = read_tar(&layer_tar(&out, &record));
    let listed: Vec<(&str, u32)> = entries
        .iter()
        .map(|entry| (entry.path.as_str(), entry.mode))
        .collect();
    assert_eq!(
        listed,
        [
            ("a/", 0o755),
            ("a/l", 0o777),
            ("srv/", 0o755),
            ("srv/data/", 0o750),
            ("tmp/", 0o1777),
            ("tmp/x", 0o644),
            ("usr/", 0o755),
            ("usr-b", 0o644),
            ("usr/z", 0o644),
        ]
    );
}

#[test]
fn long_odd_and_extended_things_come_back() {
    let directory = tempdir().unwrap();
    let out = directory.path().join("layer");
    let file = directory.path().join("file");
    fs::write(&file, "content").unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
    let long = format!("/{}/{}", "d".repeat(120), "n".repeat(200));
    let split = format!("/{}/{}", "d".repeat(90), "n".repeat(90));
    let target = "t/".repeat(100);
    let sources = json!([
        {"kind": "text", "to": long, "text": "long"},
        {"kind": "text", "to": split, "text": "split"},
        {"kind": "text", "to": "/Őú/ß", "text": "odd"},
        {"kind": "symlink", "to": "/link", "target": target},
        {"kind": "file", "from": file, "to": "/owned", "uid": 3_000_000, "gid": 4_000_000_000_u32,
         "xattrs": {"security.capability": "AQAAAgAgAAAAAAAAAAAAAAAAAAA=", "user.x": "YWI="}},
    ]);
    let record = make_layer(sources, "gzip", &out, 1);
    let tar = layer_tar(&out, &record);
    let found = paths(&tar);
    for path in [&long, &split, "/Őú/ß", "/link", "/owned"] {
        assert!(
            found.iter().any(|found| found == &path[1..]),
            "{path}: {found:?}"
        );
    }
    let mut archive = tar::Archive::new(&tar[..]);
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        match &*entry.path_bytes() {
            b"link" => assert_eq!(&*entry.link_name_bytes().unwrap(), target.as_bytes()),
            b"owned" => {
                let extensions = entry.pax_extensions().unwrap().unwrap();
                let extensions: Vec<(String, Vec<u8>)> = extensions
                    .map(|one| one.unwrap())
                    .map(|one| (one.key().unwrap().to_owned(), one.value_bytes().to_vec()))
                    .collect();
                let keys: Vec<&str> = extensions.iter().map(|one| one.0.as_str()).collect();
                assert_eq!(
                    keys,
                    [
                        "SCHILY.xattr.security.capability",
                        "SCHILY.xattr.user.x",
                        "gid",
                        "uid"
                    ]
                );
                assert_eq!(extensions[1].1, b"ab");
                assert_eq!(entry.header().mode().unwrap(), 0o755);
            }
            _ => {}
        }
    }
    // Our own reader agrees.
    let mut reader = crateyard_oci::tar::Reader::new(&tar[..]);
    let mut owned = None;
    while let Some(entry) = reader.next_entry().unwrap() {
        if entry.path == b"owned" {
            owned = Some(entry);
        }
    }
    let owned = owned.unwrap();
    assert_eq!((owned.uid, owned.gid), (3_000_000, 4_000_000_000));
    assert_eq!(owned.xattrs["user.x"], b"ab");
}

/// A directory can't have the attributes of a file, and files of images can't have some names of
/// attributes.
#[test]
fn attributes_are_for_files_and_for_people() {
    let directory = tempdir().unwrap();
    let tree = directory.path().join("tree");
    fs::create_dir(&tree).unwrap();
    fs::write(tree.join("file"), "content").unwrap();
    let copy = |from: &Path, name: &str| {
        json!([{"kind": "copy", "from": from, "to": "/to",
            "xattrs": {name: "YWI="}}])
    };
    let out = directory.path().join("layer");
    for (sources, says) in [
        (copy(&tree, "user.x"), "/to is a directory"),
        (
            copy(&tree.join("file"), "trusted.overlay.opaque"),
            "engines use",
        ),
        (copy(&tree.join("file"), "x"), "\"x\" is not the name"),
    ] {
        let error = failure(sources, &out);
        assert!(error.contains(says) && error.contains("xattrs"), "{error}");
    }
    let record = make_layer(copy(&tree.join("file"), "user.x"), "none", &out, 1);
    let tar = layer_tar(&out, &record);
    let mut reader = crateyard_oci::tar::Reader::new(&tar[..]);
    let entry = reader.next_entry().unwrap().unwrap();
    assert_eq!(
        (&entry.path[..], &entry.xattrs["user.x"][..]),
        (&b"to"[..], &b"ab"[..])
    );
}

#[test]
fn records_are_written_only_where_needed() {
    let directory = tempdir().unwrap();
    let out = directory.path().join("layer");
    let record = make_layer(
        json!([{"kind": "text", "to": "/a", "text": "x"}]),
        "none",
        &out,
        1,
    );
    // A header, a block of content, two blocks of zeroes.
    assert_eq!(record.uncompressed_size, 4 * 512);
}

#[test]
fn a_tree_keeps_links_and_normalizes_modes() {
    let directory = tempdir().unwrap();
    let tree = directory.path().join("tree");
    fs::create_dir_all(tree.join("bin")).unwrap();
    fs::write(tree.join("bin/run"), "x").unwrap();
    fs::set_permissions(tree.join("bin/run"), fs::Permissions::from_mode(0o4510)).unwrap();
    fs::write(tree.join("data"), "x").unwrap();
    fs::set_permissions(tree.join("data"), fs::Permissions::from_mode(0o600)).unwrap();
    symlink("bin/run", tree.join("link")).unwrap();
    let out = directory.path().join("layer");
    let sources = json!([{"kind": "tree", "from": tree, "to": "/opt/app", "uid": 9}]);
    let record = make_layer(sources, "none", &out, 1);
    let entries = read_tar(&layer_tar(&out, &record));
    let listed: Vec<(&str, u32)> = entries
        .iter()
        .map(|entry| (entry.path.as_str(), entry.mode))
        .collect();
    assert_eq!(
        listed,
        [
            ("opt/", 0o755),
            ("opt/app/", 0o755),
            ("opt/app/bin/", 0o755),
            ("opt/app/bin/run", 0o755),
            ("opt/app/data", 0o644),
            ("opt/app/link", 0o777)
        ]
    );
    symlink(&tree, tree.join("out")).unwrap();
    let error = failure(
        json!([{"kind": "tree", "from": tree, "to": "/"}]),
        &directory.path().join("no"),
    );
    assert!(error.contains("is a symbolic link to"), "{error}");
}

#[test]
fn clashes_name_both_origins() {
    let directory = tempdir().unwrap();
    let out = directory.path().join("layer");
    let (base, _) = packages(directory.path());
    let mut twin = Package::new("twin", "3");
    twin.file("./usr/bin/demo", 0o755, b"other");
    let twin = twin.write(&directory.path().join("twin.deb"));
    let error = failure(json!([{"kind": "debian", "packages": [base, twin]}]), &out);
    assert!(error.contains("/usr/bin/demo is given twice"), "{error}");
    assert!(
        error.contains("base-demo 1.0-1") && error.contains("twin 3"),
        "{error}"
    );

    let text = |to: &str| json!({"kind": "text", "to": to, "text": ""});
    let error = failure(json!([text("/a"), text("/a")]), &out);
    assert!(
        error.contains("sources[0]") && error.contains("sources[1]"),
        "{error}"
    );
    let error = failure(json!([text("/a"), text("/a/b")]), &out);
    assert!(error.contains("/a is given twice"), "{error}");
    let link = json!({"kind": "symlink", "to": "/l", "target": "/usr/l"});
    let error = failure(json!([link, text("/l/x")]), &out);
    assert!(error.contains("symbolic link to /usr/l"), "{error}");
    for path in ["a", "/a//b", "/a/../b", "/", "/.wh.a", "/a\u{0}b"] {
        let error = failure(json!([text(path)]), &out);
        assert!(error.contains("sources[0].to"), "{path}: {error}");
    }
}

#[test]
fn damaged_packages_are_named() {
    let directory = tempdir().unwrap();
    let out = directory.path().join("layer");
    let (base, extra) = packages(directory.path());
    let bytes = fs::read(&base).unwrap();
    let broken = directory.path().join("broken.deb");
    let sources = json!([{"kind": "debian", "packages": [broken]}]);
    for length in [0, 7, 40, 100, 300, bytes.len() / 2, bytes.len() - 2000] {
        fs::write(&broken, &bytes[..length]).unwrap();
        let error = failure(sources.clone(), &out);
        assert!(error.contains("broken.deb"), "{length}: {error}");
    }
    let mut evil = Package::new("evil", "1");
    evil.file("./../../etc/passwd", 0o644, b"root::0:0::/:/bin/sh\n");
    evil.write(&broken);
    let error = failure(sources, &out);
    assert!(
        error.contains("..") && error.contains("broken.deb"),
        "{error}"
    );
    let error = failure(
        json!([{"kind": "debian", "packages": [extra, extra], "alsoInstalled": []},
        {"kind": "debian", "packages": [extra]}]),
        &out,
    );
    assert!(error.contains("given twice"), "{error}");
}

#[test]
fn certificates_become_one_bundle() {
    let directory = tempdir().unwrap();
    let mut package = Package::new("ca-demo", "1");
    package
        .file("./usr/share/ca-certificates/m/B.crt", 0o644, b"second")
        .file("./usr/share/ca-certificates/m/A.crt", 0o644, b"first\n")
        .file("./usr/share/ca-certificates/readme", 0o644, b"no");
    let package = package.write(&directory.path().join("ca.deb"));
    let out = directory.path().join("layer");
    let record = make_layer(
        json!([{"kind": "ca-certificates", "packages": [package]}]),
        "none",
        &out,
        1,
    );
    let entries = read_tar(&layer_tar(&out, &record));
    let bundle = entries.last().unwrap();
    assert_eq!(
        (bundle.path.as_str(), bundle.content.as_str()),
        ("etc/ssl/certs/ca-certificates.crt", "first\nsecond\n")
    );
}

#[test]
fn a_chart_is_packaged_as_helm_does() {
    let directory = tempdir().unwrap();
    let chart = directory.path().join("chart");
    fs::create_dir_all(chart.join("templates")).unwrap();
    fs::write(
        chart.join("Chart.yaml"),
        "apiVersion: v2\nname: demo\nversion: 0.1.0\n",
    )
    .unwrap();
    fs::write(chart.join("values.yaml"), "a: 1\n").unwrap();
    fs::write(chart.join("templates/x.yaml"), "kind: Pod\n").unwrap();
    fs::write(chart.join("templates/.swp"), "").unwrap();
    fs::write(chart.join("notes.bak"), "").unwrap();
    fs::write(chart.join(".helmignore"), "# comment\n*.bak\n").unwrap();
    let package = packaged(&chart, "demo", "1.2.3");
    let mut unpacked = Vec::new();
    flate2::read::GzDecoder::new(&package[..])
        .read_to_end(&mut unpacked)
        .unwrap();
    let entries = read_tar(&unpacked);
    let names: Vec<&str> = entries.iter().map(|entry| entry.path.as_str()).collect();
    assert_eq!(
        names,
        [
            "demo/Chart.yaml",
            "demo/.helmignore",
            "demo/templates/x.yaml",
            "demo/values.yaml"
        ]
    );
    assert!(entries[0].content.contains("version: \"1.2.3\""));
}

/// Returns the package that a layer has of a chart.
fn packaged(chart: &Path, name: &str, version: &str) -> Vec<u8> {
    let directory = tempdir().unwrap();
    let out = directory.path().join("layer");
    let sources = json!([{"kind": "chart", "from": chart, "to": "/charts/", "version": version}]);
    let record = make_layer(sources, "none", &out, 1);
    let tar = layer_tar(&out, &record);
    let wanted = format!("charts/{name}-{version}.tgz");
    let mut package = Vec::new();
    for entry in tar::Archive::new(&tar[..]).entries().unwrap() {
        let mut entry = entry.unwrap();
        if *entry.path_bytes() == *wanted.as_bytes() {
            entry.read_to_end(&mut package).unwrap();
        }
    }
    package
}

/// Helm's own loader reads the package, and Helm renders it as it renders the chart's directory.
#[test]
fn helm_renders_the_package_as_the_directory() {
    need!("Helm's own loader of packages", "helm-render");
    let chart = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/charts/crateyard");
    let manifest = fs::read_to_string(chart.join("Chart.yaml")).unwrap();
    let version = manifest
        .lines()
        .find_map(|line| line.strip_prefix("version: "));
    let directory = tempdir().unwrap();
    let package = directory.path().join("chart.tgz");
    fs::write(&package, packaged(&chart, "crateyard", version.unwrap())).unwrap();
    let render = |chart: &Path| {
        let output = Command::new("helm-render").arg(chart).output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{error}");
        String::from_utf8(output.stdout).unwrap()
    };
    let rendered = render(&package);
    assert!(rendered.contains("kind: Deployment"), "{rendered}");
    assert_eq!(rendered, render(&chart));
}

#[test]
fn an_image_inside_an_image_is_the_archive() {
    let directory = tempdir().unwrap();
    let layout = demo_image(directory.path());
    let out = directory.path().join("bundle.layer");
    let source = |to: &str, format: &str| {
        json!({"kind": "image-archive", "from": layout.path(), "to": to, "format": format,
            "reference": "demo:9"})
    };
    let sources = json!([
        source("/images/oci.tar", "oci"),
        source("/images/docker.tar", "docker")
    ]);
    let record = make_layer(sources, "gzip", &out, 2);
    let unpacked = directory.path().join("unpacked");
    tar::Archive::new(&layer_tar(&out, &record)[..])
        .unpack(&unpacked)
        .unwrap();
    for name in ["oci.tar", "docker.tar"] {
        let inner = crateyard_oci::Layout::open(&unpacked.join("images").join(name)).unwrap();
        let image = inner.image(Some("demo:9"), None).unwrap();
        assert_eq!(image.names, ["docker.io/library/demo:9", "9"]);
        assert_eq!(
            image.descriptor.digest,
            layout.image(None, None).unwrap().descriptor.digest
        );
        assert!(
            crateyard_image::verify::verify_layout(&inner)
                .findings
                .is_empty()
        );
    }
}

#[test]
fn forbidden_texts_stop_the_layer() {
    let directory = tempdir().unwrap();
    let out = directory.path().join("layer");
    let make = |source: Value, forbidden: Value| {
        let mut spec = layer_spec(json!([source]), "gzip");
        spec.forbidden = serde_json::from_value(forbidden).unwrap();
        crateyard_image::layer::make(&spec, &out, 1).map_err(|error| error.to_string())
    };
    let text = json!({"kind": "text", "to": "/etc/x", "text": "path=/nix/store/abc"});
    let link = json!({"kind": "symlink", "to": "/l", "target": "/nix/store/abc"});
    let error = make(text.clone(), json!(["/build/", "/nix/store/"])).unwrap_err();
    assert!(
        error.contains("/etc/x: holds \"/nix/store/\" at byte 5"),
        "{error}"
    );
    let error = make(link, json!(["/nix/store/"])).unwrap_err();
    assert!(error.contains("/l: points to /nix/store/abc"), "{error}");
    assert!(
        make(text.clone(), json!([""]))
            .unwrap_err()
            .contains("forbidden[0]")
    );
    assert!(!out.exists());
    make(text, json!(["/build/"])).unwrap();
}

#[test]
fn random_layers_come_back() {
    let directory = tempdir().unwrap();
    let mut random = Random(0xabad_1dea);
    for round in 0..40 {
        let mut expected = BTreeMap::new();
        let mut sources = Vec::new();
        for number in 0..=random.below(30) {
            let path = random_path(&mut random, number);
            let mode = format!("{:04o}", random.below(0o10000));
            let text: String = (0..random.below(2000))
                .map(|at| char::from(b'a' + (at % 26) as u8))
                .collect();
            let (uid, gid) = (random.next() as u32, random.below(70_000) as u32);
            sources.push(
                json!({"kind": "text", "to": format!("/{path}"), "text": text,
                "mode": mode, "uid": uid, "gid": gid}),
            );
            expected.insert(path, (mode, u64::from(uid), u64::from(gid), text));
        }
        let algorithm = ["gzip", "zstd", "none"][round % 3];
        let out = directory.path().join(format!("{round}"));
        let record = make_layer(json!(sources), algorithm, &out, 1 + round % 4);
        sources.reverse();
        let again = make_layer(
            json!(sources),
            algorithm,
            &directory.path().join(format!("{round}-again")),
            3,
        );
        assert_eq!(
            (&record.digest, &record.diff_id),
            (&again.digest, &again.diff_id)
        );

        let tar = layer_tar(&out, &record);
        let all = paths(&tar);
        assert!(
            all.is_sorted_by(|one, other| one.trim_end_matches('/') < other.trim_end_matches('/'))
        );
        let files = read_tar(&tar)
            .into_iter()
            .filter(|entry| !entry.kind.is_dir());
        let found: BTreeMap<String, _> = files
            .map(|file| {
                let mode = format!("{:04o}", file.mode);
                (file.path, (mode, file.uid, file.gid, file.content))
            })
            .collect();
        assert_eq!(found, expected);
    }
}

fn random_path(random: &mut Random, number: usize) -> String {
    const NAMES: [&str; 6] = ["a", "usr", "some-longer-name.d", "ü", "b b", "x.y"];
    let mut path = String::new();
    for _ in 0..random.below(25) {
        path.push_str(NAMES[random.below(NAMES.len())]);
        path.push('/');
    }
    // The number keeps a file from having the path of another file's directory.
    path + &"n".repeat(random.below(150)) + &format!("f{number}")
}

#[test]
fn sizes_over_8_gib_stand_in_records() {
    let size = 9_u64 << 30;
    let header = crateyard_oci::tar::Header {
        path: "big",
        kind: crateyard_oci::tar::Kind::File,
        mode: 0o644,
        uid: 0,
        gid: 0,
        mtime: EPOCH,
        size,
        link: "",
        xattrs: &BTreeMap::new(),
    };
    let mut bytes = Vec::new();
    // The content is missing, which is an error. The header is written by then.
    let error = crateyard_oci::tar::Writer::new(&mut bytes)
        .append(&header, &mut std::io::empty())
        .unwrap_err();
    assert!(
        error
            .to_string()
            .contains("has 0 bytes where 9663676416 were expected"),
        "{error}"
    );
    let entry = crateyard_oci::tar::Reader::new(&bytes[..])
        .next_entry()
        .unwrap()
        .unwrap();
    assert_eq!(entry.size, size);
    let mut archive = tar::Archive::new(&bytes[..]);
    assert_eq!(
        archive.entries().unwrap().next().unwrap().unwrap().size(),
        size
    );
    assert_eq!(
        crateyard_oci::tar::entry_length(&header),
        bytes.len() as u64 + size
    );
}
