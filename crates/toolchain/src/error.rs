//! Errors of choosing, pinning and finding releases.

use std::io;
use std::path::{Path, PathBuf};

/// The result of this crate's functions.
pub type Result<T> = std::result::Result<T, Error>;

/// The error for a release that can't be chosen, pinned or found.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum Error {
    #[error("{path}: {source}")]
    Io { path: PathBuf, source: io::Error },
    /// A file of the workspace has unusable content.
    #[error("{path}:{line}: {reason}")]
    File {
        path: PathBuf,
        line: usize,
        reason: String,
    },
    #[error("{0}")]
    Channel(String),
    #[error("{origin}: {reason}")]
    Manifest { origin: String, reason: String },
    #[error("the release {release} has no component `{component}` for {platform}")]
    NoComponent {
        release: String,
        component: String,
        platform: String,
    },
    #[error("{archive}: {reason}")]
    Archive { archive: PathBuf, reason: String },
    #[error(
        "the rustup toolchain {toolchain} lacks the component `{component}`; add it with: \
         rustup component add {component} --toolchain {name}"
    )]
    NotInstalled {
        toolchain: PathBuf,
        name: String,
        component: String,
    },
    #[error(
        "the rustup toolchain {toolchain} lacks `{target}`; add it with: \
         rustup target add {target} --toolchain {name}"
    )]
    NoTarget {
        toolchain: PathBuf,
        name: String,
        target: String,
    },
    #[error(
        "the component `{component}` of the rustup toolchain {toolchain} was changed: its files \
         have the SHA-256 {found}, but toolchain.lock has {expected}; install it again with: \
         rustup toolchain uninstall {name} && rustup toolchain install {name}"
    )]
    Altered {
        toolchain: PathBuf,
        name: String,
        component: String,
        found: String,
        expected: String,
    },
}

/// Adds the path to an I/O error.
pub(crate) fn io(path: &Path) -> impl FnOnce(io::Error) -> Error + use<> {
    let path = path.to_owned();
    move |source| Error::Io { path, source }
}
