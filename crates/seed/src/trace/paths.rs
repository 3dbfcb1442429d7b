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

/// The paths of a call, and the work at its end.
type Paths = (Vec<Argument>, After);

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

fn nothing_after(arguments: Vec<Argument>) -> Option<Paths> {
    Some((arguments, After::Nothing))
}

fn status_after(argument: Argument, address: u64) -> Option<Paths> {
    Some((vec![argument], After::Status { address }))
}

fn target_after(argument: Argument, address: u64, size: u64) -> Option<Paths> {
    Some((vec![argument], After::Target { address, size }))
}

/// Whether an argument has a flag.
fn has(registers: &Registers, index: usize, flag: u32) -> bool {
    registers.argument(index) as u32 & flag != 0
}

/// Returns the paths of a call, and the work at its end. Returns `None` for calls that are not
/// about paths.
pub(super) fn paths(registers: &Registers) -> Option<Paths> {
    #[cfg(target_arch = "x86_64")]
    if let Some(paths) = of_old_call(registers) {
        return Some(paths);
    }
    of_call(registers)
}

/// The calls that newer architectures do not have.
#[cfg(target_arch = "x86_64")]
fn of_old_call(registers: &Registers) -> Option<Paths> {
    use Access::{Changes, Looks, Makes, Moves, Writes};
    let argument = |index| registers.argument(index);
    let one = |follow, access| nothing_after(vec![plain(0, follow, access)]);
    match registers.number() {
        kernel::__NR_access if has(registers, 1, 2) => one(true, Writes),
        kernel::__NR_access => one(true, Looks),
        kernel::__NR_chmod | kernel::__NR_chown => one(true, Changes),
        kernel::__NR_utime | kernel::__NR_utimes => one(true, Changes),
        kernel::__NR_creat => {
            let (follow, access) = opening(kernel::O_CREAT | kernel::O_WRONLY | kernel::O_TRUNC);
            one(follow, access)
        }
        kernel::__NR_futimesat => nothing_after(vec![at(0, true, Changes)]),
        kernel::__NR_lchown => one(false, Changes),
        kernel::__NR_rmdir | kernel::__NR_unlink => one(false, Moves),
        kernel::__NR_link => nothing_after(vec![plain(0, false, Looks), plain(1, false, Makes)]),
        kernel::__NR_lstat => status_after(plain(0, false, Looks), argument(1)),
        kernel::__NR_stat => status_after(plain(0, true, Looks), argument(1)),
        kernel::__NR_mkdir | kernel::__NR_mknod => one(false, Makes),
        kernel::__NR_open => {
            let (follow, access) = opening(argument(1) as u32);
            one(follow, access)
        }
        kernel::__NR_readlink => target_after(plain(0, false, Looks), argument(1), argument(2)),
        kernel::__NR_rename => nothing_after(vec![plain(0, false, Moves), plain(1, false, Moves)]),
        kernel::__NR_symlink => nothing_after(vec![plain(1, false, Makes)]),
        _ => None,
    }
}

/// The calls that every architecture has.
fn of_call(registers: &Registers) -> Option<Paths> {
    use Access::{Changes, Looks, Makes, Moves, Writes};
    let argument = |index| registers.argument(index);
    let has = |index, flag| has(registers, index, flag);
    let follows = |index| !has(index, kernel::AT_SYMLINK_NOFOLLOW);
    let one = |argument| nothing_after(vec![argument]);
    match registers.number() {
        kernel::__NR_chdir | kernel::__NR_statfs | kernel::__NR_execve => {
            one(plain(0, true, Looks))
        }
        kernel::__NR_faccessat | kernel::__NR_faccessat2 => {
            let access = if has(2, 2) { Writes } else { Looks };
            let is_second = registers.number() == kernel::__NR_faccessat2;
            one(at(0, !is_second || follows(3), access))
        }
        kernel::__NR_fchmodat => one(at(0, true, Changes)),
        kernel::__NR_fchownat => one(at(0, follows(4), Changes)),
        kernel::__NR_inotify_add_watch => one(plain(1, !has(2, kernel::IN_DONT_FOLLOW), Looks)),
        kernel::__NR_linkat => {
            let follow = has(4, kernel::AT_SYMLINK_FOLLOW);
            nothing_after(vec![at(0, follow, Looks), at(2, false, Makes)])
        }
        kernel::__NR_mkdirat | kernel::__NR_mknodat => one(at(0, false, Makes)),
        kernel::__NR_newfstatat => status_after(at(0, follows(3), Looks), argument(2)),
        kernel::__NR_openat => {
            let (follow, access) = opening(argument(2) as u32);
            one(at(0, follow, access))
        }
        kernel::__NR_readlinkat => target_after(at(0, false, Looks), argument(2), argument(3)),
        kernel::__NR_renameat | kernel::__NR_renameat2 => {
            nothing_after(vec![at(0, false, Moves), at(2, false, Moves)])
        }
        kernel::__NR_statx => {
            let address = argument(4);
            let after = After::ExtendedStatus { address };
            Some((vec![at(0, follows(2), Looks)], after))
        }
        kernel::__NR_symlinkat => one(at(1, false, Makes)),
        kernel::__NR_truncate => {
            let (follow, access) = opening(kernel::O_WRONLY | kernel::O_TRUNC);
            one(plain(0, follow, access))
        }
        kernel::__NR_unlinkat => one(at(0, false, Moves)),
        kernel::__NR_utimensat => one(at(0, follows(3), Changes)),
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
