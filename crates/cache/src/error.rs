//! Errors of caches, with the next step.

use std::path::PathBuf;

/// An error of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A path, a key, an address or a file is at fault, in the store or in a cache.
    #[error(transparent)]
    Nix(#[from] crateyard_nix::Error),

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
}

/// A result with this crate's error.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// Makes the error for a damaged file, or for a damaged part of a cache.
    pub(crate) fn damaged(place: impl Into<String>, reason: impl Into<String>) -> Error {
        crateyard_nix::Error::damaged(place, reason).into()
    }

    /// Returns a function that adds the action and the file to an I/O error.
    pub(crate) fn io(
        action: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl Fn(std::io::Error) -> Error {
        let add = crateyard_nix::Error::io(action, path.into());
        move |source| add(source).into()
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
