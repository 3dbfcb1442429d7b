//! A tracer: runs a program in a cell on systems that forbid namespaces and mounts.
//!
//! The program and all processes that it starts are traced (ptrace(2)). A filter stops them in
//! system calls that name files (`filter.rs`). The tracer puts the paths of the files outside in
//! their place (`view.rs`, `calls.rs`). The dynamic loader of the cell starts programs, not that of
//! the machine (`program.rs`).

mod calls;
mod change;
mod filter;
mod machine;
mod paths;
mod permission;
mod privileges;
mod processes;
mod program;
mod sockets;
mod view;

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::RefCell;

use linux_raw_sys::general as kernel;
use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process};

use crate::error::explain;
use crate::output;
use change::{After, Change, Outcome};
pub(crate) use filter::install;
pub(crate) use machine::seize;
use machine::{Registers, Resume};
pub(crate) use privileges::drop_all;
pub(crate) use view::{Asker, View};

/// The events of ptrace(2), which wait4(2) tells of a stopped process.
const EVENT_FORK: i32 = 1;
const EVENT_VFORK: i32 = 2;
const EVENT_CLONE: i32 = 3;
const EVENT_EXEC: i32 = 4;
const EVENT_SECCOMP: i32 = 7;
const EVENT_STOP: i32 = 128;
const SIGTRAP: i32 = 5;
/// A stop in a system call, not by a signal.
const SYSTEM_CALL: i32 = SIGTRAP | 0x80;
const CLONE_VM: u64 = 0x100;
/// The id of users and groups that a user namespace does not know.
const NOBODY: u32 = 65534;

/// The identity of a cell's program.
pub(crate) struct Identity {
    /// The user and the group outside.
    pub(crate) outer: (u32, u32),
    /// The user and the group in the cell.
    pub(crate) inner: (u32, u32),
    /// The name of the machine in the cell.
    pub(crate) host_name: &'static [u8],
}

impl Identity {
    /// Returns a user as the cell shows it. Users whom the cell does not know are nobody there, as
    /// in a user namespace.
    fn user(&self, outer: u32) -> u32 {
        if outer == self.outer.0 {
            self.inner.0
        } else {
            NOBODY
        }
    }

    /// Returns a group as the cell shows it.
    fn group(&self, outer: u32) -> u32 {
        if outer == self.outer.1 {
            self.inner.1
        } else {
            NOBODY
        }
    }
}

/// A traced cell.
pub(crate) struct Tracer {
    view: View,
    identity: Identity,
    no_network: bool,
    tasks: BTreeMap<i32, Task>,
    /// Threads that stopped before the tracer heard of them from their parents.
    early: BTreeSet<i32>,
    /// Whether each known loader takes `--argv0`.
    loaders: BTreeMap<Vec<u8>, bool>,
    /// Programs that were started by other names than their own, with their numbers.
    programs: BTreeMap<Vec<u8>, usize>,
}

/// A thread.
#[derive(Default)]
struct Task {
    stage: Stage,
    /// Memory in the process for the tracer's data: address and size.
    room: Option<(u64, usize)>,
    /// The program of its process, by its path in the cell.
    program: Rc<RefCell<Vec<u8>>>,
}

#[derive(Default)]
enum Stage {
    #[default]
    Running,
    /// It asks for memory instead of making its own call.
    Asking { own: Registers, size: usize },
    /// It is in a call whose end the tracer waits for.
    Called { before: Registers, after: After },
    /// It is about to run a program.
    Executing { before: Registers, program: Vec<u8> },
}

/// The end of a process.
pub(crate) enum Ended {
    /// The process ended with this code.
    Code(i32),
    /// This signal ended the process.
    Signal(i32),
}

impl Tracer {
    /// Makes a tracer of `first`, which is seized already.
    pub(crate) fn new(view: View, identity: Identity, no_network: bool, first: i32) -> Self {
        Self {
            view,
            identity,
            no_network,
            tasks: BTreeMap::from([(first, Task::default())]),
            early: BTreeSet::new(),
            loaders: BTreeMap::new(),
            programs: BTreeMap::new(),
        }
    }

