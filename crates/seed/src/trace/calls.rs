//! The treatment of each traced system call.

use alloc::vec::Vec;

use linux_raw_sys::general as kernel;
use rustix::fs::{CWD, readlinkat};
use rustix::io::Errno;

use super::Tracer;
use super::change::{After, Change, Outcome, Value};
use super::machine::{self, Registers};
use super::paths::{Argument, opens, paths};
use super::permission::{Access, permit};
use super::processes;
use super::sockets;
use super::view::{Asker, Place, View};

/// `PATH_MAX` of the kernel, in bytes.
pub(super) const MAX_PATH: usize = 4096;

impl Tracer {
    /// Decides about the call that a process is about to make.
    pub(super) fn outcome(&mut self, task: i32, registers: &Registers) -> Result<Outcome, Errno> {
        let (user, group) = self.identity.inner;
        let users = (user, self.identity.outer.0);
        let groups = (group, self.identity.outer.1);
        match registers.number() {
            kernel::__NR_getuid | kernel::__NR_geteuid => Ok(Outcome::Answer(user.into())),
            kernel::__NR_getgid | kernel::__NR_getegid => Ok(Outcome::Answer(group.into())),
            kernel::__NR_getresuid => answer_three(task, registers, user),
            kernel::__NR_getresgid => answer_three(task, registers, group),
            kernel::__NR_setuid => self.become_id(registers, 1, users),
            kernel::__NR_setreuid => self.become_id(registers, 2, users),
            kernel::__NR_setresuid => self.become_id(registers, 3, users),
            kernel::__NR_setgid => self.become_id(registers, 1, groups),
            kernel::__NR_setregid => self.become_id(registers, 2, groups),
            kernel::__NR_setresgid => self.become_id(registers, 3, groups),
            kernel::__NR_getcwd => self.working_directory(task, registers),
            kernel::__NR_uname => Ok(at_end(After::System {
                address: registers.argument(0),
            })),
            kernel::__NR_fstat => Ok(at_end(After::Status {
                address: registers.argument(1),
            })),
            kernel::__NR_fchown => Ok(Outcome::Change(Change {
                arguments: self.owners(registers, 1),
                ..Change::default()
            })),
            kernel::__NR_bind | kernel::__NR_connect => self.socket(task, registers, 1, 2),
            kernel::__NR_sendto => self.socket(task, registers, 4, 5),
            kernel::__NR_sendmsg => self.message(task, registers),
            kernel::__NR_execve => self.execute(task, registers),
            _ => self.about_paths(task, registers),
        }
    }

    fn about_paths(&mut self, task: i32, registers: &Registers) -> Result<Outcome, Errno> {
        let Some((arguments, after)) = paths(registers) else {
            return Ok(Outcome::Pass);
        };
        let mut change = Change {
            after,
            ..Change::default()
        };
        let mut places = Vec::new();
        for argument in arguments {
            let address = registers.argument(argument.path);
            // Some calls take no path, and mean the open file.
            if address == 0 {
                continue;
            }
            let path = machine::read_string(task, address, MAX_PATH)?;
            if path.is_empty() {
                continue;
            }
            let mut place = self.place(task, registers, argument, &path)?;
            if opens(registers) {
                self.show_process(task, &mut place)?;
            }
            if let Some(result) = self.shortcut(task, registers, &place)? {
                return Ok(Outcome::Answer(result));
            }
            places.push((argument, place, path));
        }
        self.join(registers, &places)?;
        for (argument, place, path) in places {
            permit(argument.access, &place, self.identity.outer)?;
            if place.host != path {
                let path = Value::Bytes(terminated(place.host));
                change.arguments.push((argument.path, path));
            }
        }
        match registers.number() {
            #[cfg(target_arch = "x86_64")]
            kernel::__NR_chown | kernel::__NR_lchown => {
                change.arguments.extend(self.owners(registers, 1));
            }
            kernel::__NR_fchownat => change.arguments.extend(self.owners(registers, 2)),
            _ => {}
        }
        if change.arguments.is_empty() && matches!(change.after, After::Nothing) {
            return Ok(Outcome::Pass);
        }
        Ok(Outcome::Change(change))
    }

