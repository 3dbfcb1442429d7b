//! A stopped process: its registers and its memory (ptrace(2), process_vm_readv(2)).
//!
//! Some containers let a program trace, but refuse process_vm_readv(2) or process_vm_writev(2). The
//! tracer then copies memory word by word, as every tracer may.

use alloc::vec;
use alloc::vec::Vec;

use linux_raw_sys::general as kernel;
use rustix::io::Errno;

use crate::sys::{call6, checked};

const PTRACE_PEEKDATA: usize = 2;
const PTRACE_POKEDATA: usize = 5;
const PTRACE_CONT: usize = 7;
const PTRACE_SYSCALL: usize = 24;
const PTRACE_GETEVENTMSG: usize = 0x4201;
const PTRACE_GETREGSET: usize = 0x4204;
const PTRACE_SETREGSET: usize = 0x4205;
const PTRACE_SEIZE: usize = 0x4206;
const PTRACE_LISTEN: usize = 0x4208;
/// The general registers, as `PTRACE_GETREGSET` names them.
const NT_PRSTATUS: usize = 1;
/// The number of the system call.
#[cfg(target_arch = "aarch64")]
const NT_ARM_SYSTEM_CALL: usize = 0x404;

/// The options of a trace. Calls that make processes and threads, `exec` and filtered calls stop
/// the process. Ends of calls are told apart from signals. All traced processes end with the
/// tracer.
const OPTIONS: usize = 0x01 | 0x02 | 0x04 | 0x08 | 0x10 | 0x80 | 0x10_0000;

/// The way in which a stopped process goes on.
#[derive(Clone, Copy)]
pub(crate) enum Resume {
    /// It runs to the next event.
    Run,
    /// It runs to the end of the present system call.
    ToEnd,
    /// It stays stopped, as a signal wants. The tracer hears only of events.
    Listen,
}

/// Calls ptrace(2) of the kernel.
///
/// # Safety
/// If the request reads or writes memory of this process, `data` must name enough of it.
unsafe fn ptrace(request: usize, task: i32, address: usize, data: usize) -> Result<usize, Errno> {
    // SAFETY: the contract is the same. The memory of the other process is no memory of this one.
    checked(unsafe {
        call6(
            kernel::__NR_ptrace as usize,
            [request, task as usize, address, data, 0, 0],
        )
    })
}

/// Begins to trace a process.
///
/// # Errors
/// When the system does not allow it.
pub(crate) fn seize(task: i32) -> Result<(), Errno> {
    // SAFETY: the request takes options, and no memory.
    unsafe { ptrace(PTRACE_SEIZE, task, 0, OPTIONS) }.map(drop)
}

/// Lets a stopped process go on, with a signal if that is not 0. Does nothing if the process has
/// been killed meanwhile.
pub(crate) fn resume(task: i32, how: Resume, signal: i32) {
    let request = match how {
        Resume::Run => PTRACE_CONT,
        Resume::ToEnd => PTRACE_SYSCALL,
        Resume::Listen => PTRACE_LISTEN,
    };
    // SAFETY: these requests take a signal, and no memory.
    let _ = unsafe { ptrace(request, task, 0, signal as usize) };
}

/// Returns the subject of an event: the id of a new process, or the former id of a process that
/// executes a program.
pub(crate) fn message(task: i32) -> Option<i32> {
    let mut message = 0_usize;
    // SAFETY: the kernel writes a word to `message`.
    unsafe { ptrace(PTRACE_GETEVENTMSG, task, 0, &raw mut message as usize) }.ok()?;
    i32::try_from(message).ok()
}

/// Returns a process that has changed: its id and status, as wait4(2) gives them.
pub(crate) fn changed() -> Option<(i32, i32)> {
    let mut status = 0_i32;
    let flags = (kernel::WNOHANG | kernel::__WALL) as usize;
    let arguments = [usize::MAX, &raw mut status as usize, flags, 0, 0, 0];
    // SAFETY: the kernel writes the status to an integer that lives until the call returns.
    let task = unsafe { call6(kernel::__NR_wait4 as usize, arguments) };
    (task > 0).then_some((task as i32, status))
}

#[cfg(target_arch = "x86_64")]
mod layout {
    /// `struct user_regs_struct`, in words.
    pub(crate) const WORDS: usize = 27;
    pub(crate) const ARGUMENTS: [usize; 6] = [14, 13, 12, 7, 9, 8];
    pub(crate) const RESULT: usize = 10;
    pub(crate) const NUMBER: usize = 15;
    pub(crate) const INSTRUCTION: usize = 16;
    /// The size of `syscall`.
    pub(crate) const CALL: u64 = 2;
}

