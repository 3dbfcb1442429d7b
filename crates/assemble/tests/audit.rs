//! Tests `assemble audit` on layouts and in a registry, with advisories in their published forms.
#![allow(missing_docs)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU16, Ordering};

use crateyard_testing::scripted::{Answer, PIECE, Scripted};
use crateyard_testing::{Registry, need};
use serde_json::{Value, json};

const CRATES_IO: &str = "registry+https://github.com/rust-lang/crates.io-index";
/// 2099-06-15, the day of all audits here.
const EPOCH: &str = "4085164800";

struct Place {
    directory: tempfile::TempDir,
}

impl Place {
    fn new() -> Place {
        let place = Place {
            directory: tempfile::tempdir().unwrap(),
        };
        place.advisory(
            "leaf",
            "RUSTSEC-2099-0001",
            "[versions]\npatched = [\">= 1.5.0\"]",
        );
        place.advisory(
            "leaf",
            "RUSTSEC-2099-0002",
            "informational = \"unmaintained\"\n[versions]\npatched = []",
        );
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn advisory(&self, package: &str, id: &str, rest: &str) {
        let file = self.path(&format!("db/crates/{package}/{id}.md"));
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        let text = format!(
            "```toml\n[advisory]\nid = \"{id}\"\npackage = \"{package}\"\ndate = \
             \"2099-01-31\"\n{rest}\n```\n\n# About {package}\n"
        );
        fs::write(file, text).unwrap();
    }

    /// Returns the archive of the advisories, in its published form.
    fn archive(&self) -> Vec<u8> {
        let file = self.path("db.tar.gz");
        let status = Command::new("tar")
            .arg("-czf")
            .arg(&file)
            .arg("-C")
            .arg(self.directory.path())
            .arg("db")
            .status();
        assert!(status.unwrap().success());
        fs::read(file).unwrap()
    }

    /// Makes an image whose program is linked from version 1.4.2 of the crate `leaf`.
    fn image(&self, name: &str) -> String {
        self.image_at(name, name)
    }

    /// Makes an image like [`Place::image`] in a directory.
    fn image_at(&self, directory: &str, name: &str) -> String {
        let layer = self.path(&format!("{directory}.layer"));
        let file = json!({"kind": "text", "to": "/usr/bin/app", "text": directory, "mode": "0755"});
        let spec = json!({"version": 1, "comment": "app", "sources": [file]});
        crateyard_image::layer::make(&serde_json::from_value(spec).unwrap(), &layer, 1).unwrap();
        let leaf = json!({
            "package": "leaf", "version": "1.4.2", "kind": "lib", "forTarget": true,
            "source": CRATES_IO, "checksum": "00", "settings": ["feature=\"std\""],
        });
        let own = json!({
            "package": "app", "version": "0.1.0", "kind": "bin", "forTarget": true,
            "uses": ["leaf"],
            "repository": "https://github.com/example/app",
        });
        let spec = json!({
            "version": 1, "name": name, "references": ["app:1"],
            "platform": {"os": "linux", "architecture": "amd64"}, "layers": [layer],
            "inputs": {
                "description": {"name": name},
                "build": {"profile": "release", "target": "x86_64-unknown-linux-gnu"},
                "units": {"leaf": leaf, "app": own},
                "programs": [{"path": "/usr/bin/app", "package": "app", "bin": "app", "unit": "app",
                    "units": ["leaf", "app"]}],
            },
        });
        let out = self.path(directory);
        crateyard_image::layout::make(&serde_json::from_value(spec).unwrap(), &out).unwrap();
        out.to_str().unwrap().to_owned()
    }

    /// Runs the program. Returns its exit code, standard output and messages.
    fn run(&self, arguments: &[&str]) -> (i32, String, String) {
        let output = Command::new(env!("CARGO_BIN_EXE_assemble"))
            .args(arguments)
            .current_dir(self.directory.path())
            .env("HOME", self.directory.path())
            .env("SOURCE_DATE_EPOCH", EPOCH)
            .env("COSIGN_PASSWORD", "secret")
            .env_remove("XDG_CACHE_HOME")
            .env_remove("DOCKER_CONFIG")
            .output()
            .unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (
            output.status.code().unwrap_or(-1),
            text(output.stdout),
            text(output.stderr),
        )
    }

    fn audit(&self, image: &str, more: &[&str]) -> (i32, String, String) {
        let fixed = ["audit", image, "--advisories", "db"];
        self.run(&[&fixed[..], more].concat())
    }
}

fn json_in(directory: &Path) -> Value {
    let mut files = fs::read_dir(directory).unwrap();
    let file = files.next().unwrap().unwrap().path();
    serde_json::from_slice(&fs::read(file).unwrap()).unwrap()
}

#[test]
fn what_is_linked_is_shown_and_ends_with_1() {
    let place = Place::new();
    let image = place.image("app");
    let (code, said, _) = place.audit(&image, &[]);
    assert_eq!(code, 1, "{said}");
    for part in [
        "  affected  RUSTSEC-2099-0001  no severity  leaf 1.4.2\n      About leaf\n      linked \
         into /usr/bin/app\n      fixed in >=1.5.0\n",
        "  unmaintained  RUSTSEC-2099-0002",
        "  1 affected, 1 unmaintained\n",
        "2 advisories of RustSec, the newest from 2099-01-31\n",
    ] {
        assert!(said.contains(part), "{part:?} in {said}");
    }
    let (code, said, _) = place.audit(&image, &["--json"]);
    let said: Value = serde_json::from_str(&said).unwrap();
    assert_eq!((code, &said["failed"]), (1, &json!(true)));
    let first = &said["images"][0]["findings"][0];
    assert_eq!(first["status"], "affected");
    assert_eq!(first["component"]["purl"], "pkg:cargo/leaf@1.4.2");
    assert_eq!(first["component"]["programs"], json!(["/usr/bin/app"]));

    // With the fix nothing fails, unless unmaintained crates are denied.
    place.advisory(
        "leaf",
        "RUSTSEC-2099-0001",
        "[versions]\npatched = [\">= 1.4.0\"]",
    );
    assert_eq!(place.audit(&image, &[]).0, 0);
    let (code, said, _) = place.audit(&image, &["--all"]);
    assert!(
        code == 0 && said.contains("fixed  RUSTSEC-2099-0001  leaf 1.4.2  1.4.2 has the fix"),
        "{said}"
    );
    assert_eq!(place.audit(&image, &["--deny", "unmaintained"]).0, 1);
    assert_eq!(
        place
            .audit(&image, &["--deny", "unmaintained", "--only-fixed"])
            .0,
        0
    );
}

#[test]
fn the_policy_is_obeyed_and_its_errors_are_told() {
    let place = Place::new();
    let image = place.image("app");
    let write =
        |text: &str| fs::write(place.path("audit.toml"), format!("version = 1\n{text}")).unwrap();
    let ignore = "[[ignore]]\nid = \"RUSTSEC-2099-0001\"\nreason = \"never parses\"\n";
    write(&format!("{ignore}until = 2099-06-15\n"));
    let (code, said, _) = place.audit(&image, &["--all"]);
    assert!(
        code == 0 && said.contains("ignored  RUSTSEC-2099-0001  leaf 1.4.2  never parses"),
        "{said}"
    );
    write(&format!("{ignore}until = 2099-06-14\n"));
    let (code, _, noted) = place.audit(&image, &[]);
    assert!(
        code == 1 && noted.contains("RUSTSEC-2099-0001 was ignored until 2099-06-14: never parses"),
        "{noted}"
    );
    write(&ignore.replace("0001", "0009"));
    let (code, _, noted) = place.audit(&image, &[]);
    assert!(
        code == 1 && noted.contains("the entry for RUSTSEC-2099-0009 has no effect"),
        "{noted}"
    );
    for (features, expected) in [("[\"parsing\"]", 0), ("[\"std\"]", 1)] {
        write(&format!(
            "[[reach]]\nid = \"RUSTSEC-2099-0001\"\nreason = \"r\"\nfeatures = {features}\n"
        ));
        assert_eq!(place.audit(&image, &[]).0, expected, "{features}");
    }
    write("[[ignore]]\nid = \"RUSTSEC-2099-0001\"\n");
    let (code, said, noted) = place.audit(&image, &[]);
    assert!(code == 1 && said.is_empty(), "{said}");
    assert!(
        noted.contains("audit.toml:2: missing field `reason`"),
        "{noted}"
    );
    let (code, _, noted) = place.audit(&image, &["--policy", "other.toml"]);
    assert!(
        code == 1 && noted.contains("there is no other.toml"),
        "{noted}"
    );
}

#[test]
fn an_advisory_that_cannot_be_read_is_not_passed_over() {
    let place = Place::new();
    let image = place.image("app");
    fs::write(
        place.path("db/crates/leaf/RUSTSEC-2099-0003.md"),
        "# nothing",
    )
    .unwrap();
    let (code, said, noted) = place.audit(&image, &[]);
    assert!(code == 1 && said.is_empty(), "{said}");
    assert!(
        noted.contains("RUSTSEC-2099-0003.md:1: an advisory begins with a line ```toml"),
        "{noted}"
    );
    // Without documents there is no audit.
    fs::remove_dir_all(Path::new(&image).join("attestations")).unwrap();
    let (code, _, noted) = place.audit(&image, &[]);
    assert!(
        code == 1 && noted.contains("has no bill of materials"),
        "{noted}"
    );
}

#[test]
fn advisories_are_fetched_once_for_each_version_and_kept() {
    let place = Place::new();
    let image = place.image("app");
    let archive = place.archive();
    // The server's behavior: 0 sends, 1 breaks off, 2 is out of order.
    static MOOD: AtomicU16 = AtomicU16::new(0);
    let server = Scripted::start(move |request| match MOOD.load(Ordering::SeqCst) {
        0 if request.known_tag.as_deref() == Some("\"v1\"") => Answer::new(304),
        0 => Answer::new(200)
            .header("ETag", "\"v1\"")
            .body(archive.clone()),
        1 => Answer::new(200)
            .header("ETag", "\"v2\"")
            .body(vec![0; 4 * PIECE])
            .before_piece(|at| assert!(at < 2 * PIECE, "the server breaks off, as it should")),
        _ => Answer::new(500),
    });
    let url = format!("http://{}/main.tar.gz", server.address);
    let audit = |more: &[&str]| {
        place.run(
            &[
                &["audit", image.as_str(), "--advisories", url.as_str()],
                more,
            ]
            .concat(),
        )
    };
    let (code, _, noted) = audit(&["--offline"]);
    assert!(code == 1 && noted.contains("there is no copy"), "{noted}");
    let (code, said, _) = audit(&[]);
    assert!(
        code == 1 && said.contains("2 advisories of RustSec"),
        "{said}"
    );
    let (_, said, noted) = audit(&[]);
    assert!(
        said.contains("2 advisories of RustSec") && !noted.contains("warning"),
        "{noted}"
    );
    let seen = server.seen();
    assert_eq!(seen.len(), 2);
    assert_eq!(seen[1].known_tag.as_deref(), Some("\"v1\""));
    for mood in [1, 2] {
        MOOD.store(mood, Ordering::SeqCst);
        let (code, said, noted) = audit(&[]);
        assert!(
            code == 1 && said.contains("2 advisories of RustSec"),
            "{mood}: {said}{noted}"
        );
        assert!(
            noted.contains("using the copy of the last download"),
            "{mood}: {noted}"
        );
    }
    let requests = server.seen().len();
    let (_, said, _) = audit(&["--offline"]);
    assert!(said.contains("2 advisories of RustSec"), "{said}");
    assert_eq!(server.seen().len(), requests);
    let (code, _, noted) = place.run(&[
        "audit",
        &image,
        "--advisories",
        "http://a.example/db.tar.gz",
    ]);
    assert!(
        code == 1 && noted.contains("anyone on the network could change the data"),
        "{noted}"
    );
}

#[test]
fn images_of_one_name_have_a_vex_document_each() {
    let place = Place::new();
    let [one, two] = ["one", "two"].map(|directory| place.image_at(directory, "app"));
    let (code, ..) = place.audit(&one, &[&two, &one, "--vex", "vex"]);
    assert_eq!(code, 1);
    let files = fs::read_dir(place.path("vex")).unwrap();
    let products = files.map(|file| {
        let file = file.unwrap().path();
        let document: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
        let product = &document["statements"][0]["products"][0]["@id"];
        let product = product.as_str().unwrap();
        let name = file.file_name().unwrap().to_str().unwrap();
        let digest = name.strip_prefix("app-linux-amd64-").unwrap();
        let digest = digest.strip_suffix(".openvex.json").unwrap();
        assert!(product.contains(digest), "{name} is about {product}");
        product.to_owned()
    });
    assert_eq!(products.collect::<BTreeSet<String>>().len(), 2);
}

#[test]
fn vex_is_attached_to_the_image_that_it_is_about() {
    need!("vex", "docker-registry");
    let (registry, place) = (Registry::start(), Place::new());
    let image = place.image("app");
    let (code, _, noted) = place.audit(&image, &["--vex", "vex"]);
    assert_eq!(code, 1, "{noted}");
    let document = json_in(&place.path("vex"));
    assert_eq!(document["timestamp"], "2099-06-15T00:00:00Z");
    assert_eq!(document["author"], "example");
    let first = fs::read(place.path("vex/app-linux-amd64.openvex.json")).unwrap();
    place.audit(&image, &["--vex", "vex"]);
    assert_eq!(
        fs::read(place.path("vex/app-linux-amd64.openvex.json")).unwrap(),
        first
    );

    let target = registry.reference("app:v1").to_string();
    fs::write(place.path("key"), include_str!("keys/signer.pem")).unwrap();
    fs::write(place.path("key.pub"), include_str!("keys/signer.pub")).unwrap();
    let (code, _, noted) = place.run(&[
        "push",
        &image,
        "--to",
        &target,
        "--attest",
        "--vex",
        "vex",
        "--sign-key",
        "key",
    ]);
    assert_eq!(code, 0, "{noted}");
    assert_eq!(vex_referrers(&registry), 1);
    // A document about another image is refused.
    let other = place.image("other");
    let (code, _, noted) = place.run(&["push", &other, "--to", &target, "--vex", "vex"]);
    assert!(
        code != 0 && noted.contains("no OpenVEX document of vex is about this image"),
        "{noted}"
    );
    // A published image is audited again later, with new advisories.
    place.advisory("leaf", "RUSTSEC-2099-0004", "[versions]\npatched = []");
    let (code, said, noted) = place.audit(&target, &["--attach"]);
    assert!(
        code == 1 && said.contains("RUSTSEC-2099-0004"),
        "{said}{noted}"
    );
    assert_eq!(vex_referrers(&registry), 2);
    place.audit(&target, &["--attach"]);
    assert_eq!(vex_referrers(&registry), 2, "the same is attached once");
    if !crateyard_testing::has("cosign") {
        crateyard_testing::skip("vex and cosign", "cosign is not installed");
        return;
    }
    let verified = Command::new("cosign")
        .args([
            "verify-attestation",
            "--key",
            "key.pub",
            "--insecure-ignore-tlog=true",
        ])
        .args(["--allow-insecure-registry", "--type", "openvex", &target])
        .current_dir(place.directory.path())
        .env("HOME", place.directory.path())
        .output()
        .unwrap();
    assert!(
        verified.status.success(),
        "{}",
        String::from_utf8_lossy(&verified.stderr)
    );
}

/// Counts the OpenVEX documents that refer to `app:v1`.
fn vex_referrers(registry: &Registry) -> usize {
    use crateyard_registry::{Client, Environment, Options};
    let reference = registry.reference("app:v1");
    let client = Client::new(Options::new(Environment::default()));
    crateyard_registry::run(async {
        let repository = client.repository(&reference).unwrap();
        let image = repository
            .manifest(&reference.version())
            .await
            .unwrap()
            .unwrap();
        let (listed, _) = repository.referrers(&image.digest, false).await.unwrap();
        let of_type = |it: &&crateyard_oci::Descriptor| {
            it.artifact_type.as_deref() == Some("application/vnd.openvex+json")
        };
        listed.iter().filter(of_type).count()
    })
}
