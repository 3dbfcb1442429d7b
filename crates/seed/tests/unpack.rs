//! `seed unpack` with real and with hostile packages.
#![allow(missing_docs)]

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use common::{
    Entry, compressed, deb, fail, has, packages, plain_deb, scratch, seed, skipped, succeed, tar,
};

const MERGED: [&str; 6] = ["bin", "lib", "lib32", "lib64", "libx32", "sbin"];

/// Returns the files below a directory: kind, mode and contents by path.
fn tree(root: &Path) -> BTreeMap<String, String> {
    fn walk(root: &Path, directory: &Path, found: &mut BTreeMap<String, String>) {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            let name = path
                .strip_prefix(root)
                .unwrap()
                .to_str()
                .unwrap()
                .to_owned();
            let metadata = path.symlink_metadata().unwrap();
            let mode = metadata.permissions().mode() & 0o1777;
            let text = if metadata.is_symlink() {
                format!("link to {}", fs::read_link(&path).unwrap().display())
            } else if metadata.is_dir() {
                walk(root, &path, found);
                format!("directory {mode:o}")
            } else {
                let data = fs::read(&path).unwrap();
                format!("file {mode:o} {} {:?}", data.len(), checksum(&data))
            };
            found.insert(name, text);
        }
    }
    let mut found = BTreeMap::new();
    walk(root, root, &mut found);
    found
}

fn checksum(data: &[u8]) -> u64 {
    use std::hash::{DefaultHasher, Hasher};
    let mut hasher = DefaultHasher::new();
    hasher.write(data);
    hasher.finish()
}

/// Returns a tree that dpkg has unpacked, in the merged layout.
fn merged(tree: BTreeMap<String, String>) -> BTreeMap<String, String> {
    let mut merged: BTreeMap<String, String> = tree
        .into_iter()
        .filter(|(path, _)| !MERGED.contains(&path.as_str()))
        .map(|(path, text)| match path.split('/').next() {
            Some(top) if MERGED.contains(&top) => (format!("usr/{path}"), text),
            _ => (path, text),
        })
        .collect();
    for top in MERGED {
        merged.insert(top.into(), format!("link to usr/{top}"));
        merged
            .entry(format!("usr/{top}"))
            .or_insert("directory 755".into());
    }
    merged.entry("usr".into()).or_insert("directory 755".into());
    merged
}

/// Returns a command that unpacks a package of a test, and its directory.
fn unpack(name: &str, package: &[u8]) -> (tempfile::TempDir, Command) {
    let directory = scratch();
    fs::write(directory.path().join(name), package).unwrap();
    let mut command = seed();
    command
        .current_dir(directory.path())
        .args(["unpack", "--into", "root", name]);
    (directory, command)
}

/// Unpacks packages with dpkg and with the seed, and compares everything.
fn check_against_dpkg(packages: &[PathBuf]) {
    let directory = scratch();
    let at = |name: &str| directory.path().join(name);
    for package in packages {
        let expected = at("expected");
        succeed(
            Command::new("dpkg-deb")
                .arg("-x")
                .args([package, &expected]),
        );
    }
    succeed(
        seed()
            .args(["unpack", "--into"])
            .arg(at("root"))
            .args(packages),
    );
    let expected = merged(tree(&at("expected")));
    let found = tree(&at("root"));
    let differs = |(path, text): &(&String, &String)| expected.get(*path) != Some(text);
    let differing: Vec<_> = found.iter().filter(differs).collect();
    assert!(differing.is_empty(), "{packages:?}: {differing:?}");
    assert_eq!(found.len(), expected.len(), "{packages:?}");
}

#[test]
fn real_packages_unpack_as_dpkg_does() {
    let test = "real_packages_unpack_as_dpkg_does";
    if !has("dpkg-deb") {
        return skipped(test, "there is no dpkg-deb");
    }
    match packages(&["libc6", "gcc-12", "base-files"]) {
        Some(packages) => check_against_dpkg(&packages),
        None => skipped(test, "apt-get cannot download packages"),
    }
}

