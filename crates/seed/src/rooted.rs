//! Paths below a directory, which lead nowhere else.
//!
//! Every component is opened by itself, and the kernel follows no symbolic link. Links are read and
//! resolved here, as chroot(2) would see them. So an absolute link means a path below the root, and
//! `..` cannot climb out.

use alloc::ffi::CString;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{Mode, OFlags, mkdirat, openat, readlinkat};
use rustix::io::Errno;

use crate::error::{explain, shown};

/// The number of links that the kernel follows in one path.
pub(crate) const MAX_LINKS: usize = 40;

/// A directory as the root of paths.
pub(crate) struct Root {
    directory: OwnedFd,
}

/// The treatment of a missing directory: it is made with this mode, or an error.
#[derive(Clone, Copy)]
pub(crate) enum Missing {
    Make(Mode),
    Fail,
}

/// The reason why a path leads to no directory of the root.
pub(crate) struct Unresolved {
    /// The reason, for people.
    pub(crate) reason: String,
}

/// A component that is still to be entered, and whether it comes from a link's target.
struct Step {
    name: Vec<u8>,
    from_link: bool,
}

impl Step {
    /// Says why the component can't be entered.
    fn refused(&self, errno: Errno) -> Unresolved {
        let name = shown(&self.name);
        wrong(match errno {
            Errno::NOENT if self.from_link => {
                format!("the directory {name}, to which a symbolic link leads, does not exist")
            }
            Errno::NOENT => format!("the directory {name} does not exist"),
            _ => format!("cannot enter {name}: {}", explain(errno)),
        })
    }
}

impl Root {
    /// Takes an open directory as a root.
    pub(crate) fn new(directory: OwnedFd) -> Self {
        Self { directory }
    }

    /// Returns the root itself.
    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
    }

    /// Opens the directory at `path`.
    ///
    /// # Errors
    /// When the path leaves the root, a component is missing or is no directory, or the system
    /// refuses. A directory that only the target of a link names is never made.
    pub(crate) fn directory(&self, path: &[u8], missing: Missing) -> Result<OwnedFd, Unresolved> {
        let mut steps = steps(path, false);
        let mut above: Vec<OwnedFd> = Vec::new();
        let mut links = 0;
        while let Some(step) = steps.pop() {
            let here = above.last().map_or(self.directory.as_fd(), AsFd::as_fd);
            if step.name == b".." {
                if above.pop().is_none() {
                    return Err(wrong(format!(
                        "it leads out of the root through {}",
                        shown(path)
                    )));
                }
                continue;
            }
            let name = c_string(&step.name).map_err(wrong)?;
            let may_make = if step.from_link {
                Missing::Fail
            } else {
                missing
            };
            match enter(here, &name, may_make) {
                Ok(directory) => above.push(directory),
                Err(Errno::NOTDIR | Errno::LOOP) => {
                    let target = readlinkat(here, &name, Vec::new())
                        .map_err(|_| wrong(format!("{} is not a directory", shown(&step.name))))?;
                    links += 1;
                    if links > MAX_LINKS {
                        return Err(wrong(format!(
                            "there are more than {MAX_LINKS} symbolic links in it"
                        )));
                    }
                    if target.as_bytes().starts_with(b"/") {
                        above.clear();
                    }
                    steps.extend(self::steps(target.as_bytes(), true));
                }
                Err(errno) => return Err(step.refused(errno)),
            }
        }
        match above.pop() {
            Some(directory) => Ok(directory),
            None => self
                .directory
                .try_clone()
                .map_err(|_| wrong("cannot open the root again: too many open files".into())),
        }
    }

    /// Opens the directory that holds the last component of `path`. Returns it with that component.
    ///
    /// # Errors
    /// As [`Root::directory`], and when the path names the root itself or ends in `..`.
    pub(crate) fn parent(
        &self,
        path: &[u8],
        missing: Missing,
    ) -> Result<(OwnedFd, CString), Unresolved> {
        let (parent, name) = split(path);
        if name.is_empty() || name == b"." || name == b".." {
            return Err(wrong(format!("{} names no file", shown(path))));
        }
        Ok((
            self.directory(parent, missing)?,
            c_string(name).map_err(wrong)?,
        ))
    }
}

/// Cuts a path before its last component. Trailing slashes do not count.
pub(crate) fn split(path: &[u8]) -> (&[u8], &[u8]) {
    let end = path
        .iter()
        .rposition(|&byte| byte != b'/')
        .map_or(0, |last| last + 1);
    let path = &path[..end];
    match path.iter().rposition(|&byte| byte == b'/') {
        Some(slash) => (&path[..slash], &path[slash + 1..]),
        None => (b"", path),
    }
}

/// Returns a name or path as the kernel takes it.
///
/// # Errors
/// A message, when it holds a zero byte.
pub(crate) fn c_string(bytes: &[u8]) -> Result<CString, String> {
    CString::new(bytes).map_err(|_| format!("{} holds a zero byte", shown(bytes)))
}

/// Returns the components of a path, the last one first.
fn steps(path: &[u8], from_link: bool) -> Vec<Step> {
    path.split(|&byte| byte == b'/')
        .filter(|name| !name.is_empty() && *name != b".")
        .rev()
        .map(|name| Step {
            name: name.to_vec(),
            from_link,
        })
        .collect()
}

fn enter(here: BorrowedFd<'_>, name: &CString, missing: Missing) -> Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match (openat(here, name, flags, Mode::empty()), missing) {
        (Err(Errno::NOENT), Missing::Make(mode)) => {
            mkdirat(here, name, mode)?;
            openat(here, name, flags, Mode::empty())
        }
        (opened, _) => opened,
    }
}

fn wrong(reason: String) -> Unresolved {
    Unresolved { reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_cut_before_its_last_component() {
        assert_eq!(split(b"usr/bin/cc"), (&b"usr/bin"[..], &b"cc"[..]));
        assert_eq!(split(b"cc"), (&b""[..], &b"cc"[..]));
        assert_eq!(split(b"/cc//"), (&b""[..], &b"cc"[..]));
        assert_eq!(split(b"//"), (&b""[..], &b""[..]));
    }
}
