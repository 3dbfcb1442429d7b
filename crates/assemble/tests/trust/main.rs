//! Tests the trust of `verify`: identities and keys, by options and by policies. cosign judges the
//! same signatures.
#![allow(missing_docs)]

mod kms;
#[path = "../place/mod.rs"]
mod place;
mod policy;
mod witnesses;

use crateyard_oci::{Descriptor, Digest, Manifest, Reference, media_type};
use crateyard_registry::{Artifact, Client, Environment, Options, Source, push};
use crateyard_signing::{BUNDLE_TYPE, Bundle, Keyless, SecretKey, Services, Token, Web};
use crateyard_testing::sigstore::{ISSUER, REQUEST_TOKEN, Sigstore, token};
use crateyard_testing::{Registry, need};
use place::{Place, has};
use serde_json::{Value, json};
use witnesses::witness;

const ASSEMBLE: &str = env!("CARGO_BIN_EXE_assemble");
const WORKFLOW: &str = "team/shop/.github/workflows/release.yml@refs/tags/v1";
const REBUILD_PREDICATE: &str = "https://github.com/crateyard/crateyard/rebuild/v1";
const IDENTITY: &str = "https://github.com/team/shop/.github/workflows/release.yml@refs/tags/v1";

/// A registry, a place with an image, and services that stand in for sigstore's.
struct World {
    registry: Registry,
    place: Place,
    sigstore: Sigstore,
    image: String,
}

impl World {
    fn new() -> World {
        let (registry, place, sigstore) = (Registry::start(), Place::new(), Sigstore::start());
        let root = sigstore.trusted_root().to_string();
        std::fs::write(place.path("root.json"), root).unwrap();
        let image = place.image("image", "1", "1.0.1");
        World {
            registry,
            place,
            sigstore,
            image,
        }
    }

    /// Runs a command like a GitHub job.
    fn job(&self, arguments: &[&str]) -> String {
        let (url, services) = (self.sigstore.token_url(), self.sigstore.url());
        let variables = [
            ("GITHUB_ACTIONS", "true"),
            ("GITHUB_REPOSITORY", "team/shop"),
            ("GITHUB_WORKFLOW_REF", WORKFLOW),
            ("GITHUB_RUN_ID", "77"),
            ("GITHUB_SHA", "00ff"),
            ("GITHUB_REF", "refs/tags/v1"),
            ("ACTIONS_ID_TOKEN_REQUEST_URL", &url),
            ("ACTIONS_ID_TOKEN_REQUEST_TOKEN", REQUEST_TOKEN),
        ];
        let keyless = [
            "--keyless",
            "--fulcio-url",
            &services,
            "--rekor-url",
            &services,
        ];
        let all = [arguments, &keyless].concat();
        let (code, said) = self.place.run_with(ASSEMBLE, &all, &variables);
        assert_eq!(code, 0, "{said}");
        said
    }

    /// Pushes an image as a workflow does, with signatures in this form.
    fn pushed(&self, name: &str, form: &str) -> String {
        let target = self.registry.reference(&format!("{name}:v1")).to_string();
        let push = [
            "push",
            &self.image,
            "--to",
            &target,
            "--attest",
            "--sign-as",
            form,
        ];
        let said = self.job(&push);
        assert!(said.contains(&format!("signing as {IDENTITY}")), "{said}");
        target
    }

    fn verify(&self, target: &str, options: &[&str]) -> (i32, String) {
        self.place
            .run(ASSEMBLE, &[&["verify", target][..], options].concat())
    }

    fn accepts(&self, target: &str, options: &[&str]) -> String {
        let (code, said) = self.verify(target, options);
        assert_eq!(code, 0, "{options:?}: {said}");
        said
    }

    fn refuses(&self, target: &str, options: &[&str], reason: &str) {
        let (code, said) = self.verify(target, options);
        assert!(
            code == 1 && said.contains(reason),
            "{options:?}: {code} {said}"
        );
    }

    fn policy(&self, text: &str) -> [&'static str; 2] {
        std::fs::write(self.place.path("policy.toml"), text).unwrap();
        ["--policy", "policy.toml"]
    }
}

