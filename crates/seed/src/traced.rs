//! The second way into a cell, for systems that forbid namespaces or mounts: the seed traces the
//! program.

use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use rustix::fd::{AsRawFd, OwnedFd};
use rustix::fs::{CWD, FileType, Mode, OFlags, chmod, fstat, mkdir, openat, readlinkat, stat};
use rustix::io::Errno;
use rustix::process::{getgid, getpid, getuid};

use crate::enter::{
    Bind, GROUP, HOST_NAME, Plan, REPLACED, SHARED, Source, USER, unbindable, unusable,
};
use crate::error::{Error, explain, shown};
use crate::files::{remove_tree, write_all};
use crate::shared_memory::SharedMemory;
use crate::trace::{Asker, Identity, View};

/// The file system of a traced cell, and the directories behind it.
pub(crate) struct Traced {
    pub(crate) view: View,
    /// The directories in memory, if the machine has memory for them.
    pub(crate) memory: Option<SharedMemory>,
    /// The tracer's own directory on disk.
    pub(crate) own: Own,
}

/// The file in which programs read the name of the machine.
const HOST_NAME_FILE: &[u8] = b"/proc/sys/kernel/hostname";

/// Directories that are removed with their contents when this is dropped.
pub(crate) struct Own(Vec<Vec<u8>>);

impl Drop for Own {
    fn drop(&mut self) {
        for path in &self.0 {
            remove_tree(CWD, path);
        }
    }
}

impl Traced {
    /// Puts a cell's file system together. `in_memory` says whether to use memory for places that
    /// the plan wants in memory.
    ///
    /// # Errors
    /// When a source is missing, or there is no place for it in the cell.
    pub(crate) fn new(plan: &Plan<'_>, in_memory: bool) -> Result<Self, Error> {
        let base = real(&plan.root).map_err(|errno| unreadable(&plan.root, errno))?;
        let base = [
            base.as_slice(),
            if in_memory { b"/traced" } else { b"/again" },
        ]
        .concat();
        let make = |name: &str| {
            let path = [base.as_slice(), name.as_bytes()].concat();
            mkdir(path.as_slice(), Mode::from_raw_mode(0o755))
                .map_err(|errno| Error::io(format!("make {}", shown(&path)), errno))?;
            Ok(path)
        };
        make("")?;
        let roots = plan.roots.iter();
        let roots = roots.map(|root| real(root).map_err(|errno| unreadable(root, errno)));
        let roots = roots.collect::<Result<Vec<_>, _>>()?;
        let shadow = make("/own")?;
        let own = Own(vec![shadow]);
        let mut view = View::new(&roots, make("/own/root")?);
        view.fill_top(&REPLACED)
            .map_err(|errno| Error::io("read the root", errno))?;
        let temporary = make("/own/tmp")?;
        let _ = chmod(temporary.as_slice(), Mode::from_raw_mode(0o1777));
        let mut cell = Self {
            view,
            memory: None,
            own,
        };
        cell.mount(b"/tmp", temporary, true)?;
        for path in SHARED {
            if stat(path).is_ok() {
                cell.mount(path, path.to_vec(), true)?;
            }
        }
        if stat(HOST_NAME_FILE).is_ok() {
            let host = make_host_name(&base)?;
            cell.mount(HOST_NAME_FILE, host, false)?;
        }
        let is_wanted = |bind: &Bind<'_>| matches!(bind.source, Source::Memory);
        if in_memory && plan.binds.iter().any(is_wanted) {
            cell.memory = SharedMemory::make();
        }
        for (index, bind) in plan.binds.iter().enumerate() {
            cell.bind(bind, &|| make(&format!("/{index}")), index)?;
        }
        Ok(cell)
    }

    fn bind(
        &mut self,
        bind: &Bind<'_>,
        on_disk: &dyn Fn() -> Result<Vec<u8>, Error>,
        index: usize,
    ) -> Result<(), Error> {
        match &bind.source {
            Source::Outside(source) => {
                let failed = |errno| unbindable(source, bind.place, errno);
                let file = open(source).map_err(failed)?;
                let status = fstat(&file).map_err(failed)?;
                let is_directory = FileType::from_raw_mode(status.st_mode) == FileType::Directory;
                let host = real_of(&file).map_err(failed)?;
                self.mount(bind.place, host, is_directory)
            }
            Source::Memory => {
                let host = match &self.memory {
                    Some(memory) => {
                        let path =
                            [memory.path.as_slice(), format!("/{index}").as_bytes()].concat();
                        mkdir(path.as_slice(), Mode::from_raw_mode(0o755))
                            .map_err(|errno| Error::io(format!("make {}", shown(&path)), errno))?;
                        path
                    }
                    None => on_disk()?,
                };
                self.mount(bind.place, host, true)
            }
        }
    }