#[test]
fn every_compression_of_dpkg_is_understood() {
    let test = "every_compression_of_dpkg_is_understood";
    if !has("dpkg-deb") {
        return skipped(test, "there is no dpkg-deb");
    }
    let Some(packages) = packages(&["libc6"]) else {
        return skipped(test, "apt-get cannot download packages");
    };
    let directory = scratch();
    let control = directory.path().join("libc6");
    succeed(
        Command::new("dpkg-deb")
            .arg("-R")
            .args([&packages[0], &control]),
    );
    for compression in ["-Zgzip", "-Znone", "-Zxz", "-Zzstd"] {
        let package = directory.path().join(format!("libc6{compression}.deb"));
        let options = [compression, "--root-owner-group", "-b"];
        succeed(
            Command::new("dpkg-deb")
                .args(options)
                .args([&control, &package]),
        );
        check_against_dpkg(&[package]);
    }
}

#[test]
fn a_large_package_needs_little_memory() {
    let test = "a_large_package_needs_little_memory";
    if !has("prlimit") {
        return skipped(test, "there is no prlimit");
    }
    let Some(packages) = packages(&["gcc-12"]) else {
        return skipped(test, "apt-get cannot download packages");
    };
    let directory = scratch();
    // Its files are 64 MB, its dictionary 8 MB. The limit counts all memory that is not a mapped
    // file.
    succeed(
        Command::new("prlimit")
            .arg("--data=16777216")
            .arg(common::seed_path())
            .args(["unpack", "--into"])
            .arg(directory.path().join("root"))
            .args(packages),
    );
}