    /// Refuses calls that join two mounts of the cell, with the kernel's errors.
    fn join(
        &self,
        registers: &Registers,
        places: &[(Argument, Place, Vec<u8>)],
    ) -> Result<(), Errno> {
        let [(from, old, _), (to, new, _)] = places else {
            return Ok(());
        };
        if self.mount(from, old) == self.mount(to, new) {
            return Ok(());
        }
        match registers.number() {
            #[cfg(target_arch = "x86_64")]
            kernel::__NR_rename => return Err(Errno::XDEV),
            kernel::__NR_renameat | kernel::__NR_renameat2 => return Err(Errno::XDEV),
            _ => {}
        }
        // link(2) looks for both files first.
        if !View::exists(old) {
            return Err(Errno::NOENT);
        }
        if View::exists(new) {
            return Err(Errno::EXIST);
        }
        permit(to.access, new, self.identity.outer)?;
        Err(Errno::XDEV)
    }

    /// Returns the mount of a file, or the mount of the name if the call makes or removes one.
    fn mount<'a>(&'a self, argument: &Argument, place: &'a Place) -> &'a [u8] {
        match argument.access {
            Access::Looks => self.view.mount_of(&place.guest),
            _ => {
                let end = place.guest.iter().rposition(|&byte| byte == b'/');
                self.view.mount_of(&place.guest[..end.unwrap_or(0)])
            }
        }
    }

    fn place(
        &mut self,
        task: i32,
        registers: &Registers,
        argument: Argument,
        path: &[u8],
    ) -> Result<Place, Errno> {
        let base = if path.starts_with(b"/") {
            b"/".to_vec()
        } else {
            let directory = argument
                .directory
                .map(|index| registers.argument(index) as i32);
            self.directory(task, directory)?
        };
        self.resolve(task, &base, path, argument.follow)
    }

    /// Resolves a path as a process sees it.
    pub(super) fn resolve(
        &mut self,
        task: i32,
        base: &[u8],
        path: &[u8],
        follow: bool,
    ) -> Result<Place, Errno> {
        let tasks = &self.tasks;
        let program = |process: i32| {
            let state = tasks.get(&process)?;
            Some(state.program.borrow().clone())
        };
        let process = || processes::of(task).filter(|process| tasks.contains_key(process));
        let asker = Asker {
            task,
            process: &|| process().unwrap_or(task),
            program: &program,
        };
        self.view.resolve(&asker, base, path, follow)
    }

    /// Returns the working directory of a process, or one that it has open.
    pub(super) fn directory(&self, task: i32, open: Option<i32>) -> Result<Vec<u8>, Errno> {
        let link = match open {
            None | Some(kernel::AT_FDCWD) => alloc::format!("/proc/{task}/cwd"),
            Some(open) => alloc::format!("/proc/{task}/fd/{open}"),
        };
        let host = readlinkat(CWD, link.as_str(), Vec::new()).map_err(|errno| match errno {
            Errno::NOENT => Errno::BADF,
            other => other,
        })?;
        let host = host.into_bytes();
        if host.starts_with(b"/") {
            Ok(self.view.inside(&host))
        } else {
            Err(Errno::NOTDIR)
        }
    }

    /// Answers a call that reads the link to a process's program. The kernel is not asked.
    fn shortcut(
        &self,
        task: i32,
        registers: &Registers,
        place: &Place,
    ) -> Result<Option<i64>, Errno> {
        let (buffer, size) = match registers.number() {
            #[cfg(target_arch = "x86_64")]
            kernel::__NR_readlink => (registers.argument(1), registers.argument(2)),
            kernel::__NR_readlinkat => (registers.argument(2), registers.argument(3)),
            _ => return Ok(None),
        };
        let process = place
            .guest
            .strip_prefix(b"/proc/")
            .and_then(|rest| rest.strip_suffix(b"/exe"))
            .and_then(|process| core::str::from_utf8(process).ok()?.parse().ok());
        let Some(state) = process.and_then(|process: i32| self.tasks.get(&process)) else {
            return Ok(None);
        };
        let mut target = state.program.borrow().clone();
        target.truncate(size as usize);
        machine::write(task, buffer, &target)?;
        Ok(Some(target.len() as i64))
    }

    fn working_directory(&self, task: i32, registers: &Registers) -> Result<Outcome, Errno> {
        let path = terminated(self.directory(task, None)?);
        if registers.argument(1) < path.len() as u64 {
            return Err(Errno::RANGE);
        }
        machine::write(task, registers.argument(0), &path)?;
        Ok(Outcome::Answer(path.len() as i64))
    }

