//! Downloads from Debian archives through the machine's apt: with its mirrors, proxies and
//! credentials, but without its state.
//!
//! Every call has its own directory for lists, sources and downloads. The machine's architectures,
//! installed packages and preferences have no influence, and nothing changes them.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use crate::index::IndexError;
use crate::keys::KeyError;
use crate::release::ReleaseError;

mod download;
mod indexes;
mod mirrors;
mod private;

pub use download::{Download, download};
pub use indexes::{IndexOptions, Indexes, Source, read_indexes};
pub use mirrors::{Mirror, Mirrors};
pub use private::download_directory;

/// An error of apt.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum AptError {
    #[error("{program} cannot be started: {source}; it is part of Debian's package apt")]
    NotFound { program: String, source: io::Error },
    #[error("{program} failed: {said}")]
    Failed { program: String, said: String },
    #[error(
        "the machine's apt has no source for the archive `{0}`; name a mirror with \
         --mirror {0}=URL, or add one to /etc/apt/sources.list.d"
    )]
    NoMirror(String),
    #[error("expected ARCHIVE=URL, such as debian=http://mirror.example/debian")]
    NotAMirror,
    #[error("[debian.sources.{name}]: {source}")]
    OfSource { name: String, source: Box<AptError> },
    #[error("{mirror}: apt-get update downloaded no {what} for {suite}")]
    NoIndex {
        mirror: String,
        suite: String,
        what: String,
    },
    #[error("{path}: {source}")]
    Io { path: PathBuf, source: io::Error },
    #[error(transparent)]
    Release(#[from] ReleaseError),
    #[error(transparent)]
    Index(#[from] IndexError),
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error("{0}: is not UTF-8")]
    NotUtf8(PathBuf),
    #[error("{what} {text:?} has a space or a control character, which apt would misread")]
    NotAWord { what: &'static str, text: String },
}

/// Returns the archive that serves a suite. Security updates have their own archive.
pub fn archive_of(suite: &str) -> &'static str {
    if suite.ends_with("-security") {
        "debian-security"
    } else {
        "debian"
    }
}

fn run(command: &mut Command, program: &str) -> Result<Output, AptError> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(|source| AptError::NotFound {
            program: program.to_owned(),
            source,
        })?;
    if output.status.success() {
        return Ok(output);
    }
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    let lines: Vec<&str> = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    Err(AptError::Failed {
        program: program.to_owned(),
        said: match lines.is_empty() {
            true => output.status.to_string(),
            false => lines.join("; "),
        },
    })
}

fn io_error(path: &Path, source: io::Error) -> AptError {
    AptError::Io {
        path: path.to_owned(),
        source,
    }
}