    /// Shows something from outside at a place. Makes the place if it does not exist.
    fn mount(&mut self, place: &[u8], host: Vec<u8>, is_directory: bool) -> Result<(), Error> {
        let guest = self
            .place(place, is_directory)
            .map_err(|reason| unusable(place, reason))?;
        self.view.mount(guest, host);
        Ok(())
    }

    fn place(&mut self, place: &[u8], is_directory: bool) -> Result<Vec<u8>, String> {
        let names = place.split(|&byte| byte == b'/');
        let names: Vec<&[u8]> = names.filter(|name| !name.is_empty()).collect();
        let own = getpid().as_raw_nonzero().get();
        let asker = Asker {
            task: own,
            process: &|| own,
            program: &|_| None,
        };
        let mut guest = b"/".to_vec();
        for (index, name) in names.iter().enumerate() {
            let found = self.view.resolve(&asker, &guest, name, true);
            let found = found.map_err(explain)?;
            if !View::exists(&found) {
                if found.fixed && self.view.is_of_roots(&guest) {
                    return Err(format!("{} does not exist", shown(&found.guest)));
                }
                let is_file = index + 1 == names.len() && !is_directory;
                make(&found.host, is_file).map_err(explain)?;
            }
            guest = found.guest;
        }
        Ok(guest)
    }
}

/// Returns the identity of a traced program.
pub(crate) fn identity() -> Identity {
    Identity {
        outer: (getuid().as_raw(), getgid().as_raw()),
        inner: (USER, GROUP),
        host_name: HOST_NAME,
    }
}

/// Makes the error for a program that cannot be traced either.
pub(crate) fn untraceable(what: &str, errno: Errno, refusal: &str) -> Error {
    Error::Cell(format!(
        "{refusal}\n  The other way into a cell, to trace the program, fails too: cannot {what}: \
         {}. It needs ptrace(2) and filters of seccomp(2), which the default profiles of Docker \
         and Kubernetes allow.",
        explain(errno)
    ))
}

/// Prepares a process of the cell before it becomes the program: waits for the tracer, gives up all
/// rights and sets the filter.
///
/// # Errors
/// When the system knows no filters.
pub(crate) fn prepare(ready: &OwnedFd, refusal: &str) -> Result<(), Error> {
    let mut byte = [0];
    let _ = rustix::io::read(ready, &mut byte);
    crate::trace::drop_all();
    crate::trace::install().map_err(|errno| untraceable("set a filter", errno, refusal))
}

/// Traces the process and tells it so, or ends it.
pub(crate) fn start(process: i32, ready: OwnedFd, refusal: &str) -> Result<(), Error> {
    crate::trace::seize(process).map_err(|errno| {
        let pid = rustix::process::Pid::from_raw(process);
        if let Some(pid) = pid {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
        untraceable("trace a process", errno, refusal)
    })?;
    let _ = rustix::io::write(&ready, b"x");
    Ok(())
}

/// Makes the file with the cell's name of the machine.
fn make_host_name(base: &[u8]) -> Result<Vec<u8>, Error> {
    let path = [base, b"/own/hostname"].concat();
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    openat(CWD, path.as_slice(), flags, Mode::from_raw_mode(0o444))
        .and_then(|file| write_all(&file, &[HOST_NAME, b"\n"].concat()))
        .map_err(|errno| Error::io(format!("write {}", shown(&path)), errno))?;
    Ok(path)
}

fn make(path: &[u8], is_file: bool) -> Result<(), Errno> {
    if !is_file {
        return mkdir(path, Mode::from_raw_mode(0o755));
    }
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    openat(CWD, path, flags, Mode::from_raw_mode(0o644)).map(drop)
}

fn open(path: &[u8]) -> Result<OwnedFd, Errno> {
    openat(CWD, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
}

/// Returns a path without links, as the kernel names it.
fn real(path: &[u8]) -> Result<Vec<u8>, Errno> {
    real_of(&open(path)?)
}

fn real_of(file: &OwnedFd) -> Result<Vec<u8>, Errno> {
    let link = format!("/proc/self/fd/{}", file.as_raw_fd());
    Ok(readlinkat(CWD, link.as_str(), Vec::new())?.into_bytes())
}

fn unreadable(path: &[u8], errno: Errno) -> Error {
    Error::io(format!("open the root {}", shown(path)), errno)
}
