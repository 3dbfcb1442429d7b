//! Errors of this crate.

use std::io;
use std::path::{Path, PathBuf};

/// An error of reading or changing a store or a cache.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A malformed text: a store path, a hash, a key, or the address of a cache.
    #[error("{what} {text:?}: {reason}")]
    Syntax {
        /// The expected kind of text.
        what: &'static str,
        /// The text as given.
        text: String,
        /// The fault, and the expected form.
        reason: String,
    },
    /// A narinfo, a `.drv` file, the output of a program of Nix, or a part of a cache is damaged.
    #[error("{place}: {reason}")]
    Damaged {
        /// The file, the program, or the part of a cache.
        place: String,
        /// The fault.
        reason: String,
    },
    /// A file can't be read or written.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// The action that failed, as a verb.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The outputs of a derivation get their paths only when they are built.
    #[error("the output paths of {path} are not known before it is built (content-addressed)")]
    FloatingOutput {
        /// The `.drv` file.
        path: String,
    },
    /// A program of Nix can't be started.
    #[error("{program} cannot be started; install Nix first: apt-get install nix-bin")]
    Start {
        /// The program.
        program: String,
        /// The cause.
        source: io::Error,
    },
    /// A program of Nix failed.
    #[error("{program} failed: {reason}")]
    Failed {
        /// The program, and its task if that does not follow from the message.
        program: String,
        /// Its message.
        reason: String,
    },
    /// A file got another path in the store than its pin says.
    #[error("{} was added as {added}, expected {expected}", file.display())]
    Added {
        /// The file.
        file: PathBuf,
        /// Its path in the store.
        added: String,
        /// The expected path.
        expected: String,
    },
}

/// A result with [`enum@Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// Makes the error for a malformed text. `what` is the expected kind of text.
    pub fn syntax(what: &'static str, text: &str, reason: impl Into<String>) -> Error {
        Error::Syntax {
            what,
            text: text.to_owned(),
            reason: reason.into(),
        }
    }

    /// Makes the error for a damaged file, or for a damaged part of a cache.
    pub fn damaged(place: impl Into<String>, reason: impl Into<String>) -> Error {
        Error::Damaged {
            place: place.into(),
            reason: reason.into(),
        }
    }

    /// Returns a function that names the program of Nix that an I/O error kept from starting.
    pub fn start(program: impl AsRef<Path>) -> impl Fn(io::Error) -> Error {
        let program = program.as_ref().display().to_string();
        move |source| Error::Start {
            program: program.clone(),
            source,
        }
    }

    /// Returns a function that adds the action and the file to an I/O error.
    pub fn io(action: &'static str, path: impl Into<PathBuf>) -> impl Fn(io::Error) -> Error {
        let path = path.into();
        move |source| Error::Io {
            action,
            path: path.clone(),
            source,
        }
    }
}