#[test]
fn set_id_bits_and_devices_are_left_out_and_odd_modes_kept() {
    let (directory, mut command) = unpack(
        "odd.deb",
        &plain_deb(&[
            Entry::directory("./closed/").mode(0o555),
            Entry::file("./closed/su", b"x").mode(0o6755),
            Entry::directory("./sticky/").mode(0o1777),
            Entry::of_kind("./console", b'3'),
            Entry::of_kind("./pipe", b'6'),
            Entry::file("./closed/secret", b"y").mode(0o400),
        ]),
    );
    succeed(&mut command);
    let root = directory.path().join("root");
    let mode = |path: &str| fs::metadata(root.join(path)).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode("closed"), 0o555);
    assert_eq!(mode("closed/su"), 0o755);
    assert_eq!(mode("closed/secret"), 0o400);
    assert_eq!(mode("sticky"), 0o1777);
    assert!(!root.join("console").exists() && !root.join("pipe").exists());
    // Make the directory of the test removable.
    fs::set_permissions(root.join("closed"), fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn the_merged_layout_takes_paths_and_links() {
    let (directory, mut command) = unpack(
        "merged.deb",
        &plain_deb(&[
            Entry::directory("./"),
            Entry::directory("./bin/"),
            Entry::file("./bin/one", b"1").mode(0o755),
            Entry::hard_link("./bin/two", "./bin/one"),
            Entry::symlink("./lib", "usr/lib"),
            Entry::file("./lib/x86/file", b"2"),
        ]),
    );
    succeed(&mut command);
    let root = directory.path().join("root");
    assert_eq!(
        fs::read_link(root.join("bin")).unwrap(),
        Path::new("usr/bin")
    );
    assert_eq!(fs::read(root.join("usr/lib/x86/file")).unwrap(), b"2");
    let inode = |path: &str| fs::metadata(root.join(path)).unwrap().ino();
    assert_eq!(inode("usr/bin/one"), inode("usr/bin/two"));
}

#[test]
fn links_inside_the_root_are_followed() {
    let (directory, mut command) = unpack(
        "inside.deb",
        &plain_deb(&[
            Entry::directory("./usr/share/doc/y/"),
            Entry::symlink("./usr/share/doc/relative", "../doc/y"),
            Entry::file("./usr/share/doc/relative/one", b"1"),
            Entry::symlink("./usr/share/doc/absolute", "/usr/share/doc/y"),
            Entry::file("./usr/share/doc/absolute/two", b"2"),
            Entry::directory("./usr/share/doc/absolute/"),
        ]),
    );
    succeed(&mut command);
    let doc = directory.path().join("root/usr/share/doc/y");
    assert_eq!(fs::read(doc.join("one")).unwrap(), b"1");
    assert_eq!(fs::read(doc.join("two")).unwrap(), b"2");
}

#[test]
fn nothing_is_written_outside_the_root() {
    let outside = scratch();
    let victim = outside.path().join("victim");
    fs::write(&victim, b"untouched").unwrap();
    let away = outside.path().to_str().unwrap();
    let up = format!("{}{}", "../".repeat(40), &away[1..]);
    let hostile = [
        (
            "dots",
            vec![Entry::file("./usr/../../victim", b"evil")],
            "usr/../../victim",
        ),
        (
            "absolute link",
            vec![
                Entry::symlink("./x", away),
                Entry::file("./x/victim", b"evil"),
            ],
            "x/victim",
        ),
        (
            "relative link",
            vec![
                Entry::symlink("./x", &up),
                Entry::file("./x/victim", b"evil"),
            ],
            "x/victim",
        ),
        (
            "link over a link",
            vec![
                Entry::symlink("./a", "b/.."),
                Entry::symlink("./b", ".."),
                Entry::file("./a/victim", b"evil"),
            ],
            "a/victim",
        ),
        (
            "file over a link",
            vec![
                Entry::symlink("./x", victim.to_str().unwrap()),
                Entry::file("./x", b"evil"),
            ],
            "`x`",
        ),
        (
            "hard link by dots",
            vec![Entry::hard_link("./x", "../victim")],
            "../victim",
        ),
        (
            "hard link to the outside",
            vec![Entry::hard_link("./x", victim.to_str().unwrap())],
            "victim",
        ),
        (
            "hard link over a link",
            vec![
                Entry::symlink("./d", away),
                Entry::hard_link("./x", "./d/victim"),
                Entry::file("./x", b"evil"),
            ],
            "d/victim",
        ),
        (
            "link in place of a directory",
            vec![
                Entry::directory("./usr/share/"),
                Entry::symlink("./usr/share", away),
            ],
            "usr/share",
        ),
        (
            "link in place of a merged directory",
            vec![Entry::symlink("./bin", away)],
            "`bin`",
        ),
        (
            "endless links",
            vec![Entry::symlink("./x", "x"), Entry::file("./x/y", b"evil")],
            "x/y",
        ),
    ];
    for (what, entries, path) in hostile {
        let (_directory, mut command) = unpack("hostile.deb", &plain_deb(&entries));
        let message = fail(&mut command, 65);
        assert!(
            message.contains("hostile.deb") && message.contains(path),
            "{what}: {message}"
        );
        assert_eq!(fs::read(&victim).unwrap(), b"untouched", "{what}");
        assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 1, "{what}");
        assert_eq!(fs::metadata(&victim).unwrap().nlink(), 1, "{what}");
    }
}

