//! Tests how advisories affect an image, judging by its documents.
#![allow(missing_docs)]

use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::symlink;
use std::path::Path;

use crateyard_attestation::{PROVENANCE, SBOM, provenance::Statement};
use crateyard_audit::database::Database;
use crateyard_audit::judge::{Data, Report, judge};
use crateyard_audit::policy::Policy;
use crateyard_audit::subject::Subject;
use crateyard_audit::tracker::Tracker;
use crateyard_audit::{Kind, Status, vex};
use crateyard_oci::Layout;
use flate2::{Compression, write::GzEncoder};
use serde_json::{Value, json};
use tempfile::TempDir;

const CRATES_IO: &str = "registry+https://github.com/rust-lang/crates.io-index";
const TODAY: &str = "2099-06-15";

/// Makes an image whose program is linked from `leaf` and `forked`, and built with the macro
/// `derive`.
fn subject(directory: &Path) -> Subject {
    let layer = directory.join("layer");
    let file = json!({"kind": "text", "to": "/usr/bin/app", "text": "x", "mode": "0755"});
    let spec = json!({"version": 1, "comment": "app", "sources": [file]});
    crateyard_image::layer::make(&serde_json::from_value(spec).unwrap(), &layer, 1).unwrap();
    let unit = |name: &str, version: &str, source: &str, kind: &str, more: Value| {
        let mut unit = json!({
            "package": name, "version": version, "source": source, "kind": kind,
            "forTarget": kind != "proc-macro", "checksum": "00",
        });
        unit.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        unit
    };
    let features = json!({"settings": ["feature=\"std\"", "feature=\"clock\""]});
    let git = "git+https://git.example/forked#0123456789012345678901234567890123456789";
    let spec = json!({
        "version": 1, "name": "app", "references": ["app:1"],
        "platform": {"os": "linux", "architecture": "arm64"}, "layers": [layer],
        "inputs": {
            "description": {"name": "app"},
            "build": {"profile": "release", "target": "aarch64-unknown-linux-gnu"},
            "units": {
                "app": unit("app", "0.1.0", "", "bin", json!({"uses": ["leaf", "forked", "own"]})),
                "own": unit("own", "0.1.0", "", "lib", json!({})),
                "leaf": unit("leaf", "1.4.2", CRATES_IO, "lib", features),
                "forked": unit("forked", "1.0.0", git, "lib", json!({})),
                "derive": unit("derive", "1.0.0", CRATES_IO, "proc-macro", json!({})),
            },
            "programs": [{
                "path": "/usr/bin/app", "package": "app", "bin": "app", "unit": "app",
                "units": ["app", "own", "leaf", "forked", "derive"],
            }],
        },
    });
    let out = directory.join("image");
    crateyard_image::layout::make(&serde_json::from_value(spec).unwrap(), &out).unwrap();
    let layout = Layout::open(&out).unwrap();
    let image = layout.image(None, None).unwrap();
    let config = layout
        .config(&layout.manifest(&image.descriptor).unwrap())
        .unwrap();
    let read = |name| {
        crateyard_attestation::read(&layout, &config.platform, name)
            .unwrap()
            .unwrap()
    };
    Subject::new(
        &image.descriptor.digest,
        &config.platform,
        &serde_json::from_slice(&read(SBOM)).unwrap(),
        Some(&Statement::parse(&read(PROVENANCE)).unwrap()),
    )
}

/// Makes a database with one advisory for each triple: identifier, crate, and the TOML after the
/// first table.
fn database(directory: &Path, advisories: &[(&str, &str, &str)]) -> Database {
    let root = directory.join("advisory-db");
    for (id, package, rest) in advisories {
        let place = root.join("crates").join(package);
        fs::create_dir_all(&place).unwrap();
        let text = format!(
            "```toml\n[advisory]\nid = \"{id}\"\npackage = \"{package}\"\ndate = \
             \"2099-01-31\"\n{rest}\n```\n\n# About {package}\n"
        );
        fs::write(place.join(format!("{id}.md")), text).unwrap();
    }
    Database::read(&root).unwrap()
}

struct Scene {
    directory: TempDir,
    subject: Subject,
}

impl Scene {
    fn new() -> Scene {
        let directory = tempfile::tempdir().unwrap();
        let subject = subject(directory.path());
        Scene { directory, subject }
    }

