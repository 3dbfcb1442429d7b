//! Commands whose changes become layers. The real program runs them in real namespaces.
#![allow(missing_docs)]

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use common::*;
use crateyard_image::spec::{LayerRecord, LayerSpec};
use serde_json::{Value, json};
use tempfile::{TempDir, tempdir};

/// The programs of this machine that the steps call.
const PROGRAMS: [&str; 12] = [
    "sh", "cat", "chmod", "chown", "cp", "date", "ln", "mkdir", "mkfifo", "mv", "rm", "touch",
];

/// A machine's programs in a layer, and layers over them.
struct Scene {
    directory: TempDir,
    layers: Vec<PathBuf>,
}

impl Scene {
    fn new() -> Scene {
        let directory = tempdir().unwrap();
        let mut sources = Vec::new();
        let mut files = BTreeMap::new();
        for program in PROGRAMS {
            let found = stdout(Command::new("sh").args(["-c", &format!("command -v {program}")]));
            let found = fs::canonicalize(found.trim()).unwrap();
            for library in stdout(Command::new("ldd").arg(&found)).split_whitespace() {
                if library.starts_with('/') {
                    files.insert(library.to_owned(), PathBuf::from(library));
                }
            }
            files.insert(format!("/usr/bin/{program}"), found);
        }
        for (to, from) in files {
            let from = fs::canonicalize(from).unwrap();
            sources.push(json!({"kind": "file", "from": from, "to": to, "mode": "0755"}));
        }
        let note = directory.path().join("note");
        fs::write(&note, "able\n").unwrap();
        let able = json!({"security.capability": "AQAAAgAgAAAAAAAAAAAAAAAAAAA="});
        let mut scene = Scene {
            directory,
            layers: Vec::new(),
        };
        scene.add(json!(sources));
        scene.add(json!([
            {"kind": "text", "to": "/srv/kept", "text": "kept\n", "uid": 7, "gid": 8,
                "mode": "0640"},
            {"kind": "text", "to": "/srv/altered", "text": "before\n", "uid": 7, "gid": 8},
            {"kind": "text", "to": "/srv/gone/deep/file", "text": "x"},
            {"kind": "text", "to": "/srv/.whole", "text": "x"},
            {"kind": "text", "to": "/srv/tool", "text": "x", "mode": "4755"},
            {"kind": "directory", "to": "/srv/theirs", "uid": 7, "mode": "2770"},
            {"kind": "directory", "to": "/tmp", "mode": "1777"},
            {"kind": "file", "from": note, "to": "/srv/able", "mode": "0755", "xattrs": able},
            {"kind": "file", "from": note, "to": "/srv/ably", "mode": "0755", "xattrs": able},
        ]));
        scene
    }

    fn add(&mut self, sources: Value) {
        let out = self.directory.path().join(self.layers.len().to_string());
        make_layer(sources, "none", &out, 1);
        self.layers.push(out);
    }

    fn spec(&self, script: &str) -> LayerSpec {
        let run = json!(["sh", "-eu", "-c", script]);
        let step = json!({"kind": "step", "below": self.layers, "run": run, "workdir": "/"});
        let mut spec = layer_spec(json!([step]), "none");
        spec.forbidden = vec!["/nix/store/".to_owned()];
        spec
    }

    /// Runs a script as a step. If it fails, returns the messages of `image layer`.
    fn try_step(&self, script: &str, out: &str) -> Result<Step, String> {
        let out = self.directory.path().join(out);
        let spec = self.directory.path().join("spec.json");
        fs::write(&spec, serde_json::to_vec(&self.spec(script)).unwrap()).unwrap();
        let output = Command::new(env!("CARGO_BIN_EXE_image"))
            .arg("layer")
            .arg(&spec)
            .arg("--out")
            .arg(&out)
            .arg("--workplace")
            .arg(self.directory.path())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        for left in ["first", "second"] {
            assert!(!self.directory.path().join(left).exists(), "{left} is left");
        }
        match output.status.success() {
            true => Ok(Step { out, said }),
            false => {
                assert!(!out.exists(), "something stands under the final name");
                Err(said)
            }
        }
    }

    fn step(&self, script: &str) -> Step {
        self.try_step(script, "step")
            .unwrap_or_else(|said| panic!("{said}"))
    }

    fn failure(&self, script: &str) -> String {
        match self.try_step(script, "failed") {
            Err(said) => said,
            Ok(_) => panic!("{script} did not fail"),
        }
    }
}

/// A finished layer, and the output of the program and its command.
struct Step {
    out: PathBuf,
    said: String,
}

