//! The few system calls that `rustix` leaves to a C library: making a process, becoming a program,
//! and signals. Also the end of a process with its parent.

use alloc::vec::Vec;
use core::arch::asm;
use core::ffi::{CStr, c_char};
use core::ptr;

use alloc::ffi::CString;
use rustix::io::Errno;
use rustix::process::{Pid, Signal, getppid, set_parent_process_death_signal};

#[cfg(target_arch = "x86_64")]
mod number {
    pub(crate) const RT_SIGACTION: usize = 13;
    pub(crate) const RT_SIGPROCMASK: usize = 14;
    pub(crate) const CLONE: usize = 56;
    pub(crate) const EXECVE: usize = 59;
    pub(crate) const RT_SIGTIMEDWAIT: usize = 128;
    pub(crate) const EXIT_GROUP: usize = 231;
}

#[cfg(target_arch = "aarch64")]
mod number {
    pub(crate) const EXIT_GROUP: usize = 94;
    pub(crate) const RT_SIGACTION: usize = 134;
    pub(crate) const RT_SIGPROCMASK: usize = 135;
    pub(crate) const RT_SIGTIMEDWAIT: usize = 137;
    pub(crate) const CLONE: usize = 220;
    pub(crate) const EXECVE: usize = 221;
}

const SIG_SETMASK: usize = 2;
const MASK_SIZE: usize = 8;

/// Makes a system call of up to five arguments. The result is negative on failure.
///
/// # Safety
/// As for [`call6`].
unsafe fn call(number: usize, arguments: [usize; 5]) -> isize {
    let [first, second, third, fourth, fifth] = arguments;
    // SAFETY: the contract is the same.
    unsafe { call6(number, [first, second, third, fourth, fifth, 0]) }
}

/// Makes a system call. The result is negative on failure.
///
/// # Safety
/// Memory that the arguments name must be valid for what this call reads and writes there.
#[cfg(target_arch = "x86_64")]
pub(crate) unsafe fn call6(number: usize, arguments: [usize; 6]) -> isize {
    let result;
    // SAFETY: the caller vouches for the memory that the arguments name. Of the registers, the
    // kernel changes the result, rcx and r11. It leaves the stack alone.
    unsafe {
        asm!("syscall", inlateout("rax") number => result,
            in("rdi") arguments[0], in("rsi") arguments[1], in("rdx") arguments[2],
            in("r10") arguments[3], in("r8") arguments[4], in("r9") arguments[5],
            lateout("rcx") _, lateout("r11") _, options(nostack));
    }
    result
}

/// Makes a system call. The result is negative on failure.
///
/// # Safety
/// Memory that the arguments name must be valid for what this call reads and writes there.
#[cfg(target_arch = "aarch64")]
pub(crate) unsafe fn call6(number: usize, arguments: [usize; 6]) -> isize {
    let result;
    // SAFETY: the caller vouches for the memory that the arguments name. Of the registers, the
    // kernel changes the result alone. It leaves the stack alone.
    unsafe {
        asm!("svc 0", in("x8") number, inlateout("x0") arguments[0] => result,
            in("x1") arguments[1], in("x2") arguments[2], in("x3") arguments[3],
            in("x4") arguments[4], in("x5") arguments[5], options(nostack));
    }
    result
}

pub(crate) fn checked(result: isize) -> Result<usize, Errno> {
    usize::try_from(result).map_err(|_| Errno::from_raw_os_error(-result as i32))
}

/// Ends the process.
pub fn exit(code: i32) -> ! {
    // SAFETY: exit_group(2) names no memory.
    unsafe { call(number::EXIT_GROUP, [code as usize, 0, 0, 0, 0]) };
    // Not reached: the call does not fail.
    loop {
        core::hint::spin_loop();
    }
}

/// Makes a child process, a copy of this one. The parent gets the child's id, and the child gets
/// `None`.
///
/// # Errors
/// `EAGAIN` or `ENOMEM` when there can be no more processes.
///
/// # Safety
/// The process must have one thread: the child has only the calling one, and locks stay as they
/// are.
pub unsafe fn fork() -> Result<Option<Pid>, Errno> {
    // SAFETY: without flags, clone(2) copies the process as fork(2) does, and names no memory. The
    // caller has one thread, so the child's copy is as consistent as its parent.
    let pid =
        checked(unsafe { call(number::CLONE, [Signal::CHILD.as_raw() as usize, 0, 0, 0, 0]) })?;
    Ok(Pid::from_raw(pid as i32))
}