    fn judge(&self, advisories: &[(&str, &str, &str)], policy: &str) -> Report {
        let database = database(self.directory.path(), advisories);
        let policy = Policy::parse("audit.toml", &format!("version = 1\n{policy}")).unwrap();
        let locked = [("absent".to_owned(), "0.3.0".to_owned())];
        let data = Data {
            database: Some(&database),
            tracker: None,
            locked: &locked,
            policy: &policy,
            today: TODAY,
        };
        judge(&self.subject, &data)
    }

    /// Returns the status and the reason of the only finding.
    fn one(&self, advisory: (&str, &str, &str), policy: &str) -> (String, String) {
        let report = self.judge(&[advisory], policy);
        assert_eq!(report.findings.len(), 1, "{:?}", report.findings);
        let finding = &report.findings[0];
        (status(finding.status), finding.reason.clone())
    }
}

fn status(status: Status) -> String {
    let value = serde_json::to_value(status).unwrap();
    let mut text = value["status"].as_str().unwrap().to_owned();
    if let Some(justification) = value["justification"].as_str() {
        text = format!("{text} {justification}");
    }
    text
}

#[test]
fn versions_platform_and_origin_decide() {
    let scene = Scene::new();
    let versions = "[versions]\npatched = [\">= 1.5.0\"]";
    for (package, rest, expected, reason) in [
        ("leaf", versions, "affected", "linked into /usr/bin/app"),
        (
            "leaf",
            "[versions]\npatched = [\">= 1.4.2\"]",
            "fixed",
            "1.4.2 has the fix",
        ),
        (
            "leaf",
            "[versions]\npatched = []\nunaffected = [\"< 1.4.3\"]",
            "not_affected vulnerable_code_not_present",
            "1.4.2 never had the fault",
        ),
        (
            "leaf",
            "[affected]\nos = [\"windows\"]\n[versions]\npatched = []",
            "not_affected vulnerable_code_not_present",
            "only windows has the fault, and the image is for linux/arm64",
        ),
        (
            "leaf",
            "[affected]\narch = [\"x86\", \"x86_64\"]\n[versions]\npatched = []",
            "not_affected vulnerable_code_not_present",
            "only x86, x86_64 has the fault",
        ),
        (
            "leaf",
            "[affected]\narch = [\"aarch64\"]\n[versions]\npatched = []",
            "affected",
            "linked",
        ),
        (
            "forked",
            versions,
            "under_investigation",
            "it comes from git",
        ),
        (
            "forked",
            "[affected]\nos = [\"windows\"]\n[versions]\npatched = []",
            "not_affected vulnerable_code_not_present",
            "only windows has the fault",
        ),
        (
            "derive",
            versions,
            "not_affected component_not_present",
            "it only ran while the image was built",
        ),
        (
            "absent",
            versions,
            "not_affected component_not_present",
            "Cargo.lock has it",
        ),
    ] {
        let (found, why) = scene.one(("RUSTSEC-2099-0001", package, rest), "");
        assert_eq!(found, expected, "{package} {rest}: {why}");
        assert!(why.contains(reason), "{why}");
        fs::remove_dir_all(scene.directory.path().join("advisory-db")).unwrap();
    }
}

#[test]
fn a_crate_of_the_workspace_may_be_a_copy_of_the_one_on_crates_io() {
    let scene = Scene::new();
    let vulnerable = "[versions]\npatched = [\">=0.2\"]";
    let (found, why) = scene.one(("RUSTSEC-2099-0001", "own", vulnerable), "");
    assert_eq!(found, "under_investigation");
    assert!(why.contains("may be a copy"), "{why}");
}

#[test]
fn a_crate_of_the_workspace_is_passed_over_if_version_or_platform_has_no_fault() {
    let scene = Scene::new();
    let patched = "[versions]\npatched = [\">=0.1\"]";
    let windows = "[affected]\nos = [\"windows\"]\n[versions]\npatched = []";
    let report = scene.judge(
        &[
            ("RUSTSEC-2099-0001", "own", patched),
            ("RUSTSEC-2099-0002", "app", "[versions]\npatched = []"),
            ("RUSTSEC-2099-0003", "own", windows),
        ],
        "",
    );
    assert_eq!(report.findings, []);
}