fn by<'a>(identity: &'a str, issuer: &'a str, root: &'a str) -> [&'a str; 6] {
    [
        "--certificate-identity",
        identity,
        "--certificate-oidc-issuer",
        issuer,
        "--trusted-root",
        root,
    ]
}

#[test]
fn an_image_that_a_workflow_signed_is_verified_by_its_identity() {
    need!("keyless", "docker-registry");
    let world = World::new();
    let other = Sigstore::start();
    let root = other.trusted_root().to_string();
    std::fs::write(world.place.path("other.json"), root).unwrap();
    for form in ["bundle", "tag", "both"] {
        let target = world.pushed(form, form);
        let said = world.accepts(&target, &by(IDENTITY, ISSUER, "root.json"));
        assert!(
            said.contains(&format!("signed by {IDENTITY} by {ISSUER}")),
            "{said}"
        );
        let stranger = "https://github.com/team/other/.github/workflows/release.yml@refs/tags/v1";
        let signed = format!("; signed by {IDENTITY}");
        world.refuses(&target, &by(stranger, ISSUER, "root.json"), &signed);
        world.refuses(
            &target,
            &by(IDENTITY, "https://issuer.example", "root.json"),
            &signed,
        );
        world.refuses(
            &target,
            &by(IDENTITY, ISSUER, "other.json"),
            "no log of the trusted root",
        );
        world.refuses(&target, &["--public-key", "key.pub"], "NOT SIGNED");
    }
}

#[test]
fn a_token_may_come_from_a_file() {
    need!("tokens", "docker-registry");
    let world = World::new();
    let target = world.registry.reference("file:v1").to_string();
    let services = world.sigstore.url();
    world
        .place
        .assemble(&["push", &world.image, "--to", &target]);
    std::fs::write(world.place.path("token"), token(WORKFLOW)).unwrap();
    let sign = ["sign", &target, "--keyless", "--identity-token", "token"];
    let services = ["--fulcio-url", &services, "--rekor-url", &services];
    world.place.assemble(&[&sign[..], &services].concat());
    world.accepts(&target, &by(IDENTITY, ISSUER, "root.json"));
}

/// Describes a document as a signature.
fn stranger(payload: &[u8]) -> Descriptor {
    Descriptor::of(crateyard_signing::Simple::MEDIA_TYPE, payload)
}

/// Puts layers under the tag for an image's signatures, and sends the documents of some.
fn put_under_the_tag(image: &Reference, layers: Vec<Descriptor>, payloads: &[Vec<u8>]) {
    let client = Client::new(Options::new(Environment::default()));
    crateyard_registry::run(async {
        let repository = client.repository(image).unwrap();
        let digest = repository.resolve(&image.version()).await.unwrap();
        let tag = crateyard_signing::Simple::tag(digest.unwrap().digest.as_str());
        let config = Descriptor::of(media_type::CONFIG, b"{}");
        let manifest = Manifest::new(config, layers);
        let blobs = std::iter::once(b"{}".to_vec()).chain(payloads.iter().cloned());
        let manifest = crateyard_oci::to_bytes(&manifest).unwrap().into();
        let source = Source::manifest(manifest, blobs.map(Into::into));
        let tag = image.without_version().with_tag(&tag).unwrap();
        let options = push::Options::default();
        let pushed = push::push(&client, source, &tag, &options).await;
        pushed.unwrap();
    });
}

#[test]
fn signatures_of_strangers_keep_nobody_from_signing() {
    need!("strange signatures", "docker-registry");
    let world = World::new();
    let reference = world.registry.reference("app:v1");
    let target = reference.to_string();
    let key = ["--public-key", "key.pub"];
    let sign = ["sign", &target, "--sign-key", "key", "--sign-as", "tag"];
    world
        .place
        .assemble(&["push", &world.image, "--to", &target]);

    // The repository has a document of another size.
    let mut layer = stranger(b"strange");
    put_under_the_tag(&reference, vec![layer.clone()], &[b"strange".to_vec()]);
    layer.size += 1;
    put_under_the_tag(&reference, vec![layer], &[]);
    world.place.assemble(&sign);
    world.accepts(&target, &key);
}

