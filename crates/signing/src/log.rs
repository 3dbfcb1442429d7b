//! Entries of a transparency log, in Rekor's form. An entry proves that a signature existed at a
//! time.
//!
//! An entry counts if a log of the trusted root signed it with its time (the "signed entry
//! timestamp"), and if it is in the log's tree, whose root the log also signed.
//!
//! Proofs are those of [RFC 9162](https://www.rfc-editor.org/rfc/rfc9162#section-2.1.3.2), signed
//! roots are [checkpoints](https://github.com/transparency-dev/formats/blob/main/log/README.md).

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::Error;
use crate::certificate::Certificate;
use crate::root::TrustedRoot;

use self::proof::{Checkpoint, Proof};

mod proof;

/// An entry with the proof that the log has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    #[serde(with = "number")]
    log_index: i64,
    log_id: LogId,
    kind_version: Option<KindVersion>,
    #[serde(default, with = "number")]
    integrated_time: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    inclusion_promise: Option<Promise>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    inclusion_proof: Option<Proof>,
    canonicalized_body: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct LogId {
    key_id: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct KindVersion {
    kind: String,
    version: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Promise {
    signed_entry_timestamp: String,
}

/// The signature that an entry must record.
pub(crate) struct Claim<'a> {
    /// The bytes that were signed.
    pub message: &'a [u8],
    /// The payload of the envelope, if there is one.
    pub payload: Option<&'a [u8]>,
    pub signature: &'a [u8],
    pub certificate: &'a Certificate,
}

impl Entry {
    /// Reads the answer of Rekor's first API to a new entry, or to a query for one.
    ///
    /// # Errors
    /// When the text is not an entry.
    pub(crate) fn from_answer(answer: &[u8]) -> Result<Entry, Error> {
        let damaged = |what: &str| Error::Log(format!("the log answers no {what}"));
        let answer: Value = serde_json::from_slice(answer).map_err(|_| damaged("JSON"))?;
        let entry = answer.as_object().and_then(|all| all.values().next());
        let entry = entry.ok_or_else(|| damaged("entry"))?;
        let text = |value: &Value, what: &str| {
            let text = value.as_str().map(str::to_owned);
            text.ok_or_else(|| damaged(what))
        };
        let integer = |value: &Value, what: &str| value.as_i64().ok_or_else(|| damaged(what));
        let body = text(&entry["body"], "body")?;
        let content: Value = decode(&body)
            .ok()
            .and_then(|bytes| serde_json::from_slice(&bytes).ok())
            .ok_or_else(|| damaged("body"))?;
        let proof = &entry["verification"]["inclusionProof"];
        let hashes = proof["hashes"].as_array();
        Ok(Entry {
            log_index: integer(&entry["logIndex"], "logIndex")?,
            log_id: LogId {
                key_id: base16_to_base64(&text(&entry["logID"], "logID")?)?,
            },
            kind_version: Some(KindVersion {
                kind: text(&content["kind"], "kind")?,
                version: text(&content["apiVersion"], "apiVersion")?,
            }),
            integrated_time: integer(&entry["integratedTime"], "integratedTime")?,
            inclusion_promise: Some(Promise {
                signed_entry_timestamp: text(
                    &entry["verification"]["signedEntryTimestamp"],
                    "signedEntryTimestamp",
                )?,
            }),
            inclusion_proof: Some(Proof {
                log_index: integer(&proof["logIndex"], "inclusionProof")?,
                root_hash: base16_to_base64(&text(&proof["rootHash"], "rootHash")?)?,
                tree_size: integer(&proof["treeSize"], "treeSize")?,
                hashes: hashes
                    .into_iter()
                    .flatten()
                    .map(|hash| base16_to_base64(hash.as_str().unwrap_or_default()))
                    .collect::<Result<_, _>>()?,
                checkpoint: Some(Checkpoint {
                    envelope: text(&proof["checkpoint"], "checkpoint")?,
                }),
            }),
            canonicalized_body: body,
        })
    }

    /// Reads the annotation that cosign before version 3 puts beside a signature: an entry without
    /// a proof.
    ///
    /// # Errors
    /// When the text is not an entry.
    pub(crate) fn from_annotation(text: &str) -> Result<Entry, Error> {
        let old: Old = serde_json::from_str(text).map_err(|error| Error::Log(error.to_string()))?;
        Ok(Entry {
            log_index: old.payload.log_index,
            log_id: LogId {
                key_id: base16_to_base64(&old.payload.log_id)?,
            },
            kind_version: None,
            integrated_time: old.payload.integrated_time,
            inclusion_promise: Some(Promise {
                signed_entry_timestamp: old.signed_entry_timestamp,
            }),
            inclusion_proof: None,
            canonicalized_body: old.payload.body,
        })
    }

    /// Writes the annotation that cosign before version 3 puts beside a signature.
    ///
    /// # Errors
    /// When the log made no promise.
    pub(crate) fn to_annotation(&self) -> Result<String, Error> {
        let old = Old {
            signed_entry_timestamp: self.promise()?.signed_entry_timestamp.clone(),
            payload: OldPayload {
                body: self.canonicalized_body.clone(),
                integrated_time: self.integrated_time,
                log_index: self.log_index,
                log_id: self
                    .log_id()?
                    .iter()
                    .map(|it| format!("{it:02x}"))
                    .collect(),
            },
        };
        Ok(serde_json::to_string(&old).expect("text and numbers can be written as JSON"))
    }

    /// Returns the time at which a log of the trusted root accepted the entry, in seconds since
    /// 1970.
    ///
    /// `needs_proof` says whether the entry must prove that it is in the log's tree.
    ///
    /// # Errors
    /// When no trusted log signed the entry, or it is not in the log's tree.
    pub(crate) fn check(&self, root: &TrustedRoot, needs_proof: bool) -> Result<u64, Error> {
        let promise = self.promise()?;
        let time = u64::try_from(self.integrated_time).unwrap_or_default();
        let log = root.log(&self.log_id()?, time);
        let log = log.ok_or_else(|| log_error("no log of the trusted root has made it"))?;
        if !log.verifies(&self.promised()?, &decode(&promise.signed_entry_timestamp)?) {
            return Err(log_error("the log has not signed its time (SET)"));
        }
        match &self.inclusion_proof {
            Some(proof) => proof.check(log, &decode(&self.canonicalized_body)?)?,
            None if needs_proof => return Err(log_error("it has no proof of inclusion")),
            None => {}
        }
        Ok(time)
    }

    /// Returns the bytes of an entry that the log signs: JSON with sorted keys.
    fn promised(&self) -> Result<Vec<u8>, Error> {
        let id: String = self
            .log_id()?
            .iter()
            .map(|it| format!("{it:02x}"))
            .collect();
        decode(&self.canonicalized_body)?;
        let Entry {
            canonicalized_body: body,
            integrated_time: time,
            log_index: index,
            ..
        } = self;
        let text = format!(
            r#"{{"body":"{body}","integratedTime":{time},"logID":"{id}","logIndex":{index}}}"#
        );
        Ok(text.into_bytes())
    }

    fn promise(&self) -> Result<&Promise, Error> {
        self.inclusion_promise.as_ref().ok_or_else(|| {
            log_error(
                "the log has not signed its time (it has no SET; times of RFC 3161 are not read)",
            )
        })
    }

    fn log_id(&self) -> Result<Vec<u8>, Error> {
        decode(&self.log_id.key_id)
    }

    /// Checks that the entry is about a signature: the same bytes, signature and certificate.
    ///
    /// # Errors
    /// Names the difference.
    pub(crate) fn is_about(&self, claim: &Claim<'_>) -> Result<(), Error> {
        let body = decode(&self.canonicalized_body)?;
        let body: Value =
            serde_json::from_slice(&body).map_err(|error| Error::Log(error.to_string()))?;
        let spec = &body["spec"];
        let (hash, bytes, signature, verifier) = match body["kind"].as_str() {
            Some("dsse") => {
                let [signed] = spec["signatures"].as_array().map_or(&[][..], |all| all) else {
                    return Err(log_error("it has not exactly one signature"));
                };
                let payload = claim.payload.unwrap_or(claim.message);
                (
                    &spec["payloadHash"],
                    payload,
                    &signed["signature"],
                    &signed["verifier"],
                )
            }
            Some("hashedrekord") => (
                &spec["data"]["hash"],
                claim.message,
                &spec["signature"]["content"],
                &spec["signature"]["publicKey"]["content"],
            ),
            kind => {
                let kind = kind.unwrap_or("none").to_owned();
                return Err(Error::Log(format!("its kind is unknown here: {kind:?}")));
            }
        };
        let hex = format!("{:x}", Sha256::digest(bytes));
        if hash["algorithm"] != "sha256" || hash["value"] != hex.as_str() {
            return Err(log_error("it is about something else"));
        }
        let own = |value: &Value| decode(value.as_str().unwrap_or_default());
        if own(signature)? != claim.signature {
            return Err(log_error("it is about another signature"));
        }
        let pem = String::from_utf8(own(verifier)?).unwrap_or_default();
        let certificates = Certificate::from_pem(&pem).unwrap_or_default();
        match certificates.first() {
            Some(own) if own == claim.certificate => Ok(()),
            _ => Err(log_error("it is about another certificate")),
        }
    }
}

fn log_error(reason: &str) -> Error {
    Error::Log(reason.to_owned())
}

fn decode(text: &str) -> Result<Vec<u8>, Error> {
    let damaged = |_| log_error("its base 64 is damaged");
    BASE64.decode(text).map_err(damaged)
}

/// Turns hexadecimal digits into base 64.
fn base16_to_base64(text: &str) -> Result<String, Error> {
    let bytes = base16ct::mixed::decode_vec(text)
        .map_err(|_| log_error("its hexadecimal digits are damaged"))?;
    Ok(BASE64.encode(bytes))
}

/// The annotation of cosign before version 3.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Old {
    signed_entry_timestamp: String,
    payload: OldPayload,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct OldPayload {
    body: String,
    integrated_time: i64,
    log_index: i64,
    #[serde(rename = "logID")]
    log_id: String,
}

/// 64-bit integers, which the JSON form of protocol buffers writes as text.
mod number {
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(number: &i64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&number.to_string())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Either {
            Number(i64),
            Text(String),
        }
        match Either::deserialize(deserializer)? {
            Either::Number(number) => Ok(number),
            Either::Text(text) => text.parse().map_err(serde::de::Error::custom),
        }
    }
}
