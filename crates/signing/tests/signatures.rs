//! Only signed content passes verification; keys of all forms are read.
#![allow(missing_docs)]

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use crateyard_signing::{Bundle, Error, PublicKey, SecretKey, image_statement};
use crateyard_testing::need;
use serde_json::{Value, json};

const PKCS8: &str = include_str!("keys/pkcs8.pem");
const SEC1: &str = include_str!("keys/sec1.pem");
/// A key made by `cosign generate-key-pair` with an empty password.
const COSIGN: &str = include_str!("keys/cosign.key");
const COSIGN_PUBLIC: &str = include_str!("keys/cosign.pub");
const DIGEST: &str = "sha256:0000000000000000000000000000000000000000000000000000000000000001";

fn key() -> SecretKey {
    SecretKey::from_pem(PKCS8, None).unwrap()
}

#[test]
fn a_signature_is_about_one_image_by_one_key() {
    let key = key();
    let bundle = Bundle::sign(&image_statement(DIGEST), &key).unwrap();
    assert_eq!(
        bundle,
        Bundle::sign(&image_statement(DIGEST), &key).unwrap(),
        "the same each time"
    );
    let read = Bundle::parse(&bundle.to_bytes()).unwrap();
    assert_eq!(
        read.verify(&key.public(), DIGEST).unwrap(),
        image_statement(DIGEST)
    );
    let other_image = DIGEST.replace('1', "2");
    assert!(matches!(
        read.verify(&key.public(), &other_image),
        Err(Error::Mismatch(_))
    ));
    let other_key = SecretKey::from_pem(SEC1, None).unwrap().public();
    assert!(matches!(
        read.verify(&other_key, DIGEST),
        Err(Error::Mismatch(_))
    ));
}

#[test]
fn what_was_changed_after_signing_is_refused() {
    let key = key();
    let bundle = Bundle::sign(&image_statement(DIGEST), &key)
        .unwrap()
        .to_bytes();
    let mut changed = 0;
    for position in 0..bundle.len() {
        let mut bytes = bundle.clone();
        bytes[position] ^= 1;
        let Ok(parsed) = Bundle::parse(&bytes) else {
            continue;
        };
        changed += 1;
        // The hint of the key is not part of the envelope, so it may have any value.
        if let Ok(statement) = parsed.verify(&key.public(), DIGEST) {
            assert_eq!(statement, image_statement(DIGEST));
            let before: Value = serde_json::from_slice(&bundle).unwrap();
            let after: Value = serde_json::from_slice(&bytes).unwrap();
            assert_eq!(
                before["dsseEnvelope"]["payload"],
                after["dsseEnvelope"]["payload"]
            );
        }
    }
    assert!(changed > 100, "only {changed} were bundles at all");
}

#[test]
fn other_statements_are_no_signature_of_the_image() {
    let key = key();
    let mut statement = image_statement(DIGEST);
    statement["_type"] = json!("something else");
    let bundle = Bundle::sign(&statement, &key).unwrap();
    assert!(bundle.verify(&key.public(), DIGEST).is_err());
}

#[test]
fn keys_of_cosign_are_opened_by_their_password() {
    let key = SecretKey::from_pem(COSIGN, Some("")).unwrap();
    assert_eq!(key.public(), PublicKey::from_pem(COSIGN_PUBLIC).unwrap());
    assert!(matches!(
        SecretKey::from_pem(COSIGN, Some("wrong")),
        Err(Error::Password(_))
    ));
    assert!(matches!(
        SecretKey::from_pem(COSIGN, None),
        Err(Error::Password(_))
    ));
}

/// Makes a bundle that another program signed.
fn signed_elsewhere(sign: impl Fn(&[u8]) -> Vec<u8>) -> Bundle {
    let payload = image_statement(DIGEST).to_string();
    let length = payload.len();
    let message = format!("DSSEv1 28 application/vnd.in-toto+json {length} {payload}");
    let bundle = json!({
        "mediaType": crateyard_signing::BUNDLE_TYPE,
        "verificationMaterial": {"publicKey": {"hint": ""}},
        "dsseEnvelope": {
            "payload": STANDARD.encode(&payload),
            "payloadType": "application/vnd.in-toto+json",
            "signatures": [{"sig": STANDARD.encode(sign(message.as_bytes()))}],
        },
    });
    Bundle::parse(bundle.to_string().as_bytes()).unwrap()
}

#[test]
fn keys_of_other_sorts_verify() {
    for algorithm in [&rcgen::PKCS_ECDSA_P384_SHA384, &rcgen::PKCS_ED25519] {
        let pair = rcgen::KeyPair::generate_for(algorithm).unwrap();
        let der = rcgen::PublicKeyData::subject_public_key_info(&pair);
        let bundle = signed_elsewhere(|it| rcgen::SigningKey::sign(&pair, it).unwrap());
        let own = PublicKey::from_der(&der).unwrap();
        bundle.verify(&own, DIGEST).unwrap();
        assert!(bundle.verify(&key().public(), DIGEST).is_err());
    }
}

#[test]
fn rsa_keys_verify() {
    need!("RSA", "openssl");
    let place = tempfile::tempdir().unwrap();
    let openssl = |line: &str| {
        let mut command = std::process::Command::new("openssl");
        let output = command
            .args(line.split(' '))
            .current_dir(place.path())
            .output();
        let output = output.unwrap();
        assert!(output.status.success(), "{output:?}");
        output.stdout
    };
    openssl("genrsa -out rsa.key 2048");
    let pem = String::from_utf8(openssl("pkey -in rsa.key -pubout")).unwrap();
    let bundle = signed_elsewhere(|message| {
        std::fs::write(place.path().join("message"), message).unwrap();
        openssl("dgst -sha256 -sign rsa.key message")
    });
    let own = PublicKey::from_pem(&pem).unwrap();
    bundle.verify(&own, DIGEST).unwrap();
}

#[test]
fn what_is_no_key_says_so() {
    let damaged = COSIGN.replacen("-----\ney", "-----\nfy", 1);
    for text in [
        "",
        "x",
        "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
        &damaged,
    ] {
        assert!(
            matches!(SecretKey::from_pem(text, Some("")), Err(Error::Key(_))),
            "{text:?}"
        );
    }
    assert!(PublicKey::from_pem(PKCS8).is_err());
    assert!(matches!(Bundle::parse(b"{}"), Err(Error::Bundle(_))));
}
