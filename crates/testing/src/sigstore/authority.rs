//! The certificate authority.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, CustomExtension, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256,
    PublicKeyData, SanType, SerialNumber, SignatureAlgorithm,
};
use ring::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use time::{Duration, OffsetDateTime};

use super::{Answer, Faults, Key, answer, now};

/// The prefix of the fields in Fulcio's certificates: 1.3.6.1.4.1.57264.1.
const FIELDS: [u64; 8] = [1, 3, 6, 1, 4, 1, 57264, 1];
const SCT: [u64; 10] = [1, 3, 6, 1, 4, 1, 11129, 2, 4, 2];
/// The validity of certificates, in seconds.
const VALID: i64 = 600;

pub(super) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    issuer_key: Vec<u8>,
    /// The issuer's certificate and the root.
    pub chain: Vec<Certificate>,
    /// The log of certificates.
    pub log: Key,
    stranger: Key,
}

/// A point of P-256.
struct Point(Vec<u8>);

impl PublicKeyData for Point {
    fn der_bytes(&self) -> &[u8] {
        &self.0
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &PKCS_ECDSA_P256_SHA256
    }
}

impl Authority {
    pub(super) fn new() -> Authority {
        let parameters = |name: &str| {
            let mut parameters = CertificateParams::default();
            parameters.distinguished_name = DistinguishedName::new();
            parameters
                .distinguished_name
                .push(DnType::OrganizationName, "sigstore under test");
            parameters.distinguished_name.push(DnType::CommonName, name);
            parameters.is_ca = IsCa::Ca(BasicConstraints::Constrained(1));
            parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
            parameters.not_before = OffsetDateTime::now_utc() - Duration::days(2);
            parameters.not_after = OffsetDateTime::now_utc() + Duration::days(2);
            parameters
        };
        let (root_key, key) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
        let root_parameters = parameters("root");
        let root = root_parameters.self_signed(&root_key).unwrap();
        let mut own = parameters("intermediate");
        own.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        own.extended_key_usages = vec![ExtendedKeyUsagePurpose::CodeSigning];
        let certificate = own
            .signed_by(&key, &Issuer::new(root_parameters, root_key))
            .unwrap();
        Authority {
            issuer_key: key.subject_public_key_info(),
            issuer: Issuer::new(own, key),
            chain: vec![certificate, root],
            log: Key::new(),
            stranger: Key::new(),
        }
    }

