//! Errors: what went wrong, where, and what to try.

use std::path::PathBuf;

/// An error of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The reference does not follow docker's grammar.
    #[error(transparent)]
    Reference(#[from] crateyard_oci::ParseReferenceError),

    /// The text is not a digest with a known hash function.
    #[error(transparent)]
    Digest(#[from] crateyard_oci::ParseDigestError),

    /// An image or another file of this machine can't be read or written, or reading it would take
    /// too much.
    #[error("{error}{remedy}", error = .0, remedy = remedy(.0))]
    Oci(#[from] crateyard_oci::Error),

    /// The image on disk is wrong.
    #[error("{place}: {reason}\n  try: {remedy}")]
    Source {
        /// The file or the place in it.
        place: String,
        /// The fault.
        reason: String,
        /// The next step.
        remedy: String,
    },

    /// The credentials can't be read.
    #[error("credentials: {place}: {reason}\n  try: {remedy}")]
    Credentials {
        /// The file or the helper.
        place: String,
        /// The fault.
        reason: String,
        /// The next step.
        remedy: String,
    },

    /// A certificate, a key or an option can't be used.
    #[error("{place}: {reason}")]
    Configuration {
        /// The file or option.
        place: String,
        /// The fault.
        reason: String,
    },

    /// A request that failed for good: it was refused, or all retries failed.
    #[error(transparent)]
    Request(Box<Failure>),
}

/// A request that failed for good: it was refused, or all retries failed.
#[derive(Debug, thiserror::Error)]
#[error("{reference}: {request}: {detail}\n  try: {remedy}")]
pub struct Failure {
    /// The image or repository.
    pub reference: String,
    /// The method and URL, without its query (which may hold secrets).
    pub request: String,
    /// The kind of failure.
    pub kind: Kind,
    /// The registry's message, or the connection's error.
    pub detail: String,
    /// The next step.
    pub remedy: String,
}

/// A kind of failed request. Each has its own exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The registry wants other credentials, or they do not allow the request (401, 403).
    Denied,
    /// The repository, manifest or blob is not there (404).
    NotFound,
    /// The registry understood the request and refused it.
    Refused,
    /// The registry could not be reached, or kept failing until the retries were used up.
    Unreachable,
    /// The registry's answer contradicts the protocol or the digest that was asked for.
    Contradiction,
}

impl Error {
    /// Returns the exit code of a command line that fails with this error; see docs/push.md.
    pub fn exit_code(&self) -> u8 {
        match self {
            Error::Reference(_) | Error::Configuration { .. } => 2,
            Error::Oci(crateyard_oci::Error::Io { .. }) => 1,
            Error::Source { .. } | Error::Oci(_) | Error::Digest(_) => 3,
            Error::Credentials { .. } => 4,
            Error::Request(failure) => match failure.kind {
                Kind::Denied => 4,
                Kind::NotFound => 5,
                Kind::Refused => 6,
                Kind::Unreachable => 7,
                Kind::Contradiction => 8,
            },
        }
    }

    pub(crate) fn io(
        action: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(std::io::Error) -> Error {
        let path = path.into();
        move |source| crateyard_oci::Error::io(action, &path)(source).into()
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Error {
        Error::Request(Box::new(failure))
    }
}

/// Returns the next step for an image that can't be read.
fn remedy(error: &crateyard_oci::Error) -> &'static str {
    use crateyard_oci::Error as Oci;
    match error {
        Oci::Damaged { .. } | Oci::NotFound { .. } => {
            "\n  try: write the layout again; it is damaged"
        }
        Oci::Unsupported { .. } => {
            "\n  try: an OCI image layout (a directory with oci-layout, index.json and blobs/), or \
             an uncompressed OCI or docker archive"
        }
        Oci::Limit { .. } => "\n  try: inspect the image; no sound image needs that much",
        _ => "",
    }
}
