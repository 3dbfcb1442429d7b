//! Keys in services sign like keys in memory, and tokens stay secret.
#![allow(missing_docs)]

mod common;

use common::{open, refusal, signs};
use crateyard_signing::PublicKey;
use crateyard_testing::kms::Fault;
use crateyard_testing::vault::{self, Vault};

#[test]
fn keys_in_vault_sign() {
    let engine = Vault::start();
    let public = PublicKey::from_pem(engine.public()).unwrap();
    let address = engine.url();
    let namespace = ("VAULT_NAMESPACE", vault::NAMESPACE);
    let vault = [
        ("VAULT_ADDR", &*address),
        ("VAULT_TOKEN", vault::TOKEN),
        namespace,
    ];
    let key = open("hashivault://release-key", &vault).unwrap();
    signs(&key, &public);
    let elsewhere = [
        &vault[..],
        &[("TRANSIT_SECRET_ENGINE_PATH", "/other/transit/")],
    ]
    .concat();
    signs(
        &open("hashivault://release-key", &elsewhere).unwrap(),
        &public,
    );
    let bao = [
        ("BAO_ADDR", &*address),
        ("BAO_TOKEN", vault::TOKEN),
        ("BAO_NAMESPACE", vault::NAMESPACE),
    ];
    signs(&open("openbao://release-key", &bao).unwrap(), &public);
    let home = tempfile::tempdir().unwrap();
    std::fs::write(home.path().join(".vault-token"), vault::TOKEN).unwrap();
    let home = home.path().to_str().unwrap();
    let logged_in = [("HOME", home), vault[0], namespace];
    signs(
        &open("hashivault://release-key", &logged_in).unwrap(),
        &public,
    );

    let wrong = [vault[0], ("VAULT_TOKEN", "hvs.wrong"), namespace];
    for (reference, variables, reason) in [
        ("hashivault://release-key", &wrong[..], "permission denied"),
        ("hashivault://missing", &vault, "answers 404"),
        (
            "hashivault://edwards",
            &vault,
            "\"ed25519\" can't sign here",
        ),
        ("hashivault://a/../b", &vault, "other characters"),
        ("hashivault://release-key", &vault[1..], "VAULT_ADDR="),
        ("hashivault://release-key", &vault[..1], "VAULT_TOKEN="),
        (
            "hashivault://release-key",
            &[("VAULT_ADDR", "http://vault.example"), vault[1]],
            "must be https://",
        ),
    ] {
        let said = refusal(reference, variables);
        assert!(said.contains(reason), "{said}");
        assert!(!said.contains("hvs."), "{said}");
    }

    for fault in [
        Fault::OtherKey,
        Fault::OtherDigest,
        Fault::OtherVersion,
        Fault::Damaged,
    ] {
        engine.err(fault);
        let error = key.sign(b"message").unwrap_err().to_string();
        assert!(
            error.contains("does not fit its public key"),
            "{fault:?}: {error}"
        );
    }
    engine.err(Fault::None);
    key.sign(b"message").unwrap();
}
