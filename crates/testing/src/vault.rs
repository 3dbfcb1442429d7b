//! A stand-in for the transit engine of Vault and OpenBao, with one key, as its documentation
//! describes it: <https://developer.hashicorp.com/vault/api-docs/secret/transit>.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use p256::ecdsa::signature::hazmat::PrehashSigner;
use p256::ecdsa::{DerSignature, SigningKey};
use p256::pkcs8::{EncodePublicKey, LineEnding};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::kms::{Fault, Faults};
use crate::scripted::{Answer, Scripted, Seen};

/// The token that the engine accepts.
pub const TOKEN: &str = "hvs.a token under test";
/// The name of the key.
pub const KEY: &str = "release-key";
/// The namespace.
pub const NAMESPACE: &str = "team";

/// The engine, at `transit` and at `other/transit`.
pub struct Vault {
    server: Scripted,
    public: String,
    faults: Faults,
}

impl Vault {
    /// Starts the engine on loopback. The key has version 3.
    pub fn start() -> Vault {
        let key = SigningKey::from_slice(&[7; 32]).unwrap();
        let public = key.verifying_key().to_public_key_pem(LineEnding::LF);
        let public = public.unwrap();
        let faults = Faults::default();
        let (own, shared) = (public.clone(), faults.clone());
        let server = Scripted::start(move |seen| answer(seen, &key, &own, shared.now()));
        Vault {
            server,
            public,
            faults,
        }
    }

    /// Returns the value of `VAULT_ADDR`.
    pub fn url(&self) -> String {
        format!("http://{}", self.server.address)
    }

    /// Returns the public key, in PEM.
    pub fn public(&self) -> &str {
        &self.public
    }

    /// Makes the engine err.
    pub fn err(&self, fault: Fault) {
        self.faults.set(fault);
    }
}

fn answer(seen: &Seen, key: &SigningKey, public: &str, fault: Fault) -> Answer {
    let error =
        |status, text: &str| Answer::new(status).body(json!({"errors": [text]}).to_string());
    let header = |name: &str| seen.headers.get(name).map(String::as_str);
    if header("x-vault-token") != Some(TOKEN) || header("x-vault-namespace") != Some(NAMESPACE) {
        return error(403, "permission denied");
    }
    let path = seen.path.replace("/v1/other/", "/v1/");
    let body: Value = serde_json::from_slice(&seen.body).unwrap_or_default();
    let data = match (seen.method.as_str(), path.as_str()) {
        ("GET", "/v1/transit/keys/release-key") => json!({
            "type": "ecdsa-p256", "latest_version": 3, "supports_signing": true,
            "keys": {"2": {"name": "P-256", "public_key": "an older one"},
                     "3": {"name": "P-256", "public_key": public}},
        }),
        ("GET", "/v1/transit/keys/edwards") => json!({
            "type": "ed25519", "latest_version": 1,
            "keys": {"1": {"name": "ed25519", "public_key": "AAAA"}},
        }),
        ("POST", "/v1/transit/sign/release-key/sha2-256")
            if body["prehashed"] == true && body["key_version"] == 3 =>
        {
            let digest = STANDARD.decode(body["input"].as_str().unwrap_or_default());
            let Ok(digest) = digest
                .map_err(drop)
                .and_then(|it| <[u8; 32]>::try_from(it).map_err(drop))
            else {
                return error(400, "invalid length of input for prehashed");
            };
            let (version, signature) = sign(digest, key, fault);
            json!({
                "key_version": version,
                "signature": format!("vault:v{version}:{}", STANDARD.encode(signature)),
            })
        }
        _ => return error(404, "no handler for route"),
    };
    Answer::new(200).body(json!({"request_id": "1", "data": data}).to_string())
}

/// Returns the version that signs, and the signature.
fn sign(mut digest: [u8; 32], key: &SigningKey, fault: Fault) -> (u8, Vec<u8>) {
    if fault == Fault::OtherDigest {
        digest = Sha256::digest(digest).into();
    }
    let other = SigningKey::from_slice(&[8; 32]).unwrap();
    let key = match fault {
        Fault::OtherKey | Fault::OtherVersion => &other,
        _ => key,
    };
    let signature: DerSignature = key.sign_prehash(&digest).unwrap();
    let mut signature = signature.as_bytes().to_vec();
    if fault == Fault::Damaged {
        signature[9] ^= 1;
    }
    (if fault == Fault::OtherVersion { 2 } else { 3 }, signature)
}
