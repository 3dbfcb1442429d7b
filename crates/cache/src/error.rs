//! Errors of caches, with the next step.

use std::path::PathBuf;

/// An error of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A path, a key, a narinfo or the store is at fault.
    #[error(transparent)]
    Nix(#[from] crateyard_nix::Error),

    /// A malformed text: an address.
    #[error("{what} {text:?}: {reason}")]
    Syntax {
        /// The expected kind of text.
        what: &'static str,
        /// The text as given.
        text: String,
        /// The fault, and the expected form.
        reason: String,
    },

    /// A cache is damaged.
    #[error("{place}: {reason}")]
    Damaged {
        /// The file or the part of the cache.
        place: String,
        /// The fault.
        reason: String,
    },

    /// A cache can't be reached.
    #[error("{url}: {reason}")]
    Unreachable {
        /// The URL of the request.
        url: String,
        /// The cause of the failure.
        reason: String,
    },

    /// The registry that holds the cache refused or failed.
    #[error("{0}")]
    Registry(Box<crateyard_registry::Error>),

    /// A local file can't be read or written.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// The action that failed, as a verb.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The cause of the failure.
        source: std::io::Error,
    },
}

/// A result with this crate's error.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// Adds the action and the file to an I/O error.
    pub(crate) fn io(
        action: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(std::io::Error) -> Error {
        let path = path.into();
        move |source| Error::Io {
            action,
            path,
            source,
        }
    }
}

impl From<crateyard_oci::Error> for Error {
    fn from(error: crateyard_oci::Error) -> Error {
        crateyard_registry::Error::from(error).into()
    }
}

impl From<crateyard_oci::ParseReferenceError> for Error {
    fn from(error: crateyard_oci::ParseReferenceError) -> Error {
        crateyard_registry::Error::from(error).into()
    }
}

impl From<crateyard_registry::Error> for Error {
    fn from(error: crateyard_registry::Error) -> Error {
        Error::Registry(Box::new(error))
    }
}
