//! Documents and signatures that are attached to an image, and the commands that read them.
#![allow(missing_docs)]

mod place;

use std::path::Path;
use std::process::Command;

use crateyard_oci::{Digest, Reference};
use crateyard_registry::{Artifact, Client, Environment, Options, Source, push};
use crateyard_testing::Registry;
use crateyard_testing::need;
use place::{Place, has};
use serde_json::{Value, json};

#[test]
fn explain_names_what_changed_between_layouts_and_against_a_registry() {
    need!("explain", "docker-registry");
    let (registry, place) = (Registry::start(), Place::new());
    let (old, new) = (
        place.image("old", "1", "1.0.1"),
        place.image("new", "2", "1.0.2"),
    );
    let said = place.assemble(&["explain", &new, "--against", &old]);
    assert!(
        said.contains("dependencies: 1 change\n  ~  serde  1.0.1 -> 1.0.2\n"),
        "{said}"
    );
    assert!(said.contains("other layers: app\n"), "{said}");
    let target = registry.reference("app:v1").to_string();
    place.assemble(&["push", &old, "--to", &target, "--attest"]);
    assert_eq!(
        place
            .assemble(&["explain", &new, "--against", &target])
            .lines()
            .last(),
        said.lines().last()
    );
    let json = place.assemble(&["explain", &old, "--against", &target, "--json"]);
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(
        (
            &json["against"]["sameDigest"],
            &json["against"]["differences"]
        ),
        (&json!(true), &json!([]))
    );
    let silent = registry.reference("silent:v1").to_string();
    place.assemble(&["push", &old, "--to", &silent]);
    assert!(
        place
            .fails(&["explain", &new, "--against", &silent])
            .contains("--attest")
    );
}

#[test]
fn crates_are_known_by_the_bill_of_materials() {
    need!("crates", "docker-registry");
    let (registry, place) = (Registry::start(), Place::new());
    let (old, new) = (
        place.image("old", "1", "1.0.1"),
        place.image("new", "2", "1.0.2"),
    );
    let target = registry.reference("app:v1").to_string();
    place.assemble(&["push", &old, "--to", &target, "--attest"]);
    for image in [&old, &target] {
        let said = place.assemble(&["inspect", image, "--packages"]);
        assert!(
            said.contains("1 crate\n  serde  1.0.1\n"),
            "{image}: {said}"
        );
        let said = place.assemble(&["diff", image, &new]);
        assert!(
            said.contains("crates: 1 change\n  ~  serde  1.0.1 -> 1.0.2\n"),
            "{image}: {said}"
        );
    }
}

#[test]
fn what_is_signed_is_verified_with_that_key_only() {
    need!("signatures", "docker-registry");
    let (registry, place) = (Registry::start(), Place::new());
    let image = place.image("image", "1", "1.0.1");
    let target = registry.reference("app:v1").to_string();
    place.assemble(&["push", &image, "--to", &target]);
    let verify = |key: &str| ["verify", target.as_str(), "--public-key", key].map(str::to_owned);
    let run = |key: &str| {
        place.run(
            env!("CARGO_BIN_EXE_assemble"),
            &verify(key).each_ref().map(String::as_str),
        )
    };
    assert_eq!(run("key.pub").0, 1, "nobody has signed it yet");
    place.assemble(&["sign", &target, "--sign-key", "key"]);
    let (code, said) = run("key.pub");
    assert!(
        code == 0 && said.contains("signed by the key key.pub"),
        "{said}"
    );
    assert_eq!(run("other.pub").0, 1, "another key");
    assert!(
        place
            .assemble(&["sign", &target, "--sign-key", "key"])
            .contains("before")
    );
    assert!(
        place
            .fails(&["verify", &image, "--public-key", "key.pub"])
            .contains("registries")
    );
}