    /// Returns a certificate if the client shows a token and has signed its subject.
    pub(super) fn answer(&self, request: &Value, bearer: Option<&str>, faults: &Faults) -> Answer {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let own = text(&request["credentials"]["oidcIdentityToken"]);
        // cosign sends the token in the header.
        let token = bearer.unwrap_or(&own);
        let claims = token.split('.').nth(1).unwrap_or_default();
        let claims = URL_SAFE_NO_PAD.decode(claims).unwrap_or_default();
        let claims: Value = serde_json::from_slice(&claims).unwrap_or_default();
        let key = &request["publicKeyRequest"];
        let point = point_of(&text(&key["publicKey"]["content"]));
        let proof = STANDARD.decode(text(&key["proofOfPossession"]));
        let subject = text(&claims["sub"]);
        let is_owner = UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, &point)
            .verify(subject.as_bytes(), &proof.unwrap_or_default());
        if claims["aud"] != "sigstore" || is_owner.is_err() {
            return answer(
                400,
                &json!({"code": 3, "message": "the proof does not fit"}),
            );
        }
        let leaf = self.certificate(&claims, Point(point), faults);
        let mut chain = vec![leaf.pem()];
        chain.extend(self.chain.iter().map(Certificate::pem));
        let chain = json!({"certificates": chain});
        answer(
            200,
            &json!({"signedCertificateEmbeddedSct": {"chain": chain}}),
        )
    }

    fn certificate(&self, claims: &Value, key: Point, faults: &Faults) -> Certificate {
        let claim = |name: &str| claims[name].as_str().unwrap_or_default();
        let mut parameters = CertificateParams::default();
        parameters.distinguished_name = DistinguishedName::new();
        parameters.serial_number = Some(SerialNumber::from(now() as u64));
        let workflow = format!("https://github.com/{}", claim("job_workflow_ref"));
        parameters.subject_alt_names = vec![SanType::URI(workflow.as_str().try_into().unwrap())];
        parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        parameters.extended_key_usages = vec![match faults.not_for_code {
            true => ExtendedKeyUsagePurpose::ClientAuth,
            false => ExtendedKeyUsagePurpose::CodeSigning,
        }];
        parameters.use_authority_key_identifier_extension = true;
        let begin = OffsetDateTime::from_unix_timestamp(now()).unwrap();
        parameters.not_before = begin;
        parameters.not_after = begin + Duration::seconds(VALID);
        let repository = format!("https://github.com/{}", claim("repository"));
        let fields = [
            (8, claim("iss")),
            (9, &workflow),
            (12, &repository),
            (14, claim("ref")),
        ];
        for (number, value) in fields {
            if number == 8 && faults.no_issuer {
                continue;
            }
            let oid = [&FIELDS[..], &[number]].concat();
            let content = der(0x0c, value.as_bytes());
            let extension = CustomExtension::from_oid_content(&oid, content);
            parameters.custom_extensions.push(extension);
        }
        let before = parameters.signed_by(&key, &self.issuer).unwrap();
        if faults.no_sct {
            return before;
        }
        let log = if faults.strange_sct {
            &self.stranger
        } else {
            &self.log
        };
        let stamps = self.timestamps(tbs(before.der()), log);
        let extension = CustomExtension::from_oid_content(&SCT, der(0x04, &stamps));
        parameters.custom_extensions.push(extension);
        parameters.signed_by(&key, &self.issuer).unwrap()
    }

    /// Returns a list of one timestamp of the log of certificates (RFC 6962, section 3.2 and 3.3).
    fn timestamps(&self, tbs: &[u8], log: &Key) -> Vec<u8> {
        let time = (now() as u64 * 1000).to_be_bytes();
        let mut message = vec![0, 0];
        message.extend(time);
        message.extend([0, 1]);
        message.extend(Sha256::digest(&self.issuer_key));
        message.extend(&(tbs.len() as u32).to_be_bytes()[1..]);
        message.extend(tbs);
        message.extend([0, 0]);
        let signature = log.sign(&message);
        let mut stamp = vec![0];
        stamp.extend(self.log.id());
        stamp.extend(time);
        stamp.extend([0, 0, 4, 3]);
        stamp.extend((signature.len() as u16).to_be_bytes());
        stamp.extend(signature);
        let one = [&(stamp.len() as u16).to_be_bytes()[..], &stamp].concat();
        [&(one.len() as u16).to_be_bytes()[..], &one].concat()
    }
}

/// Returns the point of a P-256 key in PEM.
fn point_of(pem: &str) -> Vec<u8> {
    let body: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
    let der = STANDARD.decode(body).unwrap_or_default();
    der[der.len().saturating_sub(65)..].to_vec()
}

fn der(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = match content.len() {
        short @ ..=127 => vec![short as u8],
        middle @ 128..=255 => vec![0x81, middle as u8],
        long => vec![0x82, (long >> 8) as u8, long as u8],
    };
    [&[tag][..], &length, content].concat()
}

/// Returns the first part of a certificate, which its issuer signs.
fn tbs(certificate: &[u8]) -> &[u8] {
    let head = |der: &[u8]| match der[1] {
        short @ ..=127 => (2, short as usize),
        0x81 => (3, der[2] as usize),
        _ => (4, usize::from(der[2]) << 8 | usize::from(der[3])),
    };
    let inner = &certificate[head(certificate).0..];
    let (begin, length) = head(inner);
    &inner[..begin + length]
}
