//! What can go wrong with a cache, and what to do next.

use std::path::PathBuf;

/// Everything that this crate reports as an error.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A text that is not what it should be: a key, an address, a narinfo.
    #[error("{what} {text:?}: {reason}")]
    Syntax {
        /// What it should be.
        what: &'static str,
        /// The text as given.
        text: String,
        /// What is wrong with it, and what is expected.
        reason: String,
    },

    /// A cache is damaged.
    #[error("{place}: {reason}")]
    Damaged {
        /// The file or the part of the cache.
        place: String,
        /// What is wrong there.
        reason: String,
    },

    /// A cache can't be reached.
    #[error("{url}: {reason}")]
    Unreachable {
        /// The URL of the request.
        url: String,
        /// Why the request failed.
        reason: String,
    },

    /// The registry that holds the cache refused or failed.
    #[error("{0}")]
    Registry(Box<registry::Error>),

    /// A local file can't be read or written.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// The action that failed, as a verb.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why it failed.
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
        registry::Error::from(error).into()
    }
}

impl From<crateyard_oci::ParseReferenceError> for Error {
    fn from(error: crateyard_oci::ParseReferenceError) -> Error {
        registry::Error::from(error).into()
    }
}

impl From<registry::Error> for Error {
    fn from(error: registry::Error) -> Error {
        Error::Registry(Box::new(error))
    }
}