#[test]
fn features_are_asked_for_each_time() {
    let scene = Scene::new();
    let advisory = (
        "RUSTSEC-2099-0001",
        "leaf",
        "aliases = [\"CVE-2099-1\"]\n[versions]\npatched = []",
    );
    let reach = |id: &str, features: &str| {
        format!("[[reach]]\nid = \"{id}\"\nfeatures = {features}\nreason = \"only its parser\"\n")
    };
    let (found, why) = scene.one(advisory, &reach("CVE-2099-1", "[\"std\", \"parsing\"]"));
    assert_eq!(found, "not_affected vulnerable_code_not_present");
    assert_eq!(
        why,
        "compiled without parsing and std, which the vulnerable code needs: only its parser"
    );
    let (found, why) = scene.one(
        advisory,
        &reach("RUSTSEC-2099-0001", "[\"std\", \"clock\"]"),
    );
    assert_eq!(
        (found.as_str(), why.as_str()),
        ("affected", "linked into /usr/bin/app with clock and std")
    );
    // Each of two entries is a way to reach the code.
    let two = reach("CVE-2099-1", "[\"parsing\"]") + &reach("CVE-2099-1", "[\"clock\"]");
    assert_eq!(scene.one(advisory, &two).0, "affected");
    // This entry is about another advisory.
    assert_eq!(
        scene
            .one(advisory, &reach("CVE-2099-10", "[\"parsing\"]"))
            .0,
        "affected"
    );
}

#[test]
fn what_is_ignored_is_told_and_ends() {
    let scene = Scene::new();
    let advisory = ("RUSTSEC-2099-0001", "leaf", "[versions]\npatched = []");
    let entry = |more: &str| {
        format!("[[ignore]]\nid = \"RUSTSEC-2099-0001\"\nreason = \"no input\"\n{more}")
    };
    let judged = |more: &str| scene.judge(&[advisory], &entry(more));
    let plain = judged("until = 2099-06-15");
    assert_eq!(plain.findings[0].ignored.as_deref(), Some("no input"));
    assert_eq!(plain.findings[0].status, Status::Affected);
    assert!(!plain.findings[0].is_open());
    let over = judged("until = 2099-06-14");
    assert!(over.findings[0].is_open());
    assert_eq!(over.over, BTreeSet::from([0]));
    for (more, is_open) in [
        ("images = [\"app\"]", false),
        ("images = [\"other\"]", true),
        ("package = \"leaf\"", false),
        ("package = \"lea\"", true),
    ] {
        assert_eq!(judged(more).findings[0].is_open(), is_open, "{more}");
    }
    let justified = judged("justification = \"vulnerable_code_not_in_execute_path\"");
    let document = vex::Document::new(&scene.subject, &justified.findings, "2099-06-15T00:00:00Z");
    let statement = &document.unwrap().statements[0];
    assert_eq!(statement["status"], "not_affected");
    assert_eq!(
        statement["justification"],
        "vulnerable_code_not_in_execute_path"
    );
    assert_eq!(statement["impact_statement"], "no input");
}

#[test]
fn vex_says_what_was_found_about_this_image_alone() {
    let scene = Scene::new();
    let report = scene.judge(
        &[
            (
                "RUSTSEC-2099-0001",
                "leaf",
                "[versions]\npatched = [\">= 1.5.0\", \"^1.4.9\"]",
            ),
            (
                "RUSTSEC-2099-0002",
                "leaf",
                "[versions]\npatched = [\">= 1.0.0\"]",
            ),
            ("RUSTSEC-2099-0003", "absent", "[versions]\npatched = []"),
            (
                "RUSTSEC-2099-0004",
                "leaf",
                "informational = \"unmaintained\"\n[versions]\npatched = []",
            ),
        ],
        "",
    );
    assert!(
        report
            .findings
            .iter()
            .any(|it| it.kind == Kind::Unmaintained)
    );
    let document =
        vex::Document::new(&scene.subject, &report.findings, "2099-06-15T00:00:00Z").unwrap();
    let said: Vec<(&str, &str)> = document
        .statements
        .iter()
        .map(|it| {
            (
                it["vulnerability"]["name"].as_str().unwrap(),
                it["status"].as_str().unwrap(),
            )
        })
        .collect();
    assert_eq!(
        said,
        [
            ("RUSTSEC-2099-0001", "affected"),
            ("RUSTSEC-2099-0003", "not_affected"),
            ("RUSTSEC-2099-0002", "fixed"),
        ]
    );
    let first = &document.statements[0];
    assert_eq!(
        first["action_statement"],
        "Update leaf to >=1.5.0 or ^1.4.9."
    );
    assert_eq!(
        first["products"][0]["subcomponents"][0]["@id"],
        "pkg:cargo/leaf@1.4.2"
    );
    assert!(document.is_about(scene.subject.digest.as_ref().unwrap()));
    assert!(!document.is_about(&crateyard_oci::Digest::of(b"another")));
    assert_eq!(vex::Document::new(&scene.subject, &[], ""), None);
}