#[test]
fn too_many_signatures_under_the_tag_are_not_silent() {
    need!("many signatures", "docker-registry");
    let world = World::new();
    let reference = world.registry.reference("app:v1");
    let target = reference.to_string();
    let key = ["--public-key", "key.pub"];
    world
        .place
        .assemble(&["push", &world.image, "--to", &target]);
    let sign = ["sign", &target, "--sign-key", "key", "--sign-as", "tag"];
    let large = vec![b'x'; 100_000];
    put_under_the_tag(&reference, vec![stranger(&large); 2_000], &[large]);
    world.place.assemble(&sign);
    let reason = "passed over: the tag for signatures names 2001 documents; 2000 were looked into";
    world.refuses(&target, &key, reason);
}

#[test]
fn what_strangers_put_under_the_tag_neither_helps_nor_harms() {
    need!("strange tags", "docker-registry");
    let world = World::new();
    let reference = world.registry.reference("app:v1");
    world.place.assemble(&[
        "push",
        &world.image,
        "--to",
        &reference.to_string(),
        "--sign-key",
        "key",
    ]);
    let payloads = [10, 100_000].map(|size| vec![b'x'; size]);
    let layers = payloads.iter().map(|payload| stranger(payload));
    put_under_the_tag(&reference, layers.collect(), &payloads);
    let target = reference.to_string();
    let said = world.accepts(&target, &["--public-key", "key.pub"]);
    assert!(
        said.contains("passed over: a signature under the tag: a document of 100000"),
        "{said}"
    );
    world.refuses(&target, &["--public-key", "other.pub"], "NOT SIGNED");
}

#[test]
fn keys_sign_in_the_older_form_too() {
    need!("tags", "docker-registry");
    let world = World::new();
    let target = world.registry.reference("keys:v1").to_string();
    let key = [("KEY", include_str!("../keys/signer.pem"))];
    let push = [
        "push",
        &world.image,
        "--to",
        &target,
        "--sign-key",
        "env://KEY",
        "--sign-as",
        "tag",
    ];
    let (code, said) = world.place.run_with(ASSEMBLE, &push, &key);
    assert_eq!(code, 0, "{said}");
    world.accepts(
        &target,
        &["--public-key", "other.pub", "--public-key", "key.pub"],
    );
    world.refuses(
        &target,
        &["--public-key", "other.pub"],
        "NOT SIGNED by the key other.pub",
    );
    let sign = ["sign", &target, "--sign-key", "key", "--sign-as", "both"];
    assert!(world.place.assemble(&sign).contains("  signed"));
    assert!(world.place.assemble(&sign).contains("before"));
    for (reference, what) in [
        ("k8s://team/a", "Kubernetes secrets"),
        ("gitlab://a", "GitLab variables"),
    ] {
        let said = world
            .place
            .fails(&["sign", &target, "--sign-key", reference]);
        assert!(
            said.contains(what) && said.contains("not supported"),
            "{said}"
        );
    }
}

#[test]
fn cosign_verifies_both_forms_and_what_cosign_signs_is_verified() {
    need!("cosign keyless", "docker-registry");
    if !has("cosign") {
        return;
    }
    let world = World::new();
    let flags = ["--allow-insecure-registry"];
    let cosign = |arguments: &[&str], succeeds: bool| {
        let all = [arguments, &flags].concat();
        let (code, said) = world.place.run("cosign", &all);
        assert_eq!(code == 0, succeeds, "{arguments:?}: {said}");
    };
    for form in ["bundle", "tag"] {
        let target = world.pushed(form, form);
        let trusted = by(IDENTITY, ISSUER, "root.json");
        cosign(&[&["verify", &target][..], &trusted].concat(), true);
        let stranger = by("https://github.com/team/other", ISSUER, "root.json");
        cosign(&[&["verify", &target][..], &stranger].concat(), false);
        let attested = ["verify-attestation", "--type", "slsaprovenance1", &target];
        cosign(&[&attested[..], &trusted].concat(), true);
    }
    let theirs = world.registry.reference("theirs:v1").to_string();
    world
        .place
        .assemble(&["push", &world.image, "--to", &theirs]);
    let config = world.sigstore.signing_config().to_string();
    std::fs::write(world.place.path("config.json"), config).unwrap();
    let token = token(WORKFLOW);
    let sign = [
        "sign",
        "--signing-config",
        "config.json",
        "--trusted-root",
        "root.json",
        "--identity-token",
        &token,
        "-y",
        &theirs,
    ];
    cosign(&sign, true);
    world.accepts(&theirs, &by(IDENTITY, ISSUER, "root.json"));
}

