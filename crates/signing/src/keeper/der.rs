//! Writes public keys and signatures in DER, from the numbers that keepers give.

use x509_cert::der::asn1::{AnyRef, BitStringRef, ObjectIdentifier, SequenceOf, UintRef};
use x509_cert::der::{Encode, Result};
use x509_cert::spki::{AlgorithmIdentifierRef, SubjectPublicKeyInfoRef};

use super::algorithm::{EC, RSA};

/// Writes a signature by ECDSA whose two numbers stand side by side, each with the same length.
pub(super) fn ecdsa(both: &[u8]) -> Result<Vec<u8>> {
    let (r, s) = both.split_at(both.len() / 2);
    integers(r, s)
}

/// Writes the `SubjectPublicKeyInfo` of a key on the curve, which is an object identifier. The
/// point is uncompressed: 4, x, y.
pub(super) fn ec_key(curve: AnyRef<'_>, point: &[u8]) -> Result<Vec<u8>> {
    key_info(EC, curve, point)
}

/// Writes the `SubjectPublicKeyInfo` of an RSA key.
pub(super) fn rsa_key(modulus: &[u8], exponent: &[u8]) -> Result<Vec<u8>> {
    key_info(RSA, AnyRef::NULL, &integers(modulus, exponent)?)
}

fn key_info(oid: ObjectIdentifier, parameters: AnyRef<'_>, key: &[u8]) -> Result<Vec<u8>> {
    let algorithm = AlgorithmIdentifierRef {
        oid,
        parameters: Some(parameters),
    };
    let info = SubjectPublicKeyInfoRef {
        algorithm,
        subject_public_key: BitStringRef::from_bytes(key)?,
    };
    info.to_der()
}

/// Writes a sequence of two numbers: a signature by ECDSA, or an RSA key.
fn integers(first: &[u8], second: &[u8]) -> Result<Vec<u8>> {
    let mut pair = SequenceOf::<UintRef<'_>, 2>::new();
    pair.add(UintRef::new(first)?)?;
    pair.add(UintRef::new(second)?)?;
    pair.to_der()
}

#[cfg(test)]
mod tests {
    use super::{ecdsa, integers};

    #[test]
    fn numbers_have_their_shortest_form() {
        let der = integers(&[0, 0, 0x80], &[0, 1]).unwrap();
        assert_eq!(der, [0x30, 7, 2, 2, 0, 0x80, 2, 1, 1]);
        let der = ecdsa(&[0, 7, 0xff, 1]).unwrap();
        assert_eq!(der, [0x30, 8, 2, 1, 7, 2, 3, 0, 0xff, 1]);
    }
}
