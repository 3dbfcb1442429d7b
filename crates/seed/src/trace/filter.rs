//! The filter of system calls (seccomp(2)): some stop a process of the cell, and some fail at once.

use alloc::vec::Vec;

use linux_raw_sys::general as kernel;
use rustix::io::Errno;

use crate::sys::{call6, checked};

const SECCOMP_RET_ERRNO: u32 = 0x0005_0000;
const SECCOMP_RET_TRACE: u32 = 0x7ff0_0000;
const SECCOMP_RET_ALLOW: u32 = 0x7fff_0000;
const PR_SET_SECCOMP: usize = 22;
const PR_SET_NO_NEW_PRIVS: usize = 38;
const SECCOMP_MODE_FILTER: usize = 2;

#[cfg(target_arch = "x86_64")]
const ARCHITECTURE: u32 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
const ARCHITECTURE: u32 = 0xc000_00b7;

/// Calls that name files, or that are about the process's user, machine or directory. Every
/// architecture has them.
const TRACED: &[u32] = &[
    kernel::__NR_bind,
    kernel::__NR_chdir,
    kernel::__NR_connect,
    kernel::__NR_execve,
    kernel::__NR_faccessat,
    kernel::__NR_faccessat2,
    kernel::__NR_fchmodat,
    kernel::__NR_fchown,
    kernel::__NR_fchownat,
    kernel::__NR_fstat,
    kernel::__NR_getcwd,
    kernel::__NR_getegid,
    kernel::__NR_geteuid,
    kernel::__NR_getgid,
    kernel::__NR_getresgid,
    kernel::__NR_getresuid,
    kernel::__NR_getuid,
    kernel::__NR_inotify_add_watch,
    kernel::__NR_linkat,
    kernel::__NR_mkdirat,
    kernel::__NR_mknodat,
    kernel::__NR_newfstatat,
    kernel::__NR_openat,
    kernel::__NR_readlinkat,
    kernel::__NR_renameat,
    kernel::__NR_renameat2,
    kernel::__NR_sendmsg,
    kernel::__NR_sendto,
    kernel::__NR_setgid,
    kernel::__NR_setregid,
    kernel::__NR_setresgid,
    kernel::__NR_setresuid,
    kernel::__NR_setreuid,
    kernel::__NR_setuid,
    kernel::__NR_statfs,
    kernel::__NR_statx,
    kernel::__NR_symlinkat,
    kernel::__NR_truncate,
    kernel::__NR_uname,
    kernel::__NR_unlinkat,
    kernel::__NR_utimensat,
];

/// More traced calls, which only older architectures have.
#[cfg(target_arch = "x86_64")]
const TRACED_BEFORE: &[u32] = &[
    kernel::__NR_access,
    kernel::__NR_chmod,
    kernel::__NR_chown,
    kernel::__NR_creat,
    kernel::__NR_futimesat,
    kernel::__NR_lchown,
    kernel::__NR_link,
    kernel::__NR_lstat,
    kernel::__NR_mkdir,
    kernel::__NR_mknod,
    kernel::__NR_open,
    kernel::__NR_readlink,
    kernel::__NR_rename,
    kernel::__NR_rmdir,
    kernel::__NR_stat,
    kernel::__NR_symlink,
    kernel::__NR_unlink,
    kernel::__NR_utime,
    kernel::__NR_utimes,
];
#[cfg(target_arch = "aarch64")]
const TRACED_BEFORE: &[u32] = &[];

/// Calls that name files in ways of their own. Programs do without them if the kernel lacks them.
const ABSENT: &[u32] = &[
    kernel::__NR_execveat,
    kernel::__NR_fchmodat2,
    kernel::__NR_io_uring_enter,
    kernel::__NR_io_uring_register,
    kernel::__NR_io_uring_setup,
    kernel::__NR_name_to_handle_at,
    kernel::__NR_open_by_handle_at,
    kernel::__NR_openat2,
    kernel::__NR_sendmmsg,
];

