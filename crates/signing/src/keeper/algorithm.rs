//! The kinds of keys that sign, with the hash for each. cosign chooses the same hashes.

use sha2::{Digest, Sha256, Sha384};
use x509_cert::der::asn1::ObjectIdentifier;
use x509_cert::spki::SubjectPublicKeyInfoRef;

use crate::PublicKey;

/// Keys on elliptic curves (RFC 5480).
pub(super) const EC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
pub(super) const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
pub(super) const P384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");
/// RSA keys (RFC 8017).
pub(super) const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");

/// The algorithm by which a key signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Algorithm {
    /// ECDSA on P-256 with SHA-256.
    P256,
    /// ECDSA on P-384 with SHA-384.
    P384,
    /// RSA with PKCS #1 v1.5 and SHA-256.
    Rsa,
}

impl Algorithm {
    /// Returns the algorithm of the owner of a public key, or `None` for other kinds of keys.
    pub(super) fn of(public: &PublicKey) -> Option<Algorithm> {
        let info = SubjectPublicKeyInfoRef::try_from(public.der()).ok()?;
        let curve = || info.algorithm.parameters_oid().ok();
        match info.algorithm.oid {
            RSA => Some(Algorithm::Rsa),
            EC if curve() == Some(P256) => Some(Algorithm::P256),
            EC if curve() == Some(P384) => Some(Algorithm::P384),
            _ => None,
        }
    }

    /// Returns the digest of a message, which the key signs.
    pub(super) fn digest(self, message: &[u8]) -> Vec<u8> {
        match self {
            Algorithm::P256 | Algorithm::Rsa => Sha256::digest(message).to_vec(),
            Algorithm::P384 => Sha384::digest(message).to_vec(),
        }
    }
}
