//! What can go wrong.

use std::io;
use std::path::PathBuf;

/// Why a build could not be driven.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A `.drv` file can't be read.
    #[error("cannot read the derivation {path}")]
    Unreadable {
        /// Where it should lie.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A `.drv` file is none.
    #[error("{path} is no derivation: {message} at byte {position}")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What was expected there.
        message: &'static str,
        /// How far it was understood.
        position: usize,
    },
    /// A derivation whose outputs get their paths only when they are built.
    #[error("the output paths of {path} are not known before it is built (content-addressed)")]
    FloatingOutput {
        /// The `.drv` file.
        path: String,
    },
    /// Derivations that depend on themselves.
    #[error("{name} depends on itself")]
    Cycle {
        /// One task of the cycle.
        name: String,
    },
    /// A process of Nix that can't be started.
    #[error("cannot start {program}")]
    Start {
        /// The program.
        program: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A process of Nix that ended or said something else than the protocol allows.
    #[error("nix-store --serve stopped answering ({reason}){}", said(.log))]
    Broken {
        /// What happened.
        reason: String,
        /// What it wrote on standard error.
        log: String,
    },
    /// A download for a store elsewhere that failed.
    #[error("cannot download {name}: {reason}\n  try: assemble fetch, with the same --store")]
    Download {
        /// The derivation's name.
        name: String,
        /// Why not.
        reason: String,
    },
    /// A build was asked to stop.
    #[error("interrupted")]
    Interrupted,
    /// A file of the machine's state that can't be read or written.
    #[error("cannot use {path}")]
    State {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A record of a build that was written by another version, or is none.
    #[error("{path} is no record of a build that this version knows; build once more")]
    Record {
        /// The file.
        path: PathBuf,
        /// What serde says.
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
