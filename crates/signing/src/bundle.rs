//! Statements in envelopes in bundles.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{BUNDLE_TYPE, Error, IMAGE_PREDICATE, PublicKey, SecretKey};

const STATEMENT_TYPE: &str = "https://in-toto.io/Statement/v1";
const PAYLOAD_TYPE: &str = "application/vnd.in-toto+json";

/// The statement that an image's signature is about. `digest` is `ALGORITHM:HEX`.
pub fn image_statement(digest: &str) -> Value {
    statement(digest, IMAGE_PREDICATE, json!({}))
}

/// A statement about an image.
pub fn statement(digest: &str, predicate_type: &str, predicate: Value) -> Value {
    let (algorithm, hex) = digest.split_once(':').unwrap_or(("sha256", digest));
    json!({
        "_type": STATEMENT_TYPE,
        "subject": [{"digest": {algorithm: hex}}],
        "predicateType": predicate_type,
        "predicate": predicate,
    })
}

/// A signed statement with what is needed to verify it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Bundle {
    media_type: String,
    verification_material: VerificationMaterial,
    dsse_envelope: Envelope,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct VerificationMaterial {
    #[serde(default)]
    public_key: Option<KeyHint>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct KeyHint {
    #[serde(default)]
    hint: String,
}

/// A payload with signatures.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Envelope {
    payload: String,
    payload_type: String,
    signatures: Vec<Signature>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Signature {
    sig: String,
}

impl Bundle {
    /// Signs a statement.
    pub fn sign(statement: &Value, key: &SecretKey) -> Bundle {
        let payload = statement.to_string();
        let signature = key.sign(&pre_authentication(PAYLOAD_TYPE, payload.as_bytes()));
        Bundle {
            media_type: BUNDLE_TYPE.to_owned(),
            verification_material: VerificationMaterial {
                public_key: Some(KeyHint {
                    hint: key.public().hint(),
                }),
            },
            dsse_envelope: Envelope {
                payload: BASE64.encode(payload),
                payload_type: PAYLOAD_TYPE.to_owned(),
                signatures: vec![Signature {
                    sig: BASE64.encode(signature),
                }],
            },
        }
    }

    /// Reads a bundle.
    ///
    /// # Errors
    /// When it is none, or holds no envelope.
    pub fn parse(bytes: &[u8]) -> Result<Bundle, Error> {
        serde_json::from_slice(bytes).map_err(|error| Error::Bundle(error.to_string()))
    }

    /// The bundle's bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("text can be written as JSON")
    }

    /// The type of the statement's predicate; not verified.
    pub fn predicate_type(&self) -> Option<String> {
        let payload = BASE64.decode(&self.dsse_envelope.payload).ok()?;
        let statement: Value = serde_json::from_slice(&payload).ok()?;
        statement["predicateType"].as_str().map(str::to_owned)
    }

    /// The statement, if `key` signed it and it is about the image with this digest (`ALGORITHM:HEX`).
    ///
    /// # Errors
    /// When another key signed it, or it is about something else.
    pub fn verify(&self, key: &PublicKey, digest: &str) -> Result<Value, Error> {
        let envelope = &self.dsse_envelope;
        let damaged = |_| Error::Bundle("its base 64 is damaged".to_owned());
        let payload = BASE64.decode(&envelope.payload).map_err(damaged)?;
        let message = pre_authentication(&envelope.payload_type, &payload);
        let signatures = envelope
            .signatures
            .iter()
            .filter_map(|it| BASE64.decode(&it.sig).ok());
        if !signatures
            .into_iter()
            .any(|signature| key.verifies(&message, &signature))
        {
            return Err(Error::Mismatch("another key made it, or it was changed"));
        }
        let statement: Value =
            serde_json::from_slice(&payload).map_err(|error| Error::Bundle(error.to_string()))?;
        let is_statement =
            envelope.payload_type == PAYLOAD_TYPE && statement["_type"] == STATEMENT_TYPE;
        let (algorithm, hex) = digest.split_once(':').unwrap_or(("sha256", digest));
        let subjects = statement["subject"].as_array();
        let is_about =
            subjects.is_some_and(|all| all.iter().any(|it| it["digest"][algorithm] == hex));
        match is_statement && is_about {
            true => Ok(statement),
            false => Err(Error::Mismatch("it is about something else")),
        }
    }
}

/// What is signed: type and payload with their lengths, so that neither can pass for the other.
fn pre_authentication(payload_type: &str, payload: &[u8]) -> Vec<u8> {
    let head = format!(
        "DSSEv1 {} {payload_type} {} ",
        payload_type.len(),
        payload.len()
    );
    [head.as_bytes(), payload].concat()
}
