//! Errors of driving a build.

use std::io;
use std::path::{Path, PathBuf};

/// Why a build could not be driven.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A `.drv` file can't be read.
    #[error("cannot read the derivation {path}")]
    Unreadable {
        /// Its path.
        path: PathBuf,
        /// Why.
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
    /// A derivation depends on itself.
    #[error("{name} depends on itself")]
    Cycle {
        /// A task of the cycle.
        name: String,
    },
    /// A process of Nix can't be started.
    #[error("cannot start {program}")]
    Start {
        /// The program.
        program: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file of a store that is to be created can't be read or written.
    #[error("cannot create the store: {}: {source}", path.display())]
    Store {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Nix failed to create a store.
    #[error("cannot create the store with its state in {}: {reason}", path.display())]
    Creation {
        /// The directory of the state.
        path: PathBuf,
        /// Nix's message.
        reason: String,
    },
    /// A process of Nix ended or violated the protocol.
    #[error("nix-store --serve stopped answering ({reason}){}", said(.log))]
    Broken {
        /// The cause.
        reason: String,
        /// Its output on standard error.
        log: String,
    },
    /// A download for a store in another directory failed.
    #[error("cannot download {name}: {reason}\n  try: assemble fetch, with the same --store")]
    Download {
        /// The derivation's name.
        name: String,
        /// Why.
        reason: String,
    },
    /// The build was interrupted.
    #[error("interrupted")]
    Interrupted,
    /// A file of the machine's state can't be read or written.
    #[error("cannot use {path}")]
    State {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file is not the record of a build, or has another version.
    #[error("{path} is not a build record of this version; run assemble build again")]
    Record {
        /// The file.
        path: PathBuf,
        /// The parser's error.
        source: serde_json::Error,
    },
}

impl Error {
    /// Adds the file to an error of creating a store.
    pub(crate) fn store(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Store { path, source }
    }
}

fn said(log: &str) -> String {
    if log.is_empty() {
        String::new()
    } else {
        format!("; it said:\n{}", log.trim_end())
    }
}

/// A result with [`enum@Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;
