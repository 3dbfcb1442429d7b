//! Keys in tokens sign like keys in memory, and PINs stay secret.
//!
//! SoftHSM reads the place of its tokens from the environment of this process, so there is one
//! test.
#![allow(missing_docs)]

mod common;

use std::path::PathBuf;
use std::process::Command;

use common::{open, refusal, signs};
use crateyard_signing::PublicKey;
use crateyard_testing::softhsm::{PIN, SoftHsm};
use crateyard_testing::{has, need, skip};

const PKCS8: &str = include_str!("keys/pkcs8.pem");

/// Makes the token, and a directory with the keys of the kinds EC P-256, EC P-384 and RSA.
fn token() -> Option<(SoftHsm, tempfile::TempDir)> {
    if !has("openssl") {
        skip("tokens", "openssl is not installed");
        return None;
    }
    let Some(token) = SoftHsm::new() else {
        skip("tokens", "softhsm2 is not installed");
        return None;
    };
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str| directory.path().join(name);
    std::fs::write(file("p256"), PKCS8).unwrap();
    for (name, options) in [
        ("p384", ["EC", "ec_paramgen_curve:P-384"]),
        ("rsa", ["RSA", "rsa_keygen_bits:2048"]),
        ("p521", ["EC", "ec_paramgen_curve:P-521"]),
    ] {
        let made = Command::new("openssl")
            .args([
                "genpkey",
                "-algorithm",
                options[0],
                "-pkeyopt",
                options[1],
                "-out",
            ])
            .arg(file(name))
            .output()
            .unwrap();
        assert!(made.status.success(), "{made:?}");
    }
    for (id, name) in [
        ("01", "p256"),
        ("02", "p384"),
        ("03", "rsa"),
        ("04", "p521"),
    ] {
        token.import(name, id, &file(name));
    }
    token.import("twice", "05", &file("p256"));
    token.import("twice", "06", &file("p384"));
    Some((token, directory))
}

fn public(file: PathBuf) -> PublicKey {
    let output = Command::new("openssl")
        .args(["pkey", "-pubout", "-in"])
        .arg(file)
        .output()
        .unwrap();
    PublicKey::from_pem(&String::from_utf8(output.stdout).unwrap()).unwrap()
}

#[test]
fn keys_in_tokens_sign() {
    need!("tokens", "softhsm2-util");
    let Some((token, directory)) = token() else {
        return;
    };
    // SAFETY: this is the only test of this program, so no other thread reads the environment.
    unsafe { std::env::set_var("SOFTHSM2_CONF", token.settings()) };
    let keys = directory.path();
    let of = |label: &str| token.reference(label);
    let pin = [("COSIGN_PKCS11_PIN", PIN)];
    for name in ["p256", "p384", "rsa"] {
        signs(&open(&of(name), &pin).unwrap(), &public(keys.join(name)));
    }
    let p256 = public(keys.join("p256"));
    let in_uri = format!("{}&pin-value={}", of("p256"), PIN.replace(' ', "%20"));
    signs(&open(&in_uri, &[]).unwrap(), &p256);
    std::fs::write(keys.join("pin"), format!("{PIN}\n")).unwrap();
    let in_file = format!(
        "{}&pin-source=file:{}",
        of("p256"),
        keys.join("pin").display()
    );
    signs(&open(&in_file, &[]).unwrap(), &p256);
    let by_id = of("p256").replace("object=p256", "id=%01");
    signs(&open(&by_id, &pin).unwrap(), &p256);
    let path = of("p256");
    let (path, module) = path.split_once("?module-path=").unwrap();
    let module = [("COSIGN_PKCS11_MODULE_PATH", module), pin[0]];
    signs(&open(path, &module).unwrap(), &p256);
    signs(
        &open(&of("twice").replace('?', ";id=%05?"), &pin).unwrap(),
        &p256,
    );

    for (reference, variables, reason) in [
        (of("p521"), &pin[..], "its kind can't sign here"),
        (of("nothing"), &pin, "no such private key"),
        (of("twice"), &pin, "2 private keys fit"),
        (
            of("p256").replace("The", "No"),
            &pin,
            "one of the tokens \"The Token\"",
        ),
        (
            of("p256"),
            &[("COSIGN_PKCS11_PIN", "4711 0816")],
            "refuses the PIN",
        ),
        (
            of("p256").replace("libsofthsm2", "missing"),
            &pin,
            "cannot load",
        ),
        (of("p256"), &[], "the token wants a PIN"),
        (path.to_owned(), &pin, "COSIGN_PKCS11_MODULE_PATH"),
    ] {
        let said = refusal(&reference, variables);
        assert!(said.contains(reason), "{said}");
        assert!(!said.contains("4711"), "{said}");
    }
}
