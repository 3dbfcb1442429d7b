//! Tests `assemble lock` on an archive of a few packages.

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Instant;

use archive::{Archive, NEEDED, Package, absent, skipped};

#[path = "../../debian/tests/common/mod.rs"]
mod archive;

const IMAGES: &str = r#"
version = 1

[debian]
suites = ["bookworm"]
architectures = ["amd64", "arm64"]

[debian.sets.toolchain]
packages = ["cc"]
architectures = ["amd64"]

[debian.sets.base]
packages = ["libc"]
omit = ["debconf"]

[images.tool]
binaries = ["tool"]
packages = ["tool"]
"#;

fn package(
    name: &'static str,
    architecture: &'static str,
    fields: &'static str,
) -> Package<'static> {
    Package {
        name,
        version: "1:2~rc1-3",
        architecture,
        fields,
    }
}

fn packages() -> Vec<Package<'static>> {
    let mut all = vec![
        package("cc", "amd64", "Depends: libc, libcc\n"),
        package("libcc", "amd64", ""),
        package("debconf", "all", ""),
    ];
    for architecture in ["amd64", "arm64"] {
        all.push(package(
            "libc",
            architecture,
            "Depends: debconf\nMulti-Arch: same\n",
        ));
        all.push(package(
            "tool",
            architecture,
            "Depends: libc, lib, debconf\n",
        ));
        all.push(package("lib", architecture, ""));
    }
    all
}

struct Case {
    archive: Archive,
    directory: tempfile::TempDir,
}