#[test]
fn debian_says_what_its_release_lacks() {
    let mut scene = Scene::new();
    let package = |name: &str, version: &str, release: Option<&str>| {
        crateyard_audit::subject::AuditedPackage {
            name: name.to_owned(),
            version: version.to_owned(),
            purl: format!("pkg:deb/debian/{name}@{version}"),
            source: "glibc".to_owned(),
            source_version: version.to_owned(),
            release: release.map(str::to_owned),
        }
    };
    scene.subject.packages = vec![
        package("libc6", "2.36-9+deb12u4", Some("12")),
        package("libc-bin", "2.36-9+deb12u9", Some("12")),
        package("libc-odd", "2.36-9", None),
    ];
    let issue = |release: Value| {
        json!({"description": "A fault\nof many lines",
            "releases": {"bookworm": release, "trixie": {"status": "open", "urgency": "high"}}})
    };
    let data = json!({
        "glibc": {
            "CVE-2099-1": issue(json!({"status": "resolved", "fixed_version": "2.36-9+deb12u7",
                "urgency": "high", "repositories": {"bookworm": "2.36-9+deb12u13"}})),
            "CVE-2099-2": issue(json!({"status": "resolved", "fixed_version": "0", "urgency": "not \
                yet assigned"})),
            "CVE-2099-3": issue(json!({"status": "open", "urgency": "unimportant", "nodsa": "Minor \
                issue", "nodsa_reason": ""})),
            "CVE-2099-4": issue(json!({"status": "undetermined", "urgency": "low"})),
            "CVE-2099-5": {"releases": {"trixie": {"status": "open", "urgency": "low"}}},
        },
        "other": {"CVE-2099-9": {"of": "another form"}},
    });
    let path = scene.directory.path().join("data.json");
    fs::write(&path, data.to_string()).unwrap();
    let tracker = Tracker::read(&path, &BTreeSet::from(["glibc".to_owned()])).unwrap();
    let policy = Policy::default();
    let data = Data {
        database: None,
        tracker: Some(&tracker),
        locked: &[],
        policy: &policy,
        today: TODAY,
    };
    let report = judge(&scene.subject, &data);
    let found: Vec<String> = report
        .findings
        .iter()
        .map(|it| {
            format!(
                "{} {} {} {:?}",
                status(it.status),
                it.id,
                it.component.name,
                it.kind
            )
        })
        .collect();
    assert_eq!(
        found,
        [
            "affected CVE-2099-1 libc6 Vulnerability",
            "affected CVE-2099-3 libc-bin Unimportant",
            "affected CVE-2099-3 libc6 Unimportant",
            "under_investigation CVE-2099-4 libc-bin Vulnerability",
            "under_investigation CVE-2099-4 libc6 Vulnerability",
        ]
    );
    assert_eq!(
        report.findings[0].reason,
        "source package glibc 2.36-9+deb12u4; bookworm has the fix in 2.36-9+deb12u7"
    );
    assert_eq!(report.findings[0].fixed_in, ["2.36-9+deb12u7"]);
    assert!(
        report.findings[1]
            .reason
            .ends_with("bookworm has no fix (Minor issue)")
    );
    assert_eq!(report.without_release, ["libc-odd"]);
    // Wrong, truncated or empty data does not count as safe.
    for odd in ["[]", "{}", "{\"a\": {", "{\"glibc\": {\"CVE-1\": 3}}"] {
        fs::write(&path, odd).unwrap();
        let error = Tracker::read(&path, &BTreeSet::from(["glibc".to_owned()])).unwrap_err();
        assert!(
            error.to_string().contains("Debian's security tracker"),
            "{error}"
        );
    }
}