/// Calls that a cell's program has no right to make.
const FORBIDDEN: &[u32] = &[
    kernel::__NR_chroot,
    kernel::__NR_fsmount,
    kernel::__NR_fsopen,
    kernel::__NR_mount,
    kernel::__NR_move_mount,
    kernel::__NR_open_tree,
    kernel::__NR_pivot_root,
    kernel::__NR_ptrace,
    kernel::__NR_setgroups,
    kernel::__NR_setns,
    kernel::__NR_umount2,
    kernel::__NR_unshare,
];

/// Calls about attributes of files that no store keeps.
const UNSUPPORTED: &[u32] = &[
    kernel::__NR_getxattr,
    kernel::__NR_lgetxattr,
    kernel::__NR_listxattr,
    kernel::__NR_llistxattr,
    kernel::__NR_lremovexattr,
    kernel::__NR_lsetxattr,
    kernel::__NR_removexattr,
    kernel::__NR_setxattr,
];

/// `struct sock_filter`.
#[repr(C)]
struct Instruction {
    code: u16,
    if_true: u8,
    if_false: u8,
    value: u32,
}

/// `struct sock_fprog`.
#[repr(C)]
struct Program {
    length: u16,
    instructions: *const Instruction,
}

const LOAD: u16 = 0x20;
const JUMP_IF_EQUAL: u16 = 0x15;
const JUMP_IF_AT_LEAST: u16 = 0x35;
const RETURN: u16 = 0x06;
/// Offsets in `struct seccomp_data`.
const NUMBER: u32 = 0;
const ARCHITECTURE_OF: u32 = 4;
/// The first number of the x32 ABI.
const OTHER_NUMBERS: u32 = 0x4000_0000;

fn instructions() -> Vec<Instruction> {
    let step = |code, value, if_true, if_false| Instruction {
        code,
        if_true,
        if_false,
        value,
    };
    let error = |errno: Errno| SECCOMP_RET_ERRNO | errno.raw_os_error() as u32;
    let mut all = alloc::vec![
        step(LOAD, ARCHITECTURE_OF, 0, 0),
        step(JUMP_IF_EQUAL, ARCHITECTURE, 1, 0),
        step(RETURN, error(Errno::NOSYS), 0, 0),
        step(LOAD, NUMBER, 0, 0),
        step(JUMP_IF_AT_LEAST, OTHER_NUMBERS, 0, 1),
        step(RETURN, error(Errno::NOSYS), 0, 0),
    ];
    for (numbers, action) in [
        (TRACED, SECCOMP_RET_TRACE),
        (TRACED_BEFORE, SECCOMP_RET_TRACE),
        (ABSENT, error(Errno::NOSYS)),
        (FORBIDDEN, error(Errno::PERM)),
        (UNSUPPORTED, error(Errno::OPNOTSUPP)),
    ] {
        for &number in numbers {
            all.push(step(JUMP_IF_EQUAL, number, 0, 1));
            all.push(step(RETURN, action, 0, 0));
        }
    }
    all.push(step(RETURN, SECCOMP_RET_ALLOW, 0, 0));
    all
}

/// Lets the tracer see the calls of this process and of all processes that it starts.
///
/// # Errors
/// When the kernel knows no filters or something forbids them.
pub(crate) fn install() -> Result<(), Errno> {
    let instructions = instructions();
    let program = Program {
        length: instructions.len() as u16,
        instructions: instructions.as_ptr(),
    };
    let control = |option, value, argument| {
        // SAFETY: of these options one names memory: the filter's program, which lives until the
        // call returns, and whose length is the number of its instructions.
        checked(unsafe {
            call6(
                kernel::__NR_prctl as usize,
                [option, value, argument, 0, 0, 0],
            )
        })
    };
    control(PR_SET_NO_NEW_PRIVS, 1, 0)?;
    control(
        PR_SET_SECCOMP,
        SECCOMP_MODE_FILTER,
        &raw const program as usize,
    )
    .map(drop)
}