#[cfg(target_arch = "aarch64")]
mod layout {
    /// `struct user_pt_regs`, in words.
    pub(crate) const WORDS: usize = 34;
    pub(crate) const ARGUMENTS: [usize; 6] = [0, 1, 2, 3, 4, 5];
    pub(crate) const RESULT: usize = 0;
    pub(crate) const NUMBER: usize = 8;
    pub(crate) const INSTRUCTION: usize = 32;
    /// The size of `svc 0`.
    pub(crate) const CALL: u64 = 4;
}

/// The registers of a process that is stopped in a system call.
#[derive(Clone)]
pub(crate) struct Registers {
    words: [u64; layout::WORDS],
}

impl Registers {
    /// Reads them.
    pub(crate) fn of(task: i32) -> Result<Self, Errno> {
        let mut words = [0; layout::WORDS];
        regset(PTRACE_GETREGSET, task, NT_PRSTATUS, &mut words)?;
        Ok(Self { words })
    }

    /// Writes them.
    pub(crate) fn write(&self, task: i32) -> Result<(), Errno> {
        regset(PTRACE_SETREGSET, task, NT_PRSTATUS, &mut self.words.clone())
    }

    /// The number of the system call.
    pub(crate) fn number(&self) -> u32 {
        self.words[layout::NUMBER] as u32
    }

    pub(crate) fn argument(&self, index: usize) -> u64 {
        self.words[layout::ARGUMENTS[index]]
    }

    pub(crate) fn set_argument(&mut self, index: usize, value: u64) {
        self.words[layout::ARGUMENTS[index]] = value;
    }

    /// Returns the result of the call at its end. An error is negative.
    pub(crate) fn result(&self) -> i64 {
        self.words[layout::RESULT] as i64
    }

    pub(crate) fn set_result(&mut self, result: i64) {
        self.words[layout::RESULT] = result as u64;
    }

    /// Gives back the arguments with which the call began. The result stays, even if it is in an
    /// argument's register.
    pub(crate) fn restore_arguments(&mut self, before: &Self) {
        for register in layout::ARGUMENTS {
            if register != layout::RESULT {
                self.words[register] = before.words[register];
            }
        }
    }

    /// Lets the process make this call instead of its own.
    pub(crate) fn replace(&self, task: i32, number: u32, arguments: [u64; 6]) -> Result<(), Errno> {
        let mut other = self.clone();
        for (index, argument) in arguments.into_iter().enumerate() {
            other.set_argument(index, argument);
        }
        other.set_number(task, i64::from(number))?;
        other.write(task)
    }

    /// Lets the process make no call and get this result.
    pub(crate) fn answer(&mut self, task: i32, result: i64) -> Result<(), Errno> {
        self.set_number(task, -1)?;
        self.set_result(result);
        self.write(task)
    }

    /// Lets the process make its own call again, at the end of another one.
    pub(crate) fn again(mut self, task: i32) -> Result<(), Errno> {
        self.words[layout::INSTRUCTION] -= layout::CALL;
        #[cfg(target_arch = "x86_64")]
        {
            self.words[layout::RESULT] = self.words[layout::NUMBER];
            // It is in no call, so the kernel must restart none.
            self.words[layout::NUMBER] = u64::MAX;
        }
        self.write(task)
    }

    #[cfg(target_arch = "x86_64")]
    fn set_number(&mut self, _: i32, number: i64) -> Result<(), Errno> {
        self.words[layout::NUMBER] = number as u64;
        Ok(())
    }

    #[cfg(target_arch = "aarch64")]
    fn set_number(&mut self, task: i32, number: i64) -> Result<(), Errno> {
        let mut number = [number as i32];
        regset(PTRACE_SETREGSET, task, NT_ARM_SYSTEM_CALL, &mut number)
    }
}

fn regset<T>(request: usize, task: i32, kind: usize, values: &mut [T]) -> Result<(), Errno> {
    let mut vector = [values.as_mut_ptr() as usize, size_of_val(values)];
    // SAFETY: the vector (`struct iovec`) names the values and their size. The kernel keeps to it.
    unsafe { ptrace(request, task, kind, vector.as_mut_ptr() as usize) }.map(drop)
}

/// The size of a word that ptrace(2) copies, in bytes.
const WORD: usize = 8;

/// Whether the system refuses to copy in one call, rather than finds it impossible.
fn is_refused(errno: Errno) -> bool {
    matches!(errno, Errno::PERM | Errno::NOSYS | Errno::ACCESS)
}

/// Copies between this process and another. Returns the number of bytes.
///
/// # Safety
/// `own` must be the address and size of memory that the call may read or write.
unsafe fn transfer(call: u32, task: i32, own: (usize, usize), other: u64) -> Result<usize, Errno> {
    let own = [own.0, own.1];
    let other = [other as usize, own[1]];
    // SAFETY: both arrays are one `struct iovec` each, and live until the call returns. The caller
    // vouches for the memory of this process.
    checked(unsafe {
        call6(
            call as usize,
            [
                task as usize,
                own.as_ptr() as usize,
                1,
                other.as_ptr() as usize,
                1,
                0,
            ],
        )
    })
}