#[test]
fn damage_is_found_in_every_compression() {
    let test = "damage_is_found_in_every_compression";
    // The data are neither too regular nor random, so that a changed byte changes the result.
    let data: Vec<u8> = (0..300_000_u64).map(|n| (n * n / 1000) as u8).collect();
    let archive = tar(&[Entry::file("./data", &data)]);
    let tools: [(&str, &[&str]); 3] = [
        ("data.tar.gz", &["gzip"]),
        ("data.tar.xz", &["xz", "-9"]),
        ("data.tar.zst", &["zstd", "--check"]),
    ];
    for (name, tool) in tools {
        if !has(tool[0]) {
            skipped(test, &format!("there is no {}", tool[0]));
            continue;
        }
        let compressed = compressed(tool, &archive);
        let (directory, mut command) = unpack("whole.deb", &deb(name, &compressed));
        succeed(&mut command);
        assert_eq!(fs::read(directory.path().join("root/data")).unwrap(), data);

        let size = compressed.len();
        for position in [
            0,
            9,
            size / 4,
            size / 2,
            size * 3 / 4,
            size - 12,
            size - 6,
            size - 1,
        ] {
            // In a gzip header the time and the system mean nothing.
            if name.ends_with("gz") && position == 9 {
                continue;
            }
            let mut flipped = compressed.clone();
            flipped[position] ^= 0x10;
            let (_directory, mut command) = unpack("flipped.deb", &deb(name, &flipped));
            let message = fail(&mut command, 65);
            assert!(
                message.contains("flipped.deb: damaged"),
                "{name}, byte {position} of {size}: {message}"
            );
        }
        for length in [0, 5, size / 2, size - 1] {
            let (_directory, mut command) = unpack("short.deb", &deb(name, &compressed[..length]));
            let message = fail(&mut command, 65);
            // Zstandard has no end mark behind the last frame, so an empty stream is a valid one of
            // no bytes.
            let noticed = ["short.deb: damaged", "short.deb: truncated"];
            assert!(
                noticed.iter().any(|text| message.contains(text)),
                "{name} cut to {length} of {size}: {message}"
            );
        }
        let (_directory, mut command) = unpack(
            "long.deb",
            &deb(name, &[&compressed[..], b"trailing"].concat()),
        );
        assert!(fail(&mut command, 65).contains("long.deb: damaged"));
    }
}

#[test]
fn the_number_of_cores_changes_nothing() {
    let test = "the_number_of_cores_changes_nothing";
    if !has("taskset") || !has("gzip") {
        return skipped(test, "there is no taskset or no gzip");
    }
    let directory = scratch();
    // While the first package is being written, the second one has more than a process may keep,
    // and the next ones more than fits into a pipe.
    let large: Vec<u8> = (0..100_000_000_u64).map(|n| (n >> 12) as u8).collect();
    let mut names = Vec::new();
    for number in 0..40 {
        let size = match number {
            0 | 1 => large.len(),
            2..8 => 5_000_000,
            _ => number,
        };
        let entries = [
            Entry::file(&format!("./{number}"), &large[..size]),
            Entry::file("./common", b"the same in all"),
        ];
        let name = format!("{number}.deb");
        let package = deb("data.tar.gz", &compressed(&["gzip", "-1"], &tar(&entries)));
        fs::write(directory.path().join(&name), package).unwrap();
        names.push(name);
    }
    let unpacked = |root: &str, cores: &str| {
        let mut command = Command::new("taskset");
        command.args(["-c", cores]).arg(common::seed_path());
        command.args(["unpack", "--into", root]).args(&names);
        succeed(command.current_dir(directory.path()));
        tree(&directory.path().join(root))
    };
    let one = unpacked("one", "0");
    assert_eq!(
        one.iter().filter(|(path, _)| path.ends_with("39")).count(),
        1
    );
    let all = format!(
        "0-{}",
        std::thread::available_parallelism().unwrap().get() - 1
    );
    assert!(one == unpacked("all", &all));
}

