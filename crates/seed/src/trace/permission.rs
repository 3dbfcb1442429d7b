//! Whether a program may do something at a path, and its error if not: that of a mount which is
//! read-only.

use linux_raw_sys::general as kernel;
use rustix::fs::{FileType, Stat, lstat};
use rustix::io::Errno;

use super::view::{Place, View};

/// What a call does at a path.
#[derive(Clone, Copy)]
pub(super) enum Access {
    /// It looks, and changes nothing.
    Looks,
    /// It asks whether it may write.
    Writes,
    /// It changes what is there.
    Changes,
    /// It makes something new.
    Makes,
    /// It takes a name away or replaces it, whether there is one or not.
    Moves,
    /// It opens a file.
    Opens(Opening),
}

/// How a file is opened.
#[derive(Clone, Copy)]
pub(super) struct Opening {
    creates: bool,
    /// It creates, and there must be nothing yet.
    exclusive: bool,
    writes: bool,
    truncates: bool,
    /// It makes a file without a name, in this directory.
    unnamed: bool,
}

/// Whether opening a file with these flags follows a link, and what it does.
pub(super) fn opening(flags: u32) -> (bool, Access) {
    let has = |flag| flags & flag == flag;
    let creates = has(kernel::O_CREAT);
    let opening = Opening {
        creates,
        exclusive: creates && has(kernel::O_EXCL),
        writes: flags & kernel::O_ACCMODE != kernel::O_RDONLY,
        truncates: has(kernel::O_TRUNC),
        unnamed: has(kernel::O_TMPFILE),
    };
    let access = if has(kernel::O_PATH) {
        Access::Looks
    } else {
        Access::Opens(opening)
    };
    (!has(kernel::O_NOFOLLOW) && !opening.exclusive, access)
}

/// Whether a process may do that at a place. `outer` are its user and group outside.
pub(super) fn permit(access: Access, place: &Place, outer: (u32, u32)) -> Result<(), Errno> {
    if !place.fixed {
        return Ok(());
    }
    match access {
        Access::Looks => Ok(()),
        Access::Writes => Err(unwritable(&lstat(place.host.as_slice())?, outer)),
        Access::Changes if !View::exists(place) => Err(Errno::NOENT),
        Access::Makes if View::exists(place) => Err(Errno::EXIST),
        Access::Changes | Access::Makes | Access::Moves => Err(Errno::ROFS),
        Access::Opens(opening) => permit_opening(opening, place, outer),
    }
}

fn permit_opening(opening: Opening, place: &Place, outer: (u32, u32)) -> Result<(), Errno> {
    let Ok(status) = lstat(place.host.as_slice()) else {
        // Otherwise the kernel says that there is nothing.
        return if opening.creates {
            Err(Errno::ROFS)
        } else {
            Ok(())
        };
    };
    let is_changed = opening.creates || opening.writes || opening.truncates;
    match FileType::from_raw_mode(status.st_mode) {
        _ if opening.exclusive => Err(Errno::EXIST),
        // It is not to be followed, as the kernel will say.
        FileType::Symlink => Ok(()),
        FileType::Directory if opening.unnamed => Err(Errno::ROFS),
        _ if opening.unnamed => Err(Errno::NOTDIR),
        FileType::Directory if is_changed => Err(Errno::ISDIR),
        _ if opening.truncates => Err(Errno::ROFS),
        _ if opening.writes => Err(unwritable(&status, outer)),
        _ => Ok(()),
    }
}

/// Why a file can't be written to: by its mode, or else because its mount is read-only.
fn unwritable(status: &Stat, (user, group): (u32, u32)) -> Errno {
    let bit = if status.st_uid == user {
        0o200
    } else if status.st_gid == group {
        0o020
    } else {
        0o002
    };
    if status.st_mode & bit == 0 {
        Errno::ACCESS
    } else {
        Errno::ROFS
    }
}
