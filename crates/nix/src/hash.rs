//! SHA-256 hashes in Nix's formats.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

use crate::error::Error;

/// The alphabet of Nix's base 32, which leaves out the letters e, o, t, u.
const BASE32: &[u8; 32] = b"0123456789abcdfghijklmnpqrsvwxyz";

/// A SHA-256 hash. It is displayed as `sha256:` and 52 digits in base 32, the form that signatures
/// cover.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Hash([u8; 32]);

impl Hash {
    /// Hashes some bytes.
    pub fn of(bytes: &[u8]) -> Hash {
        Hash(Sha256::digest(bytes).into())
    }

    /// Takes the hash that a hasher has computed.
    pub fn from_hasher(hasher: Sha256) -> Hash {
        Hash(hasher.finalize().into())
    }

    /// Formats the hash in lower-case hexadecimal.
    pub fn base16(&self) -> String {
        base16ct::lower::encode_string(&self.0)
    }

    /// Formats only the digits, as in file names of caches.
    pub fn base32(&self) -> String {
        base32(&self.0)
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", self.base32())
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Hash {
    type Err = Error;

    /// Reads base 32 and base 16, with or without `sha256:`, and base 64 with `sha256-`.
    fn from_str(text: &str) -> Result<Hash, Error> {
        let digits = text.strip_prefix("sha256:").unwrap_or(text);
        let bytes = match (text.strip_prefix("sha256-"), digits.len()) {
            (Some(base64), _) => STANDARD.decode(base64).ok(),
            (None, 52) => from_base32(digits),
            (None, 64) => base16ct::mixed::decode_vec(digits).ok(),
            _ => None,
        };
        bytes
            .and_then(|bytes| bytes.try_into().ok())
            .map(Hash)
            .ok_or_else(|| {
                let reason = "expected a SHA-256 hash in base 32, base 16 or base 64";
                Error::syntax("hash", text, reason)
            })
    }
}

/// Encodes bytes in Nix's base 32: five bits a digit, from the last digit to the first.
pub(crate) fn base32(bytes: &[u8]) -> String {
    let digits = (bytes.len() * 8).div_ceil(5);
    let digit = |place: usize| {
        let (byte, bit) = (place * 5 / 8, place * 5 % 8);
        let low = u16::from(bytes[byte]);
        let high = bytes.get(byte + 1).copied().map_or(0, u16::from);
        let value = ((high << 8 | low) >> bit) & 31;
        char::from(BASE32[usize::from(value)])
    };
    (0..digits).rev().map(digit).collect()
}

/// Whether a text consists of digits of Nix's base 32.
pub(crate) fn is_base32(text: &str) -> bool {
    text.bytes().all(|digit| BASE32.contains(&digit))
}

fn from_base32(text: &str) -> Option<Vec<u8>> {
    let mut bytes = vec![0; text.len() * 5 / 8];
    for (place, digit) in text.bytes().rev().enumerate() {
        let value = BASE32.iter().position(|known| *known == digit)?;
        let (byte, bit) = (place * 5 / 8, place * 5 % 8);
        let value = (value as u16) << bit;
        bytes[byte] |= value as u8;
        let high = (value >> 8) as u8;
        match bytes.get_mut(byte + 1) {
            Some(next) => *next |= high,
            None if high != 0 => return None,
            None => {}
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_forms_are_the_same_hash() {
        // `nix hash to-base16|to-base32|to-sri` of the empty file's hash.
        let hash = Hash::of(b"");
        for text in [
            "sha256:0mdqa9w1p6cmli6976v4wi0sw9r4p5prkj7lzfd1877wk11c9c73",
            "0mdqa9w1p6cmli6976v4wi0sw9r4p5prkj7lzfd1877wk11c9c73",
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
            "sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=",
        ] {
            assert_eq!(text.parse::<Hash>().unwrap(), hash, "{text}");
        }
        assert_eq!(
            hash.to_string(),
            "sha256:0mdqa9w1p6cmli6976v4wi0sw9r4p5prkj7lzfd1877wk11c9c73"
        );
        for odd in [
            "",
            "sha256:",
            "md5:x",
            "zz",
            &"e".repeat(52),
            &"z".repeat(52),
        ] {
            assert!(odd.parse::<Hash>().is_err(), "{odd}");
        }
    }
}