#[test]
fn strangers_referrers_neither_help_nor_harm() {
    need!("crowded", "docker-registry");
    let (registry, place) = (Registry::start(), Place::new());
    let image = place.image("image", "1", "1.0.1");
    let reference = registry.reference("app:v1");
    let target = reference.to_string();
    place.assemble(&["push", &image, "--to", &target]);
    for number in 0..24 {
        stranger(&reference, &format!(r#"{{"number":{number}}}"#));
    }
    // The document of one is missing, that of the other is huge.
    let gone = Digest::of(stranger(&reference, "gone").as_bytes());
    let store = registry
        .directory
        .path()
        .join("store/docker/registry/v2/repositories/app");
    std::fs::remove_dir_all(store.join("_layers/sha256").join(gone.hex())).unwrap();
    stranger(&reference, &"x".repeat(17 << 20));

    let verify = ["verify", target.as_str(), "--public-key", "key.pub"];
    let said = place.fails(&verify);
    assert!(said.contains("NOT SIGNED by the key key.pub"), "{said}");
    place.assemble(&["sign", &target, "--sign-key", "key"]);
    let said = place.assemble(&verify);
    let digest = digest_in_registry(&reference);
    let named = format!("{}@{digest}\n", reference.without_version());
    assert!(said.contains(&named), "it says which digest: {said}");
    assert!(said.contains("signed by the key key.pub"), "{said}");
    assert!(
        said.contains("passed over: sha256:") && said.contains(" more\n"),
        "{said}"
    );
    let json = place.assemble(&["verify", &target, "--public-key", "key.pub", "--json"]);
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["digest"], digest.as_str());
    assert_eq!(json["reference"], reference.without_version().to_string());
    assert_eq!(
        (&json["sound"], &json["signed"]),
        (&json!(true), &json!(true))
    );
}

/// Attaches a fake signature to an image, and returns its document.
fn stranger(reference: &Reference, document: &str) -> String {
    let client = Client::new(Options::new(Environment::default()));
    crateyard_registry::run(async {
        let repository = client.repository(reference).unwrap();
        let image = repository.manifest(&reference.version()).await.unwrap();
        let artifact = Artifact {
            subject: image.unwrap().plain_descriptor(),
            artifact_type: crateyard_signing::BUNDLE_TYPE.to_owned(),
            media_type: crateyard_signing::BUNDLE_TYPE.to_owned(),
            document: document.to_owned().into(),
            annotations: Default::default(),
        };
        let source = Source::artifact(&artifact);
        let target = reference.with_digest(&artifact.digest());
        let options = push::Options::default();
        push::push(&client, source, &target, &options)
            .await
            .unwrap();
    });
    document.to_owned()
}

fn digest_in_registry(reference: &Reference) -> String {
    let client = Client::new(Options::new(Environment::default()));
    let manifest = crateyard_registry::run(async {
        let repository = client.repository(reference).unwrap();
        repository.manifest(&reference.version()).await.unwrap()
    });
    manifest.unwrap().digest.to_string()
}

/// The commit that the run has checked out.
const COMMIT: &str = "00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff";

#[test]
fn the_provenance_in_a_registry_names_the_run_and_the_image_does_not_depend_on_it() {
    need!("attachments", "docker-registry");
    let (registry, place) = (Registry::start(), Place::new());
    let image = place.image("image", "1", "1.0.1");
    let target = registry.reference("app:v1").to_string();
    // A person pushed it before, whose provenance names no commit.
    place.assemble(&["push", &image, "--to", &target, "--attest"]);
    let output = Command::new(env!("CARGO_BIN_EXE_assemble"))
        .args(["push", &image, "--to", &target, "--attest"])
        .env("HOME", place.directory.path())
        .env("GITHUB_ACTIONS", "true")
        .env("GITHUB_REPOSITORY", "team/shop")
        .env(
            "GITHUB_WORKFLOW_REF",
            "team/shop/.github/workflows/release.yml@refs/tags/v1",
        )
        .env("GITHUB_RUN_ID", "77")
        .env("GITHUB_SHA", COMMIT)
        .env("GITHUB_REF", "refs/tags/v1")
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let said = place.assemble(&["inspect", &target, "--documents"]);
    for part in [
        "https://github.com/team/shop/.github/workflows/release.yml@refs/tags/v1",
        "https://github.com/team/shop/actions/runs/77/attempts/1",
        &format!("{COMMIT} of git+https://github.com/team/shop@refs/tags/v1"),
        &digest_of(Path::new(&image)),
    ] {
        assert!(said.contains(part), "{part} is not in {said}");
    }
    // A witness takes the provenance of the run.
    let elsewhere = place.path("nothing").display().to_string();
    let said = place.fails(&["rebuild", &target, "--repository", &elsewhere]);
    assert!(
        said.contains(COMMIT) && said.contains("cannot fetch"),
        "{said}"
    );
}

#[test]
fn an_archive_carries_the_documents_and_inspect_shows_them() {
    let place = Place::new();
    let image = place.image("image", "1", "1.0.1");
    for format in ["oci", "docker"] {
        place.assemble(&[
            "save",
            &image,
            "--format",
            format,
            "--reference",
            "app:1",
            "--out",
            "app.tar",
        ]);
        let said = place.assemble(&["inspect", "app.tar", "--documents"]);
        for part in [
            "serde",
            "1.0.1",
            "crates.io",
            "provenance",
            "bill of materials",
        ] {
            assert!(said.contains(part), "{part} is not in {said}");
        }
        std::fs::remove_file(place.path("app.tar")).unwrap();
    }
}

#[test]
fn a_push_that_is_repeated_attaches_nothing_twice() {
    need!("attachments", "docker-registry");
    let (registry, place) = (Registry::start(), Place::new());
    let image = place.image("image", "1", "1.0.1");
    let target = registry.reference("app:v1").to_string();
    let push = [
        "push",
        &image,
        "--to",
        &target,
        "--attest",
        "--sign-key",
        "key",
        "--json",
    ];
    let first: Value = serde_json::from_str(&place.assemble(&push)).unwrap();
    assert_eq!(
        first["images"][0]["manifests"]["uploaded"], 8,
        "the image, three documents, four signatures"
    );
    let again: Value = serde_json::from_str(&place.assemble(&push)).unwrap();
    let again = &again["images"][0];
    assert_eq!(
        (&again["unchanged"], &again["requests"]),
        (&json!(true), &json!(2)),
        "{again}"
    );
}

#[test]
fn cosign_and_oras_read_what_is_attached_and_what_cosign_signs_is_verified() {
    need!("attachments", "docker-registry");
    if !has("cosign") || !has("oras") {
        return;
    }
    let (registry, place) = (Registry::start(), Place::new());
    let image = place.image("image", "1", "1.0.1");
    let target = registry.reference("app:v1").to_string();
    place.assemble(&[
        "push",
        &image,
        "--to",
        &target,
        "--attest",
        "--sign-key",
        "key",
    ]);
    let flags = [
        "--key",
        "key.pub",
        "--insecure-ignore-tlog=true",
        "--allow-insecure-registry",
        &target,
    ];
    let checks: [&[&str]; 4] = [
        &["verify"],
        &["verify-attestation", "--type", "slsaprovenance1"],
        &["verify-attestation", "--type", "https://spdx.dev/Document"],
        &["verify-attestation", "--type", "https://cyclonedx.org/bom"],
    ];
    for check in checks {
        let (code, said) = place.run("cosign", &[check, &flags].concat());
        assert_eq!(code, 0, "{check:?}: {said}");
    }
    let (_, tree) = place.run("oras", &["discover", "--plain-http", &target]);
    for kind in [
        "application/spdx+json",
        "application/vnd.in-toto+json",
        "application/vnd.dev.sigstore.bundle.v0.3+json",
    ] {
        assert!(tree.contains(kind), "{tree}");
    }
    keys_of_cosign_are_read(&place, &registry, &image);
}

/// cosign's own encrypted key signs here, and `verify` accepts signatures that cosign makes with
/// it.
fn keys_of_cosign_are_read(place: &Place, registry: &Registry, image: &str) {
    let (code, said) = place.run("cosign", &["generate-key-pair"]);
    assert_eq!(code, 0, "{said}");
    let ours = registry.reference("ours:v1").to_string();
    place.assemble(&["push", image, "--to", &ours, "--sign-key", "cosign.key"]);
    let verify = [
        "verify",
        "--key",
        "cosign.pub",
        "--insecure-ignore-tlog=true",
        "--allow-insecure-registry",
        &ours,
    ];
    let (code, said) = place.run("cosign", &verify);
    assert_eq!(code, 0, "{said}");
    let theirs = registry.reference("theirs:v1").to_string();
    place.assemble(&["push", image, "--to", &theirs]);
    let digest = digest_of(Path::new(image));
    let by_digest = format!("{}@{digest}", theirs.trim_end_matches(":v1"));
    let sign = [
        "sign",
        "--key",
        "cosign.key",
        "--tlog-upload=false",
        "--use-signing-config=false",
        "--allow-insecure-registry",
        "-y",
        &by_digest,
    ];
    let (code, said) = place.run("cosign", &sign);
    assert_eq!(code, 0, "{said}");
    place.assemble(&["verify", &theirs, "--public-key", "cosign.pub"]);
}

fn digest_of(layout: &Path) -> String {
    let index = std::fs::read(layout.join("index.json")).unwrap();
    let index: Value = serde_json::from_slice(&index).unwrap();
    index["manifests"][0]["digest"].as_str().unwrap().to_owned()
}
