//! Certificates of identities, in Fulcio's form.
//!
//! The fields are those of [Fulcio's
//! documentation](https://github.com/sigstore/fulcio/blob/main/docs/oid-info.md).

use std::collections::BTreeMap;

use rustls::pki_types::{CertificateDer, SignatureVerificationAlgorithm, UnixTime};
use sha2::{Digest, Sha256};
use webpki::ring as algorithms;
use webpki::{EndEntityCert, KeyUsage};
use x509_cert::der::asn1::{ObjectIdentifier, Utf8StringRef};
use x509_cert::der::oid::AssociatedOid;
use x509_cert::der::pem::LineEnding;
use x509_cert::der::{Decode, Encode};
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::ext::pkix::sct::{SignedCertificateTimestamp, SignedCertificateTimestampList};
use x509_cert::ext::pkix::{SubjectAltName, name::OtherName};

use crate::root::{Authority, TrustedRoot};
use crate::{Error, PublicKey};

/// The algorithms by which authorities sign certificates.
const CERTIFICATES: [&dyn SignatureVerificationAlgorithm; 8] = [
    algorithms::ECDSA_P256_SHA256,
    algorithms::ECDSA_P256_SHA384,
    algorithms::ECDSA_P384_SHA256,
    algorithms::ECDSA_P384_SHA384,
    algorithms::ED25519,
    algorithms::RSA_PKCS1_2048_8192_SHA256,
    algorithms::RSA_PKCS1_2048_8192_SHA384,
    algorithms::RSA_PKCS1_2048_8192_SHA512,
];
/// The extended key usage of code signing, 1.3.6.1.5.5.7.3.3, in DER.
const CODE_SIGNING: &[u8] = &[43, 6, 1, 5, 5, 7, 3, 3];
/// The user's name, in certificates from issuers whose users have no e-mail addresses.
const USER_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.57264.1.7");
/// The issuer as plain bytes, as in old certificates.
const OLD_ISSUER: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.57264.1.1");
/// The issuer of the token.
const ISSUER: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.57264.1.8");
/// The extensions with claims about a CI run.
const CLAIMS: [(&str, ObjectIdentifier); 9] = [
    ("build-signer", oid("1.3.6.1.4.1.57264.1.9")),
    ("runner-environment", oid("1.3.6.1.4.1.57264.1.11")),
    ("source-repository", oid("1.3.6.1.4.1.57264.1.12")),
    ("source-digest", oid("1.3.6.1.4.1.57264.1.13")),
    ("source-ref", oid("1.3.6.1.4.1.57264.1.14")),
    ("source-owner", oid("1.3.6.1.4.1.57264.1.16")),
    ("build-config", oid("1.3.6.1.4.1.57264.1.18")),
    ("build-trigger", oid("1.3.6.1.4.1.57264.1.20")),
    ("run", oid("1.3.6.1.4.1.57264.1.21")),
];

const fn oid(text: &str) -> ObjectIdentifier {
    ObjectIdentifier::new_unwrap(text)
}

/// The owner of a certificate, and the issuer of the token that identified the owner.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Identity {
    /// A workflow's address, an e-mail address, or a user's name.
    pub subject: String,
    /// The address of the issuer of the token.
    pub issuer: String,
    /// The token's claims about the CI run: `source-repository`, `source-ref` and others.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub claims: BTreeMap<String, String>,
}

/// A certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    der: Vec<u8>,
    fields: x509_cert::Certificate,
}

impl Certificate {
    /// Reads a certificate from DER.
    ///
    /// # Errors
    /// When the bytes are not a certificate.
    pub fn from_der(der: &[u8]) -> Result<Certificate, Error> {
        let fields = x509_cert::Certificate::from_der(der);
        Ok(Certificate {
            der: der.to_vec(),
            fields: fields.map_err(|error| Error::Certificate(error.to_string()))?,
        })
    }