/// Mode, user, group, and content or target.
type Entry = (u32, u64, u64, String);

impl Step {
    fn tar(&self) -> Vec<u8> {
        let record: LayerRecord =
            crateyard_image::spec::read(&self.out.join("layer.json")).unwrap();
        layer_tar(&self.out, &record)
    }

    /// Returns the entries by path.
    fn entries(&self) -> BTreeMap<String, Entry> {
        let entries = read_tar(&self.tar()).into_iter();
        entries
            .map(|entry| {
                let TarEntry { mode, uid, gid, .. } = entry;
                (entry.path, (mode, uid, gid, entry.content))
            })
            .collect()
    }

    /// Returns the paths of the entries with capabilities.
    fn able(&self) -> Vec<String> {
        let tar = self.tar();
        let mut reader = crateyard_oci::tar::Reader::new(&tar[..]);
        let mut able = Vec::new();
        while let Some(entry) = reader.next_entry().unwrap() {
            if entry.xattrs.contains_key("security.capability") {
                able.push(String::from_utf8(entry.path).unwrap());
            }
        }
        able
    }
}

fn entry(mode: u32, uid: u64, gid: u64, content: &str) -> Entry {
    (mode, uid, gid, content.to_owned())
}

#[test]
fn what_a_command_changes_is_the_layer() {
    let scene = Scene::new();
    let step = scene.step(
        "echo after > /srv/altered
         cat /srv/kept > /dev/null; touch /srv/kept
         rm -r /srv/gone /srv/.whole
         mkdir -p /opt/new; echo new > /opt/new/file; chmod 0600 /opt/new/file
         ln -s new/file /opt/link; ln /opt/new/file /opt/new/same
         echo theirs > /srv/theirs/file
         echo x > /tmp/scratch; mkdir /dev/x",
    );
    let expected = [
        ("opt/", entry(0o755, 0, 0, "")),
        ("opt/link", entry(0o777, 0, 0, "new/file")),
        ("opt/new/", entry(0o755, 0, 0, "")),
        ("opt/new/file", entry(0o600, 0, 0, "new\n")),
        ("opt/new/same", entry(0o600, 0, 0, "opt/new/file")),
        ("srv/", entry(0o755, 0, 0, "")),
        ("srv/.wh..whole", entry(0o644, 0, 0, "")),
        ("srv/.wh.gone", entry(0o644, 0, 0, "")),
        ("srv/altered", entry(0o644, 7, 8, "after\n")),
        // The entry is as in the layer below, although the builder's disk has neither the owner nor
        // the bit.
        ("srv/theirs/", entry(0o2770, 7, 0, "")),
        ("srv/theirs/file", entry(0o644, 0, 0, "theirs\n")),
    ];
    let expected = expected.map(|(path, entry)| (path.to_owned(), entry));
    assert_eq!(step.entries(), BTreeMap::from(expected));
}

#[test]
fn a_layer_has_the_same_bytes_again() {
    let scene = Scene::new();
    let script = "for i in 3 1 2; do echo $i > /srv/$i; done; echo $$ $SOURCE_DATE_EPOCH > /srv/id
        cat /proc/sys/kernel/hostname > /srv/host";
    let [one, two] = ["one", "two"].map(|out| scene.try_step(script, out).unwrap());
    assert_eq!(one.tar(), two.tar());
    assert_eq!(one.entries()["srv/host"].3, "localhost\n");
    assert_eq!(one.entries()["srv/id"].3, format!("2 {EPOCH}\n"));
}

#[test]
fn what_differs_is_left_out_or_refused_by_name() {
    let scene = Scene::new();
    let step = scene.step(
        "mkdir -p /var/cache/ldconfig /var/log/app /run/app
         date > /var/cache/ldconfig/aux-cache; date > /var/log/app/log; touch /var/log/empty
         date > /run/app/pid",
    );
    let entries = step.entries();
    let paths: Vec<&str> = entries.keys().map(String::as_str).collect();
    let kept = [
        "run/",
        "run/app/",
        "var/",
        "var/cache/",
        "var/cache/ldconfig/",
        "var/log/",
    ];
    let kept = kept.into_iter().chain(["var/log/app/", "var/log/empty"]);
    assert_eq!(paths, kept.collect::<Vec<_>>());

    let said = scene.failure("date > /srv/stamp; cat /proc/sys/kernel/random/uuid > /srv/id");
    assert!(
        said.contains("these differ: /srv/id, /srv/stamp;"),
        "{said}"
    );
    assert!(said.contains("SOURCE_DATE_EPOCH"), "{said}");

    let said = scene.failure("mkdir -p /etc; echo 0123 > /etc/machine-id");
    assert!(
        said.contains("/etc/machine-id: it is the identity of one machine"),
        "{said}"
    );
    let said = scene.failure("mkfifo /srv/pipe");
    assert!(said.contains("/srv/pipe: it is a named pipe"), "{said}");
    let said = scene.failure("echo /nix/store/abc > /srv/path");
    assert!(
        said.contains("/srv/path") && said.contains("/nix/store/"),
        "{said}"
    );
}

