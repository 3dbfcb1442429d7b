//! A stand-in for AWS KMS with one key, as its documentation describes it:
//! <https://docs.aws.amazon.com/kms/latest/APIReference/API_Sign.html>. It does not check the
//! signatures of requests, as moto does, and can err, which moto can't.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use p256::ecdsa::signature::hazmat::PrehashSigner;
use p256::ecdsa::{DerSignature, SigningKey};
use p256::pkcs8::EncodePublicKey;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::kms::{Fault, Faults};
use crate::scripted::{Answer, Scripted, Seen};

/// The key's identifier.
pub const KEY: &str = "1234abcd-12ab-34cd-56ef-1234567890ab";

/// The service.
pub struct Aws {
    server: Scripted,
    faults: Faults,
}

impl Aws {
    /// Starts the service on loopback.
    pub fn start() -> Aws {
        let faults = Faults::default();
        let shared = faults.clone();
        let server = Scripted::start(move |seen| {
            answer(seen, shared.now()).unwrap_or_else(|(kind, text)| {
                let error = json!({"__type": kind, "message": text});
                Answer::new(400).body(error.to_string())
            })
        });
        Aws { server, faults }
    }

    /// Returns the value of `AWS_ENDPOINT_URL_KMS`.
    pub fn url(&self) -> String {
        format!("http://{}", self.server.address)
    }

    /// Returns the public key, in DER.
    pub fn public(&self) -> Vec<u8> {
        let key = *secret(7).verifying_key();
        key.to_public_key_der().unwrap().into_vec()
    }

    /// Makes the service err.
    pub fn err(&self, fault: Fault) {
        self.faults.set(fault);
    }

    /// Returns all requests.
    pub fn seen(&self) -> Vec<Seen> {
        self.server.seen()
    }
}

fn secret(number: u8) -> SigningKey {
    SigningKey::from_slice(&[number; 32]).unwrap()
}

fn answer(seen: &Seen, fault: Fault) -> Result<Answer, (&'static str, String)> {
    let body: Value = serde_json::from_slice(&seen.body).unwrap_or_default();
    let id = body["KeyId"].as_str().unwrap_or_default();
    let action = seen.headers.get("x-amz-target").map(String::as_str);
    let made = match (action, id) {
        (Some("TrentService.GetPublicKey"), KEY) => json!({
            "KeyId": KEY, "KeySpec": "ECC_NIST_P256", "KeyUsage": "SIGN_VERIFY",
            "SigningAlgorithms": ["ECDSA_SHA_256"],
            "PublicKey": STANDARD.encode(secret(7).verifying_key().to_public_key_der().unwrap()),
        }),
        (Some("TrentService.GetPublicKey"), "agrees") => json!({
            "KeyId": "agrees", "KeySpec": "ECC_NIST_P256", "KeyUsage": "KEY_AGREEMENT",
            "PublicKey": STANDARD.encode(secret(7).verifying_key().to_public_key_der().unwrap()),
        }),
        (Some("TrentService.Sign"), KEY) => sign(&body, fault)?,
        _ => return Err(("NotFoundException", format!("Key '{id}' does not exist"))),
    };
    Ok(Answer::new(200).body(made.to_string()))
}

fn sign(body: &Value, fault: Fault) -> Result<Value, (&'static str, String)> {
    let digest = STANDARD.decode(body["Message"].as_str().unwrap_or_default());
    let mut digest = digest.unwrap_or_default();
    let wanted = json!({
        "KeyId": KEY, "Message": STANDARD.encode(&digest), "MessageType": "DIGEST",
        "SigningAlgorithm": "ECDSA_SHA_256",
    });
    if digest.len() != 32 || *body != wanted {
        let text = "Digest is invalid length for algorithm ECDSA_SHA_256.";
        return Err(("ValidationException", text.to_owned()));
    }
    if fault == Fault::OtherDigest {
        digest = Sha256::digest(&digest).to_vec();
    }
    let key = secret(if fault == Fault::OtherKey { 8 } else { 7 });
    let signature: DerSignature = key.sign_prehash(&digest).unwrap();
    let mut signature = signature.as_bytes().to_vec();
    if fault == Fault::Damaged {
        signature[9] ^= 1;
    }
    Ok(json!({
        "KeyId": KEY, "Signature": STANDARD.encode(signature), "SigningAlgorithm": "ECDSA_SHA_256",
    }))
}