    /// Reads the certificates of a PEM file, in the file's order.
    ///
    /// # Errors
    /// When the file has none, or one is damaged.
    pub fn from_pem(pem: &str) -> Result<Vec<Certificate>, Error> {
        // The library subtracts one from the length of an empty text.
        let pem = pem.trim_end();
        if pem.is_empty() {
            return Err(Error::Certificate("the PEM text is empty".to_owned()));
        }
        let chain = x509_cert::Certificate::load_pem_chain(pem.as_bytes());
        let chain = chain.map_err(|error| Error::Certificate(error.to_string()))?;
        let read = |fields: x509_cert::Certificate| {
            let der = fields.to_der();
            let der = der.map_err(|error| Error::Certificate(error.to_string()))?;
            Ok(Certificate { der, fields })
        };
        chain.into_iter().map(read).collect()
    }

    /// Returns the certificate in DER.
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// Returns the certificate in PEM.
    pub fn pem(&self) -> String {
        pem("CERTIFICATE", &self.der)
    }

    /// Returns the owner. The owner means nothing before `check`.
    ///
    /// # Errors
    /// When the certificate names no owner, or no issuer.
    pub fn identity(&self) -> Result<Identity, Error> {
        let missing = |what: &str| Error::Certificate(format!("it names no {what}"));
        let text = |oid| self.extension(oid).and_then(text_of);
        let old = || {
            let bytes = self.extension(OLD_ISSUER)?;
            String::from_utf8(bytes.to_vec()).ok()
        };
        let claims = CLAIMS.iter();
        Ok(Identity {
            subject: self.subject().ok_or_else(|| missing("identity"))?,
            issuer: text(ISSUER).or_else(old).ok_or_else(|| missing("issuer"))?,
            claims: claims
                .filter_map(|(name, oid)| Some(((*name).to_owned(), text(*oid)?)))
                .collect(),
        })
    }

    /// Returns the only alternative name. With two, nobody could tell which of them signed.
    fn subject(&self) -> Option<String> {
        let names = SubjectAltName::from_der(self.extension(SubjectAltName::OID)?).ok()?;
        match &names.0[..] {
            [GeneralName::UniformResourceIdentifier(uri)] => Some(uri.as_str().to_owned()),
            [GeneralName::Rfc822Name(address)] => Some(address.as_str().to_owned()),
            [GeneralName::OtherName(OtherName { type_id, value })] if *type_id == USER_NAME => {
                let name: Utf8StringRef<'_> = value.decode_as().ok()?;
                Some(name.as_str().to_owned())
            }
            _ => None,
        }
    }

    fn extension(&self, oid: ObjectIdentifier) -> Option<&[u8]> {
        let mut all = self.fields.tbs_certificate.extensions.iter().flatten();
        let found = all.find(|extension| extension.extn_id == oid)?;
        Some(found.extn_value.as_bytes())
    }

