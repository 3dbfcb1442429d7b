//! Tests `[debian.sources]` on a vendor's archive, which a web server serves.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use archive::{Archive, NEEDED, Package, absent, skipped};
use crateyard_debian::lock::Lock;
use crateyard_testing::scripted::{Answer, Scripted};

#[path = "../../debian/tests/common/mod.rs"]
mod archive;

const PACKAGE: Package<'static> = Package {
    name: "libc",
    version: "1",
    architecture: "amd64",
    fields: "",
};

/// Returns Debian's archive.
fn debians() -> [Package<'static>; 2] {
    [
        PACKAGE,
        Package {
            name: "proxy",
            ..PACKAGE
        },
    ]
}

/// Returns the vendor's archive: a newer `proxy`, and `agent`, which needs it.
fn vendors() -> [Package<'static>; 3] {
    [
        Package {
            name: "proxy",
            version: "2~rc1",
            fields: "Depends: libc\n",
            ..PACKAGE
        },
        Package {
            name: "agent",
            version: "7",
            fields: "Depends: proxy\n",
            ..PACKAGE
        },
        Package {
            name: "agent-data",
            version: "7",
            architecture: "all",
            fields: "",
        },
    ]
}

struct Case {
    debian: Archive,
    vendor: Archive,
    server: Scripted,
    directory: tempfile::TempDir,
}

