//! Starting programs (execve(2)).
//!
//! The kernel would look outside for a program's dynamic loader or a script's interpreter. So the
//! tracer starts the loader itself, with the program as an argument.

use alloc::format;
use alloc::vec;
use alloc::vec::Vec;

use rustix::fs::{
    Access, AtFlags, CWD, FileType, Mode, OFlags, accessat, fstat, mkdir, openat, symlink,
};
use rustix::io::{Errno, pread};

use super::Tracer;
use super::calls::MAX_PATH;
use super::change::{Change, Entry, Outcome, Value};
use super::machine::{self, Registers};
use super::view::Place;
use crate::files::Mapped;

/// The number of bytes that the kernel reads of a script's first line.
const FIRST_LINE: usize = 256;
/// A number of arguments that the kernel does not allow: their pointers alone would fill the 6 MiB
/// that it takes.
const MAX_ARGUMENTS: usize = 1 << 20;
/// The number of interpreters of interpreters that the kernel allows.
const MAX_INTERPRETERS: usize = 5;

impl Tracer {
    pub(super) fn execute(&mut self, task: i32, registers: &Registers) -> Result<Outcome, Errno> {
        let path = machine::read_string(task, registers.argument(0), MAX_PATH)?;
        let base = self.directory(task, None)?;
        let mut place = self.resolve(task, &base, &path, true)?;
        let mut arguments = strings(task, registers.argument(1))?;
        let called = path.clone();
        let mut name = path;
        let mut head = head(&place)?;
        let mut interpreters = 0;
        while let Some((interpreter, option)) = script(&head) {
            interpreters += 1;
            if interpreters > MAX_INTERPRETERS {
                return Err(Errno::LOOP);
            }
            let mut all = vec![Entry::String(interpreter.clone())];
            all.extend(option.map(Entry::String));
            all.push(Entry::String(name));
            all.extend(arguments.into_iter().skip(1));
            arguments = all;
            place = self.resolve(task, &base, &interpreter, true)?;
            name = interpreter;
            head = self::head(&place)?;
        }
        let mut change = Change {
            program: Some(place.guest.clone()),
            ..Change::default()
        };
        let executed = match loader(&place, &head)? {
            None => place.host,
            Some(loader) => {
                let loader = self.resolve(task, b"/", &loader, true)?;
                arguments = self.by_loader(&loader, place.guest, arguments);
                loader.host
            }
        };
        let executed = self.named(executed, &called)?;
        change.arguments = vec![
            (0, Value::Bytes([executed.as_slice(), b"\0"].concat())),
            (1, Value::Array(arguments)),
        ];
        Ok(Outcome::Change(change))
    }

    /// Returns a path that leads to a program and ends with the name by which it was called. The
    /// kernel takes the name of the process from there (`/proc/PID/comm`).
    fn named(&mut self, program: Vec<u8>, called: &[u8]) -> Result<Vec<u8>, Errno> {
        let name = last(called);
        if name.is_empty() || name == last(&program) {
            return Ok(program);
        }
        let next = self.programs.len();
        let number = *self.programs.entry(program.clone()).or_insert(next);
        let directory = self.view.beside(format!("programs-{number}").as_bytes());
        let link = [directory.as_slice(), b"/", name].concat();
        for made in [
            mkdir(directory.as_slice(), Mode::from_raw_mode(0o755)),
            symlink(program.as_slice(), link.as_slice()),
        ] {
            match made {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(errno) => return Err(errno),
            }
        }
        Ok(link)
    }

    /// Returns the arguments with which a loader starts a program.
    fn by_loader(&mut self, loader: &Place, program: Vec<u8>, arguments: Vec<Entry>) -> Vec<Entry> {
        let mut arguments = arguments.into_iter();
        let mut all = vec![Entry::String(loader.guest.clone())];
        if let Some(name) = arguments.next() {
            if self.takes_name(loader) {
                all.push(Entry::String(b"--argv0".to_vec()));
                all.push(name);
            }
        }
        all.push(Entry::String(program));
        all.extend(arguments);
        all
    }

    /// Whether a loader has the option `--argv0`, as glibc's since 2.33 and musl's have.
    fn takes_name(&mut self, loader: &Place) -> bool {
        if let Some(&takes) = self.loaders.get(&loader.host) {
            return takes;
        }
        let takes = Mapped::open(&loader.host)
            .is_ok_and(|file| file.bytes().windows(5).any(|window| window == b"argv0"));
        self.loaders.insert(loader.host.clone(), takes);
        takes
    }
}

