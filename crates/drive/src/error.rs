//! Errors of driving a build.

use std::path::PathBuf;

/// An error of driving a build.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A derivation or a file of the machine's state can't be used, or Nix can't be started.
    #[error(transparent)]
    Nix(#[from] crateyard_nix::Error),
    /// A derivation depends on itself.
    #[error("{name} depends on itself")]
    Cycle {
        /// A task of the cycle.
        name: String,
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
        /// The cause.
        reason: String,
    },
    /// The build was interrupted.
    #[error("interrupted")]
    Interrupted,
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
