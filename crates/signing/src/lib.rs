//! Signatures of images and of statements about them.
//!
//! A signature is an [in-toto statement](https://github.com/in-toto/attestation) in a
//! [DSSE envelope](https://github.com/secure-systems-lab/dsse) in a
//! [sigstore bundle](https://github.com/sigstore/protobuf-specs), made with a key pair: what
//! `cosign sign --key` makes since version 3 and `cosign verify --key` reads. Keys are ECDSA P-256, in
//! cosign's own encrypted form or as plain PEM.
//!
//! Signing the same with the same key gives the same bytes (RFC 6979), so that a push that is repeated
//! adds nothing.
#![forbid(unsafe_code)]

mod bundle;
mod key;

pub use bundle::{Bundle, image_statement, statement};
pub use key::{PublicKey, SecretKey};

/// The media type of a bundle, and its artifact type in a registry.
pub const BUNDLE_TYPE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";
/// The type of the predicate of an image's signature.
pub const IMAGE_PREDICATE: &str = "https://sigstore.dev/cosign/sign/v1";

/// What can be wrong with a key or a signature.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A key that can't be read.
    #[error(
        "no key that can be used: {0}\n  try: a key of `cosign generate-key-pair`, or ECDSA P-256 as PEM (openssl ecparam -name prime256v1 -genkey)"
    )]
    Key(String),
    /// The password of an encrypted key is missing or wrong.
    #[error(
        "the key is encrypted and {0}\n  try: COSIGN_PASSWORD=… with the password that it was made with"
    )]
    Password(&'static str),
    /// A bundle that is none.
    #[error("no signature that can be read: {0}")]
    Bundle(String),
    /// A signature that another key made, or of something else.
    #[error("the signature does not fit: {0}")]
    Mismatch(&'static str),
}
