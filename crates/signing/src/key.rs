//! Reads keys, signs and verifies.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use crypto_secretbox::aead::{Aead, KeyInit};
use crypto_secretbox::{Nonce, XSalsa20Poly1305};
use p256::ecdsa::signature::Signer;
use p256::ecdsa::{DerSignature, SigningKey};
use p256::elliptic_curve::rand_core::OsRng;
use p256::pkcs8::{DecodePrivateKey, EncodePublicKey};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{SignatureVerificationAlgorithm, SubjectPublicKeyInfoDer};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use webpki::ring as algorithms;

use crate::keeper::{self, KeptKey};
use crate::{Error, Web};

/// The PEM labels of cosign's encrypted keys: the current one and the previous one.
const ENCRYPTED: [&str; 2] = [
    "ENCRYPTED SIGSTORE PRIVATE KEY",
    "ENCRYPTED COSIGN PRIVATE KEY",
];
/// The limits of memory and time that a key file may demand: 16 times cosign's own values.
const MAX_SCRYPT_LOG_N: u32 = 20;
const MAX_SCRYPT_FACTOR: u32 = 16;

/// A private key, which signs.
#[derive(Clone)]
pub struct SecretKey(Place);

/// The place of a private key.
#[derive(Clone)]
enum Place {
    /// In this process.
    Memory(SigningKey),
    /// In a token or a service.
    Elsewhere(KeptKey),
}

/// A public key, which verifies: ECDSA P-256 or P-384, Ed25519, or RSA, as `SubjectPublicKeyInfo`
/// in DER.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PublicKey(Vec<u8>);

/// The signature algorithms, for each type of key with its usual hashes.
pub(crate) const MESSAGES: [&dyn SignatureVerificationAlgorithm; 5] = [
    algorithms::ECDSA_P256_SHA256,
    algorithms::ECDSA_P384_SHA384,
    algorithms::ECDSA_P384_SHA256,
    algorithms::ED25519,
    algorithms::RSA_PKCS1_2048_8192_SHA256,
];

impl SecretKey {
    /// Reads a key from PEM: cosign's encrypted form, PKCS #8, or SEC 1.
    ///
    /// # Errors
    /// When the text has none of these forms, the key is not ECDSA P-256, or the password is wrong.
    pub fn from_pem(pem: &str, password: Option<&str>) -> Result<SecretKey, Error> {
        let wrong = |error: &dyn std::fmt::Display| Error::Key(error.to_string());
        for label in ENCRYPTED {
            if let Some(body) = section(pem, label) {
                let der = decrypt(&body, password)?;
                let key = SigningKey::from_pkcs8_der(&der).map_err(|error| wrong(&error))?;
                return Ok(SecretKey(Place::Memory(key)));
            }
        }
        if section(pem, "EC PRIVATE KEY").is_some() {
            // openssl writes the curve's name before the key.
            let start = pem.find("-----BEGIN EC PRIVATE KEY").unwrap_or(0);
            let key =
                p256::SecretKey::from_sec1_pem(&pem[start..]).map_err(|error| wrong(&error))?;
            return Ok(SecretKey(Place::Memory(key.into())));
        }
        let key = SigningKey::from_pkcs8_pem(pem.trim()).map_err(|error| wrong(&error))?;
        Ok(SecretKey(Place::Memory(key)))
    }

    /// Whether [`SecretKey::kept`] reads this reference.
    pub fn is_kept(reference: &str) -> bool {
        keeper::is_reference(reference)
    }

    /// Returns a reference without the PIN that it may hold, for messages.
    pub fn name_of(reference: &str) -> &str {
        keeper::name_of(reference)
    }

    /// Finds a key that a PKCS #11 token, Vault, OpenBao, AWS KMS, Google Cloud KMS or Azure Key
    /// Vault keeps: ECDSA P-256 or P-384, or RSA. The references are those of cosign. `variable`
    /// returns the value of an environment variable, such as `COSIGN_PKCS11_PIN`, `VAULT_TOKEN` or
    /// `AWS_SECRET_ACCESS_KEY`.
    ///
    /// # Errors
    /// When there is no such key, or its keeper can't be reached or refuses. No error quotes a PIN
    /// or a token.
    pub fn kept(
        reference: &str,
        variable: impl Fn(&str) -> Option<String>,
        web: &Web,
    ) -> Result<SecretKey, Error> {
        let key = KeptKey::open(reference, &variable, web)?;
        Ok(SecretKey(Place::Elsewhere(key)))
    }

    /// Makes a new key, for one signature or a few.
    pub fn generate() -> SecretKey {
        SecretKey(Place::Memory(SigningKey::random(&mut OsRng)))
    }

    /// Whether the key signs without a token or a service. Such a key always gives the same message
    /// the same signature.
    pub fn is_here(&self) -> bool {
        matches!(self.0, Place::Memory(_))
    }

    /// Returns the public key of this key.
    ///
    /// # Panics
    /// Never: a point of the curve has a DER form.
    pub fn public(&self) -> PublicKey {
        let key = match &self.0 {
            Place::Memory(key) => key,
            Place::Elsewhere(key) => return key.public().clone(),
        };
        let der = key.verifying_key().to_public_key_der();
        PublicKey(der.expect("a point of the curve").into_vec())
    }

    /// Signs a message. The signature is ECDSA's in DER, or RSA's with PKCS #1 v1.5.
    ///
    /// # Errors
    /// When the keeper of the key can't be reached or refuses. A key in memory always signs.
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        let key = match &self.0 {
            Place::Memory(key) => key,
            Place::Elsewhere(key) => return key.sign(message),
        };
        let signature: DerSignature = key.sign(message);
        Ok(signature.as_bytes().to_vec())
    }
}

