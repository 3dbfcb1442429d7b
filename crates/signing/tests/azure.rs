//! Keys in Azure Key Vault sign like keys in memory, with credentials of each kind, and secrets
//! stay secret.
#![allow(missing_docs)]

mod common;

use common::{open, refusal, signs};
use crateyard_signing::PublicKey;
use crateyard_testing::azure::{self, Azure, VERSIONS};
use crateyard_testing::kms::Fault;

/// The services, with the settings that all tests need.
struct World {
    azure: Azure,
    authority: String,
    login: String,
    directory: tempfile::TempDir,
}

impl World {
    fn new() -> World {
        let azure = Azure::start();
        World {
            authority: azure.authority().to_str().unwrap().to_owned(),
            login: azure.login(),
            azure,
            directory: tempfile::tempdir().unwrap(),
        }
    }

    /// Returns a reference to a key, with its version.
    fn key(&self, key: &str) -> String {
        format!("azurekms://{}/{key}", self.azure.host())
    }

    /// Returns variables besides those for the services.
    fn with<'a>(&'a self, more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
        let own = [
            ("CA_FILE", &*self.authority),
            ("AZURE_AUTHORITY_HOST", &*self.login),
        ];
        [&own[..], more].concat()
    }

    /// Returns the variables of an application with a secret.
    fn application(&self) -> Vec<(&str, &str)> {
        self.with(&[
            ("AZURE_TENANT_ID", azure::TENANT),
            ("AZURE_CLIENT_ID", azure::CLIENT),
            ("AZURE_CLIENT_SECRET", azure::SECRET),
        ])
    }
}

#[test]
fn credentials_of_each_kind_sign() {
    let world = World::new();
    let token = world.directory.path().join("token");
    std::fs::write(&token, format!("{}\n", azure::FEDERATED)).unwrap();
    let token = ("AZURE_FEDERATED_TOKEN_FILE", token.to_str().unwrap());
    let (tenant, client) = (
        ("AZURE_TENANT_ID", azure::TENANT),
        ("AZURE_CLIENT_ID", azure::CLIENT),
    );
    let identity = world.azure.identity();
    let endpoint = format!("{identity}/msi/token");
    let machine = ("AZURE_POD_IDENTITY_AUTHORITY_HOST", &*identity);
    let app = [
        ("IDENTITY_ENDPOINT", &*endpoint),
        ("IDENTITY_HEADER", azure::IDENTITY_HEADER),
    ];
    for (variables, token) in [
        (world.application(), azure::SECRET_TOKEN),
        (world.with(&[tenant, client, token]), azure::FEDERATED_TOKEN),
        (world.with(&[machine]), azure::MACHINE_TOKEN),
        (world.with(&[machine, client]), azure::MACHINE_TOKEN),
        (world.with(&app), azure::APP_TOKEN),
    ] {
        let key = open(&world.key("images"), &variables).unwrap();
        let public = world.azure.public(VERSIONS[1]);
        signs(&key, &PublicKey::from_pem(&public).unwrap());
        let used = world.azure.seen().pop().and_then(|it| it.authorization);
        assert_eq!(used, Some(format!("Bearer {token}")), "{variables:?}");
    }
    // A token serves until it ends.
    let seen = world.azure.seen();
    let asked = seen.iter().filter(|it| it.is("POST", "/oauth2/")).count();
    assert_eq!(asked, 2, "secret, job");
}

#[test]
fn the_version_is_the_named_one_or_the_newest() {
    let world = World::new();
    let [old, new] = VERSIONS;
    for (key, version) in [
        ("images".to_owned(), new),
        ("images/".to_owned(), new),
        (format!("images/{old}"), old),
    ] {
        let key = open(&world.key(&key), &world.application()).unwrap();
        let public = world.azure.public(version);
        signs(&key, &PublicKey::from_pem(&public).unwrap());
        let signed = world.azure.seen().pop().unwrap().path;
        assert_eq!(
            signed,
            format!("/keys/images/{version}/sign?api-version=7.4")
        );
    }
}

#[test]
fn a_signature_of_something_else_is_refused() {
    let world = World::new();
    let key = open(&world.key("images"), &world.application()).unwrap();
    for (fault, said) in [
        (Fault::OtherKey, "does not fit its public key"),
        (Fault::OtherDigest, "does not fit its public key"),
        (Fault::OtherVersion, "answers something else"),
        (Fault::Damaged, "answers something else"),
    ] {
        world.azure.err(fault);
        let error = key.sign(b"message").unwrap_err().to_string();
        assert!(
            error.contains(said) && error.contains("/images"),
            "{fault:?}: {error}"
        );
    }
    world.azure.err(Fault::None);
    key.sign(b"message").unwrap();
}

#[test]
fn keys_that_can_not_sign_are_refused() {
    let world = World::new();
    let variables = world.application();
    for (key, said) in [
        ("disabled", "not allowed on a disabled key"),
        ("switched-off", "the key is disabled"),
        ("wraps", "its operations are [\"wrapKey\",\"unwrapKey\"]"),
        ("coins", "can't sign here"),
        ("stranger", "answers something else"),
        ("missing", "KeyNotFound"),
        ("images/0c", "KeyNotFound"),
        ("..", "it names no key of a vault"),
    ] {
        let error = refusal(&world.key(key), &variables);
        assert!(error.contains(said), "{key}: {error}");
        assert!(!error.contains("s3cret"), "{error}");
    }
    let denied = open(&world.key("denied"), &variables).unwrap();
    let error = denied.sign(b"message").unwrap_err().to_string();
    assert!(error.contains("not authorized to perform"), "{error}");
}

#[test]
fn credentials_that_do_not_serve_are_refused_and_not_shown() {
    let world = World::new();
    let own = [
        ("AZURE_TENANT_ID", azure::TENANT),
        ("AZURE_CLIENT_ID", azure::CLIENT),
    ];
    let missing = world.directory.path().join("missing");
    let missing = missing.to_str().unwrap();
    let endpoint = format!("{}/msi/token", world.azure.identity());
    for (variables, said) in [
        (
            vec![own[0], own[1], ("AZURE_CLIENT_SECRET", "s3cret")],
            "no such secret:",
        ),
        (
            vec![own[0], own[1], ("AZURE_FEDERATED_TOKEN_FILE", missing)],
            "cannot read AZURE_FED",
        ),
        (
            vec![own[0], ("AZURE_CLIENT_SECRET", "s3cret")],
            "AZURE_CLIENT_ID is not set",
        ),
        (
            vec![("AZURE_POD_IDENTITY_AUTHORITY_HOST", "http://127.0.0.1:1")],
            "no credentials are set",
        ),
        (
            vec![("AZURE_POD_IDENTITY_AUTHORITY_HOST", "http://a.example")],
            "must be https://",
        ),
        (
            vec![
                ("IDENTITY_ENDPOINT", &*endpoint),
                ("IDENTITY_HEADER", "s3cret"),
            ],
            "Identity not found",
        ),
        (
            vec![own[0], own[1], ("AZURE_CLIENT_CERTIFICATE_PATH", "s3cret")],
            "are not supported",
        ),
    ] {
        let error = refusal(&world.key("images"), &world.with(&variables));
        assert!(
            error.contains(said) && error.contains("try: "),
            "{said}: {error}"
        );
        assert!(!error.contains("s3cret"), "{error}");
    }
    // Another host gets neither a token nor a request for one.
    let asked = world.azure.seen().len();
    let error = refusal("azurekms://vault.example/images", &world.application());
    assert!(error.contains("not a vault of Azure's"), "{error}");
    assert_eq!(world.azure.seen().len(), asked);
}