#[test]
fn a_database_is_a_checkout_or_an_archive_of_one() {
    let directory = tempfile::tempdir().unwrap();
    let advisories = [
        ("RUSTSEC-2099-0001", "leaf", "[versions]\npatched = []"),
        (
            "RUSTSEC-2099-0002",
            "leaf",
            "withdrawn = \"2099-02-01\"\n[versions]\npatched = []",
        ),
    ];
    let read = database(directory.path(), &advisories);
    assert_eq!(read.about_crate("leaf").count(), 1);
    let root = directory.path().join("advisory-db");
    fs::create_dir_all(root.join("rust/std")).unwrap();
    let text = "```toml\n[advisory]\nid = \"CVE-2099-7\"\npackage = \"std\"\ndate = \
                \"2099-03-01\"\n[versions]\npatched = [\">= 9\"]\n```\n# S\n";
    fs::write(root.join("rust/std/CVE-2099-7.md"), text).unwrap();
    fs::write(root.join("crates/leaf/notes.txt"), "no advisory").unwrap();
    fs::write(root.join("README.md"), "no advisory").unwrap();
    let archive = directory.path().join("main.tar.gz");
    let status = std::process::Command::new("tar")
        .arg("-czf")
        .arg(&archive)
        .arg("-C")
        .arg(directory.path())
        .arg("advisory-db")
        .status();
    assert!(status.unwrap().success());
    for path in [&root, &archive] {
        let read = Database::read(path).unwrap();
        assert_eq!(read.all().count(), 2, "{}", path.display());
        assert_eq!(read.about_std().count(), 1);
        assert_eq!(read.newest(), Some("2099-03-01"));
    }
    // A truncated archive must not pass for a smaller database.
    let bytes = fs::read(&archive).unwrap();
    fs::write(&archive, &bytes[..bytes.len() / 2]).unwrap();
    assert!(Database::read(&archive).is_err());
    // Skipping an unreadable advisory would miss it.
    fs::write(root.join("crates/leaf/RUSTSEC-2099-0003.md"), "# nothing").unwrap();
    let error = Database::read(&root).unwrap_err().to_string();
    assert!(
        error.contains("RUSTSEC-2099-0003.md:1: an advisory begins with"),
        "{error}"
    );
    let empty = tempfile::tempdir().unwrap();
    let error = Database::read(empty.path()).unwrap_err().to_string();
    assert!(error.contains("it has no advisories"), "{error}");
}

/// Packs `advisory-db` of a directory, with tar's options before its name.
fn pack(directory: &Path, options: &[&str]) -> Vec<u8> {
    let output = std::process::Command::new("tar")
        .args(["-c", "--sort=name", "-C"])
        .arg(directory)
        .args(options)
        .arg("advisory-db")
        .output()
        .unwrap();
    assert!(output.status.success());
    output.stdout
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Makes a copy with an advisory about each of two crates, and returns what reads an archive.
fn two_crates(directory: &Path) -> impl Fn(&[u8]) -> Result<usize, String> {
    let versions = "[versions]\npatched = []";
    let advisories = [
        ("RUSTSEC-2099-0001", "aaa", versions),
        ("RUSTSEC-2099-0002", "leaf", versions),
    ];
    database(directory, &advisories);
    let archive = directory.join("main.tar.gz");
    move |bytes| {
        fs::write(&archive, bytes).unwrap();
        let read = Database::read(&archive).map_err(|error| error.to_string())?;
        Ok(read.all().count())
    }
}

#[test]
fn all_parts_of_an_archive_are_read() {
    let directory = tempfile::tempdir().unwrap();
    let count = two_crates(directory.path());
    let tar = pack(directory.path(), &[]);
    let needle = b"advisory-db/crates/leaf/\0";
    let middle = tar.windows(needle.len()).position(|it| it == needle);
    let (first, second) = tar.split_at(middle.unwrap());
    assert_eq!(count(&[gzip(first), gzip(second)].concat()), Ok(2));

    let error = count(&gzip(first)).unwrap_err();
    assert!(error.contains("a part may be missing"), "{error}");
    let error = count(&gzip(&[&tar[..], second].concat())).unwrap_err();
    assert!(error.contains("it goes on after the mark"), "{error}");
    let mut damaged = gzip(&tar);
    let checksum = damaged.len() - 8;
    damaged[checksum] ^= 1;
    count(&damaged).unwrap_err();
}

#[test]
fn an_advisory_that_is_no_plain_file_ends_the_audit() {
    let directory = tempfile::tempdir().unwrap();
    let count = two_crates(directory.path());
    let root = directory.path().join("advisory-db");
    let file = root.join("crates/leaf/RUSTSEC-2099-0002.md");

    fs::hard_link(&file, root.join("another-name")).unwrap();
    let error = count(&gzip(&pack(directory.path(), &[]))).unwrap_err();
    assert!(error.contains("it is not a plain file"), "{error}");

    fs::rename(&file, root.join("text")).unwrap();
    symlink("../../text", &file).unwrap();
    assert_eq!(Database::read(&root).unwrap().all().count(), 2);
    count(&gzip(&pack(directory.path(), &[]))).unwrap_err();
    fs::remove_file(root.join("text")).unwrap();
    Database::read(&root).unwrap_err();

    fs::rename(root.join("crates/leaf"), root.join("elsewhere")).unwrap();
    symlink("../elsewhere", root.join("crates/leaf")).unwrap();
    let error = count(&gzip(&pack(directory.path(), &[]))).unwrap_err();
    assert!(
        error.contains("crates/leaf: it is not a plain file"),
        "{error}"
    );
}
