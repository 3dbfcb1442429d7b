//! Witnesses, who have built an image again.

use super::*;

/// Attaches a witness statement to an image, signed by `key`.
pub(super) fn witness(reference: &Reference, key: &SecretKey, result: &str, rebuilt: Option<&str>) {
    attach_witness(reference, result, rebuilt, |statement| {
        Bundle::sign(statement, key).unwrap()
    });
}

/// Attaches a witness statement to an image, signed by `sign`.
fn attach_witness(
    reference: &Reference,
    result: &str,
    rebuilt: Option<&str>,
    sign: impl FnOnce(&Value) -> Bundle,
) {
    let client = Client::new(Options::new(Environment::default()));
    let image = crateyard_registry::run(async {
        let repository = client.repository(reference).unwrap();
        repository.manifest(&reference.version()).await.unwrap()
    });
    let subject = image.unwrap().plain_descriptor();
    let own = subject.digest.hex().to_owned();
    let digest = json!({"sha256": rebuilt.unwrap_or(&own)});
    let predicate = json!({"result": result, "rebuilt": {"digest": digest}});
    let digest = subject.digest.as_str();
    let statement = crateyard_signing::statement(digest, REBUILD_PREDICATE, predicate);
    let artifact = Artifact {
        subject,
        artifact_type: BUNDLE_TYPE.to_owned(),
        media_type: BUNDLE_TYPE.to_owned(),
        document: sign(&statement).to_bytes().into(),
        annotations: Default::default(),
    };
    let target = reference.with_digest(&artifact.digest());
    let source = Source::artifact(&artifact);
    let options = push::Options::default();
    crateyard_registry::run(push::push(&client, source, &target, &options)).unwrap();
}

const REBUILDERS: &str = "version = 1
trusted-root = \"root.json\"
[[signers]]
identity = { regexp = 'https://github\\.com/team/shop/\\.github/workflows/release\\.yml@.*' }
issuer = \"https://token.actions.githubusercontent.com\"
[witnesses]
count = 2
[[witnesses.from]]
identity = { regexp = 'https://github\\.com/ann/.*' }
issuer = \"https://token.actions.githubusercontent.com\"
[[witnesses.from]]
identity = { regexp = 'https://github\\.com/bob/.*' }
issuer = \"https://token.actions.githubusercontent.com\"
[[witnesses.from]]
identity = { regexp = 'https://github\\.com/team/.*' }
issuer = \"https://token.actions.githubusercontent.com\"
";

#[test]
fn workflows_of_different_builders_are_witnesses() {
    need!("identities that witness", "docker-registry");
    let world = World::new();
    let target = world.pushed("app", "bundle");
    let reference = world.registry.reference("app:v1");
    let attest = |workflow: &str, result: &str, rebuilt: Option<&str>| {
        let services = Services {
            fulcio: world.sigstore.url(),
            rekor: world.sigstore.url(),
            web: Web::default(),
        };
        let token = Token::parse(&token(workflow)).unwrap();
        let signer = Keyless::begin(&token, &services).unwrap();
        attach_witness(&reference, result, rebuilt, |statement| {
            signer.sign(statement).unwrap()
        });
    };
    let policy = world.policy(REBUILDERS);
    world.refuses(&target, &policy, "wanted and 0 have built it again");
    // One workflow on a tag and on a branch, the signer's own workflow, and a stranger's.
    attest(
        "ann/rebuilds/.github/workflows/rebuild.yml@refs/tags/v1",
        "same",
        None,
    );
    attest(
        "ann/rebuilds/.github/workflows/rebuild.yml@refs/heads/main",
        "same",
        None,
    );
    attest(WORKFLOW, "same", None);
    attest(
        "eve/rebuilds/.github/workflows/rebuild.yml@refs/heads/main",
        "same",
        None,
    );
    world.refuses(&target, &policy, "wanted and 1 have built it again");
    let bob = "bob/again/.github/workflows/witness.yml@refs/heads/main";
    attest(bob, "same", None);
    let said = world.accepts(&target, &policy);
    for name in ["ann/rebuilds", "bob/again"] {
        assert!(said.contains(name), "{said}");
    }
    // A stranger's objection has no effect, a witness's does.
    let other = "0".repeat(64);
    attest(
        "eve/rebuilds/.github/workflows/rebuild.yml@refs/heads/main",
        "different",
        Some(&other),
    );
    world.accepts(&target, &policy);
    attest(bob, "different", Some(&other));
    world.refuses(&target, &policy, "has built something else");
}