/// Reads memory. Returns fewer bytes if the memory ends before `size`.
///
/// # Errors
/// `EFAULT` where there is no memory.
pub(crate) fn read(task: i32, address: u64, size: usize) -> Result<Vec<u8>, Errno> {
    let mut bytes = vec![0; size];
    let own = (bytes.as_mut_ptr() as usize, size);
    // SAFETY: the call writes to these `size` bytes at most.
    match unsafe { transfer(kernel::__NR_process_vm_readv, task, own, address) } {
        Ok(count) => bytes.truncate(count),
        Err(errno) if is_refused(errno) => return read_words(task, address, size),
        Err(errno) => return Err(errno),
    }
    Ok(bytes)
}

/// Reads memory word by word. Returns fewer bytes if the memory ends before `size`.
fn read_words(task: i32, address: u64, size: usize) -> Result<Vec<u8>, Errno> {
    let skipped = address as usize % WORD;
    let first = address - skipped as u64;
    let mut bytes = Vec::with_capacity(skipped + size + WORD);
    while bytes.len() < skipped + size {
        match peek(task, first.wrapping_add(bytes.len() as u64)) {
            Ok(word) => bytes.extend(word),
            Err(errno) if bytes.is_empty() => return Err(errno),
            // The memory ends here.
            Err(_) => break,
        }
    }
    bytes.drain(..skipped);
    bytes.truncate(size);
    Ok(bytes)
}

fn peek(task: i32, address: u64) -> Result<[u8; WORD], Errno> {
    let mut word = [0; WORD];
    let own = word.as_mut_ptr() as usize;
    // SAFETY: the kernel writes a word to where `data` points.
    unsafe { ptrace(PTRACE_PEEKDATA, task, address as usize, own) }.map_err(no_memory)?;
    Ok(word)
}

fn poke(task: i32, address: u64, word: [u8; WORD]) -> Result<(), Errno> {
    let word = usize::from_ne_bytes(word);
    // SAFETY: the request takes the word itself, and no memory of this process.
    unsafe { ptrace(PTRACE_POKEDATA, task, address as usize, word) }
        .map_err(no_memory)
        .map(drop)
}

/// ptrace(2) says `EIO` where system calls say `EFAULT`.
fn no_memory(errno: Errno) -> Errno {
    match errno {
        Errno::IO => Errno::FAULT,
        other => other,
    }
}

/// Reads exactly `N` bytes.
///
/// # Errors
/// `EFAULT` where there is no memory.
pub(crate) fn read_array<const N: usize>(task: i32, address: u64) -> Result<[u8; N], Errno> {
    read(task, address, N)?.try_into().map_err(|_| Errno::FAULT)
}

/// Reads a string up to its zero byte.
///
/// # Errors
/// `EFAULT` where there is no memory, `ENAMETOOLONG` when it has `most` bytes or more.
pub(crate) fn read_string(task: i32, address: u64, most: usize) -> Result<Vec<u8>, Errno> {
    let mut all = Vec::new();
    let mut address = address;
    while all.len() < most {
        // Read no further than the page, because the next one may not exist.
        let size = 256.min(4096 - (address as usize & 4095));
        let bytes = read(task, address, size)?;
        if let Some(end) = bytes.iter().position(|&byte| byte == 0) {
            all.extend_from_slice(&bytes[..end]);
            return Ok(all);
        }
        address += bytes.len() as u64;
        all.extend(bytes);
    }
    Err(Errno::NAMETOOLONG)
}

/// Writes memory.
///
/// # Errors
/// `EFAULT` where there is no memory that can be written to.
pub(crate) fn write(task: i32, address: u64, bytes: &[u8]) -> Result<(), Errno> {
    let own = (bytes.as_ptr() as usize, bytes.len());
    // SAFETY: the call reads these bytes.
    match unsafe { transfer(kernel::__NR_process_vm_writev, task, own, address) } {
        Ok(count) if count == bytes.len() => Ok(()),
        Ok(_) => Err(Errno::FAULT),
        Err(errno) if is_refused(errno) => write_words(task, address, bytes),
        Err(errno) => Err(errno),
    }
}

/// Writes memory word by word. Keeps the other bytes of the first and the last word.
fn write_words(task: i32, address: u64, bytes: &[u8]) -> Result<(), Errno> {
    let mut done = 0;
    while done < bytes.len() {
        let here = address.wrapping_add(done as u64);
        let offset = here as usize % WORD;
        let size = (WORD - offset).min(bytes.len() - done);
        let start = here - offset as u64;
        let mut word = if size == WORD {
            [0; WORD]
        } else {
            peek(task, start)?
        };
        word[offset..offset + size].copy_from_slice(&bytes[done..done + size]);
        poke(task, start, word)?;
        done += size;
    }
    Ok(())
}