#[test]
fn of_several_faults_that_of_the_first_package_is_named() {
    let test = "of_several_faults_that_of_the_first_package_is_named";
    if !has("gzip") {
        return skipped(test, "there is no gzip");
    }
    let data: Vec<u8> = (0..300_000_u64).map(|n| (n * n / 1000) as u8).collect();
    let good = compressed(&["gzip"], &tar(&[Entry::file("./data", &data)]));
    let mut bad = good.clone();
    bad[good.len() / 2] ^= 0x10;
    let directory = scratch();
    let file = |name: &str, bytes: &[u8]| {
        fs::write(directory.path().join(name), bytes).unwrap();
    };
    file("good.deb", &deb("data.tar.gz", &good));
    file("bad.deb", &deb("data.tar.gz", &bad));
    file("cut.deb", &deb("data.tar.gz", &good[..good.len() / 2]));
    file("none.deb", b"not a package at all");
    for (packages, code, reason) in [
        (["good.deb", "bad.deb", "missing.deb"], 65, "bad.deb: "),
        (["good.deb", "missing.deb", "bad.deb"], 74, "missing.deb"),
        (["good.deb", "cut.deb", "bad.deb"], 65, "cut.deb: "),
        (["good.deb", "none.deb", "cut.deb"], 65, "none.deb: not a"),
    ] {
        let root = scratch();
        let mut command = seed();
        command.args(["unpack", "--into"]).arg(root.path());
        command.args(packages).current_dir(directory.path());
        let message = fail(&mut command, code);
        assert!(message.contains(reason), "{packages:?}: {message}");
    }
}

#[test]
fn a_package_that_is_none_is_an_error() {
    let whole = plain_deb(&[Entry::file("./file", b"content")]);
    let mut header = whole.clone();
    let name = header
        .windows(6)
        .position(|window| window == b"./file")
        .unwrap();
    header[name + 2] = b'F';
    for (package, reason) in [
        (b"not a package at all".to_vec(), "does not begin with"),
        (Vec::new(), "does not begin with"),
        (whole[..whole.len() - 100].to_vec(), "truncated"),
        (whole[..100].to_vec(), "truncated"),
        (header, "checksum"),
        (deb("data.tar.lz4", b""), "unknown compression"),
        (deb("other.tar", b""), "no `data.tar`"),
        (
            deb("data.tar", &tar(&[Entry::file("./x", b"1")])[..600]),
            "truncated",
        ),
        (
            deb("data.tar", &tar(&[Entry::of_kind("./x", b'Q')])),
            "unknown kind",
        ),
    ] {
        let (_directory, mut command) = unpack("bad.deb", &package);
        let message = fail(&mut command, 65);
        assert!(
            message.contains("bad.deb") && message.contains(reason),
            "{reason}: {message}"
        );
    }
}

#[test]
fn a_file_of_two_packages_must_be_the_same_unless_it_is_replaced() {
    let directory = scratch();
    let write = |name: &str, entries: &[Entry]| {
        fs::write(directory.path().join(name), plain_deb(entries)).unwrap()
    };
    let entries = |content: &[u8], target: &str| {
        [
            Entry::directory("./etc/"),
            Entry::file("./etc/file", content),
            Entry::symlink("./etc/link", target),
        ]
    };
    write("one.deb", &entries(b"same", "there"));
    write("same.deb", &entries(b"same", "there"));
    write("longer.deb", &entries(b"same and more", "there"));
    write("elsewhere.deb", &entries(b"same", "elsewhere"));
    let unpack = |root: &str, more: &[&str]| {
        let mut command = seed();
        command
            .current_dir(directory.path())
            .args(["unpack", "--into", root, "one.deb"])
            .args(more);
        command
    };
    succeed(&mut unpack("a", &["same.deb"]));
    let message = fail(&mut unpack("b", &["longer.deb"]), 65);
    assert!(
        message.contains("longer.deb") && message.contains("`etc/file`"),
        "{message}"
    );
    let message = fail(&mut unpack("c", &["elsewhere.deb"]), 65);
    assert!(
        message.contains("elsewhere.deb") && message.contains("`etc/link`"),
        "{message}"
    );
    succeed(&mut unpack(
        "d",
        &[
            "longer.deb",
            "elsewhere.deb",
            "--text",
            "etc/file=new",
            "--symlink",
            "/etc/link=newer",
        ],
    ));
    assert_eq!(
        fs::read(directory.path().join("d/etc/file")).unwrap(),
        b"new"
    );
    assert_eq!(
        fs::read_link(directory.path().join("d/etc/link")).unwrap(),
        Path::new("newer")
    );
    succeed(&mut unpack("e", &["longer.deb", "--exclude", "etc/file"]));
    assert!(!directory.path().join("e/etc/file").exists());
    assert!(directory.path().join("e/etc/link").is_symlink());
}

