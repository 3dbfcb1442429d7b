//! Decompresses packages ahead of their turn.
//!
//! Decompression takes most of the time of unpacking. Each package is decompressed by a process of
//! its own, and several of them run at once. The seed alone writes files, package by package in the
//! given order, so the result does not depend on the number of processes.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::cell::Cell;

use rustix::fd::OwnedFd;
use rustix::fs::{OFlags, fcntl_setfl};
use rustix::io::{Errno, read, write};
use rustix::pipe::{PipeFlags, fcntl_setpipe_size, pipe_with};
use rustix::process::{Pid, Signal, WaitOptions, getpid, kill_process, waitpid};
use rustix::thread::sched_getaffinity;

use crate::deb;
use crate::error::{Error, explain};
use crate::files::Mapped;
use crate::sys;
use crate::tar::{BUFFER, Source};

/// The number of packages that are decompressed at once. More than there are cores, because a
/// process that is ahead of its turn may have to wait with what it has.
const AT_ONCE: usize = 16;
/// The number of bytes that a process keeps until its turn comes.
const KEPT: usize = 64 << 20;
/// The number of bytes in a pipe: as many as the system allows everybody.
const PIPE: usize = 1 << 20;

/// Packages, in the order in which they are unpacked.
pub(super) struct Packages<'a> {
    waiting: core::slice::Iter<'a, Vec<u8>>,
    begun: VecDeque<Result<Package<'a>, Error>>,
    at_once: usize,
}

/// A package that is being decompressed, or will be when it is read.
pub(super) struct Package<'a> {
    /// The path of its file.
    pub(super) path: &'a [u8],
    file: Mapped,
    process: Option<Process>,
}

impl<'a> Packages<'a> {
    /// Takes the paths of packages. On a machine with one core, no other process decompresses.
    pub(super) fn new(paths: &'a [Vec<u8>]) -> Self {
        let cores = sched_getaffinity(None).map_or(1, |cores| cores.count());
        Self {
            waiting: paths.iter(),
            begun: VecDeque::new(),
            at_once: if cores < 2 || paths.len() < 2 {
                1
            } else {
                AT_ONCE
            },
        }
    }

    /// Returns the next package, or `None` after the last one.
    ///
    /// # Errors
    /// When its file can't be opened.
    pub(super) fn next(&mut self) -> Result<Option<Package<'a>>, Error> {
        while self.begun.len() < self.at_once {
            let Some(path) = self.waiting.next() else {
                break;
            };
            let begun = self.begin(path);
            self.begun.push_back(begun);
        }
        self.begun.pop_front().transpose()
    }

    fn begin(&self, path: &'a [u8]) -> Result<Package<'a>, Error> {
        let file = Mapped::open(path)?;
        let process = match self.at_once {
            1 => None,
            // Where there can be no more processes, the seed decompresses.
            _ => Process::start(file.bytes()).ok(),
        };
        Ok(Package {
            path,
            file,
            process,
        })
    }
}

impl Package<'_> {
    /// Begins to read the archive of its files.
    ///
    /// # Errors
    /// When the package is damaged, and no other process reads it.
    pub(super) fn archive(&self) -> Result<Box<dyn Source + '_>, String> {
        let package = self.file.bytes();
        match &self.process {
            Some(process) => Ok(Box::new(Decompressed { process, package })),
            None => Ok(Box::new(deb::data(package)?)),
        }
    }
}

/// A process that decompresses a package into a pipe. It ends with this value.
struct Process {
    id: Pid,
    pipe: OwnedFd,
    /// Whether it has written all, once it has ended.
    complete: Cell<Option<bool>>,
}

impl Process {
    fn start(package: &[u8]) -> Result<Self, Errno> {
        let (pipe, into) = pipe_with(PipeFlags::CLOEXEC)?;
        // A smaller pipe does, too.
        let _ = fcntl_setpipe_size(&into, PIPE);
        let seed = getpid();
        // SAFETY: the seed has one thread.
        if let Some(id) = unsafe { sys::fork() }? {
            let complete = Cell::new(None);
            return Ok(Self { id, pipe, complete });
        }
        drop(pipe);
        let complete = sys::die_with(seed).is_ok() && decompress(package, &into);
        sys::exit(i32::from(!complete))
    }

    /// Waits for its end. Returns whether it has written all.
    fn is_complete(&self) -> bool {
        let complete = self.complete.get().unwrap_or_else(|| {
            let ended = waitpid(Some(self.id), WaitOptions::empty());
            matches!(ended, Ok(Some((_, status))) if status.exit_status() == Some(0))
        });
        self.complete.set(Some(complete));
        complete
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.complete.get().is_none() {
            let _ = kill_process(self.id, Signal::KILL);
            self.is_complete();
        }
    }
}

/// The files of a package that another process decompresses.
struct Decompressed<'a> {
    process: &'a Process,
    package: &'a [u8],
}

impl Source for Decompressed<'_> {
    fn read(&mut self, output: &mut [u8]) -> Result<usize, String> {
        loop {
            match read(&self.process.pipe, &mut *output) {
                Ok(0) if self.process.is_complete() => return Ok(0),
                Ok(0) => return Err(fault(self.package)),
                Ok(size) => return Ok(size),
                Err(Errno::INTR) => {}
                Err(errno) => return Err(explain(errno)),
            }
        }
    }
}

/// Says why a package can't be decompressed: decompresses it again, until the fault.
fn fault(package: &[u8]) -> String {
    match pieces(package, |_| true) {
        Err(reason) => reason,
        Ok(_) => "the process that decompressed it was killed; is there enough memory?".into(),
    }
}

/// Decompresses a package into a pipe. Does not wait for the reader before [`KEPT`] bytes are
/// unread. Returns whether everything was written.
fn decompress(package: &[u8], into: &OwnedFd) -> bool {
    let mut kept = VecDeque::new();
    let decompressed = pieces(package, |piece| {
        kept.extend(piece);
        let flags = if kept.len() > KEPT {
            OFlags::empty()
        } else {
            OFlags::NONBLOCK
        };
        pass_on(&mut kept, into, flags)
    });
    decompressed == Ok(true) && pass_on(&mut kept, into, OFlags::empty())
}

/// Gives `each` the files of a package, piece by piece, until it returns `false`. Returns what it
/// returned last.
fn pieces(package: &[u8], mut each: impl FnMut(&[u8]) -> bool) -> Result<bool, String> {
    let mut stream = deb::data(package)?;
    let mut buffer = vec![0; BUFFER];
    loop {
        match stream.read(&mut buffer)? {
            0 => return Ok(true),
            size if !each(&buffer[..size]) => return Ok(false),
            _ => {}
        }
    }
}

/// Writes what is kept into a pipe, with these flags, as far as the pipe takes it. Returns whether
/// there is a reader.
fn pass_on(kept: &mut VecDeque<u8>, into: &OwnedFd, flags: OFlags) -> bool {
    if fcntl_setfl(into, flags).is_err() {
        return false;
    }
    while !kept.is_empty() {
        match write(into, kept.as_slices().0) {
            Ok(size) => drop(kept.drain(..size)),
            Err(Errno::AGAIN) => break,
            Err(Errno::INTR) => {}
            Err(_) => return false,
        }
    }
    true
}
