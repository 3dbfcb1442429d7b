//! The trusted root: the authorities and logs to trust for identities and times.
//!
//! The file is sigstore's `trusted_root.json` ([`trustroot.v1`][proto]).
//!
//! [proto]: https://github.com/sigstore/protobuf-specs/blob/main/protos/sigstore_trustroot.proto

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use jiff::Timestamp;
use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::certificate::Certificate;
use crate::{Error, PublicKey};

/// The prefix of the media types.
const MEDIA_TYPE: &str = "application/vnd.dev.sigstore.trustedroot";

/// The authorities and logs to trust.
#[derive(Debug, Clone)]
pub struct TrustedRoot {
    authorities: Vec<Authority>,
    logs: Vec<Log>,
    certificate_logs: Vec<Log>,
}

/// A certificate authority.
#[derive(Debug, Clone)]
pub(crate) struct Authority {
    /// The authority's certificates, with the root last.
    pub chain: Vec<Certificate>,
    period: Period,
}

/// A log.
#[derive(Debug, Clone)]
pub(crate) struct Log {
    id: Vec<u8>,
    key: PublicKey,
    period: Period,
}

impl Log {
    /// Whether the log signed this.
    pub(crate) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        self.key.verifies(message, signature)
    }

    /// Returns the first bytes of the log's key id, which name the key in checkpoints.
    pub(crate) fn hint(&self) -> &[u8] {
        &self.id[..4.min(self.id.len())]
    }
}

impl TrustedRoot {
    /// Reads the file's text.
    ///
    /// # Errors
    /// When the text is not a trusted root, or a part of it is damaged. Logs with unknown types of
    /// keys are skipped.
    pub fn parse(bytes: &[u8]) -> Result<TrustedRoot, Error> {
        let file: File =
            serde_json::from_slice(bytes).map_err(|error| Error::Root(error.to_string()))?;
        if !file.media_type.starts_with(MEDIA_TYPE) {
            let reason = format!("its media type is {:?}", file.media_type);
            return Err(Error::Root(reason));
        }
        let authorities = file.certificate_authorities.iter().map(authority);
        Ok(TrustedRoot {
            authorities: authorities.collect::<Result<_, _>>()?,
            logs: logs(&file.tlogs)?,
            certificate_logs: logs(&file.ctlogs)?,
        })
    }

    /// Returns the authorities that were in use at a time (seconds since 1970).
    pub(crate) fn authorities_at(&self, time: u64) -> impl Iterator<Item = &Authority> {
        self.authorities
            .iter()
            .filter(move |authority| authority.period.has(time))
    }

    /// Returns the signature log with this `id`, if it was in use at that time.
    pub(crate) fn log(&self, id: &[u8], time: u64) -> Option<&Log> {
        let mut all = self.logs.iter();
        all.find(|log| log.id == id && log.period.has(time))
    }

    /// Returns the certificate log with this `id`, if it was in use at that time.
    pub(crate) fn certificate_log(&self, id: &[u8], time: u64) -> Option<&Log> {
        let mut all = self.certificate_logs.iter();
        all.find(|log| log.id == id && log.period.has(time))
    }
}

fn authority(own: &FileAuthority) -> Result<Authority, Error> {
    let mut chain = Vec::new();
    for certificate in &own.cert_chain.certificates {
        let certificate = Certificate::from_der(&bytes(&certificate.raw_bytes)?);
        chain.push(certificate.map_err(|error| Error::Root(error.to_string()))?);
    }
    Ok(Authority {
        chain,
        period: own.valid_for,
    })
}

fn logs(all: &[FileLog]) -> Result<Vec<Log>, Error> {
    let mut logs = Vec::new();
    for log in all {
        let der = bytes(&log.public_key.raw_bytes)?;
        let Ok(key) = PublicKey::from_der(&der) else {
            continue;
        };
        let id = match &log.log_id {
            Some(id) => bytes(&id.key_id)?,
            None => Sha256::digest(&der).to_vec(),
        };
        logs.push(Log {
            id,
            key,
            period: log.public_key.valid_for,
        });
    }
    Ok(logs)
}

fn bytes(text: &str) -> Result<Vec<u8>, Error> {
    let damaged = |_| Error::Root("its base 64 is damaged".to_owned());
    BASE64.decode(text).map_err(damaged)
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct File {
    media_type: String,
    #[serde(default)]
    tlogs: Vec<FileLog>,
    #[serde(default)]
    certificate_authorities: Vec<FileAuthority>,
    #[serde(default)]
    ctlogs: Vec<FileLog>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct FileLog {
    public_key: FileKey,
    log_id: Option<FileId>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct FileKey {
    raw_bytes: String,
    #[serde(default)]
    valid_for: Period,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct FileId {
    key_id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct FileAuthority {
    cert_chain: FileChain,
    #[serde(default)]
    valid_for: Period,
}

#[derive(Deserialize)]
struct FileChain {
    certificates: Vec<FileCertificate>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct FileCertificate {
    raw_bytes: String,
}

/// A period of use. A missing bound means no limit.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
struct Period {
    start: Option<Timestamp>,
    end: Option<Timestamp>,
}

impl Period {
    fn has(&self, time: u64) -> bool {
        let time = i64::try_from(time).unwrap_or(i64::MAX);
        let begun = self.start.is_none_or(|start| start.as_second() <= time);
        begun && self.end.is_none_or(|end| time <= end.as_second())
    }
}