#[test]
fn a_command_sees_its_image_and_nothing_else() {
    let scene = Scene::new();
    let step = scene.step(
        "[ ! -e /nix ] && [ ! -e /home ] && [ ! -e /etc/passwd ]
         [ -w /srv/kept ] && [ $HOME = /root ] && [ -z \"${NIX_BUILD_TOP-}\" ]
         while read -r line; do echo \"$line\"; done < /proc/self/net/dev >&2
         cat /proc/self/net/fib_trie >&2",
    );
    assert!(step.entries().is_empty());
    let (interfaces, routes) = step.said.split_once("Main:").expect("both lists");
    // The kernel lists the address only if the interface is switched on.
    assert!(routes.contains("127.0.0.1"), "{routes}");
    let of_interfaces = interfaces.lines().filter(|line| line.contains(':'));
    assert!(of_interfaces.clone().count() > 0, "{}", step.said);
    for line in of_interfaces {
        assert!(line.starts_with("lo:"), "{line}");
    }
}

#[test]
fn a_failure_says_what_helps() {
    let scene = Scene::new();
    let said = scene.failure("exit 3");
    assert!(
        said.contains("step `sh -eu -c exit 3`: it failed: exit code 3"),
        "{said}"
    );
    let said = scene.failure("curl https://example.org");
    assert!(
        said.contains("exit code 127") && said.contains("`packages`"),
        "{said}"
    );
    let said = scene.failure("chown 7:7 /srv/kept");
    assert!(
        said.contains("no other users") && said.contains("`directories`"),
        "{said}"
    );
}

/// The next layers are checked against the remaining files, and a reader sees the same ones.
#[test]
fn an_image_is_without_what_a_step_removed() {
    let mut scene = Scene::new();
    let step = scene.step("rm -r /srv/gone; rm /srv/.whole; echo new > /srv/altered");
    scene.layers.push(step.out.clone());
    scene.add(json!([{"kind": "text", "to": "/srv/.whole", "text": "again\n"}]));
    let layers: Vec<Value> = scene
        .layers
        .iter()
        .map(|path| json!({"path": path, "mayOverride": *path == step.out}))
        .collect();
    let spec = image_spec(&[], json!({"layers": layers}));
    let out = scene.directory.path().join("image");
    crateyard_image::layout::make(&spec, &out).unwrap();
    let layout = crateyard_oci::Layout::open(&out).unwrap();
    let image = layout.image(None, None).unwrap();
    let manifest = layout.manifest(&image.descriptor).unwrap();
    let listing =
        crateyard_image::files::Listing::read(&layout, &manifest, &Default::default()).unwrap();
    assert!(listing.get("srv/gone").is_none() && listing.get("srv/gone/deep/file").is_none());
    let mut content = Vec::new();
    for path in ["srv/.whole", "srv/altered"] {
        listing
            .copy_content(&layout, &manifest, path, &mut content)
            .unwrap();
    }
    assert_eq!(content, b"again\nnew\n");
    assert_eq!(listing.get("srv/altered").unwrap().uid, 7);

    // The layer over the step has a file that the step left there.
    scene.add(json!([{"kind": "text", "to": "/srv/altered", "text": "twice"}]));
    let last = scene.layers.last().unwrap().clone();
    let layers: Vec<Value> = layers.into_iter().chain([json!(last)]).collect();
    let spec = image_spec(&[], json!({"layers": layers}));
    let error = crateyard_image::layout::make(&spec, &scene.directory.path().join("refused"));
    let error = error.unwrap_err().to_string();
    assert!(error.contains("/srv/altered is given twice"), "{error}");
}

#[test]
fn modes_that_forbid_reading_are_no_hindrance() {
    let scene = Scene::new();
    let step = scene.step(
        "mkdir /srv/closed; echo x > /srv/closed/file; chmod 0 /srv/closed/file /srv/closed
         chmod 0500 /srv/theirs",
    );
    let entries = step.entries();
    assert_eq!(entries["srv/closed/"].0, 0);
    assert_eq!(entries["srv/closed/file"], entry(0, 0, 0, "x\n"));
    assert_eq!(entries["srv/theirs/"].0, 0o2500);
}

#[test]
fn a_new_mode_leaves_set_id_bits_and_capabilities() {
    let scene = Scene::new();
    let step = scene.step("chmod o-rx /srv/tool /srv/able; chmod 0750 /srv/theirs");
    let entries = step.entries();
    assert_eq!(entries["srv/tool"], entry(0o4750, 0, 0, "x"));
    assert_eq!(entries["srv/theirs/"].0, 0o2750);
    assert_eq!(entries["srv/able"].0, 0o750);
    assert_eq!(step.able(), ["srv/able"]);
}

#[test]
fn set_id_bits_go_if_the_command_takes_them_away() {
    let scene = Scene::new();
    for script in [
        "chmod u-s /srv/tool; chmod g-s /srv/theirs",
        "chmod 0755 /srv/tool; chmod 00770 /srv/theirs",
        "chown 0:0 /srv/tool; chmod a-st /srv/theirs",
    ] {
        let step = scene.step(script);
        let expected = [
            ("srv/", entry(0o755, 0, 0, "")),
            ("srv/theirs/", entry(0o770, 7, 0, "")),
            ("srv/tool", entry(0o755, 0, 0, "x")),
        ];
        let expected = expected.map(|(path, entry)| (path.to_owned(), entry));
        assert_eq!(step.entries(), BTreeMap::from(expected), "{script}");
        fs::remove_dir_all(&step.out).unwrap();
    }
    // Nothing sets a mode.
    let step = scene.step("cat /srv/tool > /dev/null; touch /srv/tool; cp /srv/tool /tmp/tool");
    assert!(step.entries().is_empty(), "{:?}", step.entries());
    fs::remove_dir_all(&step.out).unwrap();
    let step = scene.step("ln /srv/tool /srv/more; echo x > /srv/theirs/file");
    assert_eq!(step.entries()["srv/more"], entry(0o4755, 0, 0, "x"));
    assert_eq!(step.entries()["srv/theirs/"].0, 0o2770);
}

#[test]
fn another_file_has_no_set_id_bits_and_capabilities() {
    let scene = Scene::new();
    let step = scene.step(
        "echo other > /srv/tool; chmod 0711 /srv/tool
         rm -r /srv/able /srv/ably /srv/theirs
         ln -s tool /srv/able; mkdir /srv/ably; echo file > /srv/theirs",
    );
    let entries = step.entries();
    assert_eq!(entries["srv/tool"].0, 0o711);
    assert_eq!(entries["srv/theirs"].0, 0o644);
    assert_eq!(entries["srv/able"].3, "tool");
    assert_eq!(entries["srv/ably/"].0, 0o755);
    assert!(step.able().is_empty(), "{:?}", step.able());
}

#[test]
fn all_names_of_a_file_have_its_owner() {
    let scene = Scene::new();
    let step = scene.step(
        "echo after > /srv/altered; ln /srv/altered /srv/again; ln -f /srv/altered /srv/tool
         ln /srv/kept /srv/more; ln /srv/able /opt-able; mkdir /opt; ln /srv/kept /opt/kept",
    );
    let expected = [
        ("opt-able", entry(0o755, 0, 0, "able\n")),
        ("opt/", entry(0o755, 0, 0, "")),
        // The names of an unchanged file are a copy of it.
        ("opt/kept", entry(0o640, 7, 8, "kept\n")),
        ("srv/", entry(0o755, 0, 0, "")),
        ("srv/again", entry(0o644, 7, 8, "after\n")),
        ("srv/altered", entry(0o644, 7, 8, "srv/again")),
        ("srv/more", entry(0o640, 7, 8, "opt/kept")),
        ("srv/tool", entry(0o644, 7, 8, "srv/again")),
    ];
    let expected = expected.map(|(path, entry)| (path.to_owned(), entry));
    assert_eq!(step.entries(), BTreeMap::from(expected));
    assert_eq!(step.able(), ["opt-able"]);
}

#[test]
fn a_closed_file_with_two_names_is_unchanged() {
    let mut scene = Scene::new();
    let script = "echo x > /srv/one; ln /srv/one /srv/two; chmod 0 /srv/one";
    let lower = scene.try_step(script, "lower").unwrap();
    assert_eq!(lower.entries()["srv/two"], entry(0, 0, 0, "srv/one"));
    scene.layers.push(lower.out);
    assert!(scene.step("cat /srv/kept > /dev/null").entries().is_empty());
}
