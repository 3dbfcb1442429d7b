//! Signatures in the form of cosign before version 3. A small document names the image's digest
//! ("simple signing"). The annotations of its layer hold everything else. The tag is
//! `ALGORITHM-HEX.sig`.
//!
//! See [cosign's
//! specification](https://github.com/sigstore/cosign/blob/main/specs/SIGNATURE_SPEC.md).

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};

use crate::certificate::{Certificate, Identity};
use crate::log::{Claim, Entry};
use crate::root::TrustedRoot;
use crate::{Error, PublicKey, SecretKey};

const SIGNATURE: &str = "dev.cosignproject.cosign/signature";
const CERTIFICATE: &str = "dev.sigstore.cosign/certificate";
const CHAIN: &str = "dev.sigstore.cosign/chain";
const BUNDLE: &str = "dev.sigstore.cosign/bundle";
const TYPE: &str = "cosign container image signature";

/// A signature in the form of cosign before version 3.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Simple {
    /// The document, which is a layer of the signatures' manifest.
    pub payload: Vec<u8>,
    /// The layer's annotations.
    pub annotations: BTreeMap<String, String>,
}

impl Simple {
    /// The media type of the document.
    pub const MEDIA_TYPE: &str = "application/vnd.dev.cosign.simplesigning.v1+json";

    /// Returns the tag for the signatures of an image. `digest` is `ALGORITHM:HEX`.
    pub fn tag(digest: &str) -> String {
        format!("{}.sig", digest.replace(':', "-"))
    }

    /// Makes the document about an image. `reference` names the image without tag and digest.
    pub fn document(reference: &str, digest: &str) -> Vec<u8> {
        let critical = json!({
            "identity": {"docker-reference": reference},
            "image": {"docker-manifest-digest": digest},
            "type": TYPE,
        });
        json!({"critical": critical, "optional": null})
            .to_string()
            .into_bytes()
    }

    /// Signs a document with a key.
    ///
    /// # Errors
    /// When the keeper of the key can't be reached or refuses.
    pub fn sign(payload: Vec<u8>, key: &SecretKey) -> Result<Simple, Error> {
        let signature = BASE64.encode(key.sign(&payload)?);
        Ok(Simple {
            payload,
            annotations: BTreeMap::from([(SIGNATURE.to_owned(), signature)]),
        })
    }

    /// Adds the certificate of the key, its issuers, and the log's entry.
    pub(crate) fn logged(
        mut self,
        certificate: &Certificate,
        chain: &[Certificate],
        entry: &Entry,
    ) -> Result<Simple, Error> {
        let chain = chain.iter().map(Certificate::pem).collect();
        let more = [
            (CERTIFICATE, certificate.pem()),
            (CHAIN, chain),
            (BUNDLE, entry.to_annotation()?),
        ];
        let more = more.map(|(name, value)| (name.to_owned(), value));
        self.annotations.extend(more);
        Ok(self)
    }

    /// Checks that `key` signed the document and that it is about the image with this digest.
    ///
    /// # Errors
    /// When another key signed the document, or the document is about another image.
    pub fn verify(&self, key: &PublicKey, digest: &str) -> Result<(), Error> {
        if !key.verifies(&self.payload, &self.signature()?) {
            return Err(Error::Mismatch("another key made it, or it was changed"));
        }
        self.is_about(digest)
    }

    /// Returns the signer, if the trusted root vouches for the identity that signed the document,
    /// and the document is about the image with this digest.
    ///
    /// # Errors
    /// Names the failed part: certificate, log, signature or document.
    pub fn verify_identity(&self, root: &TrustedRoot, digest: &str) -> Result<Identity, Error> {
        let missing = |what: &str| Error::Bundle(format!("it has no annotation {what}"));
        let annotation = |name| self.annotations.get(name).ok_or_else(|| missing(name));
        let certificates = Certificate::from_pem(annotation(CERTIFICATE)?)?;
        let [certificate] = &certificates[..] else {
            let reason = format!("there are {} of them", certificates.len());
            return Err(Error::Certificate(reason));
        };
        let signature = self.signature()?;
        if !certificate.verifies(&self.payload, &signature) {
            return Err(Error::Mismatch("another key made it, or it was changed"));
        }
        let entry = Entry::from_annotation(annotation(BUNDLE)?)?;
        entry.is_about(&Claim {
            message: &self.payload,
            payload: None,
            signature: &signature,
            certificate,
        })?;
        // This form has no field for a proof.
        let time = entry.check(root, false)?;
        certificate.check(root, time)?;
        self.is_about(digest)?;
        certificate.identity()
    }

    /// Whether the signer is an identity, named by a certificate.
    pub fn has_certificate(&self) -> bool {
        self.annotations.contains_key(CERTIFICATE)
    }

    fn signature(&self) -> Result<Vec<u8>, Error> {
        let text = self.annotations.get(SIGNATURE);
        let bytes = text.and_then(|text| BASE64.decode(text).ok());
        bytes.ok_or_else(|| Error::Bundle(format!("its annotation {SIGNATURE} is damaged")))
    }

    fn is_about(&self, digest: &str) -> Result<(), Error> {
        let document: Value = serde_json::from_slice(&self.payload)
            .map_err(|error| Error::Bundle(error.to_string()))?;
        let critical = &document["critical"];
        let is_it =
            critical["type"] == TYPE && critical["image"]["docker-manifest-digest"] == digest;
        match is_it {
            true => Ok(()),
            false => Err(Error::Mismatch("it is about something else")),
        }
    }
}