impl Case {
    fn new(test: &str) -> Option<Case> {
        if let Some(program) = absent(NEEDED) {
            skipped(test, &format!("there is no {program}"));
            return None;
        }
        let vendor = Archive::new(&vendors());
        let case = Case {
            debian: Archive::new(&debians()),
            server: serve(vendor.root()),
            vendor,
            directory: tempfile::tempdir().expect("a directory"),
        };
        fs::copy(case.vendor.armoured_key(), case.path().join("vendor.asc")).expect("a key");
        // The machine's own configuration may accept expired files, or ask a proxy.
        let configuration = "Dir::Etc::main \"/nonexistent\";\nDir::Etc::parts \"/nonexistent\";\n\
                             Acquire::http::Proxy::127.0.0.1 \"DIRECT\";\n";
        fs::write(case.path().join("apt.conf"), configuration).expect("a configuration");
        case.describe("key = \"vendor.asc\"", "\"agent\"");
        Some(case)
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    fn url(&self) -> String {
        format!("http://{}/debian", self.server.address)
    }

    fn describe(&self, fields: &str, packages: &str) {
        let suite = match fields.contains("suite") {
            true => "",
            false => "suite = \"bookworm\"\n",
        };
        let text = format!(
            "version = 1\n[debian]\narchitectures = [\"amd64\"]\n\
             [debian.sources.vendor]\nurl = \"{}/\"\n{suite}{fields}\n\
             [debian.sets.toolchain]\npackages = [\"libc\"]\n\
             [debian.sets.base]\npackages = [\"libc\"]\n\
             [images.tool]\nbinaries = [\"tool\"]\npackages = [{packages}]\n",
            self.url()
        );
        fs::write(self.path().join("images.toml"), text).expect("a description");
    }

    fn assemble(&self, command: &str, arguments: &[&str]) -> Output {
        let mut program = Command::new(env!("CARGO_BIN_EXE_assemble"));
        program.arg(command).current_dir(self.path());
        let mirror = format!("debian={}", self.debian.mirror());
        program.args(["--mirror", &mirror]).args(arguments);
        program.env("APT_CONFIG", self.path().join("apt.conf"));
        program.output().expect("assemble")
    }

    fn lock(&self) -> Result<Lock, String> {
        self.lock_with(&[])
    }

    fn lock_with(&self, arguments: &[&str]) -> Result<Lock, String> {
        let keyring = self.debian.keyring();
        let keyring = keyring.to_str().expect("a path");
        let arguments: Vec<&str> = ["--keyring", keyring]
            .into_iter()
            .chain(arguments.iter().copied())
            .collect();
        let output = self.assemble("lock", &arguments);
        match output.status.success() {
            true => Ok(Lock::load(&self.lock_file()).expect("a lock")),
            false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
        }
    }

    fn lock_file(&self) -> PathBuf {
        self.path().join("debian.lock")
    }

    /// Fails unless the lock is refused for this reason, and stays as it was.
    fn assert_refused(&self, expected: &str) {
        let before = fs::read(self.lock_file()).ok();
        let error = self.lock().expect_err(expected);
        assert!(error.contains("[debian.sources.vendor]"), "{error}");
        assert!(error.contains(expected), "{error}");
        assert_eq!(fs::read(self.lock_file()).ok(), before);
    }
}

/// Starts a web server for the files below a directory, under `/debian`.
fn serve(root: PathBuf) -> Scripted {
    Scripted::start(move |seen| {
        let path = seen.path.replace("%7e", "~").replace("%7E", "~");
        let below = path.strip_prefix("/debian/").unwrap_or("none");
        match fs::read(root.join(below)) {
            Ok(content) => Answer::new(200).body(content),
            Err(_) => Answer::new(404),
        }
    })
}

/// Returns the packages of the image, each as `KEY VERSION ARCHIVE`.
fn pinned(lock: &Lock) -> Vec<String> {
    let members = lock.set("images.tool", "amd64").expect("the set");
    let line = |(key, it): (&str, &crateyard_debian::lock::Package)| {
        format!("{key} {} {}", it.version, it.archive)
    };
    members.into_iter().map(line).collect()
}

#[test]
fn packages_of_a_vendor_are_pinned_beside_debians() {
    let Some(case) = Case::new("packages_of_a_vendor_are_pinned_beside_debians") else {
        return;
    };
    let lock = case.lock().expect("a lock");
    // Debian's `proxy` takes precedence.
    assert_eq!(
        pinned(&lock),
        ["agent:amd64 7 vendor", "proxy:amd64 1 debian"]
    );
    assert_eq!(lock.suites[1].url, Some(case.url()));
    // The vendor's index is as old as Debian's, and would not count anyway.
    assert_eq!(lock.snapshot, "20260712T101637Z");
    case.describe(
        "key = \"vendor.asc\"",
        "\"agent\", \"proxy@vendor (>= 2~)\"",
    );
    let lock = case.lock().expect("a lock");
    assert_eq!(
        pinned(&lock),
        ["agent:amd64 7 vendor", "proxy:amd64 2~rc1 vendor"]
    );
    // A mirror replaces the address, and the lock keeps the vendor's.
    let mirror = format!("vendor={}", case.vendor.mirror());
    let before = case.server.seen().len();
    assert_eq!(case.lock_with(&["--mirror", &mirror]), Ok(lock));
    assert_eq!(case.server.seen().len(), before);
}

#[test]
fn only_the_sources_own_key_counts() {
    let Some(case) = Case::new("only_the_sources_own_key_counts") else {
        return;
    };
    // Debian's key signs nothing for the vendor, and the vendor's nothing for Debian.
    fs::copy(case.debian.armoured_key(), case.path().join("debian.asc")).expect("a key");
    case.describe("key = \"debian.asc\"", "\"agent\"");
    case.assert_refused("NO_PUBKEY");
    case.describe("key = \"vendor.asc\"", "\"agent\"");
    let keyring = case.vendor.keyring();
    let keyring = keyring.to_str().expect("a path");
    let error = case.assemble("lock", &["--keyring", keyring]);
    assert!(String::from_utf8_lossy(&error.stderr).contains("NO_PUBKEY"));
    // A binary key works as well as an armoured one.
    fs::copy(case.vendor.keyring(), case.path().join("vendor.gpg")).expect("a key");
    case.describe("key = \"vendor.gpg\"", "\"agent\"");
    case.lock().expect("a lock");
    fs::write(case.path().join("vendor.gpg"), "<html>gone</html>").expect("changed");
    case.assert_refused("holds no public key");
    std::os::unix::fs::symlink("/etc/passwd", case.path().join("link")).expect("a link");
    case.describe("key = \"link\"", "\"agent\"");
    case.assert_refused("link is a link to /etc/passwd, which lies outside");
    case.describe("key = \"nowhere.asc\"", "\"agent\"");
    case.assert_refused("there is no file");
}

#[test]
fn a_fingerprint_names_the_key() {
    let Some(case) = Case::new("a_fingerprint_names_the_key") else {
        return;
    };
    let fields = |fingerprint: &str| format!("key = \"both.asc\"\nfingerprint = \"{fingerprint}\"");
    let keys = [case.debian.armoured_key(), case.vendor.armoured_key()];
    let both = keys
        .map(|key| fs::read_to_string(key).expect("a key"))
        .concat();
    fs::write(case.path().join("both.asc"), both).expect("keys");
    case.describe(&fields(&case.vendor.fingerprint()), "\"agent\"");
    case.lock().expect("a lock");
    case.describe(&fields(&case.debian.fingerprint()), "\"agent\"");
    case.assert_refused(&format!(
        "no valid signature by the key {} of ./both.asc",
        case.debian.fingerprint()
    ));
    // Without a file, the machine's keyrings are searched, and none has the vendor's key.
    let only = format!("fingerprint = \"{}\"", case.vendor.fingerprint());
    case.describe(&only, "\"agent\"");
    case.assert_refused("");
}

#[test]
fn expired_and_changed_indexes_are_refused() {
    let Some(mut case) = Case::new("expired_and_changed_indexes_are_refused") else {
        return;
    };
    case.lock().expect("a lock");
    let index = case.vendor.dist("main/binary-amd64/Packages");
    let whole = fs::read_to_string(&index).expect("an index");
    fs::write(&index, whole.replace("Version: 7", "Version: 8")).expect("changed");
    case.assert_refused("Hash Sum mismatch");
    fs::write(&index, whole).expect("restored");
    case.vendor
        .sign_with("Valid-Until: Sat, 18 Jul 2026 10:16:37 UTC\n");
    case.assert_refused("expired");
    case.lock_with(&["--allow-stale"]).expect("a lock");
    case.vendor.sign_with("");
    let release = case.vendor.dist("InRelease");
    let text = fs::read_to_string(&release).expect("the release file");
    fs::write(&release, text.replace("Origin: Debian", "Origin: debian")).expect("changed");
    case.assert_refused("signature");
    fs::remove_file(&release).expect("removed");
    case.assert_refused("");
}

#[test]
fn fetch_verifies_the_vendors_files() {
    let Some(case) = Case::new("fetch_verifies_the_vendors_files") else {
        return;
    };
    if let Some(program) = absent(&["nix-store"]) {
        return skipped(
            "fetch_verifies_the_vendors_files",
            &format!("there is no {program}"),
        );
    }
    case.describe("key = \"vendor.asc\"", "\"proxy@vendor\"");
    let lock = case.lock().expect("a lock");
    let packages = "version = 4\n\n[[package]]\nname = \"a\"\nversion = \"0.1.0\"\n";
    fs::write(case.path().join("Cargo.lock"), packages).expect("a lock");
    let fetch = |store: &str| {
        let store = case.path().join(store);
        let store = store.to_str().expect("a path").to_owned();
        let output = case.assemble("fetch", &["--store", &store, "--sets", "images.tool"]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let file = fs::read_dir(Path::new(&store).join("nix/store")).ok();
        let names = file.into_iter().flatten().flatten();
        let names: Vec<String> = names
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .filter(|name| name.ends_with(".deb"))
            .collect();
        (output.status.success(), said, names)
    };
    // The lock alone says where the file is.
    fs::remove_file(case.path().join("images.toml")).expect("removed");
    let (_, said, names) = fetch("store");
    assert!(
        matches!(&names[..], [only] if only.ends_with("-proxy_2-rc1_amd64.deb")),
        "{names:?}: {said}"
    );
    let file = case.vendor.root().join(&lock.packages["proxy:amd64"].path);
    fs::write(&file, "another content").expect("changed");
    let (_, said, names) = fetch("another");
    assert!(names.is_empty(), "{names:?}");
    assert!(said.contains("proxy_2-rc1_amd64.deb"), "{said}");
    assert!(said.contains(&case.url()), "{said}");
}

#[test]
fn a_directory_is_an_archive_without_suites() {
    let Some(case) = Case::new("a_directory_is_an_archive_without_suites") else {
        return;
    };
    case.vendor.publish_directory(&vendors());
    for suite in ["./", "/"] {
        let fields = format!("key = \"vendor.asc\"\nsuite = \"{suite}\"");
        case.describe(&fields, "\"proxy@vendor\", \"agent-data\"");
        let lock = case.lock().expect("a lock");
        assert_eq!(
            pinned(&lock),
            ["agent-data:all 7 vendor", "proxy:amd64 2~rc1 vendor"]
        );
        assert_eq!(lock.suites[1].name, suite);
    }
}

#[test]
fn a_source_need_not_have_every_architecture() {
    let Some(case) = Case::new("a_source_need_not_have_every_architecture") else {
        return;
    };
    case.vendor.leave_out("arm64");
    let both = |more: &str| {
        case.describe(&format!("key = \"vendor.asc\"{more}"), "\"agent\"");
        let path = case.path().join("images.toml");
        let text = fs::read_to_string(&path).expect("a description");
        let text = text.replace(
            "[\"amd64\"]\n[debian.sources",
            "[\"amd64\", \"arm64\"]\n[debian.sources",
        );
        let text = text.replace(
            "[debian.sets.base]\npackages = [\"libc\"]",
            "[debian.sets.base]\npackages = [\"libc\"]\narchitectures = [\"amd64\"]",
        );
        let text = text.replace(
            "[debian.sets.toolchain]\n",
            "[debian.sets.toolchain]\narchitectures = [\"amd64\"]\n",
        );
        fs::write(path, text + "platforms = [\"linux/amd64\"]\n").expect("a description");
    };
    both("");
    case.lock().expect("a lock");
    both("\narchitectures = [\"amd64\"]");
    case.lock().expect("a lock");
    both("\narchitectures = [\"arm64\"]");
    case.lock().expect_err("arm64 is asked for by name");
}

#[test]
fn an_archive_that_does_not_answer_changes_nothing() {
    let Some(case) = Case::new("an_archive_that_does_not_answer_changes_nothing") else {
        return;
    };
    case.lock().expect("a lock");
    let text = fs::read_to_string(case.path().join("images.toml")).expect("a description");
    let address = crateyard_testing::free_address().to_string();
    let text = text.replace(&case.server.address.to_string(), &address);
    fs::write(case.path().join("images.toml"), text).expect("changed");
    case.assert_refused("Connection refused");
}
