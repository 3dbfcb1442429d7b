//! Keys that sign the paths of a cache, in Nix's format: `NAME:BASE64`.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};

use crate::error::Error;

/// The length of a secret key's seed in bytes. The public key follows it.
const SEED: usize = 32;

/// A secret key, as `nix key generate-secret` makes it.
pub struct SecretKey {
    name: String,
    pair: Ed25519KeyPair,
}

/// A public key, which verifies signatures.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicKey {
    name: String,
    bytes: Vec<u8>,
}

/// A signature: the key's name and the bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    /// The key's name.
    pub key: String,
    bytes: Vec<u8>,
}

impl SecretKey {
    /// Signs a text.
    pub fn sign(&self, text: &str) -> Signature {
        Signature {
            key: self.name.clone(),
            bytes: self.pair.sign(text.as_bytes()).as_ref().to_vec(),
        }
    }

    /// Returns the public key.
    pub fn public(&self) -> PublicKey {
        PublicKey {
            name: self.name.clone(),
            bytes: self.pair.public_key().as_ref().to_vec(),
        }
    }
}

impl PublicKey {
    /// Whether this key made a signature of a text.
    pub fn verifies(&self, text: &str, signature: &Signature) -> bool {
        self.name == signature.key
            && UnparsedPublicKey::new(&ED25519, &self.bytes)
                .verify(text.as_bytes(), &signature.bytes)
                .is_ok()
    }
}

impl FromStr for SecretKey {
    type Err = Error;

    fn from_str(text: &str) -> Result<SecretKey, Error> {
        // Errors never quote a part of it: without the name, the first part is the secret itself.
        let wrong = |reason: &str| {
            let cure = "make one with: nix key generate-secret --key-name NAME";
            Error::syntax("secret key", "…", format!("{reason}; {cure}"))
        };
        let (name, bytes) = split(text.trim()).ok_or_else(|| wrong("expected NAME:BASE64"))?;
        if bytes.len() != 2 * SEED {
            return Err(wrong("expected 64 bytes"));
        }
        let (seed, public) = bytes.split_at(SEED);
        let pair = Ed25519KeyPair::from_seed_and_public_key(seed, public)
            .map_err(|_| wrong("its public half does not match its secret half"))?;
        Ok(SecretKey { name, pair })
    }
}

impl FromStr for PublicKey {
    type Err = Error;

    fn from_str(text: &str) -> Result<PublicKey, Error> {
        match split(text.trim()) {
            Some((name, bytes)) if bytes.len() == SEED => Ok(PublicKey { name, bytes }),
            _ => Err(Error::syntax(
                "public key",
                text,
                "expected NAME:BASE64 of 32 bytes, as nix key convert-secret-to-public prints it",
            )),
        }
    }
}

impl FromStr for Signature {
    type Err = Error;

    fn from_str(text: &str) -> Result<Signature, Error> {
        split(text)
            .map(|(key, bytes)| Signature { key, bytes })
            .ok_or_else(|| Error::syntax("signature", text, "expected NAME:BASE64"))
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.name, STANDARD.encode(&self.bytes))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.key, STANDARD.encode(&self.bytes))
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretKey({})", self.name)
    }
}

fn split(text: &str) -> Option<(String, Vec<u8>)> {
    let (name, base64) = text.split_once(':')?;
    let bytes = STANDARD.decode(base64).ok()?;
    (!name.is_empty()).then(|| (name.to_owned(), bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_quote_no_part_of_a_secret_key() {
        for text in [
            "c2VjcmV0",
            "c2VjcmV0:name",
            "name:c2VjcmV0",
            "name:c2VjcmV0!",
        ] {
            let error = text.parse::<SecretKey>().unwrap_err().to_string();
            assert!(!error.contains("c2VjcmV0"), "{error}");
        }
    }
}
