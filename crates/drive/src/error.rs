//! Errors of driving a build.

use std::io;
use std::path::PathBuf;

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

fn said(log: &str) -> String {
    if log.is_empty() {
        String::new()
    } else {
        format!("; it said:\n{}", log.trim_end())
    }
}

/// A result with [`enum@Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;
