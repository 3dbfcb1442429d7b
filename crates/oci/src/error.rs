//! What can go wrong when an image is read.

use std::io;
use std::path::{Path, PathBuf};

/// What can go wrong when an image is read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused something.
    #[error("{doing} {}: {source}{}", path.display(), remedy_for(source))]
    Io {
        /// What was being done, such as `cannot read`.
        doing: &'static str,
        /// The file or directory it was done to.
        path: PathBuf,
        /// The operating system's answer.
        source: io::Error,
    },
    /// A JSON document is not what it should be.
    #[error("{what} is not a valid document: {source}")]
    Json {
        /// The file or blob.
        what: String,
        /// What the parser says, with line and column.
        source: serde_json::Error,
    },
    /// A file or blob is damaged or hostile.
    #[error("{what} is damaged: {problem}")]
    Damaged {
        /// The file, blob or entry.
        what: String,
        /// What is wrong with it.
        problem: String,
    },
    /// Reading the image would take more than [`crate::Limits`] allow.
    #[error("{what}: {problem}")]
    Limit {
        /// What asks for it: the image, a document or a layer.
        what: String,
        /// What there is too much of, and how much is allowed.
        problem: String,
    },
    /// The input is valid but needs something that this program does not do.
    #[error("{what}: {problem}")]
    Unsupported {
        /// The file, blob or entry.
        what: String,
        /// What can't be handled and what to do instead.
        problem: String,
    },
    /// Something that was asked for by name is not there.
    #[error("{what} is not in {place}{hint}")]
    NotFound {
        /// What was looked for.
        what: String,
        /// Where it was looked for.
        place: String,
        /// What is there instead, or what to do; starts with a separator.
        hint: String,
    },
    /// One image is wanted where there are several.
    #[error("{place}: {problem}; {remedy}")]
    Ambiguous {
        /// The layout, archive or reference.
        place: String,
        /// What there is.
        problem: String,
        /// How to choose.
        remedy: &'static str,
    },
}

/// A result, with the crate's [`Error`] unless another is named.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// Makes a function that turns an [`io::Error`] into [`Error::Io`], for `map_err`.
    pub fn io(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error + use<> {
        let path = path.to_owned();
        move |source| Error::Io {
            doing,
            path,
            source,
        }
    }

    /// An [`Error::Damaged`].
    pub fn damaged(what: impl Into<String>, problem: impl Into<String>) -> Error {
        Error::Damaged {
            what: what.into(),
            problem: problem.into(),
        }
    }
}

fn remedy_for(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::StorageFull => " (free some space there and run it again)",
        io::ErrorKind::PermissionDenied => " (the user that runs this needs access)",
        _ => "",
    }
}