    /// Handles all events so far. Returns the end of `first`, if it has ended.
    pub(crate) fn handle(&mut self, first: i32) -> Option<Ended> {
        while let Some((task, status)) = machine::changed() {
            let ended = match status & 0x7f {
                0 => Ended::Code(status >> 8 & 0xff),
                0x7f => {
                    match self.stopped(task, status >> 8 & 0xff, status >> 16) {
                        // It has been killed meanwhile. Its end comes next.
                        Ok(()) | Err(Errno::SRCH) => {}
                        Err(errno) => end(task, errno),
                    }
                    continue;
                }
                signal => Ended::Signal(signal),
            };
            self.tasks.remove(&task);
            self.early.remove(&task);
            if task == first {
                return Some(ended);
            }
        }
        None
    }

    fn stopped(&mut self, task: i32, signal: i32, event: i32) -> Result<(), Errno> {
        if !self.tasks.contains_key(&task) {
            self.early.insert(task);
            return Ok(());
        }
        match (event, signal) {
            (EVENT_SECCOMP, _) => self.called(task),
            (0, SYSTEM_CALL) => self.returned(task),
            (EVENT_FORK | EVENT_VFORK | EVENT_CLONE, _) => {
                self.born(task, event);
                self.go_on(task, 0);
                Ok(())
            }
            (EVENT_EXEC, _) => {
                self.executed(task);
                self.go_on(task, 0);
                Ok(())
            }
            (EVENT_STOP, signal) if signal != SIGTRAP => {
                machine::resume(task, Resume::Listen, 0);
                Ok(())
            }
            (0, signal) => {
                self.go_on(task, signal);
                Ok(())
            }
            _ => {
                self.go_on(task, 0);
                Ok(())
            }
        }
    }

    fn go_on(&self, task: i32, signal: i32) {
        let how = match self.tasks.get(&task).map(|task| &task.stage) {
            None | Some(Stage::Running) => Resume::Run,
            Some(_) => Resume::ToEnd,
        };
        machine::resume(task, how, signal);
    }

    /// Begins to trace a new process or thread.
    fn born(&mut self, parent: i32, event: i32) {
        let Some(child) = machine::message(parent) else {
            return;
        };
        // The child has a copy of its parent's memory, or the parent rests until the child leaves
        // it.
        let has_memory = match event {
            EVENT_VFORK => true,
            EVENT_FORK => Registers::of(parent).is_ok_and(|registers| {
                registers.number() != kernel::__NR_clone3
                    && (registers.number() != kernel::__NR_clone
                        || registers.argument(0) & CLONE_VM == 0)
            }),
            _ => false,
        };
        let (room, program) = match self.tasks.get(&parent) {
            Some(task) if event == EVENT_CLONE => (None, task.program.clone()),
            Some(task) => {
                let program = task.program.borrow().clone();
                (task.room, Rc::new(RefCell::new(program)))
            }
            None => return,
        };
        let task = Task {
            stage: Stage::Running,
            room: room.filter(|_| has_memory),
            program,
        };
        self.tasks.insert(child, task);
        if self.early.remove(&child) {
            machine::resume(child, Resume::Run, 0);
        }
    }

    /// Notes that a process runs another program. The process has one thread now, whichever of them
    /// started the program.
    fn executed(&mut self, task: i32) {
        let former = machine::message(task).unwrap_or(task);
        let Some(mut executing) = self.tasks.remove(&former) else {
            return;
        };
        if let Stage::Executing { program, .. } = core::mem::take(&mut executing.stage) {
            executing.program = Rc::new(RefCell::new(program));
        }
        executing.room = None;
        self.tasks.insert(task, executing);
    }

    /// Handles a process that is about to make a traced call. If the tracer can't prepare the call,
    /// the call fails, because the process must not wait for ever.
    fn called(&mut self, task: i32) -> Result<(), Errno> {
        let mut registers = Registers::of(task)?;
        let outcome = self.outcome(task, &registers);
        let begun = outcome.and_then(|outcome| self.begin(task, &registers, outcome));
        begun.or_else(|errno| {
            registers.answer(task, failure(errno))?;
            machine::resume(task, Resume::Run, 0);
            Ok(())
        })
    }

