//! Private keys in a keeper outside this process: a PKCS #11 token, or a key management service.
//! The keeper signs digests, and the key never leaves it.
//!
//! References are those of cosign:
//!
//! | reference | keeper |
//! |---|---|
//! | `pkcs11:token=…;object=…?module-path=…` | a token, by its PKCS #11 module ([RFC 7512]) |
//! | `hashivault://KEY`, `openbao://KEY` | the transit engine of Vault or OpenBao |
//! | `awskms://[ENDPOINT]/KEY` | AWS KMS; `KEY` is an identifier, an ARN, or `alias/NAME` |
//! | `gcpkms://projects/…/cryptoKeys/KEY[/cryptoKeyVersions/NUMBER]` | Google Cloud KMS |
//! | `azurekms://VAULT.vault.azure.net/KEY[/VERSION]` | Azure Key Vault |
//!
//! [RFC 7512]: https://www.rfc-editor.org/rfc/rfc7512

mod algorithm;
mod aws;
mod azure;
mod bearer;
mod der;
mod google;
#[cfg(not(target_feature = "crt-static"))]
mod pkcs11;
mod vault;

use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use crate::{Error, PublicKey, Web};
use algorithm::Algorithm;

const PKCS11: &str = "pkcs11:";
const VAULT: [&str; 2] = ["hashivault://", "openbao://"];
const AWS: &str = "awskms://";
const GOOGLE: &str = "gcpkms://";
const AZURE: &str = "azurekms://";
/// The schemes of keepers.
const SCHEMES: &str = "pkcs11:, hashivault://, openbao://, awskms://, gcpkms:// or azurekms://";
/// The kinds of keys that can sign here.
const KINDS: &str = "a key of the kind ECDSA P-256 or P-384, or RSA";

/// The largest file with a secret that is read, in bytes.
const MAX_SECRET: u64 = 64 * 1024;

/// A lookup of environment variables. An empty variable counts as unset.
type Variables<'a> = dyn Fn(&str) -> Option<String> + 'a;

/// A token or service that signs digests with a key that it keeps.
trait Keeper: Send + Sync {
    /// Returns the signature: ECDSA in DER, or RSA with PKCS #1 v1.5.
    fn sign(&self, algorithm: Algorithm, digest: &[u8]) -> Result<Vec<u8>, Error>;
}

/// A key and its keeper.
#[derive(Clone)]
pub(crate) struct KeptKey {
    name: String,
    keeper: Arc<dyn Keeper>,
    algorithm: Algorithm,
    public: PublicKey,
}

/// Whether a text refers to a key in a keeper.
pub(crate) fn is_reference(text: &str) -> bool {
    let mut schemes = [PKCS11, AWS, GOOGLE, AZURE].into_iter().chain(VAULT);
    schemes.any(|scheme| text.starts_with(scheme))
}

/// Cuts the PIN off a reference: its query, or the attribute that some tools write before that.
pub(crate) fn name_of(reference: &str) -> &str {
    let name = reference.split('?').next().unwrap_or_default();
    let pins = [":pin-", ";pin-"].iter().filter_map(|it| name.find(it));
    pins.min().map_or(name, |end| &name[..end])
}

impl KeptKey {
    /// Finds a key by its reference.
    ///
    /// # Errors
    /// When the keeper can't be reached, refuses, has no such key, or the key's kind is unknown
    /// here. No error quotes a PIN or a token.
    pub(crate) fn open(
        reference: &str,
        variables: &Variables<'_>,
        web: &Web,
    ) -> Result<KeptKey, Error> {
        let set = |name: &str| variables(name).filter(|value| !value.is_empty());
        let name = name_of(reference).to_owned();
        let opened = if reference.starts_with(PKCS11) {
            token(&name, reference, &set)
        } else if let Some(key) = reference.strip_prefix(AWS) {
            aws::open(&name, key, &set, web).map(kept)
        } else if let Some(key) = reference.strip_prefix(GOOGLE) {
            google::open(&name, key, &set, web).map(kept)
        } else if let Some(key) = reference.strip_prefix(AZURE) {
            azure::open(&name, key, &set, web).map(kept)
        } else if let Some(key) = VAULT.iter().find_map(|it| reference.strip_prefix(it)) {
            vault::open(&name, key, &set, web).map(kept)
        } else {
            Err(trouble(&name, "no keeper has this scheme", SCHEMES))
        };
        let unknown = || trouble(&name, "its kind can't sign here", KINDS);
        let (keeper, public) = opened.map_err(|error| match error {
            Error::PublicKey(_) => unknown(),
            error => about(&name, error),
        })?;
        let algorithm = Algorithm::of(&public).ok_or_else(unknown)?;
        Ok(KeptKey {
            name,
            keeper,
            algorithm,
            public,
        })
    }