impl PublicKey {
    /// Reads a key from PEM, as `cosign public-key` and `openssl pkey -pubout` write it.
    ///
    /// # Errors
    /// When the text is not a public key, or its type is unknown here.
    pub fn from_pem(pem: &str) -> Result<PublicKey, Error> {
        let der = SubjectPublicKeyInfoDer::from_pem_slice(pem.as_bytes());
        let der = der.map_err(|error| Error::PublicKey(error.to_string()))?;
        PublicKey::from_der(&der)
    }

    /// Reads a key from DER (`SubjectPublicKeyInfo`).
    ///
    /// # Errors
    /// When the bytes are not a public key, or the type is unknown here.
    pub fn from_der(der: &[u8]) -> Result<PublicKey, Error> {
        let key = PublicKey(der.to_vec());
        // The only way to learn a key's type is to let the key verify something.
        let is_known = MESSAGES.iter().any(|algorithm| {
            !matches!(
                key.verify(*algorithm, b"", b""),
                Err(webpki::Error::UnsupportedSignatureAlgorithmForPublicKeyContext(_))
            )
        });
        match key.verify(MESSAGES[0], b"", b"") {
            Err(webpki::Error::TrailingData(_) | webpki::Error::BadDer) => {
                Err(Error::PublicKey("its DER form is damaged".to_owned()))
            }
            _ if !is_known => Err(Error::PublicKey(
                "it is neither ECDSA P-256 or P-384, Ed25519, nor RSA".to_owned(),
            )),
            _ => Ok(key),
        }
    }

    /// Returns the key in DER.
    pub fn der(&self) -> &[u8] {
        &self.0
    }

    /// Returns the key in PEM.
    pub fn pem(&self) -> String {
        crate::certificate::pem("PUBLIC KEY", &self.0)
    }

    /// Returns the SHA-256 of the key's DER form in hexadecimal digits, which identifies the key.
    pub fn fingerprint(&self) -> String {
        format!("{:x}", Sha256::digest(&self.0))
    }

    /// Whether the key verifies a signature.
    pub(crate) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        MESSAGES
            .iter()
            .any(|algorithm| self.verify(*algorithm, message, signature).is_ok())
    }

    fn verify(
        &self,
        algorithm: &dyn SignatureVerificationAlgorithm,
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), webpki::Error> {
        let der = SubjectPublicKeyInfoDer::from(&self.0[..]);
        let key = webpki::RawPublicKeyEntity::try_from(&der)?;
        key.verify_signature(algorithm, message, signature)
    }

    /// Returns cosign's name for the key: the SHA-256 of its DER form, in base 64.
    pub(crate) fn hint(&self) -> String {
        BASE64.encode(Sha256::digest(&self.0))
    }
}

/// Returns the bytes between the lines that begin and end a section of PEM.
fn section(pem: &str, label: &str) -> Option<Vec<u8>> {
    let (_, rest) = pem.split_once(&format!("-----BEGIN {label}-----"))?;
    let (body, _) = rest.split_once(&format!("-----END {label}-----"))?;
    let body: String = body.split_whitespace().collect();
    BASE64.decode(body).ok()
}

/// cosign's encryption of keys: a NaCl secret box with a key from scrypt.
#[derive(Deserialize)]
struct Encrypted {
    kdf: KeyDerivation,
    cipher: Cipher,
    ciphertext: String,
}

#[derive(Deserialize)]
struct KeyDerivation {
    name: String,
    params: Scrypt,
    salt: String,
}

#[derive(Deserialize)]
struct Scrypt {
    #[serde(rename = "N")]
    n: u64,
    r: u32,
    p: u32,
}

#[derive(Deserialize)]
struct Cipher {
    name: String,
    nonce: String,
}

fn decrypt(json: &[u8], password: Option<&str>) -> Result<Vec<u8>, Error> {
    let damaged = |what: &str| Error::Key(format!("an encrypted key whose {what} is damaged"));
    let encrypted: Encrypted = serde_json::from_slice(json).map_err(|_| damaged("form"))?;
    let Encrypted {
        kdf,
        cipher,
        ciphertext,
    } = encrypted;
    if kdf.name != "scrypt" || cipher.name != "nacl/secretbox" {
        let (kdf, cipher) = (kdf.name, cipher.name);
        return Err(Error::Key(format!(
            "encrypted by {kdf} and {cipher}, not scrypt and nacl/secretbox"
        )));
    }
    let bytes = |text: &str, what: &str| BASE64.decode(text).map_err(|_| damaged(what));
    let (salt, nonce) = (bytes(&kdf.salt, "salt")?, bytes(&cipher.nonce, "nonce")?);
    let log_n = kdf
        .params
        .n
        .checked_ilog2()
        .filter(|log| kdf.params.n == 1 << log);
    let log_n = log_n
        .filter(|log| *log <= MAX_SCRYPT_LOG_N)
        .ok_or_else(|| damaged("cost"))?;
    if kdf.params.r > MAX_SCRYPT_FACTOR || kdf.params.p > MAX_SCRYPT_FACTOR {
        return Err(damaged("cost"));
    }
    let params = scrypt::Params::new(log_n as u8, kdf.params.r, kdf.params.p, 32);
    let params = params.map_err(|_| damaged("cost"))?;
    let password = password.ok_or(Error::Password("no password is given"))?;
    let mut key = [0; 32];
    scrypt::scrypt(password.as_bytes(), &salt, &params, &mut key).map_err(|_| damaged("cost"))?;
    if nonce.len() != 24 {
        return Err(damaged("nonce"));
    }
    XSalsa20Poly1305::new(&key.into())
        .decrypt(
            Nonce::from_slice(&nonce),
            &bytes(&ciphertext, "content")?[..],
        )
        .map_err(|_| Error::Password("the password does not open it"))
}
