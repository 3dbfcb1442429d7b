//! Paths below a directory. None of them leads up or away.

use std::ffi::OsStr;
use std::io::{self, ErrorKind};
use std::path::{Component, Path};

/// Returns the names that make up a path below a directory.
pub(super) fn components(below: &Path) -> io::Result<Vec<&OsStr>> {
    let name = |component| match component {
        Component::Normal(name) => Some(Ok(name)),
        Component::CurDir => None,
        _ => Some(Err(leads_away(below))),
    };
    below.components().filter_map(name).collect()
}

/// Returns the parent and the name of a path below a directory.
pub(super) fn split(below: &Path) -> io::Result<(&Path, &OsStr)> {
    match (below.parent(), below.components().next_back()) {
        (Some(parent), Some(Component::Normal(name))) => Ok((parent, name)),
        _ => Err(leads_away(below)),
    }
}

/// Returns a name if it is one component.
pub(super) fn one(name: &OsStr) -> io::Result<&OsStr> {
    match split(Path::new(name))? {
        (parent, only) if parent.as_os_str().is_empty() => Ok(only),
        _ => Err(leads_away(Path::new(name))),
    }
}

fn leads_away(below: &Path) -> io::Error {
    let reason = format!(
        "{:?} is not a path below a directory",
        below.display().to_string()
    );
    io::Error::new(ErrorKind::InvalidInput, reason)
}