    /// Whether the certificate's key verifies a signature.
    pub(crate) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        let key = self.public_key();
        key.is_ok_and(|key| key.verifies(message, signature))
    }

    fn public_key(&self) -> Result<PublicKey, Error> {
        PublicKey::from_der(&self.key_der()?)
    }

    fn key_der(&self) -> Result<Vec<u8>, Error> {
        let key = self.fields.tbs_certificate.subject_public_key_info.to_der();
        key.map_err(|error| Error::Certificate(error.to_string()))
    }

    /// Checks that an authority of the trusted root issued the certificate for signing code, that
    /// it was valid at that time (seconds since 1970), and that a trusted certificate log lists it.
    ///
    /// # Errors
    /// Names the missing part.
    pub(crate) fn check(&self, root: &TrustedRoot, time: u64) -> Result<(), Error> {
        let mut reason = "the trusted root has no certificate authority for that time".to_owned();
        for authority in root.authorities_at(time) {
            match self.check_chain(authority, time) {
                Ok(()) => return self.check_logged(root, authority),
                Err(error) => reason = describe(&error),
            }
        }
        Err(Error::Certificate(reason))
    }

    fn check_chain(&self, authority: &Authority, time: u64) -> Result<(), webpki::Error> {
        let der = CertificateDer::from(&self.der[..]);
        let own = EndEntityCert::try_from(&der)?;
        let chain: Vec<CertificateDer<'_>> = authority
            .chain
            .iter()
            .map(|it| CertificateDer::from(&it.der[..]))
            .collect();
        let Some((last, intermediates)) = chain.split_last() else {
            return Err(webpki::Error::UnknownIssuer);
        };
        let anchor = webpki::anchor_from_trusted_cert(last)?;
        let time = UnixTime::since_unix_epoch(std::time::Duration::from_secs(time));
        let usage = KeyUsage::required(CODE_SIGNING);
        own.verify_for_usage(
            &CERTIFICATES,
            &[anchor],
            intermediates,
            time,
            usage,
            None,
            None,
        )
        .map(drop)
    }

    /// Checks that a certificate log promised to list the certificate (RFC 6962).
    fn check_logged(&self, root: &TrustedRoot, authority: &Authority) -> Result<(), Error> {
        let damaged = |error: &dyn std::fmt::Display| {
            Error::Certificate(format!("its timestamps are damaged: {error}"))
        };
        let oid = SignedCertificateTimestampList::OID;
        let list = self.extension(oid).ok_or_else(|| {
            Error::Certificate("no log of certificates has signed it (it has no SCT)".to_owned())
        })?;
        let list = SignedCertificateTimestampList::from_der(list).map_err(|it| damaged(&it))?;
        let stamps = list
            .parse_timestamps()
            .map_err(|it| damaged(&format!("{it:?}")))?;
        let logged = self.logged_part()?;
        for stamp in stamps {
            let stamp = stamp
                .parse_timestamp()
                .map_err(|it| damaged(&format!("{it:?}")))?;
            let Some(log) = root.certificate_log(&stamp.log_id.key_id, stamp.timestamp / 1000)
            else {
                continue;
            };
            let issuers = authority.chain.iter().filter(|it| {
                it.fields.tbs_certificate.subject == self.fields.tbs_certificate.issuer
            });
            for issuer in issuers {
                let message = logged_message(&stamp, &issuer.key_der()?, &logged);
                if log.verifies(&message, stamp.signature.signature.as_slice()) {
                    return Ok(());
                }
            }
        }
        Err(Error::Certificate(
            "no trusted log of certificates has signed it".to_owned(),
        ))
    }

    /// Returns the part that a log signs: everything except the log's own signature.
    fn logged_part(&self) -> Result<Vec<u8>, Error> {
        let mut part = self.fields.tbs_certificate.clone();
        if let Some(extensions) = &mut part.extensions {
            extensions.retain(|it| it.extn_id != SignedCertificateTimestampList::OID);
        }
        part.to_der()
            .map_err(|error| Error::Certificate(error.to_string()))
    }
}

/// Returns the bytes that a certificate log signs (RFC 6962, section 3.2): an entry of type
/// `precert_entry`.
fn logged_message(stamp: &SignedCertificateTimestamp, issuer: &[u8], part: &[u8]) -> Vec<u8> {
    let mut message = vec![0, 0];
    message.extend(stamp.timestamp.to_be_bytes());
    message.extend([0, 1]);
    message.extend(Sha256::digest(issuer));
    message.extend(&(part.len() as u32).to_be_bytes()[1..]);
    message.extend(part);
    let extensions = stamp.extensions.as_slice();
    message.extend((extensions.len() as u16).to_be_bytes());
    message.extend(extensions);
    message
}

/// Returns the text of an extension: a UTF8String in DER.
fn text_of(der: &[u8]) -> Option<String> {
    let text = Utf8StringRef::from_der(der).ok()?;
    Some(text.as_str().to_owned())
}

fn describe(error: &webpki::Error) -> String {
    match error {
        webpki::Error::CertExpired { .. } => {
            "it had expired when the log took the signature".to_owned()
        }
        webpki::Error::CertNotValidYet { .. } => {
            "it was not yet valid when the log took the signature".to_owned()
        }
        // Two authorities may have the same name and different keys.
        webpki::Error::UnknownIssuer | webpki::Error::InvalidSignatureForPublicKey => {
            "no certificate authority of the trusted root has written it".to_owned()
        }
        webpki::Error::RequiredEkuNotFoundContext(_) => "it is not for signing code".to_owned(),
        other => other.to_string(),
    }
}

/// Wraps DER in PEM.
pub(crate) fn pem(label: &str, der: &[u8]) -> String {
    x509_cert::der::pem::encode_string(label, LineEnding::LF, der).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_text_has_no_certificate() {
        for text in ["", "\n", "\r\n\n", " "] {
            let refused = Certificate::from_pem(text).err().map(|e| e.to_string());
            assert!(refused.is_some_and(|it| it.contains("empty")), "{text:?}");
        }
    }
}