/// Returns the last component of a path.
fn last(path: &[u8]) -> &[u8] {
    path.rsplit(|&byte| byte == b'/').next().unwrap_or_default()
}

/// Reads a process's array of strings. Returns their addresses.
fn strings(task: i32, address: u64) -> Result<Vec<Entry>, Errno> {
    let mut all = Vec::new();
    let mut address = address;
    while address != 0 {
        let size = 512.min(4096 - (address as usize & 4095)).max(8);
        let words = machine::read(task, address, size)?;
        let words = words.chunks_exact(8);
        if words.len() == 0 {
            return Err(Errno::FAULT);
        }
        address += 8 * words.len() as u64;
        for word in words {
            let pointer = word.try_into().map_or(0, u64::from_ne_bytes);
            if pointer == 0 {
                return Ok(all);
            }
            if all.len() == MAX_ARGUMENTS {
                return Err(Errno::TOOBIG);
            }
            all.push(Entry::At(pointer));
        }
    }
    Ok(all)
}

/// Returns the beginning of an executable file, which is empty if the file cannot be read.
fn head(place: &Place) -> Result<Vec<u8>, Errno> {
    let path = place.host.as_slice();
    accessat(CWD, path, Access::EXEC_OK, AtFlags::EACCESS).or_else(|errno| match errno {
        // A kernel without faccessat2(2).
        Errno::NOSYS | Errno::INVAL => accessat(CWD, path, Access::EXEC_OK, AtFlags::empty()),
        other => Err(other),
    })?;
    let Ok(file) = openat(
        CWD,
        path,
        OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK,
        Mode::empty(),
    ) else {
        return Ok(Vec::new());
    };
    if FileType::from_raw_mode(fstat(&file)?.st_mode) != FileType::RegularFile {
        return Err(Errno::ACCESS);
    }
    read_at(&file, 0, FIRST_LINE)
}

fn read_at(file: &rustix::fd::OwnedFd, offset: u64, size: usize) -> Result<Vec<u8>, Errno> {
    let mut bytes = vec![0; size];
    let count = pread(file, bytes.as_mut_slice(), offset)?;
    bytes.truncate(count);
    Ok(bytes)
}

/// Returns a script's interpreter and its only argument (execve(2), "Interpreter scripts").
fn script(head: &[u8]) -> Option<(Vec<u8>, Option<Vec<u8>>)> {
    let line = head.strip_prefix(b"#!")?;
    let line = line.split(|&byte| byte == b'\n').next()?;
    let line = line.trim_ascii();
    let end = line.iter().position(|byte| matches!(byte, b' ' | b'\t'));
    let (interpreter, rest) = line.split_at(end.unwrap_or(line.len()));
    let option = rest.trim_ascii();
    let option = (!option.is_empty()).then(|| option.to_vec());
    (!interpreter.is_empty()).then(|| (interpreter.to_vec(), option))
}

/// Returns the dynamic loader that an ELF file of this architecture names (elf(5)). The kernel
/// starts all other files.
fn loader(place: &Place, head: &[u8]) -> Result<Option<Vec<u8>>, Errno> {
    const PT_INTERP: u32 = 3;
    #[cfg(target_arch = "x86_64")]
    const MACHINE: u64 = 62;
    #[cfg(target_arch = "aarch64")]
    const MACHINE: u64 = 183;
    let is_native = head.starts_with(b"\x7fELF\x02\x01") && field(head, 18, 2) == Some(MACHINE);
    let (Some(table), Some(size), Some(count)) =
        (field(head, 32, 8), field(head, 54, 2), field(head, 56, 2))
    else {
        return Ok(None);
    };
    if !is_native {
        return Ok(None);
    }
    let file = openat(
        CWD,
        place.host.as_slice(),
        OFlags::RDONLY | OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    let headers = read_at(&file, table, (size * count) as usize)?;
    for header in headers.chunks_exact((size as usize).max(1)) {
        if field(header, 0, 4) != Some(PT_INTERP.into()) {
            continue;
        }
        let (Some(offset), Some(length)) = (field(header, 8, 8), field(header, 32, 8)) else {
            break;
        };
        let length = (length as usize).min(MAX_PATH);
        let name = read_at(&file, offset, length)?;
        return Ok(name.split(|&byte| byte == 0).next().map(<[u8]>::to_vec));
    }
    Ok(None)
}

/// Reads a number among bytes, least byte first.
pub(super) fn field(bytes: &[u8], offset: usize, size: usize) -> Option<u64> {
    let bytes = bytes.get(offset..offset + size)?;
    Some(
        bytes
            .iter()
            .rev()
            .fold(0, |value, &byte| value << 8 | u64::from(byte)),
    )
}
