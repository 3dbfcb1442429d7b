//! Errors in advisories and in `audit.toml`.

use std::io;
use std::path::{Path, PathBuf};

/// The errors of an audit.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file or directory can't be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The path.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },
    /// A file has the wrong form.
    #[error("{place}: {problem}")]
    Form {
        /// The file, with a line if it is known.
        place: String,
        /// The problem and the next step.
        problem: String,
    },
}

impl Error {
    pub(crate) fn read(path: &Path) -> impl FnOnce(io::Error) -> Error + '_ {
        |source| Error::Read {
            path: path.to_owned(),
            source,
        }
    }

    pub(crate) fn form(place: impl Into<String>, problem: impl Into<String>) -> Error {
        Error::Form {
            place: place.into(),
            problem: problem.into(),
        }
    }

    /// Turns an error of the TOML parser into ours, with the line in the file. The TOML begins on
    /// the file's line `first`.
    pub(crate) fn toml(file: &str, text: &str, first: usize, error: &toml::de::Error) -> Error {
        let start = error.span().map_or(0, |span| span.start).min(text.len());
        let line = first + text[..start].matches('\n').count();
        Error::form(format!("{file}:{line}"), error.message())
    }
}
