//! Errors of this crate.

use std::io;
use std::path::{Path, PathBuf};

/// An error of reading or changing the store.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A malformed text: a store path, a hash or a key.
    #[error("{what} {text:?}: {reason}")]
    Syntax {
        /// The expected kind of text.
        what: &'static str,
        /// The text as given.
        text: String,
        /// The fault, and the expected form.
        reason: String,
    },
    /// A narinfo or the output of a program of Nix is damaged.
    #[error("{place}: {reason}")]
    Damaged {
        /// The file or the program.
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
    /// A `.drv` file can't be read.
    #[error("cannot read the derivation {path}")]
    Unreadable {
        /// Its path.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// A file is not a derivation.
    #[error("{path} is not a derivation: {message} at byte {position}")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// The parser's expectation.
        message: &'static str,
        /// The position of the error, in bytes.
        position: usize,
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
        /// The program.
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
    /// Nix failed to create a store.
    #[error("cannot create the store with its state in {}: {reason}", path.display())]
    Creation {
        /// The directory of the state.
        path: PathBuf,
        /// Nix's message.
        reason: String,
    },
}

/// A result with [`enum@Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// Adds the action and the file to an I/O error.
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
        let path = path.to_owned();
        move |source| Error::Io {
            action,
            path,
            source,
        }
    }
}