#[test]
fn options_that_name_nobody_do_not_accept_an_unsigned_image() {
    need!("half-given options", "docker-registry");
    let world = World::new();
    let target = world.registry.reference("unsigned:v1").to_string();
    world
        .place
        .assemble(&["push", &world.image, "--to", &target]);
    world.accepts(&target, &[]);
    let issuer = ["--certificate-oidc-issuer", ISSUER];
    let root = ["--trusted-root", "root.json"];
    let witness = ["--witness-key", "key.pub"];
    let policy = world.policy("version = 1\n[[signers]]\nkey = \"key.pub\"");
    for (options, said_of) in [
        (issuer.to_vec(), "--certificate-identity"),
        (root.to_vec(), "--certificate-identity"),
        ([root, issuer].concat(), "--certificate-identity"),
        (witness.to_vec(), "--witnesses"),
        (
            [&witness[..], &["--witnesses", "0"]].concat(),
            "require nothing",
        ),
        ([policy, issuer].concat(), "cannot be used with"),
        ([policy, witness].concat(), "cannot be used with"),
    ] {
        let (code, said) = world.verify(&target, &options);
        assert!(
            code != 0 && said.contains(said_of),
            "{options:?}: {code} {said}"
        );
    }
}

/// Pushes an index that gives a false name to the image of a world. Returns the image's digest.
fn push_disguised(world: &World, target: &Reference) -> Digest {
    let path = std::path::Path::new(&world.image);
    let file = path.join("index.json");
    let mut outer: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    let image: Descriptor = serde_json::from_value(outer["manifests"][0].clone()).unwrap();
    let mut entry = json!(image.plain());
    entry["artifactType"] = json!("application/vnd.example");
    entry["platform"] = json!({"os": "linux", "architecture": "amd64"});
    let index = json!({
        "schemaVersion": 2, "mediaType": media_type::INDEX, "manifests": [entry],
    });
    let index = index.to_string();
    let own = Descriptor::of(media_type::INDEX, index.as_bytes());
    let blobs = path.join("blobs/sha256");
    std::fs::write(blobs.join(own.digest.hex()), &index).unwrap();
    outer["manifests"] = json!([own]);
    std::fs::write(&file, outer.to_string()).unwrap();
    let client = Client::new(Options::new(Environment::default()));
    crateyard_registry::run(async {
        let source = Source::open(path).unwrap();
        let options = push::Options::default();
        push::push(&client, source, target, &options).await.unwrap();
    });
    image.digest
}

#[test]
fn an_image_that_an_index_calls_an_artifact_is_judged() {
    need!("disguised images", "docker-registry");
    let world = World::new();
    let reference = world.registry.reference("app:v1");
    let target = reference.to_string();
    let image = push_disguised(&world, &reference);
    let key = SecretKey::generate();
    std::fs::write(world.place.path("ann.pub"), key.public().pem()).unwrap();
    let one = ["--witnesses", "1", "--witness-key", "ann.pub"];
    world.refuses(&target, &one, "wanted and 0 have built it again");
    // Only statements about the image count, not those about the index.
    witness(&reference, &key, "same", None);
    world.refuses(&target, &one, "wanted and 0 have built it again");
    witness(&reference.with_digest(&image), &key, "same", None);
    world.accepts(&target, &one);
}
