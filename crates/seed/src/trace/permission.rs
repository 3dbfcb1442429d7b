//! Permissions of calls that access paths. A refused call gets the error of a read-only mount.

use linux_raw_sys::general as kernel;
use rustix::fs::{FileType, Stat, lstat};
use rustix::io::Errno;

use super::view::{Place, View};

/// The access of a call at a path.
#[derive(Clone, Copy)]
pub(super) enum Access {
    /// It looks and changes nothing.
    Looks,
    /// It asks for permission to write.
    Writes,
    /// It changes something that exists.
    Changes,
    /// It makes something new.
    Makes,
    /// It removes or replaces a name, which need not exist.
    Moves,
    /// It opens a file.
    Opens(Opening),
}

/// The flags of a call that opens a file.
#[derive(Clone, Copy)]
pub(super) struct Opening {
    creates: bool,
    /// It creates a file, and nothing may exist there yet.
    exclusive: bool,
    writes: bool,
    truncates: bool,
    /// It makes a file without a name in this directory.
    unnamed: bool,
}

/// Returns whether a call that opens a file with these flags follows a link, and its access.
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

/// Permits or refuses an access at a place. `outer` is the process's user and group outside.
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
        // The kernel itself says that nothing is there.
        return if opening.creates {
            Err(Errno::ROFS)
        } else {
            Ok(())
        };
    };
    let is_changed = opening.creates || opening.writes || opening.truncates;
    match FileType::from_raw_mode(status.st_mode) {
        _ if opening.exclusive => Err(Errno::EXIST),
        // The call does not follow it. The kernel has the error for that.
        FileType::Symlink => Ok(()),
        FileType::Directory if opening.unnamed => Err(Errno::ROFS),
        _ if opening.unnamed => Err(Errno::NOTDIR),
        FileType::Directory if is_changed => Err(Errno::ISDIR),
        _ if opening.truncates => Err(Errno::ROFS),
        _ if opening.writes => Err(unwritable(&status, outer)),
        _ => Ok(()),
    }
}

/// Returns the reason why a file can't be written to: its mode, or else its read-only mount.
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