    fn begin(&mut self, task: i32, registers: &Registers, outcome: Outcome) -> Result<(), Errno> {
        match outcome {
            Outcome::Pass => machine::resume(task, Resume::Run, 0),
            Outcome::Answer(result) => {
                registers.clone().answer(task, result)?;
                machine::resume(task, Resume::Run, 0);
            }
            Outcome::Change(change) => {
                let room = self.tasks.get(&task).and_then(|task| task.room);
                match room {
                    Some((address, size)) if size >= change.size() => {
                        self.change(task, registers, change, address)?;
                    }
                    _ if change.size() == 0 => self.change(task, registers, change, 0)?,
                    _ => self.ask_for_room(task, registers, change.size())?,
                }
            }
        }
        Ok(())
    }

    fn change(
        &mut self,
        task: i32,
        before: &Registers,
        change: Change,
        room: u64,
    ) -> Result<(), Errno> {
        let before = before.clone();
        let mut registers = before.clone();
        let mut bytes = Vec::new();
        for (index, value) in change.arguments {
            let argument = value.place(room, &mut bytes);
            registers.set_argument(index, argument);
        }
        if !bytes.is_empty() {
            machine::write(task, room, &bytes)?;
        }
        registers.write(task)?;
        if let Some(state) = self.tasks.get_mut(&task) {
            state.stage = match change.program {
                Some(program) => Stage::Executing { before, program },
                None => Stage::Called {
                    before,
                    after: change.after,
                },
            };
        }
        machine::resume(task, Resume::ToEnd, 0);
        Ok(())
    }

    /// Lets the process map memory, and then make its own call again.
    fn ask_for_room(&mut self, task: i32, own: &Registers, size: usize) -> Result<(), Errno> {
        let own = own.clone();
        let size = size.max(3 * 4096).next_multiple_of(4096);
        let access = u64::from(kernel::PROT_READ | kernel::PROT_WRITE);
        let flags = u64::from(kernel::MAP_PRIVATE | kernel::MAP_ANONYMOUS);
        let arguments = [0, size as u64, access, flags, u64::MAX, 0];
        own.replace(task, kernel::__NR_mmap, arguments)?;
        if let Some(state) = self.tasks.get_mut(&task) {
            state.stage = Stage::Asking { own, size };
        }
        machine::resume(task, Resume::ToEnd, 0);
        Ok(())
    }

    /// Handles the end of a call.
    fn returned(&mut self, task: i32) -> Result<(), Errno> {
        let Some(state) = self.tasks.get_mut(&task) else {
            return Ok(());
        };
        let mut registers = Registers::of(task)?;
        match core::mem::take(&mut state.stage) {
            Stage::Running => {}
            Stage::Asking { mut own, size } => match registers.result() {
                error @ -4095..=-1 => {
                    // At the end of a call, its number does not matter any more.
                    own.set_result(error);
                    own.write(task)?;
                }
                address => {
                    state.room = Some((address as u64, size));
                    own.again(task)?;
                }
            },
            Stage::Executing { before, .. } => {
                registers.restore_arguments(&before);
                registers.write(task)?;
            }
            Stage::Called { before, after } => {
                registers.restore_arguments(&before);
                match self.finish(task, &before, registers.result(), after) {
                    Ok(None) => {}
                    Ok(Some(result)) => registers.set_result(result),
                    Err(errno) => registers.set_result(failure(errno)),
                }
                registers.write(task)?;
            }
        }
        machine::resume(task, Resume::Run, 0);
        Ok(())
    }
}

/// Returns the result of a call that fails.
fn failure(errno: Errno) -> i64 {
    -i64::from(errno.raw_os_error())
}

/// Ends a process that the tracer can't handle. It would stay stopped for ever.
fn end(task: i32, errno: Errno) {
    let reason = explain(errno);
    let text = format!("seed: cannot trace process {task} any further, and ends it: {reason}\n");
    output::error(text.as_bytes());
    if let Some(pid) = Pid::from_raw(task) {
        let _ = kill_process(pid, Signal::KILL);
    }
}
