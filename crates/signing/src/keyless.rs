//! Signs by an identity: with a key that lives as long as the command, a certificate for it, and a
//! log entry for each signature.
//!
//! The services are [Fulcio](https://github.com/sigstore/fulcio) (`/api/v2/signingCert`) and
//! [Rekor](https://github.com/sigstore/rekor) (`/api/v1/log/entries`).

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::bundle::{Bundle, Envelope};
use crate::certificate::{Certificate, Identity};
use crate::http::Request;
use crate::log::Entry;
use crate::{Error, SecretKey, Simple, Token, Web};

/// The addresses of the services.
#[derive(Debug, Clone)]
pub struct Services {
    /// The certificate authority.
    pub fulcio: String,
    /// The log.
    pub rekor: String,
    /// The client that talks to them.
    pub web: Web,
}

/// A signer with a certificate that is valid for some minutes.
#[derive(Clone)]
pub struct Keyless {
    key: SecretKey,
    certificate: Certificate,
    /// The issuers of the certificate.
    chain: Vec<Certificate>,
    services: Services,
}

impl Keyless {
    /// Makes a key, and gets a certificate for it with a token.
    ///
    /// # Errors
    /// When the certificate authority refuses or can't be reached.
    pub fn begin(token: &Token, services: &Services) -> Result<Keyless, Error> {
        let key = SecretKey::generate();
        let proof = key.sign(token.subject().as_bytes())?;
        let request = json!({
            "credentials": {"oidcIdentityToken": token.text()},
            "publicKeyRequest": {
                "publicKey": {"algorithm": "ECDSA", "content": key.public().pem()},
                "proofOfPossession": BASE64.encode(proof),
            },
        });
        let url = address(&services.fulcio, "/api/v2/signingCert");
        let answer = services
            .web
            .ask(&Request::to(&url).json(&request).secret(token.text()))?
            .success(&url)?;
        let answer: Value = serde_json::from_slice(&answer).unwrap_or_default();
        let wrong = |reason: &str| Error::Service {
            url: url.clone(),
            reason: reason.to_owned(),
        };
        if answer.get("signedCertificateDetachedSct").is_some() {
            return Err(wrong(
                "answers a certificate with a detached SCT, which bundles have no place for",
            ));
        }
        let chain = &answer["signedCertificateEmbeddedSct"]["chain"]["certificates"];
        let chain = chain.as_array().into_iter().flatten();
        let pem: String = chain
            .filter_map(Value::as_str)
            .map(|it| format!("{}\n", it.trim_end()))
            .collect();
        let mut chain = Certificate::from_pem(&pem)?.into_iter();
        Ok(Keyless {
            key,
            certificate: chain
                .next()
                .ok_or_else(|| wrong("answers no certificate"))?,
            chain: chain.collect(),
            services: services.clone(),
        })
    }

    /// Returns the owner of the certificate.
    ///
    /// # Errors
    /// When the certificate does not name the owner.
    pub fn identity(&self) -> Result<Identity, Error> {
        self.certificate.identity()
    }

    /// Signs a statement and has the log record the signature.
    ///
    /// # Errors
    /// When the log refuses or can't be reached.
    pub fn sign(&self, statement: &Value) -> Result<Bundle, Error> {
        let envelope = Envelope::sign(statement, &self.key)?;
        let text = serde_json::to_string(&envelope).expect("text can be written as JSON");
        let entry = self.log(&json!({
            "apiVersion": "0.0.1",
            "kind": "dsse",
            "spec": {"proposedContent": {
                "envelope": text,
                "verifiers": [BASE64.encode(self.certificate.pem())],
            }},
        }))?;
        Ok(Bundle::logged(envelope, &self.certificate, entry))
    }

    /// Signs a document in the form of cosign before version 3.
    ///
    /// # Errors
    /// When the log refuses or can't be reached.
    pub fn sign_simple(&self, payload: Vec<u8>) -> Result<Simple, Error> {
        let hash = format!("{:x}", Sha256::digest(&payload));
        let signature = self.key.sign(&payload)?;
        let entry = self.log(&json!({
            "apiVersion": "0.0.1",
            "kind": "hashedrekord",
            "spec": {
                "data": {"hash": {"algorithm": "sha256", "value": hash}},
                "signature": {
                    "content": BASE64.encode(&signature),
                    "publicKey": {"content": BASE64.encode(self.certificate.pem())},
                },
            },
        }))?;
        Simple::sign(payload, &self.key)?.logged(&self.certificate, &self.chain, &entry)
    }

    fn log(&self, proposed: &Value) -> Result<Entry, Error> {
        let url = address(&self.services.rekor, "/api/v1/log/entries");
        let answer = self.services.web.ask(&Request::to(&url).json(proposed))?;
        // The log already has the entry, because the request was sent twice.
        if let (409, Some(location)) = (answer.status, &answer.location) {
            let name = location.rsplit('/').next().unwrap_or_default();
            let url = format!("{url}/{name}");
            return Entry::from_answer(&self.services.web.ask(&Request::to(&url))?.success(&url)?);
        }
        Entry::from_answer(&answer.success(&url)?)
    }
}

fn address(service: &str, path: &str) -> String {
    format!("{}{path}", service.trim_end_matches('/'))
}
