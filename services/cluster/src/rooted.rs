//! Paths below a root that is not the process's own, resolved as the kernel does after chroot, but
//! without chroot.
//!
//! Symbolic links are followed inside the root only: an absolute target begins at the root, and
//! `..` stops there. This is safe as long as nobody else changes the tree meanwhile.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::io;
use std::path::{Component, Path, PathBuf};

/// The most links in one path: as many as Linux follows.
const MAX_LINKS: usize = 40;

/// The action for a missing directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Missing {
    /// Fail with an error.
    Fail,
    /// Make the directory.
    Make,
}

/// Returns the real path, below `root`, of the file that a process in `root` calls `path`.
///
/// # Errors
/// When a directory is missing (or could not be made), or links form a circle.
pub(crate) fn resolve(root: &Path, path: &Path, missing: Missing) -> io::Result<PathBuf> {
    let mut resolved = PathBuf::new();
    let mut ahead = names(path);
    let mut links = 0;
    while let Some(name) = ahead.pop_front() {
        if name == ".." {
            resolved.pop();
            continue;
        }
        let next = root.join(&resolved).join(&name);
        match next.symlink_metadata() {
            Ok(metadata) if metadata.is_symlink() => {
                links += 1;
                if links > MAX_LINKS {
                    return Err(io::Error::other("too many symbolic links"));
                }
                let target = next.read_link()?;
                if target.is_absolute() {
                    resolved.clear();
                }
                for name in names(&target).into_iter().rev() {
                    ahead.push_front(name);
                }
            }
            Ok(_) => resolved.push(name),
            Err(error) if error.kind() == io::ErrorKind::NotFound && missing == Missing::Make => {
                std::fs::create_dir(&next)?;
                resolved.push(name);
            }
            Err(error) => return Err(error),
        }
    }
    Ok(root.join(resolved))
}

/// Returns the names in a path, without the root and without `.`.
fn names(path: &Path) -> VecDeque<OsString> {
    path.components()
        .filter_map(|component| match component {
            Component::Normal(name) => Some(name.to_owned()),
            Component::ParentDir => Some("..".into()),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn tree() -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(root.path().join("usr/lib")).unwrap();
        std::fs::write(root.path().join("usr/lib/a.so"), "").unwrap();
        for (target, name) in [
            ("usr/lib", "lib"),
            ("/usr/lib", "absolute"),
            ("../../../../../usr", "up"),
            ("circle", "circle"),
            ("a.so", "usr/lib/b.so"),
        ] {
            symlink(target, root.path().join(name)).unwrap();
        }
        root
    }

    #[test]
    fn links_stay_inside() {
        let root = tree();
        let expected = root.path().join("usr/lib/a.so");
        for path in [
            "usr/lib/a.so",
            "/usr/lib/./a.so",
            "lib/a.so",
            "/absolute/b.so",
            "up/lib/a.so",
            "../../up/../lib/a.so",
        ] {
            let found = resolve(root.path(), Path::new(path), Missing::Fail);
            assert_eq!(found.unwrap(), expected, "{path}");
        }
    }

    #[test]
    fn what_is_missing() {
        let root = tree();
        let path = Path::new("lib/x/y");
        let error = resolve(root.path(), path, Missing::Fail).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        let made = resolve(root.path(), path, Missing::Make).unwrap();
        assert_eq!(made, root.path().join("usr/lib/x/y"));
        assert!(made.is_dir());
    }

    #[test]
    fn circles_and_files_as_directories() {
        let root = tree();
        let circle = resolve(root.path(), Path::new("circle"), Missing::Fail);
        assert!(circle.unwrap_err().to_string().contains("too many"));
        let path = Path::new("usr/lib/a.so/x");
        assert!(resolve(root.path(), path, Missing::Make).is_err());
    }
}