/// Returns a world with a pushed and signed image, its reference, and that as text. The public keys
/// of witnesses are in its place as `0.pub`, `1.pub` and so on.
fn world_with(keys: &[SecretKey]) -> (World, Reference, String) {
    let world = World::new();
    let reference = world.registry.reference("app:v1");
    let target = reference.to_string();
    world
        .place
        .assemble(&["push", &world.image, "--to", &target, "--sign-key", "key"]);
    for (number, key) in keys.iter().enumerate() {
        std::fs::write(
            world.place.path(&format!("{number}.pub")),
            key.public().pem(),
        )
        .unwrap();
    }
    (world, reference, target)
}

#[test]
fn witnesses_count_once_each_and_an_objection_refuses() {
    need!("witnesses", "docker-registry");
    let keys: Vec<SecretKey> = (0..3).map(|_| SecretKey::generate()).collect();
    let (world, reference, target) = world_with(&keys);
    let two = [
        "--public-key",
        "key.pub",
        "--witnesses",
        "2",
        "--witness-key",
        "0.pub",
        "--witness-key",
        "1.pub",
        "--witness-key",
        "key.pub",
    ];
    world.refuses(&target, &two, "2 independent witnesses are wanted and 0");
    witness(&reference, &keys[0], "same", None);
    world.refuses(
        &target,
        &two,
        "wanted and 1 have built it again: the key 0.pub",
    );
    // The same witness again, an unknown one, and the signer of the image.
    let signer = SecretKey::from_pem(include_str!("../keys/signer.pem"), None).unwrap();
    witness(&reference, &keys[0], "same", Some(&"0".repeat(64)));
    world.refuses(&target, &two, "the key 0.pub has built something else");
    let (world, reference, target) = world_with(&keys);
    witness(&reference, &keys[0], "same", None);
    witness(&reference, &keys[2], "same", None);
    witness(&reference, &signer, "same", None);
    world.refuses(
        &target,
        &two,
        "wanted and 1 have built it again: the key 0.pub",
    );
    // Nor does the signer count as a witness if no signer is required.
    let own = ["--witnesses", "1", "--witness-key", "key.pub"];
    world.refuses(&target, &own, "wanted and 0 have built it again");
    witness(&reference, &keys[1], "same", None);
    let said = world.accepts(&target, &two);
    assert!(
        said.contains("built again by the key 0.pub, the key 1.pub"),
        "{said}"
    );
    let policy =
        "version = 1\n[witnesses]\ncount = 2\nfrom = [{ key = \"0.pub\" }, { key = \"1.pub\" }]";
    world.accepts(&target, &world.policy(policy));
    if has("cosign") {
        let check = ["verify-attestation", "--type", REBUILD_PREDICATE, &target];
        for (key, accepts) in [("1.pub", true), ("2.pub", true), ("other.pub", false)] {
            let flags = ["--insecure-ignore-tlog=true", "--allow-insecure-registry"];
            let check = [&check[..], &flags, &["--key", key]].concat();
            let (code, said) = world.place.run("cosign", &check);
            assert_eq!(code == 0, accepts, "{key}: {said}");
        }
    }
    world.refuses(
        &target,
        &world.policy(&policy.replace("1.pub", "other.pub")),
        "wanted and 1",
    );
    // A stranger's objection has no effect, a witness's does.
    witness(&reference, &keys[2], "different", Some(&"0".repeat(64)));
    world.accepts(&target, &two);
    witness(&reference, &keys[1], "different", Some(&"0".repeat(64)));
    world.refuses(
        &target,
        &two,
        "the key 1.pub has built something else: sha256:0000",
    );
}
