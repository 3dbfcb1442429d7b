//! Tests `assemble fetch` with its own store.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Instant;

use archive::{Archive, NEEDED, Package, absent, sha256, skipped};
use crateyard_debian::index;
use crateyard_debian::lock::Suite;
use crateyard_debian::resolve::{SetRequest, Universe};
use crateyard_testing::moments::{Moments, kill};
use serde_json::Value;

#[path = "../../debian/tests/common/mod.rs"]
mod archive;

const CRATE: &[u8] = b"not really a crate";

fn packages() -> [Package<'static>; 3] {
    [
        Package {
            name: "a",
            version: "1:2~rc1-3",
            architecture: "amd64",
            fields: "",
        },
        Package {
            name: "b",
            version: "1",
            architecture: "all",
            fields: "",
        },
        Package {
            name: "c++",
            version: "1",
            architecture: "arm64",
            fields: "",
        },
    ]
}

/// A workspace with one crate and three packages, a cargo cache, and a store.
struct Case {
    archive: Archive,
    directory: tempfile::TempDir,
}

impl Case {
    fn new(test: &str) -> Option<Self> {
        let needed: Vec<&str> = NEEDED.iter().copied().chain(["nix-store"]).collect();
        if let Some(program) = absent(&needed) {
            skipped(test, &format!("there is no {program}"));
            return None;
        }
        let case = Case {
            archive: Archive::new(&packages()),
            directory: tempfile::tempdir().expect("a directory"),
        };
        let cache = case.cached_crate();
        fs::create_dir_all(cache.parent().expect("a directory")).expect("a directory");
        fs::write(cache, CRATE).expect("a crate");
        fs::write(case.path().join("Cargo.lock"), cargo_lock()).expect("a lock");
        case.pin();
        Some(case)
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    fn cached_crate(&self) -> PathBuf {
        self.path()
            .join("cargo/registry/cache/registry-1/thing-1.0.0+x.crate")
    }

    fn pin(&self) {
        let mut found = Vec::new();
        for architecture in ["amd64", "arm64"] {
            let name = format!("main/binary-{architecture}/Packages");
            let text = fs::read_to_string(self.archive.dist(&name)).expect("an index");
            found.extend(index::parse(&text, &name, 0).expect("an index"));
        }
        let suite = Suite {
            name: "bookworm".to_owned(),
            archive: "debian".to_owned(),
            components: vec!["main".to_owned()],
            url: None,
        };
        let universe = Universe::new(vec![suite], found).expect("an archive");
        let requests = [
            SetRequest::new("base", &["a", "b"], &["amd64"]),
            SetRequest::new("cross", &["c++:arm64"], &["amd64"]),
        ];
        let lock = universe
            .lock(&requests, "20260712T101637Z")
            .expect("a lock");
        lock.save(&self.path().join("debian.lock")).expect("saved");
    }

    fn fetch(&self, mirror: &str, arguments: &[&str]) -> Output {
        let mut command = self.command(mirror, "store", arguments);
        command.output().expect("assemble")
    }

    fn command(&self, mirror: &str, store: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_assemble"));
        command.arg("fetch").current_dir(self.path());
        command.arg("--store").arg(self.path().join(store));
        command
            .arg("--mirror")
            .arg(format!("debian={mirror}"))
            .args(arguments);
        // Cargo has nothing to download here, because its cache has the crate.
        command
            .env("CARGO", "true")
            .env("CARGO_HOME", self.path().join("cargo"))
            // The user's cache may keep bootstrap programs, which `fetch` would add.
            .env("XDG_CACHE_HOME", self.path().join("cache"));
        command
    }

    /// Runs with `--json` and returns the parsed output.
    fn report(&self, mirror: &str, arguments: &[&str]) -> Value {
        let arguments: Vec<&str> = arguments.iter().copied().chain(["--json"]).collect();
        let output = self.fetch(mirror, &arguments);
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        serde_json::from_slice(&output.stdout).expect("JSON")
    }

    /// Fails if a store is half created, or claims to have a file that it lacks or that has other
    /// bytes.
    fn check(&self, store: &str) {
        let state = self.path().join(store).join("nix/var/nix");
        assert_eq!(state.exists(), state.join("db/schema").exists(), "{store}");
        let output = Command::new("nix-store")
            .args(["--verify", "--check-contents", "--store"])
            .arg(self.path().join(store))
            .output()
            .expect("nix-store");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{said}");
    }

    fn stored(&self) -> Vec<String> {
        self.stored_in("store")
    }

    fn stored_in(&self, store: &str) -> Vec<String> {
        let store = self.path().join(store).join("nix/store");
        let Ok(entries) = fs::read_dir(store) else {
            return Vec::new();
        };
        let name = |entry: fs::DirEntry| {
            let name = entry.file_name().to_string_lossy().into_owned();
            name.split_once('-').map(|(_, name)| name.to_owned())
        };
        let mut names: Vec<String> = entries
            .filter_map(Result::ok)
            .filter(|entry| !entry.file_name().to_string_lossy().starts_with('.'))
            .filter_map(name)
            .collect();
        names.sort();
        names
    }
}

fn cargo_lock() -> String {
    format!(
        "version = 4\n\n[[package]]\nname = \"own\"\nversion = \"0.1.0\"\n\n[[package]]\nname = \
         \"thing\"\nversion = \"1.0.0+x\"\nsource = \
         \"registry+https://registry.example/index\"\nchecksum = \"{}\"\n",
        sha256(CRATE)
    )
}

fn counts(report: &Value, what: &str) -> (u64, u64, u64) {
    let count = |name: &str| report[what][name].as_u64().expect(name);
    (count("total"), count("present"), count("added"))
}

#[test]
fn what_the_locks_pin_is_added_once() {
    let Some(case) = Case::new("what_the_locks_pin_is_added_once") else {
        return;
    };
    let report = case.report(&case.archive.mirror(), &[]);
    assert_eq!(counts(&report, "crates"), (1, 0, 1));
    assert_eq!(counts(&report, "packages"), (3, 0, 3));
    assert_eq!(
        case.stored(),
        [
            "a_1-2-rc1-3_amd64.deb",
            "b_1_all.deb",
            "c++_1_arm64.deb",
            "thing-1.0.0+x.crate"
        ]
    );
    // A second run needs neither mirror nor cache.
    fs::remove_dir_all(case.path().join("cargo")).expect("removed");
    let report = case.report("file:///nowhere", &[]);
    assert_eq!(counts(&report, "crates"), (1, 1, 0));
    assert_eq!(counts(&report, "packages"), (3, 3, 0));
}

#[test]
fn another_workspace_can_be_named() {
    let Some(case) = Case::new("another_workspace_can_be_named") else {
        return;
    };
    let elsewhere = tempfile::tempdir().expect("a directory");
    let fetch = |arguments: &[&str]| {
        let mut command = case.command(&case.archive.mirror(), "store", arguments);
        command.current_dir(elsewhere.path());
        command.output().expect("assemble")
    };
    let place = case.path().to_string_lossy();
    let output = fetch(&["--workspace", &place, "--json"]);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{error}");
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(counts(&report, "crates"), (1, 0, 1));
    assert_eq!(counts(&report, "packages"), (3, 0, 3));
    // A lock that an option names is not looked for there.
    let output = fetch(&["--workspace", &place, "--cargo-lock", "Cargo.lock"]);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(error.contains("cannot read Cargo.lock"), "{error}");
}

/// The rest is fetched anyway, and the report names both.
#[test]
fn a_repository_that_git_cannot_fetch_is_a_failure() {
    let Some(case) = Case::new("a_repository_that_git_cannot_fetch_is_a_failure") else {
        return;
    };
    let gone = case.path().join("gone");
    let forked = format!(
        "\n[[package]]\nname = \"forked\"\nversion = \"0.2.0\"\n\
         source = \"git+file://{}#0123456789012345678901234567890123456789\"\n",
        gone.display()
    );
    fs::write(case.path().join("Cargo.lock"), cargo_lock() + &forked).expect("a lock");
    let output = case.fetch(&case.archive.mirror(), &["--json"]);
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{error}");
    let expected = [
        "git can't fetch forked 0.2.0, which Cargo.lock pins",
        "gone",
    ];
    for text in expected {
        assert!(error.contains(text), "no {text:?} in {error}");
    }
    assert!(!error.contains("--show-trace"), "{error}");
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(counts(&report, "crates"), (1, 0, 1));
    assert_eq!(report["git"], serde_json::json!(["forked 0.2.0"]));
    assert_eq!(report["missing"][0]["file"], "forked 0.2.0");
}

/// Cargo's progress, its retries and the colours that CI asks for must not hide the reason.
#[test]
fn a_failure_of_cargo_is_told_by_its_cause() {
    let Some(case) = Case::new("a_failure_of_cargo_is_told_by_its_cause") else {
        return;
    };
    let gone = case.path().join("gone");
    let manifest = format!(
        "[package]\nname = \"own\"\nversion = \"0.1.0\"\n[dependencies]\nforked = {{ git = \
         \"file://{}\" }}\n",
        gone.display()
    );
    fs::create_dir(case.path().join("src")).expect("a directory");
    fs::write(case.path().join("src/lib.rs"), "").expect("a library");
    fs::write(case.path().join("Cargo.toml"), manifest).expect("a manifest");
    let mut command = case.command(&case.archive.mirror(), "store", &[]);
    command
        .env("CARGO", env!("CARGO"))
        .env("CARGO_NET_GIT_FETCH_WITH_CLI", "true")
        .env("CARGO_NET_RETRY", "1")
        .env("CARGO_TERM_COLOR", "always");
    let output = command.output().expect("assemble");
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{error}");
    let first = "`cargo fetch` failed in .: failed to get `forked` as a dependency of package `own";
    assert!(error.contains(first), "{error}");
    let complaint = format!("fatal: '{}' does not appear to be a git", gone.display());
    assert_eq!(error.matches(&complaint).count(), 1, "{error}");
    for noise in ["Updating", "spurious network error", "\u{1b}"] {
        assert!(!error.contains(noise), "{noise:?} in {error}");
    }
}

/// A workspace with unpacked copies (`cargo vendor`) still pins `.crate` files.
#[test]
fn crates_of_a_vendored_workspace_come_from_their_registry() {
    let test = "crates_of_a_vendored_workspace_come_from_their_registry";
    let Some(case) = Case::new(test) else {
        return;
    };
    fs::rename(case.cached_crate(), case.path().join("thing")).expect("moved");
    fs::create_dir(case.path().join(".cargo")).expect("a directory");
    let configuration = "[source.crates-io]\nreplace-with = \"vendored-sources\"\n\n\
                         [source.vendored-sources]\ndirectory = \"vendor\"\n";
    fs::write(case.path().join(".cargo/config.toml"), configuration).expect("written");
    // Cargo has nothing to download if its configuration has such copies.
    let cargo = case.path().join("stand-in");
    let script = format!(
        "#!/bin/sh\ncase \"$1\" in --config) grep -q vendor \"$2\" && exit 0 ;; esac\nmv {} {}\n",
        case.path().join("thing").display(),
        case.cached_crate().display()
    );
    fs::write(&cargo, script).expect("a program");
    fs::set_permissions(&cargo, fs::Permissions::from_mode(0o755)).expect("a mode");
    let mut command = case.command(&case.archive.mirror(), "store", &[]);
    let output = command.env("CARGO", cargo).output().expect("assemble");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{error}");
    assert!(case.stored().contains(&"thing-1.0.0+x.crate".to_owned()));
}

#[test]
fn the_store_has_the_bytes_that_the_archive_has() {
    let Some(case) = Case::new("the_store_has_the_bytes_that_the_archive_has") else {
        return;
    };
    case.report(&case.archive.mirror(), &[]);
    let store = case.path().join("store/nix/store");
    let entry = fs::read_dir(store).expect("a store").filter_map(Result::ok);
    let b = entry
        .map(|entry| entry.path())
        .find(|path| path.to_string_lossy().ends_with("-b_1_all.deb"));
    assert_eq!(
        fs::read_to_string(b.expect("the package")).expect("text"),
        "the package b 1 all\n"
    );
}

#[test]
fn sets_can_be_chosen() {
    let Some(case) = Case::new("sets_can_be_chosen") else {
        return;
    };
    let report = case.report(&case.archive.mirror(), &["--sets", "cross"]);
    assert_eq!(counts(&report, "packages"), (1, 0, 1));
    let output = case.fetch(&case.archive.mirror(), &["--sets", "cros"]);
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        error.contains("the lock has no set `cros`; it has base, cross"),
        "{error}"
    );
    let output = case.fetch(&case.archive.mirror(), &["--architectures", "riscv64"]);
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        error.contains("no set in the lock is for the architecture `riscv64`"),
        "{error}"
    );
}

