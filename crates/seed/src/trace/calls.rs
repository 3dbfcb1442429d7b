//! What becomes of each traced system call.

use alloc::vec;
use alloc::vec::Vec;

use linux_raw_sys::general as kernel;
use rustix::fs::{CWD, readlinkat};
use rustix::io::Errno;

use super::Tracer;
use super::machine::{self, Registers};
use super::maps;
use super::view::{Asker, Place, View};

/// `PATH_MAX` of the kernel.
const MOST_BYTES_OF_PATH: usize = 4096;
const ADDRESS_OF_UNIX_SOCKET: usize = 108;
/// Families of addresses (socket(2)).
const AF_UNIX: u16 = 1;
const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;

/// What a process does instead of its call.
pub enum Outcome {
    /// The call as it is.
    Pass,
    /// Nothing: this is the result.
    Answer(i64),
    /// The call with other arguments, or with something to do at its end.
    Change(Change),
}

/// Other arguments of a call.
#[derive(Default)]
pub struct Change {
    /// Index and value.
    pub arguments: Vec<(usize, Value)>,
    /// What is to be done at the call's end.
    pub after: After,
    /// The program that it starts, as the cell names it.
    pub program: Option<Vec<u8>>,
}

/// A value of an argument.
pub enum Value {
    Number(u64),
    /// The address of these bytes.
    Bytes(Vec<u8>),
    /// The address of an array of strings.
    Array(Vec<Entry>),
}

/// A string in an array.
pub enum Entry {
    /// One of the process, at this address.
    At(u64),
    String(Vec<u8>),
}

/// What is to be done at the end of a call.
#[derive(Default)]
pub enum After {
    #[default]
    Nothing,
    /// Ids in a `struct stat` are those in the cell.
    Status { address: u64 },
    /// The same in a `struct statx`.
    ExtendedStatus { address: u64 },
    /// The target of a link is a path outside.
    Target { address: u64, size: u64 },
    /// The machine has the cell's name.
    System { address: u64 },
}

impl Change {
    /// How many bytes its arguments take, at most.
    pub fn size(&self) -> usize {
        let sizes = self.arguments.iter().map(|(_, value)| match value {
            Value::Number(_) => 0,
            Value::Bytes(bytes) => bytes.len() + 8,
            Value::Array(entries) => entries.iter().fold(24, |size, entry| {
                size + 8
                    + match entry {
                        Entry::At(_) => 0,
                        Entry::String(string) => string.len() + 1,
                    }
            }),
        });
        sizes.sum()
    }
}

/// A path among the arguments.
#[derive(Clone, Copy)]
struct Argument {
    /// The index of the directory that the path begins at, if it is not the process's own.
    directory: Option<usize>,
    /// The index of the path.
    path: usize,
    /// Whether the last component is followed if it is a link.
    follow: bool,
    access: Access,
}

