//! The arguments of a system call that are paths, and the kind of access at each.

use alloc::vec;
use alloc::vec::Vec;

use linux_raw_sys::general as kernel;

use super::change::After;
use super::machine::Registers;
use super::permission::{Access, opening};

/// A path among the arguments.
#[derive(Clone, Copy)]
pub(super) struct Argument {
    /// The index of the directory at which the path begins, unless that is the process's own.
    pub(super) directory: Option<usize>,
    /// The index of the path.
    pub(super) path: usize,
    /// Whether the call follows the last component if it is a link.
    pub(super) follow: bool,
    pub(super) access: Access,
}

fn at(directory: usize, follow: bool, access: Access) -> Argument {
    Argument {
        directory: Some(directory),
        path: directory + 1,
        follow,
        access,
    }
}

fn plain(path: usize, follow: bool, access: Access) -> Argument {
    Argument {
        directory: None,
        path,
        follow,
        access,
    }
}

/// Returns the paths of a call, and the work at its end. Returns `None` for calls that are not
/// about paths.
pub(super) fn paths(registers: &Registers) -> Option<(Vec<Argument>, After)> {
    use Access::{Changes, Looks, Makes, Moves, Writes};
    let argument = |index| registers.argument(index);
    let has = |index: usize, flag: u32| argument(index) as u32 & flag != 0;
    let follows = |index| !has(index, kernel::AT_SYMLINK_NOFOLLOW);
    let nothing = |arguments: Vec<Argument>| Some((arguments, After::Nothing));
    #[cfg(target_arch = "x86_64")]
    match registers.number() {
        kernel::__NR_access => {
            let access = if has(1, 2) { Writes } else { Looks };
            return nothing(vec![plain(0, true, access)]);
        }
        kernel::__NR_chmod | kernel::__NR_utime | kernel::__NR_utimes => {
            return nothing(vec![plain(0, true, Changes)]);
        }
        kernel::__NR_chown => return nothing(vec![plain(0, true, Changes)]),
        kernel::__NR_creat => {
            let (follow, access) = opening(kernel::O_CREAT | kernel::O_WRONLY | kernel::O_TRUNC);
            return nothing(vec![plain(0, follow, access)]);
        }
        kernel::__NR_futimesat => return nothing(vec![at(0, true, Changes)]),
        kernel::__NR_lchown => return nothing(vec![plain(0, false, Changes)]),
        kernel::__NR_rmdir | kernel::__NR_unlink => {
            return nothing(vec![plain(0, false, Moves)]);
        }
        kernel::__NR_link => return nothing(vec![plain(0, false, Looks), plain(1, false, Makes)]),
        kernel::__NR_lstat => {
            let after = After::Status {
                address: argument(1),
            };
            return Some((vec![plain(0, false, Looks)], after));
        }
        kernel::__NR_stat => {
            let after = After::Status {
                address: argument(1),
            };
            return Some((vec![plain(0, true, Looks)], after));
        }
        kernel::__NR_mkdir | kernel::__NR_mknod => return nothing(vec![plain(0, false, Makes)]),
        kernel::__NR_open => {
            let (follow, access) = opening(argument(1) as u32);
            return nothing(vec![plain(0, follow, access)]);
        }
        kernel::__NR_readlink => {
            let after = After::Target {
                address: argument(1),
                size: argument(2),
            };
            return Some((vec![plain(0, false, Looks)], after));
        }
        kernel::__NR_rename => {
            return nothing(vec![plain(0, false, Moves), plain(1, false, Moves)]);
        }
        kernel::__NR_symlink => return nothing(vec![plain(1, false, Makes)]),
        _ => {}
    }
    match registers.number() {
        kernel::__NR_chdir | kernel::__NR_statfs => nothing(vec![plain(0, true, Looks)]),
        kernel::__NR_execve => nothing(vec![plain(0, true, Looks)]),
        kernel::__NR_faccessat | kernel::__NR_faccessat2 => {
            let access = if has(2, 2) { Writes } else { Looks };
            let is_second = registers.number() == kernel::__NR_faccessat2;
            nothing(vec![at(0, !is_second || follows(3), access)])
        }
        kernel::__NR_fchmodat => nothing(vec![at(0, true, Changes)]),
        kernel::__NR_fchownat => nothing(vec![at(0, follows(4), Changes)]),
        kernel::__NR_inotify_add_watch => {
            nothing(vec![plain(1, !has(2, kernel::IN_DONT_FOLLOW), Looks)])
        }
        kernel::__NR_linkat => nothing(vec![
            at(0, has(4, kernel::AT_SYMLINK_FOLLOW), Looks),
            at(2, false, Makes),
        ]),
        kernel::__NR_mkdirat | kernel::__NR_mknodat => nothing(vec![at(0, false, Makes)]),
        kernel::__NR_newfstatat => {
            let after = After::Status {
                address: argument(2),
            };
            Some((vec![at(0, follows(3), Looks)], after))
        }
        kernel::__NR_openat => {
            let (follow, access) = opening(argument(2) as u32);
            nothing(vec![at(0, follow, access)])
        }
        kernel::__NR_readlinkat => {
            let after = After::Target {
                address: argument(2),
                size: argument(3),
            };
            Some((vec![at(0, false, Looks)], after))
        }
        kernel::__NR_renameat | kernel::__NR_renameat2 => {
            nothing(vec![at(0, false, Moves), at(2, false, Moves)])
        }
        kernel::__NR_statx => {
            let after = After::ExtendedStatus {
                address: argument(4),
            };
            Some((vec![at(0, follows(2), Looks)], after))
        }
        kernel::__NR_symlinkat => nothing(vec![at(1, false, Makes)]),
        kernel::__NR_truncate => {
            let (follow, access) = opening(kernel::O_WRONLY | kernel::O_TRUNC);
            nothing(vec![plain(0, follow, access)])
        }
        kernel::__NR_unlinkat => nothing(vec![at(0, false, Moves)]),
        kernel::__NR_utimensat => nothing(vec![at(0, follows(3), Changes)]),
        _ => None,
    }
}

/// Whether a call opens a file.
pub(super) fn opens(registers: &Registers) -> bool {
    match registers.number() {
        #[cfg(target_arch = "x86_64")]
        kernel::__NR_open => true,
        number => number == kernel::__NR_openat,
    }
}