/// Lets the kernel kill this process when its parent is killed. New namespaces reset this, so it
/// comes after them.
///
/// # Errors
/// `ESRCH` when the parent is gone already.
pub fn die_with(parent: Pid) -> Result<(), Errno> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    if getppid() == Some(parent) {
        Ok(())
    } else {
        Err(Errno::SRCH)
    }
}

/// Becomes another program. Returns only on failure.
pub fn execute(program: &CStr, arguments: &[CString], environment: &[CString]) -> Errno {
    let arguments = pointers(arguments);
    let environment = pointers(environment);
    // SAFETY: the program's name and all strings end in a zero byte, both arrays end in a null
    // pointer, and all of them live until the call returns.
    let result = unsafe {
        call(
            number::EXECVE,
            [
                program.as_ptr() as usize,
                arguments.as_ptr() as usize,
                environment.as_ptr() as usize,
                0,
                0,
            ],
        )
    };
    Errno::from_raw_os_error(-result as i32)
}

fn pointers(strings: &[CString]) -> Vec<*const c_char> {
    strings
        .iter()
        .map(|string| string.as_ptr())
        .chain([ptr::null()])
        .collect()
}

/// A set of signals.
#[derive(Clone, Copy)]
pub struct Signals(u64);

impl Signals {
    /// Returns the set of the given signals.
    pub fn of(signals: &[Signal]) -> Self {
        Self(
            signals
                .iter()
                .fold(0, |set, signal| set | 1 << (signal.as_raw() - 1)),
        )
    }

    /// Returns the set with one more signal.
    pub fn with(self, signal: Signal) -> Self {
        Self(self.0 | Self::of(&[signal]).0)
    }
}

/// Blocks exactly the given signals. Returns those that were blocked before.
pub fn block(signals: Signals) -> Signals {
    let mut before = 0_u64;
    // SAFETY: both pointers name a set of signals of 8 bytes, as the size says, which lives until
    // the call returns. Nothing in the seed relies on a signal's handler.
    unsafe {
        call(
            number::RT_SIGPROCMASK,
            [
                SIG_SETMASK,
                &raw const signals.0 as usize,
                &raw mut before as usize,
                MASK_SIZE,
                0,
            ],
        );
    }
    Signals(before)
}

/// Gives a signal its default action, which the parent of this process may have changed.
pub fn reset(signal: Signal) {
    // The kernel's structure: handler, flags, restorer (on some architectures), mask. Zero in all
    // of them is the default action.
    let default = [0_usize; 4];
    // SAFETY: the kernel reads a structure of four words at most, which lives until the call
    // returns, and writes none, because the pointer for the former action is null.
    unsafe {
        call(
            number::RT_SIGACTION,
            [
                signal.as_raw() as usize,
                default.as_ptr() as usize,
                0,
                MASK_SIZE,
                0,
            ],
        );
    }
}

/// A signal that arrived, and whether a process sent it (rather than the kernel or a terminal).
pub struct Received {
    /// The signal's number.
    pub signal: i32,
    /// Whether kill(2) or the like sent it.
    pub by_process: bool,
}

/// Waits for one of the signals in the set, which must be blocked.
pub fn wait(signals: Signals) -> Received {
    // `siginfo_t` has 128 bytes and begins with signal, error number and code. If the code is 0 or
    // less, a process has sent the signal.
    let mut information = [0_i32; 32];
    loop {
        // SAFETY: the kernel reads a set of 8 bytes, as the size says, and writes 128 bytes at
        // most. Both live until the call returns. Null means that it waits without a limit.
        let result = unsafe {
            call(
                number::RT_SIGTIMEDWAIT,
                [
                    &raw const signals.0 as usize,
                    &raw mut information as usize,
                    0,
                    MASK_SIZE,
                    0,
                ],
            )
        };
        if result > 0 {
            return Received {
                signal: result as i32,
                by_process: information[2] <= 0,
            };
        }
    }
}
