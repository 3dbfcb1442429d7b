//! Errors of reading an image.

use std::io;
use std::path::{Path, PathBuf};

/// The errors of reading an image.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused something.
    #[error("cannot {action} {}: {source}{}", path.display(), remedy_for(source))]
    Io {
        /// The action that failed, as a verb.
        action: &'static str,
        /// The file or directory of the action.
        path: PathBuf,
        /// The operating system's answer.
        source: io::Error,
    },
    /// A file or blob is damaged or hostile.
    #[error("{what} is damaged: {problem}")]
    Damaged {
        /// The file, blob or entry.
        what: String,
        /// The problem.
        problem: String,
    },
    /// Reading the image would take more than [`crate::Limits`] allow.
    #[error("{what}: {problem}")]
    Limit {
        /// The image, document or layer that exceeds the limit.
        what: String,
        /// The exceeded limit and its value.
        problem: String,
    },
    /// The input is valid but needs something that this program does not do.
    #[error("{what}: {problem}")]
    Unsupported {
        /// The file, blob or entry.
        what: String,
        /// The unsupported part, and what to do instead.
        problem: String,
    },
    /// Something named by the caller is missing.
    #[error("{what} is not in {place}{hint}")]
    NotFound {
        /// The missing thing.
        what: String,
        /// The place that was searched.
        place: String,
        /// The things that are there instead, or what to do. Starts with a separator.
        hint: String,
    },
    /// The caller needs one image and there are several.
    #[error("{place}: {problem}; {remedy}")]
    Ambiguous {
        /// The layout, archive or reference.
        place: String,
        /// The images that are there.
        problem: String,
        /// The way to choose one.
        remedy: &'static str,
    },
}

/// A result, with the crate's [`Error`] by default.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// Makes a function that turns an [`io::Error`] into [`Error::Io`], for `map_err`.
    /// `action` is the verb after "cannot".
    pub fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error + use<> {
        let path = path.to_owned();
        move |source| Error::Io {
            action,
            path,
            source,
        }
    }

    /// Makes an [`Error::Damaged`].
    pub fn damaged(what: impl Into<String>, problem: impl Into<String>) -> Error {
        Error::Damaged {
            what: what.into(),
            problem: problem.into(),
        }
    }

    /// Makes a function that turns the error of a JSON parser into an [`Error::Damaged`], for
    /// `map_err`.
    pub fn json(what: impl Into<String>) -> impl FnOnce(serde_json::Error) -> Error {
        let what = what.into();
        move |error| Error::damaged(what, format!("it is not a valid document: {error}"))
    }
}

fn remedy_for(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::StorageFull => " (free some space there and run it again)",
        io::ErrorKind::PermissionDenied => " (the user that runs this needs access)",
        _ => "",
    }
}