#[derive(Clone, Copy, PartialEq)]
enum Access {
    /// It looks, and changes nothing.
    Looks,
    /// It changes what is there.
    Changes,
    /// It makes something new.
    Makes,
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

/// The paths of a call, and what is to be done at its end. None for calls that are not about paths.
fn paths(registers: &Registers) -> Option<(Vec<Argument>, After)> {
    use Access::{Changes, Looks, Makes};
    let argument = |index| registers.argument(index);
    let has = |index: usize, flag: u32| argument(index) as u32 & flag != 0;
    let follows = |index| !has(index, kernel::AT_SYMLINK_NOFOLLOW);
    let nothing = |arguments: Vec<Argument>| Some((arguments, After::Nothing));
    #[cfg(target_arch = "x86_64")]
    match registers.number() {
        kernel::__NR_access => {
            let access = if has(1, 2) { Changes } else { Looks };
            return nothing(vec![plain(0, true, access)]);
        }
        kernel::__NR_chmod | kernel::__NR_utime | kernel::__NR_utimes => {
            return nothing(vec![plain(0, true, Changes)]);
        }
        kernel::__NR_chown => return nothing(vec![plain(0, true, Changes)]),
        kernel::__NR_creat => return nothing(vec![plain(0, true, Changes)]),
        kernel::__NR_futimesat => return nothing(vec![at(0, true, Changes)]),
        kernel::__NR_lchown | kernel::__NR_rmdir | kernel::__NR_unlink => {
            return nothing(vec![plain(0, false, Changes)]);
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
            return nothing(vec![plain(0, false, Changes), plain(1, false, Changes)]);
        }
        kernel::__NR_symlink => return nothing(vec![plain(1, false, Makes)]),
        _ => {}
    }
    match registers.number() {
        kernel::__NR_chdir | kernel::__NR_statfs => nothing(vec![plain(0, true, Looks)]),
        kernel::__NR_execve => nothing(vec![plain(0, true, Looks)]),
        kernel::__NR_faccessat | kernel::__NR_faccessat2 => {
            let access = if has(2, 2) { Changes } else { Looks };
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
            nothing(vec![at(0, false, Changes), at(2, false, Changes)])
        }
        kernel::__NR_statx => {
            let after = After::ExtendedStatus {
                address: argument(4),
            };
            Some((vec![at(0, follows(2), Looks)], after))
        }
        kernel::__NR_symlinkat => nothing(vec![at(1, false, Makes)]),
        kernel::__NR_truncate => nothing(vec![plain(0, true, Changes)]),
        kernel::__NR_unlinkat => nothing(vec![at(0, false, Changes)]),
        kernel::__NR_utimensat => nothing(vec![at(0, follows(3), Changes)]),
        _ => None,
    }
}

/// Whether opening a file with these flags follows a link, and what it does.
fn opening(flags: u32) -> (bool, Access) {
    let creates = flags & kernel::O_CREAT != 0;
    let is_new = creates && flags & kernel::O_EXCL != 0;
    let writes = flags & kernel::O_ACCMODE != kernel::O_RDONLY || flags & kernel::O_TRUNC != 0;
    let access = match (creates, writes) {
        _ if flags & kernel::O_PATH != 0 => Access::Looks,
        (true, false) => Access::Makes,
        (_, true) => Access::Changes,
        (false, false) => Access::Looks,
    };
    (flags & kernel::O_NOFOLLOW == 0 && !is_new, access)
}

impl Tracer {
    /// What becomes of the call that a process is about to make.
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
        for argument in arguments {
            let address = registers.argument(argument.path);
            // Some calls take none, and mean the open file.
            if address == 0 {
                continue;
            }
            let path = machine::read_string(task, address, MOST_BYTES_OF_PATH)?;
            if path.is_empty() {
                continue;
            }
            let mut place = self.place(task, registers, argument, &path)?;
            if opens(registers) && maps::is_maps(&place.guest) {
                place.host = maps::translated(&self.view, &place.host, task)?;
            }
            if let Some(result) = self.shortcut(task, registers, &place)? {
                return Ok(Outcome::Answer(result));
            }
            permit(argument.access, &place)?;
            if place.host != path {
                change
                    .arguments
                    .push((argument.path, Value::Bytes(terminated(place.host))));
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
        let asker = Asker {
            task,
            program: &program,
        };
        self.view.resolve(&asker, base, path, follow)
    }

    /// The working directory of a process, or one that it has open.
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

    /// The result of a call that needs no kernel: a link that says which program runs.
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

    /// The owner and group that a process gives a file, as ids outside.
    fn owners(&self, registers: &Registers, first: usize) -> Vec<(usize, Value)> {
        let (inner, outer) = (self.identity.inner, self.identity.outer);
        let pairs = [(first, inner.0, outer.0), (first + 1, inner.1, outer.1)];
        pairs
            .into_iter()
            .filter(|(index, inner, _)| registers.argument(*index) as u32 == *inner)
            .map(|(index, _, outer)| (index, Value::Number(outer.into())))
            .collect()
    }

    /// A process may become who it is, and nobody else: there is none in the cell.
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

    /// A call with a socket's address.
    fn socket(
        &mut self,
        task: i32,
        registers: &Registers,
        index: usize,
        size: usize,
    ) -> Result<Outcome, Errno> {
        let address = registers.argument(index);
        let length = (registers.argument(size) as usize).min(128);
        if address == 0 || length < 2 {
            return Ok(Outcome::Pass);
        }
        let bytes = machine::read(task, address, length)?;
        let is_bind = registers.number() == kernel::__NR_bind;
        if family(&bytes) != AF_UNIX {
            let is_reachable = is_bind || !self.no_network || is_local(&bytes);
            return if is_reachable {
                Ok(Outcome::Pass)
            } else {
                Err(Errno::NETUNREACH)
            };
        }
        let path = bytes[2..].split(|&byte| byte == 0).next().unwrap_or(b"");
        if path.is_empty() {
            return Ok(Outcome::Pass);
        }
        let base = self.directory(task, None)?;
        let place = self.resolve(task, &base, path, true)?;
        if is_bind {
            permit(Access::Makes, &place)?;
        }
        let mut changed = AF_UNIX.to_ne_bytes().to_vec();
        changed.extend(place.host);
        if changed.len() - 2 >= ADDRESS_OF_UNIX_SOCKET {
            return Err(Errno::NAMETOOLONG);
        }
        changed.push(0);
        let length = Value::Number(changed.len() as u64);
        Ok(Outcome::Change(Change {
            arguments: vec![(index, Value::Bytes(changed)), (size, length)],
            ..Change::default()
        }))
    }

    /// sendmsg(2): the address is in a `struct msghdr`.
    fn message(&self, task: i32, registers: &Registers) -> Result<Outcome, Errno> {
        let header = registers.argument(1);
        let name = machine::read_word(task, header)?;
        let size = (machine::read_word(task, header + 8)? as u32 as usize).min(128);
        if name == 0 || size < 2 || !self.no_network {
            return Ok(Outcome::Pass);
        }
        if is_local(&machine::read(task, name, size)?) {
            Ok(Outcome::Pass)
        } else {
            Err(Errno::NETUNREACH)
        }
    }

    /// Does what is to be done at the end of a call. Returns its result, if that is another one.
    pub(super) fn finish(
        &self,
        task: i32,
        before: &Registers,
        result: i64,
        after: After,
    ) -> Result<Option<i64>, Errno> {
        if result < 0 {
            return Ok(None);
        }
        match after {
            After::Nothing => {}
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

    /// Two ids, one after the other. Whom the cell does not know is nobody there, as in a user
    /// namespace.
    fn show_owners(&self, task: i32, address: u64) -> Result<(), Errno> {
        const NOBODY: u32 = 65534;
        let ids: [u8; 8] = machine::read_array(task, address)?;
        let (user, group) = ids.split_at(4);
        let id = |bytes: &[u8]| u32::from_ne_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        let (inner, outer) = (self.identity.inner, self.identity.outer);
        let shown = |id, outer, inner| if id == outer { inner } else { NOBODY };
        let user = shown(id(user), outer.0, inner.0);
        let group = shown(id(group), outer.1, inner.1);
        let bytes = [user.to_ne_bytes(), group.to_ne_bytes()].concat();
        machine::write(task, address, &bytes)
    }

    /// The kernel's own links in `/proc` name paths outside.
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
        let path = machine::read_string(task, before.argument(index), MOST_BYTES_OF_PATH)?;
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

fn opens(registers: &Registers) -> bool {
    match registers.number() {
        #[cfg(target_arch = "x86_64")]
        kernel::__NR_open => true,
        number => number == kernel::__NR_openat,
    }
}

/// Whether a process may do that at a place.
fn permit(access: Access, place: &Place) -> Result<(), Errno> {
    match access {
        Access::Looks => Ok(()),
        _ if !place.fixed => Ok(()),
        Access::Makes if View::exists(place) => Err(Errno::EXIST),
        Access::Makes | Access::Changes => Err(Errno::ROFS),
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

fn family(address: &[u8]) -> u16 {
    u16::from_ne_bytes([address[0], address[1]])
}

/// Whether an address is this machine's own loopback, or none of a network.
fn is_local(address: &[u8]) -> bool {
    match family(address) {
        AF_INET => matches!(address.get(4..8), Some([127, ..] | [0, 0, 0, 0])),
        AF_INET6 => match address.get(8..24) {
            Some([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, rest @ ..]) => {
                matches!(rest, [0, 0, 0, 0, 0, 0 | 1] | [0xff, 0xff, 127, ..])
            }
            _ => false,
        },
        _ => true,
    }
}

fn terminated(mut path: Vec<u8>) -> Vec<u8> {
    path.push(0);
    path
}
