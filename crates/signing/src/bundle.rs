//! Signed statements: envelopes in bundles.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::certificate::{Certificate, Identity};
use crate::log::{Claim, Entry};
use crate::root::TrustedRoot;
use crate::statement::{self, pre_authentication};
use crate::{BUNDLE_TYPE, Error, IN_TOTO_TYPE, PublicKey, SecretKey};

/// A signed statement with everything that its verification needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Bundle {
    media_type: String,
    verification_material: VerificationMaterial,
    dsse_envelope: Envelope,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct VerificationMaterial {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    public_key: Option<KeyHint>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    certificate: Option<RawCertificate>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    x509_certificate_chain: Option<RawChain>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    tlog_entries: Vec<Entry>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct KeyHint {
    #[serde(default)]
    hint: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawCertificate {
    raw_bytes: String,
}

/// The chain in a bundle before version 0.3, with the signer's certificate first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct RawChain {
    certificates: Vec<RawCertificate>,
}

/// A payload with signatures.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Envelope {
    payload: String,
    payload_type: String,
    signatures: Vec<Signature>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Signature {
    sig: String,
}

impl Envelope {
    /// Signs a statement.
    pub(crate) fn sign(statement: &Value, key: &SecretKey) -> Result<Envelope, Error> {
        let payload = statement.to_string();
        let signature = key.sign(&pre_authentication(IN_TOTO_TYPE, payload.as_bytes()))?;
        Ok(Envelope {
            payload: BASE64.encode(payload),
            payload_type: IN_TOTO_TYPE.to_owned(),
            signatures: vec![Signature {
                sig: BASE64.encode(signature),
            }],
        })
    }

    fn payload(&self) -> Result<Vec<u8>, Error> {
        let damaged = |_| Error::Bundle("its base 64 is damaged".to_owned());
        BASE64.decode(&self.payload).map_err(damaged)
    }

    /// Returns the first signature that `verifies` accepts, and the message that it signs.
    fn signed(
        &self,
        payload: &[u8],
        verifies: impl Fn(&[u8], &[u8]) -> bool,
    ) -> Result<(Vec<u8>, Vec<u8>), Error> {
        let message = pre_authentication(&self.payload_type, payload);
        let signatures = self.signatures.iter();
        let mut signatures = signatures.filter_map(|it| BASE64.decode(&it.sig).ok());
        match signatures.find(|signature| verifies(&message, signature)) {
            Some(signature) => Ok((message, signature)),
            None => Err(Error::Mismatch("another key made it, or it was changed")),
        }
    }
}

impl Bundle {
    /// Signs a statement.
    ///
    /// # Errors
    /// When the keeper of the key can't be reached or refuses.
    pub fn sign(statement: &Value, key: &SecretKey) -> Result<Bundle, Error> {
        let hint = KeyHint {
            hint: key.public().hint(),
        };
        let material = VerificationMaterial {
            public_key: Some(hint),
            ..VerificationMaterial::default()
        };
        Ok(Bundle::new(material, Envelope::sign(statement, key)?))
    }

    /// Makes a bundle of an envelope that a certificate's key signed, and the log's entry for it.
    pub(crate) fn logged(envelope: Envelope, certificate: &Certificate, entry: Entry) -> Bundle {
        let certificate = RawCertificate {
            raw_bytes: BASE64.encode(certificate.der()),
        };
        let material = VerificationMaterial {
            certificate: Some(certificate),
            tlog_entries: vec![entry],
            ..VerificationMaterial::default()
        };
        Bundle::new(material, envelope)
    }

    fn new(verification_material: VerificationMaterial, dsse_envelope: Envelope) -> Bundle {
        Bundle {
            media_type: BUNDLE_TYPE.to_owned(),
            verification_material,
            dsse_envelope,
        }
    }

    /// Reads a bundle.
    ///
    /// # Errors
    /// When the text is not a bundle, or holds no envelope.
    pub fn parse(bytes: &[u8]) -> Result<Bundle, Error> {
        serde_json::from_slice(bytes).map_err(|error| Error::Bundle(error.to_string()))
    }

    /// Returns the bundle's bytes.
    ///
    /// # Panics
    /// Never: text and numbers can be written as JSON.
    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("text can be written as JSON")
    }

    /// Returns the predicate type of the statement, unverified.
    pub fn predicate_type(&self) -> Option<String> {
        let payload = self.dsse_envelope.payload().ok()?;
        let statement: Value = serde_json::from_slice(&payload).ok()?;
        statement["predicateType"].as_str().map(str::to_owned)
    }

    /// Whether the signer is an identity, named by a certificate.
    pub fn has_certificate(&self) -> bool {
        let material = &self.verification_material;
        material.certificate.is_some() || material.x509_certificate_chain.is_some()
    }

    /// Returns the statement, if `key` signed it and it is about the image with this digest
    /// (`ALGORITHM:HEX`).
    ///
    /// # Errors
    /// When another key signed the statement, or the statement is about another image.
    pub fn verify(&self, key: &PublicKey, digest: &str) -> Result<Value, Error> {
        let envelope = &self.dsse_envelope;
        let payload = envelope.payload()?;
        envelope.signed(&payload, |message, signature| {
            key.verifies(message, signature)
        })?;
        statement::about(&envelope.payload_type, &payload, digest)
    }

    /// Returns the statement and its signer, if the trusted root vouches for the identity that
    /// signed it, and it is about the image with this digest (`ALGORITHM:HEX`).
    ///
    /// # Errors
    /// Names the failed part: certificate, log, signature or statement.
    pub fn verify_identity(
        &self,
        root: &TrustedRoot,
        digest: &str,
    ) -> Result<(Value, Identity), Error> {
        let certificate = self.certificate()?;
        let envelope = &self.dsse_envelope;
        let payload = envelope.payload()?;
        let (message, signature) = envelope.signed(&payload, |message, signature| {
            certificate.verifies(message, signature)
        })?;
        let entries = &self.verification_material.tlog_entries;
        let [entry] = &entries[..] else {
            let reason = format!("the bundle has {} entries, not one", entries.len());
            return Err(Error::Log(reason));
        };
        entry.is_about(&Claim {
            message: &message,
            payload: Some(&payload),
            signature: &signature,
            certificate: &certificate,
        })?;
        let time = entry.check(root, true)?;
        certificate.check(root, time)?;
        let statement = statement::about(&envelope.payload_type, &payload, digest)?;
        Ok((statement, certificate.identity()?))
    }

    fn certificate(&self) -> Result<Certificate, Error> {
        let material = &self.verification_material;
        let chain = material.x509_certificate_chain.as_ref();
        let certificate = material
            .certificate
            .as_ref()
            .or_else(|| chain?.certificates.first());
        let missing = || Error::Certificate("the bundle has none".to_owned());
        let raw = &certificate.ok_or_else(missing)?.raw_bytes;
        let damaged = |_| Error::Certificate("its base 64 is damaged".to_owned());
        Certificate::from_der(&BASE64.decode(raw).map_err(damaged)?)
    }
}
