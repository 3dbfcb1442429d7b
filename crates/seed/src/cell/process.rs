//! Processes of the cell: their start, their signals and their end.

use alloc::ffi::CString;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::convert::Infallible;

use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, Signal, WaitOptions, WaitStatus, chdir, kill_process, wait};

use crate::error::{Error, explain, shown};
use crate::output;
use crate::rooted::c_string;
use crate::sys::{self, Signals};

/// The signals that the seed passes on to the program.
pub(super) const FORWARDED: [Signal; 3] = [Signal::HUP, Signal::INT, Signal::TERM];

pub(super) fn pipe() -> Result<(OwnedFd, OwnedFd), Error> {
    pipe_with(PipeFlags::CLOEXEC).map_err(|errno| Error::io("make a pipe", errno))
}

/// Starts a child process that becomes the program.
pub(super) fn spawn(
    become_program: impl FnOnce() -> Result<Infallible, Error>,
) -> Result<Pid, Error> {
    // SAFETY: the seed has one thread.
    let child = unsafe { sys::fork() }
        .map_err(|errno| Error::Cell(format!("cannot make a process: {}", explain(errno))))?;
    if let Some(child) = child {
        return Ok(child);
    }
    let Err(error) = become_program();
    output::error(format!("seed: {error}\n").as_bytes());
    sys::exit(error.exit_code())
}

/// Enters the directory in which the program starts.
pub(super) fn start_in(directory: &[u8]) -> Result<(), Error> {
    chdir(directory).map_err(|errno| {
        let reason = explain(errno);
        Error::Cell(format!("cannot start in {}: {reason}", shown(directory)))
    })
}

/// Lets the kernel kill this process when the seed is killed.
pub(super) fn die_with(seed: Pid) -> Result<(), Error> {
    sys::die_with(seed).map_err(|_| Error::Cell("the seed has been killed".into()))
}

/// Waits for the program, and passes signals on to it. Returns its exit code.
pub(super) fn supervise(program: Pid, signals: Signals) -> i32 {
    loop {
        if forward(signals, program) {
            if let Some(status) = reap(program) {
                return exit_code(status);
            }
        }
    }
}

/// Waits for a signal. Returns `true` if a child process has changed. Passes any other signal on to
/// the program.
pub(super) fn forward(signals: Signals, program: Pid) -> bool {
    let received = sys::wait(signals);
    if received.signal == Signal::CHILD.as_raw() {
        return true;
    }
    if received.by_process {
        // A terminal sends its signals to the program as well.
        let known = |signal: &Signal| signal.as_raw() == received.signal;
        if let Some(signal) = FORWARDED.into_iter().find(known) {
            let _ = kill_process(program, signal);
        }
    }
    false
}

/// Reaps processes that have ended, until the program is among them. If the seed is process 1, as
/// in Nix's sandbox, it also reaps processes whose parents have ended.
fn reap(program: Pid) -> Option<WaitStatus> {
    while let Ok(Some((ended, status))) = wait(WaitOptions::NOHANG) {
        if ended == program {
            return Some(status);
        }
    }
    None
}

fn exit_code(status: WaitStatus) -> i32 {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => code,
        (None, Some(signal)) => 128 + signal,
        (None, None) => 125,
    }
}

/// Executes the program. Looks for a name without a slash in `PATH`.
pub(super) fn execute(program: &[Vec<u8>], variables: &[CString]) -> Result<Infallible, Error> {
    let arguments = program.iter().map(|argument| c_string(argument));
    let arguments: Vec<CString> = arguments.collect::<Result<_, _>>().map_err(Error::Usage)?;
    let name = &program[0];
    if name.contains(&b'/') {
        let errno = sys::execute(&arguments[0], &arguments, variables);
        return Err(unexecutable(name, errno));
    }
    let mut entries = variables.iter().map(|entry| entry.as_bytes());
    let Some(path) = entries.find_map(|entry| entry.strip_prefix(b"PATH=")) else {
        return Err(Error::NotFound(format!(
            "{} cannot be looked for: the cell's environment has no PATH (use --env)",
            shown(name)
        )));
    };
    let mut refused = None;
    let directories = path.split(|&byte| byte == b':');
    for directory in directories.filter(|directory| !directory.is_empty()) {
        let candidate = [directory, name].join(&b'/');
        let errno = match c_string(&candidate) {
            Ok(candidate) => sys::execute(&candidate, &arguments, variables),
            Err(_) => Errno::NOENT,
        };
        if !matches!(errno, Errno::NOENT | Errno::NOTDIR) {
            refused.get_or_insert_with(|| unexecutable(&candidate, errno));
        }
    }
    let path = String::from_utf8_lossy(path);
    Err(refused
        .unwrap_or_else(|| Error::NotFound(format!("{} is not in PATH={path}", shown(name)))))
}

fn unexecutable(path: &[u8], errno: Errno) -> Error {
    let exists = c_string(path).is_ok_and(|path| rustix::fs::stat(&path).is_ok());
    match errno {
        Errno::NOENT | Errno::NOTDIR if !exists => {
            Error::NotFound(format!("{} is not in the cell", shown(path)))
        }
        Errno::NOENT => Error::NotFound(format!(
            "{} needs an interpreter that is not in the cell",
            shown(path)
        )),
        _ => Error::NotExecutable(format!(
            "cannot execute {}: {}",
            shown(path),
            explain(errno)
        )),
    }
}