impl Case {
    fn new(test: &str) -> Option<Self> {
        if let Some(program) = absent(NEEDED) {
            skipped(test, &format!("there is no {program}"));
            return None;
        }
        let case = Case {
            archive: Archive::new(&packages()),
            directory: tempfile::tempdir().expect("a directory"),
        };
        case.describe(IMAGES);
        Some(case)
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    fn describe(&self, text: &str) {
        fs::write(self.path().join("images.toml"), text).expect("a description");
    }

    fn lock(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().expect("assemble")
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_assemble"));
        command.arg("lock").current_dir(self.path());
        command
            .arg("--mirror")
            .arg(format!("debian={}", self.archive.mirror()));
        command
            .arg("--keyring")
            .arg(self.archive.keyring())
            .args(arguments);
        command
    }

    fn text(&self) -> String {
        fs::read_to_string(self.path().join("debian.lock")).expect("a lock")
    }
}

fn error_of(output: &Output) -> String {
    assert!(!output.status.success(), "it should have failed");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn sets_are_resolved_and_pinned() {
    let Some(case) = Case::new("sets_are_resolved_and_pinned") else {
        return;
    };
    let output = case.lock(&[]);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(String::from_utf8_lossy(&output.stdout).ends_with("debian.lock written\n"));
    let lock = crateyard_debian::lock::Lock::parse(&case.text(), Path::new("debian.lock"))
        .expect("a lock");
    let keys = |set: &str, architecture: &str| -> Vec<&str> {
        let members = lock.set(set, architecture).expect("the set");
        members.into_iter().map(|(key, _)| key).collect()
    };
    assert_eq!(
        keys("toolchain", "amd64"),
        ["cc:amd64", "debconf:all", "libc:amd64", "libcc:amd64"]
    );
    assert!(lock.set("toolchain", "arm64").is_none());
    assert_eq!(keys("base", "arm64"), ["libc:arm64"]);
    assert_eq!(keys("images.tool", "arm64"), ["lib:arm64", "tool:arm64"]);
    assert_eq!(lock.snapshot, "20260712T101637Z");
    assert!(!case.text().contains("file:"), "the lock names a mirror");
}

#[test]
fn another_workspace_can_be_named() {
    let Some(case) = Case::new("another_workspace_can_be_named") else {
        return;
    };
    let elsewhere = tempfile::tempdir().expect("a directory");
    let mut command = case.command(&["--workspace"]);
    command.arg(case.path()).current_dir(elsewhere.path());
    let output = command.output().expect("assemble");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(case.text().contains("cc:amd64"));
    assert_eq!(fs::read_dir(elsewhere.path()).expect("a list").count(), 0);
}

#[test]
fn the_same_archive_gives_the_same_lock() {
    let Some(case) = Case::new("the_same_archive_gives_the_same_lock") else {
        return;
    };
    case.lock(&[]);
    let first = case.text();
    let mut reversed = packages();
    reversed.reverse();
    case.archive.publish(&reversed);
    let output = case.lock(&[]);
    assert!(String::from_utf8_lossy(&output.stdout).ends_with("debian.lock is up to date\n"));
    assert_eq!(case.text(), first);
    assert!(case.lock(&["--check"]).status.success());
}

#[test]
fn a_check_writes_nothing() {
    let Some(case) = Case::new("a_check_writes_nothing") else {
        return;
    };
    let error = error_of(&case.lock(&["--check"]));
    assert!(
        error.contains("debian.lock is not what images.toml resolves to today (there is none)"),
        "{error}"
    );
    assert!(!case.path().join("debian.lock").exists());
    case.lock(&[]);
    let before = case.text();
    case.describe(&IMAGES.replace("packages = [\"tool\"]", "packages = [\"lib\"]"));
    let error = error_of(&case.lock(&["--check"]));
    assert!(error.contains("(first difference in line "), "{error}");
    assert_eq!(case.text(), before);
}

#[test]
fn what_cannot_be_resolved_is_told_and_the_lock_kept() {
    let Some(case) = Case::new("what_cannot_be_resolved_is_told_and_the_lock_kept") else {
        return;
    };
    case.lock(&[]);
    let before = case.text();
    case.describe(&IMAGES.replace("packages = [\"tool\"]", "packages = [\"tool (>= 2:0)\"]"));
    let error = error_of(&case.lock(&[]));
    assert!(
        error.contains(
            "set images.tool (amd64): tool (>= 2:0): no package fits `tool (>= 2:0)` for amd64; \
             there is 1:2~rc1-3 (amd64, bookworm), 1:2~rc1-3 (arm64, bookworm)"
        ),
        "{error}"
    );
    assert_eq!(case.text(), before);
}

/// Packages for a crate that does not exist would be resolved in vain.
#[test]
fn a_crate_that_is_not_locked_is_refused() {
    let Some(case) = Case::new("a_crate_that_is_not_locked_is_refused") else {
        return;
    };
    let lock = "version = 4\n\n[[package]]\nname = \"libseccomp-sys\"\nversion = \"0.3.0\"\n";
    fs::write(case.path().join("Cargo.lock"), lock).expect("a lock");
    case.describe(&format!(
        "{IMAGES}\n[crates.seccomp-sys]\npackages = [\"lib\"]\n"
    ));
    let error = error_of(&case.lock(&[]));
    for text in [
        "no crate `seccomp-sys` is built here",
        "images.toml:20:9",
        "did you mean `libseccomp-sys`?",
    ] {
        assert!(error.contains(text), "no {text:?} in {error}");
    }
    assert!(!case.path().join("debian.lock").exists());
    case.describe(&format!(
        "{IMAGES}\n[crates.libseccomp-sys]\npackages = [\"lib\"]\n"
    ));
    assert!(case.lock(&[]).status.success());
    assert!(case.text().contains("crates.libseccomp-sys"));
}

#[test]
fn a_mirror_must_be_an_archive_and_an_address() {
    let Some(case) = Case::new("a_mirror_must_be_an_archive_and_an_address") else {
        return;
    };
    let error = error_of(&case.lock(&["--mirror", "http://mirror.example/debian"]));
    assert!(error.contains("expected ARCHIVE=URL"), "{error}");
}

/// Suites become lines in apt's sources.
#[test]
fn a_suite_adds_no_line_to_the_sources_of_apt() {
    let Some(case) = Case::new("a_suite_adds_no_line_to_the_sources_of_apt") else {
        return;
    };
    let hostile =
        "bookworm\\nTrusted: yes\\n\\nTypes: deb\\nURIs: http://127.0.0.1:9/other\\nSuites: x";
    case.describe(&IMAGES.replace("\"bookworm\"", &format!("\"{hostile}\"")));
    let error = error_of(&case.lock(&[]));
    assert!(error.contains("is not the name of a suite"), "{error}");
    assert!(
        !error.contains("127.0.0.1:9/other:"),
        "apt was asked: {error}"
    );
    assert!(!case.path().join("debian.lock").exists());
}

#[test]
fn a_killed_lock_leaves_the_old_file_or_the_new_one() {
    let test = "a_killed_lock_leaves_the_old_file_or_the_new_one";
    let Some(case) = Case::new(test) else {
        return;
    };
    assert!(case.lock(&[]).status.success());
    let old = case.text();
    case.describe(&IMAGES.replace("omit = [\"debconf\"]\n", ""));
    let start = Instant::now();
    assert!(case.lock(&[]).status.success());
    let whole = start.elapsed();
    let new = case.text();
    assert_ne!(old, new);
    // Killed processes leave apt's directories to the test, which removes them.
    let temporary = case.path().join("tmp");
    fs::create_dir(&temporary).expect("a directory");
    let mut moments = crateyard_testing::moments::Moments::new(test);
    let mut hits = 0;
    while moments.another(hits) {
        fs::write(case.path().join("debian.lock"), &old).expect("a lock");
        let part = moments.random.f64() * 1.1;
        let mut child = case
            .command(&[])
            .env("TMPDIR", &temporary)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("assemble");
        std::thread::sleep(whole.mul_f64(part));
        crateyard_testing::moments::kill(child.id());
        let status = child.wait().expect("a child");
        hits += usize::from(!status.success());
        let text = case.text();
        assert!(
            text == old || text == new,
            "after {part} of {whole:?}: {text}"
        );
    }
    moments.require(hits, "a lock that was being made");
    assert!(case.lock(&[]).status.success());
    assert_eq!(case.text(), new);
}