    /// Returns the owner and group that a process gives to a file, as ids outside.
    fn owners(&self, registers: &Registers, first: usize) -> Vec<(usize, Value)> {
        let (inner, outer) = (self.identity.inner, self.identity.outer);
        let pairs = [(first, inner.0, outer.0), (first + 1, inner.1, outer.1)];
        pairs
            .into_iter()
            .filter(|(index, inner, _)| registers.argument(*index) as u32 == *inner)
            .map(|(index, _, outer)| (index, Value::Number(outer.into())))
            .collect()
    }

    /// Lets a process become the user or group that it is, and no other: the cell has no other.
    fn become_id(
        &self,
        registers: &Registers,
        count: usize,
        (inner, outer): (u32, u32),
    ) -> Result<Outcome, Errno> {
        let mut change = Change::default();
        for index in 0..count {
            match registers.argument(index) as u32 {
                u32::MAX => {}
                id if id == inner => {
                    let outer = Value::Number(outer.into());
                    change.arguments.push((index, outer));
                }
                _ => return Err(Errno::INVAL),
            }
        }
        Ok(Outcome::Change(change))
    }

    /// Does the work at the end of a call. Returns the call's result, if it is another one.
    pub(super) fn finish(
        &self,
        task: i32,
        before: &Registers,
        result: i64,
        after: After,
    ) -> Result<Option<i64>, Errno> {
        if let After::Refusal { socket } = after {
            return Ok(sockets::refusal(task, socket, result));
        }
        if result < 0 {
            return Ok(None);
        }
        match after {
            After::Nothing | After::Refusal { .. } => {}
            #[cfg(target_arch = "x86_64")]
            After::Status { address } => self.show_owners(task, address + 28)?,
            #[cfg(target_arch = "aarch64")]
            After::Status { address } => self.show_owners(task, address + 24)?,
            After::ExtendedStatus { address } => self.show_owners(task, address + 20)?,
            After::System { address } => {
                let mut name = [0; 65];
                name[..self.identity.host_name.len()].copy_from_slice(self.identity.host_name);
                machine::write(task, address + 65, &name)?;
            }
            After::Target { address, size } => {
                return self.show_target(task, before, (address, size), result);
            }
        }
        Ok(None)
    }

    /// Puts the cell's ids in the place of a user and a group in memory, one after the other.
    fn show_owners(&self, task: i32, address: u64) -> Result<(), Errno> {
        let ids: [u8; 8] = machine::read_array(task, address)?;
        let (user, group) = ids.split_at(4);
        let id = |bytes: &[u8]| u32::from_ne_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        let user = self.identity.user(id(user));
        let group = self.identity.group(id(group));
        let bytes = [user.to_ne_bytes(), group.to_ne_bytes()].concat();
        machine::write(task, address, &bytes)
    }

    /// Puts the cell's path in the place of a link's target. The kernel's own links in `/proc` name
    /// paths outside.
    fn show_target(
        &self,
        task: i32,
        before: &Registers,
        (address, size): (u64, u64),
        result: i64,
    ) -> Result<Option<i64>, Errno> {
        #[cfg(target_arch = "x86_64")]
        let index = usize::from(before.number() != kernel::__NR_readlink);
        #[cfg(target_arch = "aarch64")]
        let index = 1;
        let path = machine::read_string(task, before.argument(index), MAX_PATH)?;
        let is_of_process =
            path.starts_with(b"/proc/") || path.starts_with(b"/dev/") || !path.contains(&b'/');
        if !is_of_process {
            return Ok(None);
        }
        let target = machine::read(task, address, result as usize)?;
        if !target.starts_with(b"/") {
            return Ok(None);
        }
        let mut inside = self.view.inside(&target);
        if inside == target {
            return Ok(None);
        }
        inside.truncate(size as usize);
        machine::write(task, address, &inside)?;
        Ok(Some(inside.len() as i64))
    }
}

fn at_end(after: After) -> Outcome {
    Outcome::Change(Change {
        after,
        ..Change::default()
    })
}

fn answer_three(task: i32, registers: &Registers, id: u32) -> Result<Outcome, Errno> {
    for index in 0..3 {
        machine::write(task, registers.argument(index), &id.to_ne_bytes())?;
    }
    Ok(Outcome::Answer(0))
}

fn terminated(mut path: Vec<u8>) -> Vec<u8> {
    path.push(0);
    path
}