#[test]
fn packages_that_the_mirror_lost_are_told() {
    let Some(case) = Case::new("packages_that_the_mirror_lost_are_told") else {
        return;
    };
    fs::remove_file(case.archive.root().join("pool/main/b/b_1_all.deb")).expect("removed");
    fs::write(
        case.archive.root().join("pool/main/c++/c++_1_arm64.deb"),
        "not it",
    )
    .expect("damaged");
    let output = case.fetch(&case.archive.mirror(), &[]);
    assert!(output.status.success());
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(error.contains("warning: b_1_all.deb: file:///"), "{error}");
    assert!(
        error.contains("warning: c++_1_arm64.deb: file:///"),
        "{error}"
    );
    assert!(
        error.contains(
            "note: 2 packages could not be downloaded. Builds get Debian's from the snapshot \
             archive of 20260712T101637Z"
        ),
        "{error}"
    );
    assert_eq!(
        case.stored(),
        ["a_1-2-rc1-3_amd64.deb", "thing-1.0.0+x.crate"]
    );
}

#[test]
fn a_damaged_crate_is_not_added() {
    let Some(case) = Case::new("a_damaged_crate_is_not_added") else {
        return;
    };
    fs::write(case.cached_crate(), "half").expect("damaged");
    let output = case.fetch(&case.archive.mirror(), &[]);
    assert!(!output.status.success());
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        error.contains("thing-1.0.0+x.crate is damaged: SHA-256"),
        "{error}"
    );
    assert!(error.contains("delete it and run this again"), "{error}");
    assert!(!case.stored().iter().any(|name| name.ends_with(".crate")));
}