#[test]
fn additions_are_made_inside_the_root() {
    let (directory, mut command) = unpack(
        "plain.deb",
        &plain_deb(&[Entry::file("./usr/share/doc/x/copyright", b"")]),
    );
    succeed(command.args([
        "--exclude",
        "/usr/share/doc",
        "--mkdir",
        "var/empty",
        "--text",
        "etc/passwd=root:x:0:0\nb=c\n",
        "--symlink",
        "usr/bin/cc=gcc-12",
        "--symlink",
        "lib64/deep/er=/x",
        "--text",
        "lib64/deep/file=",
    ]));
    let root = directory.path().join("root");
    assert!(root.join("var/empty").is_dir());
    assert_eq!(
        fs::read(root.join("etc/passwd")).unwrap(),
        b"root:x:0:0\nb=c\n"
    );
    assert_eq!(
        fs::read_link(root.join("usr/bin/cc")).unwrap(),
        Path::new("gcc-12")
    );
    assert_eq!(
        fs::read_link(root.join("usr/lib64/deep/er")).unwrap(),
        Path::new("/x")
    );
    assert!(root.join("usr/lib64/deep/file").is_file());
    assert!(!root.join("usr/share/doc").exists());

    let (_directory, mut command) = unpack("plain.deb", &plain_deb(&[]));
    fail(command.args(["--text", "../outside=x"]), 64);
}

#[test]
fn certificates_are_joined_in_the_order_of_their_paths() {
    let package = plain_deb(&[
        Entry::file("./usr/share/ca-certificates/b/one.crt", b"b1"),
        Entry::file("./usr/share/ca-certificates/a/two.crt", b"a2\n"),
        Entry::file("./usr/share/ca-certificates/a/readme", b"no"),
        Entry::file("./usr/share/ca-certificates/a.crt", b"a\n"),
    ]);
    let (directory, mut command) = unpack("ca.deb", &package);
    succeed(command.args(["--ca-certificates", "etc/ssl/certs/ca-certificates.crt"]));
    let bundle = fs::read(
        directory
            .path()
            .join("root/etc/ssl/certs/ca-certificates.crt"),
    )
    .unwrap();
    assert_eq!(bundle, b"a\na2\nb1\n");

    let (_directory, mut command) = unpack("none.deb", &plain_deb(&[]));
    assert!(fail(command.args(["--ca-certificates", "x"]), 64).contains("ca-certificates"));
}

#[test]
fn arguments_can_come_from_a_file() {
    let directory = scratch();
    fs::write(
        directory.path().join("p q.deb"),
        plain_deb(&[Entry::file("./x", b"1")]),
    )
    .unwrap();
    fs::write(directory.path().join("list"), "p q.deb\n--mkdir\ny\n").unwrap();
    succeed(seed().current_dir(&directory).args([
        "unpack",
        "--from-file",
        "list",
        "--into",
        "root",
    ]));
    assert!(directory.path().join("root/x").is_file() && directory.path().join("root/y").is_dir());
}

#[test]
fn what_the_system_refuses_is_an_error_of_its_own() {
    let (directory, mut command) = unpack("p.deb", &plain_deb(&[]));
    fs::create_dir(directory.path().join("root")).unwrap();
    fs::write(directory.path().join("root/there"), b"").unwrap();
    assert!(fail(&mut command, 74).contains("directory not empty"));
    assert!(
        fail(seed().args(["unpack", "--into", "/nonexistent/x"]), 74).contains("`/nonexistent/x`")
    );
    let missing = directory.path().join("new");
    assert!(
        fail(
            seed()
                .args(["unpack", "--into"])
                .arg(missing)
                .arg("absent.deb"),
            74
        )
        .contains("`absent.deb`")
    );
}
