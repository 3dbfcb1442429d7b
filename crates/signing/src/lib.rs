//! Signatures of images and of statements about them.
//!
//! A signature is an [in-toto statement](https://github.com/in-toto/attestation) in a [DSSE
//! envelope](https://github.com/secure-systems-lab/dsse) in a [sigstore
//! bundle](https://github.com/sigstore/protobuf-specs). `cosign sign` makes the same since version
//! 3. [`Simple`] is the older form of cosign. There are two kinds of signers:
//!
//! - A key pair. Private keys are ECDSA P-256, in cosign's own encrypted form or as plain PEM. The
//!   same key gives the same bytes for the same content (RFC 6979), so a repeated push adds
//!   nothing. A PKCS #11 token or a key management service may keep the key instead
//!   ([`SecretKey::kept`]).
//! - An identity, such as a workflow of a CI system ([`Keyless`]). A certificate authority (Fulcio)
//!   issues a short-lived certificate for the identity, and a log (Rekor) records when the
//!   signature was made. A [`TrustedRoot`] lists the authorities and logs to trust.
//!
//! ```
//! use crateyard_signing::{Bundle, SecretKey, image_statement};
//!
//! let digest = format!("sha256:{}", "0".repeat(64));
//! let key = SecretKey::generate();
//! let bundle = Bundle::sign(&image_statement(&digest), &key)?.to_bytes();
//!
//! let bundle = Bundle::parse(&bundle)?;
//! assert_eq!(bundle.verify(&key.public(), &digest)?, image_statement(&digest));
//! let other = SecretKey::generate().public();
//! assert!(bundle.verify(&other, &digest).is_err());
//! # Ok::<(), crateyard_signing::Error>(())
//! ```
#![forbid(unsafe_code)]

mod bundle;
mod certificate;
mod http;
mod keeper;
mod key;
mod keyless;
mod log;
mod root;
mod simple;
mod statement;
mod token;

pub use bundle::Bundle;
pub use certificate::{Certificate, Identity};
pub use http::Web;
pub use key::{PublicKey, SecretKey};
pub use keyless::{Keyless, Services};
pub use log::Entry;
pub use root::TrustedRoot;
pub use simple::Simple;
pub use statement::{image_statement, statement};
pub use token::Token;

/// The media type of a bundle, and its artifact type in a registry.
pub const BUNDLE_TYPE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";
/// The media type of in-toto statements: of the payload of an envelope, and of a provenance in a
/// registry.
pub const IN_TOTO_TYPE: &str = "application/vnd.in-toto+json";
/// The type of the predicate of an image's signature.
pub const IMAGE_PREDICATE: &str = "https://sigstore.dev/cosign/sign/v1";

/// Errors in keys and signatures.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A key can't be read.
    #[error(
        "no key that can be used: {0}\n  try: a key of `cosign generate-key-pair`, or ECDSA P-256 \
         as PEM (openssl ecparam -name prime256v1 -genkey)"
    )]
    Key(String),
    /// A public key can't be read.
    #[error(
        "no public key that can be used: {0}\n  try: the cosign.pub of `cosign generate-key-pair`, \
         or PEM (openssl pkey -pubout)"
    )]
    PublicKey(String),
    /// The password of an encrypted key is missing or wrong.
    #[error(
        "the key is encrypted and {0}\n  try: COSIGN_PASSWORD=… with the password that it was made \
         with"
    )]
    Password(&'static str),
    /// A token or a service does not give a key, or does not sign with it.
    #[error("{key}: {reason}\n  try: {remedy}")]
    Kept {
        /// The reference to the key, without a PIN.
        key: String,
        /// The reason.
        reason: String,
        /// The way to solve the problem.
        remedy: String,
    },
    /// A bundle is malformed.
    #[error("no signature that can be read: {0}")]
    Bundle(String),
    /// Another key made the signature, or the signature is about something else.
    #[error("the signature does not fit: {0}")]
    Mismatch(&'static str),
    /// A certificate names no owner, or no trusted authority issued it.
    #[error("the certificate does not hold: {0}")]
    Certificate(String),
    /// A log entry is malformed, or no trusted log made it.
    #[error("the entry in the transparency log does not hold: {0}")]
    Log(String),
    /// A file is not a trusted root.
    #[error(
        "no trusted root: {0}\n  try: the trusted_root.json that `cosign initialize` leaves below \
         ~/.sigstore/root"
    )]
    Root(String),
    /// A token is malformed.
    #[error("no identity token: {0}\n  try: {1}")]
    Token(String, &'static str),
    /// A service can't be reached, or refuses.
    #[error("{url}: {reason}")]
    Service {
        /// The request.
        url: String,
        /// The outcome.
        reason: String,
    },
}