#[test]
fn locks_that_cannot_be_read_are_told() {
    let Some(case) = Case::new("locks_that_cannot_be_read_are_told") else {
        return;
    };
    let lock = case.path().join("debian.lock");
    let text = fs::read_to_string(&lock).expect("a lock");
    fs::write(&lock, text.replace("\"size\"", "\"length\"")).expect("changed");
    let output = case.fetch(&case.archive.mirror(), &[]);
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        error.contains("debian.lock:21: unknown field `length`"),
        "{error}"
    );
    fs::remove_file(&lock).expect("removed");
    let output = case.fetch(&case.archive.mirror(), &[]);
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        error.contains("debian.lock") && error.contains("assemble init"),
        "{error}"
    );
}

/// The store has a file completely or not at all, and the next fetch gets the rest.
#[test]
fn a_killed_fetch_leaves_whole_files_and_is_made_up_for() {
    let test = "a_killed_fetch_leaves_whole_files_and_is_made_up_for";
    let Some(case) = Case::new(test) else {
        return;
    };
    let mirror = case.archive.mirror();
    let start = Instant::now();
    assert!(case.fetch(&mirror, &[]).status.success());
    let whole = start.elapsed();
    let all = case.stored();
    // apt's partial downloads go to a directory that is removed after the test.
    let temporary = case.path().join("tmp");
    fs::create_dir(&temporary).expect("a directory");
    let mut moments = Moments::new(test);
    let (mut within, mut round) = (0, 0);
    while moments.another(within) {
        // Five killed fetches in a row share one store.
        let store = format!("store{}", round / 5);
        round += 1;
        let mut child = case
            .command(&mirror, &store, &[])
            .env("TMPDIR", &temporary)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("assemble");
        std::thread::sleep(whole.mul_f64(moments.random.f64()));
        kill(child.id());
        let is_killed = !child.wait().expect("a child").success();
        let is_begun = case.path().join(&store).exists();
        within += usize::from(is_killed && is_begun && case.stored_in(&store) != all);
        case.check(&store);
        if round % 5 == 0 {
            let output = case.command(&mirror, &store, &[]).output();
            let output = output.expect("assemble");
            let error = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(output.status.success(), "{error}");
            assert_eq!(case.stored_in(&store), all);
            case.check(&store);
        }
    }
    moments.require(within, "a fetch that was under way");
}
