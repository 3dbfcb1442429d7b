//! The error type of the crate.

use std::io;
use std::path::Path;

/// The errors of making or reading an image.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file can't be read or written, or is damaged.
    #[error(transparent)]
    Oci(#[from] crateyard_oci::Error),
    /// A specification asks for something that can't be done.
    #[error("{at}: {problem}; {remedy}")]
    Spec {
        /// The place in the specification, such as `sources[3].to`.
        at: String,
        /// The problem, with a quotation of the value.
        problem: String,
        /// The way to solve the problem.
        remedy: String,
    },
    /// Two sources, or two layers, have the same path.
    #[error("/{path} is given twice: by {first} and by {second}; drop or move one of them{remedy}")]
    Conflict {
        /// The path in the image, without the leading slash.
        path: String,
        /// The origin of the first one.
        first: String,
        /// The origin of the second one.
        second: String,
        /// Another solution, if there is one. Starts with a comma.
        remedy: String,
    },
}

/// A result, with the crate's [`Error`] by default.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// Makes a function that turns an [`io::Error`] into an error that names the file, for
    /// `map_err`.
    pub fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error + use<> {
        let wrap = crateyard_oci::Error::io(action, path);
        move |source| wrap(source).into()
    }

    pub(crate) fn damaged(what: impl Into<String>, problem: impl Into<String>) -> Error {
        crateyard_oci::Error::damaged(what, problem).into()
    }

    pub(crate) fn spec(
        at: impl Into<String>,
        problem: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Error {
        Error::Spec {
            at: at.into(),
            problem: problem.into(),
            remedy: remedy.into(),
        }
    }
}