    /// Returns the public key.
    pub(crate) fn public(&self) -> &PublicKey {
        &self.public
    }

    /// Signs a message and checks the signature.
    ///
    /// # Errors
    /// When the keeper can't be reached or refuses, or signs with another key.
    pub(crate) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        let digest = self.algorithm.digest(message);
        let signed = self.keeper.sign(self.algorithm, &digest);
        let signature = signed.map_err(|error| about(&self.name, error))?;
        match self.public.verifies(message, &signature) {
            true => Ok(signature),
            false => Err(trouble(
                &self.name,
                "its signature does not fit its public key",
                "whether both have the same identifier, and whether the key was renewed just now",
            )),
        }
    }
}

fn kept<K: Keeper + 'static>((keeper, public): (K, PublicKey)) -> (Arc<dyn Keeper>, PublicKey) {
    (Arc::new(keeper), public)
}

#[cfg(not(target_feature = "crt-static"))]
fn token(
    name: &str,
    reference: &str,
    variables: &Variables<'_>,
) -> Result<(Arc<dyn Keeper>, PublicKey), Error> {
    pkcs11::open(name, reference, variables).map(kept)
}

/// Fails: a static program has no loader for the module of a token.
#[cfg(target_feature = "crt-static")]
fn token(name: &str, _: &str, _: &Variables<'_>) -> Result<(Arc<dyn Keeper>, PublicKey), Error> {
    Err(trouble(
        name,
        "this assemble is a static program, which can't load the module of a PKCS #11 token",
        "the assemble of `cargo install --locked --git https://github.com/crateyard/crateyard \
         assemble`",
    ))
}

/// Reads a file with a secret.
fn secret_file(path: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    let file = std::fs::File::open(path)?;
    match file.take(MAX_SECRET + 1).read_to_string(&mut text)? as u64 {
        ..=MAX_SECRET => Ok(text),
        _ => Err(std::io::Error::other("it is larger than 64 KiB")),
    }
}

/// Makes an error that names the key.
fn about(key: &str, error: Error) -> Error {
    match error {
        Error::Service { url, reason } => trouble(
            key,
            format!("{url}: {reason}"),
            "the name of the key, the address of the service, and credentials that may sign",
        ),
        error => error,
    }
}

fn trouble(key: &str, reason: impl Into<String>, remedy: impl Into<String>) -> Error {
    Error::Kept {
        key: key.to_owned(),
        reason: reason.into(),
        remedy: remedy.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::{KeptKey, is_reference};
    use crate::Web;

    #[test]
    fn references_are_known_by_their_schemes() {
        for text in [
            "pkcs11:token=a",
            "awskms:///alias/a",
            "hashivault://a",
            "openbao://a",
            "gcpkms://a",
            "azurekms://a",
        ] {
            assert!(is_reference(text), "{text}");
        }
        for text in [
            "cosign.key",
            "env://KEY",
            "k8s://a",
            "gcpkms:a",
            "./pkcs11",
            "hashivault",
        ] {
            assert!(!is_reference(text), "{text}");
        }
    }

    #[test]
    fn errors_do_not_quote_the_pin() {
        for reference in [
            "pkcs11:token=a?pin-value=4711",
            "pkcs11:token=a;object=b?module-path=relative.so&pin-value=4711",
            "pkcs11:token=a;object=b?module-path=/missing.so&pin-value=4711",
            "pkcs11:token=a;object=b?module-path=/missing.so&pin-value=47%11%zz",
            "pkcs11:token=a;object=b?pin-source=4711&pin-value=4711",
            "pkcs11:token=a;object=b;pin-value=4711",
            "pkcs11:token=a;object=b?module-path=/missing.so&pin-value=47;4711=2",
            "pkcs11:token=a;object=b?module-path=/missing.so&pin-value=47&4711",
        ] {
            let Err(error) = KeptKey::open(reference, &|_| None, &Web::default()) else {
                panic!("{reference} is not a key");
            };
            let said = format!("{error} {error:?}");
            assert!(said.contains("pkcs11:token=a"), "{said}");
            assert!(!said.contains("47"), "{said}");
        }
    }
}
