//! Paths in a cell, as `images.toml` writes them.

use crate::source::WORKSPACE;
use std::path::{Path, PathBuf};

/// Returns the path to declare so that `path` exists: a path below the workspace, without `..`.
/// Returns `None` if `path` exists, or does not lie in the workspace.
pub(super) fn undeclared(path: &Path) -> Option<PathBuf> {
    let path = simple(path);
    if !path.starts_with(WORKSPACE) || path == Path::new(WORKSPACE) || path.exists() {
        return None;
    }
    if path.starts_with(Path::new(WORKSPACE).join("target")) {
        return None;
    }
    match dangling(&path) {
        Some(to) => undeclared(&to),
        None => Some(path),
    }
}

/// Returns the target of a path behind a dangling link on its way.
fn dangling(path: &Path) -> Option<PathBuf> {
    let mut ways: Vec<&Path> = path.ancestors().collect();
    ways.reverse();
    let link = ways.into_iter().find(|way| way.is_symlink())?;
    let to = link.parent()?.join(link.read_link().ok()?);
    let inside = path.strip_prefix(link).ok()?;
    Some(simple(&to.join(inside)))
}

/// Returns the path to declare for a file: its directory, if that is only used as a whole, or the
/// file.
pub(super) fn whole(file: &Path) -> PathBuf {
    let names = [".sqlx", "migrations", "snapshots"];
    let folder = |path: &&Path| {
        path.file_name()
            .is_some_and(|name| names.iter().any(|n| name == *n))
    };
    if let Some(folder) = file.ancestors().skip(1).find(folder) {
        return folder.to_owned();
    }
    // The files that it imports lie beside it.
    let is_proto = file
        .extension()
        .is_some_and(|extension| extension == "proto");
    match file.parent() {
        Some(parent) if is_proto && parent != Path::new(WORKSPACE) => parent.to_owned(),
        _ => file.to_owned(),
    }
}

/// Returns `file` relative to `dir`. Both must have no `..`.
pub(super) fn relative(dir: &Path, file: &Path) -> String {
    let (dir, file): (Vec<_>, Vec<_>) = (dir.components().collect(), file.components().collect());
    let shared = file.iter().zip(&dir).take_while(|(a, b)| a == b).count();
    let up = dir[shared..].iter().map(|_| "..".to_owned());
    let down = file[shared..]
        .iter()
        .map(|c| c.as_os_str().to_string_lossy().into_owned());
    up.chain(down).collect::<Vec<_>>().join("/")
}

/// Returns a path without `.` and `..`.
pub(super) fn simple(path: &Path) -> PathBuf {
    use std::path::Component::{CurDir, ParentDir};
    let mut simple = PathBuf::new();
    for part in path.components() {
        match part {
            CurDir => {}
            ParentDir => drop(simple.pop()),
            part => simple.push(part),
        }
    }
    simple
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_seen_from_the_package() {
        let seen = |dir: &str, file: &str| relative(dir.as_ref(), file.as_ref());
        assert_eq!(
            seen("/workspace/a/b", "/workspace/proto/x"),
            "../../proto/x"
        );
        assert_eq!(seen("/workspace", "/workspace/docs/x"), "docs/x");
        assert_eq!(seen("/workspace/a", "/workspace/a/LICENSE"), "LICENSE");
    }

    #[test]
    fn what_is_used_as_a_whole_is_declared_as_a_whole() {
        let declared = |file: &str| whole(file.as_ref()).to_string_lossy().into_owned();
        assert_eq!(
            declared("/workspace/.sqlx/query-1.json"),
            "/workspace/.sqlx"
        );
        assert_eq!(declared("/workspace/proto/a.proto"), "/workspace/proto");
        assert_eq!(declared("/workspace/a.proto"), "/workspace/a.proto");
        assert_eq!(
            declared("/workspace/ui/dist/app.js"),
            "/workspace/ui/dist/app.js"
        );
    }
}
