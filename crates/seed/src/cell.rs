//! Runs a program in a cell.
//!
//! The seed stays the program's parent. It keeps its standard streams open until the program has
//! ended, because Nix takes the end of the builder's output for the end of the build. It passes on
//! the program's exit status.

use alloc::ffi::CString;
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::convert::Infallible;

use rustix::fd::OwnedFd;
use rustix::fs::{AtFlags, CWD, Mode, mkdir, unlinkat};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{
    Pid, Signal, WaitOptions, WaitStatus, chdir, getpid, getppid, kill_process,
    set_parent_process_death_signal, wait,
};

use crate::arguments::Cell;
use crate::enter::{Bind, Namespaces, Plan, Source};
use crate::error::{Error, explain, shown};
use crate::files::{read_full, remove_tree, write_all};
use crate::output;
use crate::rooted::c_string;
use crate::shared_memory::SharedMemory;
use crate::sys::{self, Signals};
use crate::trace::{Ended, Tracer};
use crate::traced::{self, Traced};

/// The place of the build's directory in the cell. Programs start there.
const BUILD: &[u8] = b"/build";
/// The variables that name the build's directory, for Nix and others.
const BUILD_VARIABLES: [&[u8]; 6] = [
    b"NIX_BUILD_TOP",
    b"PWD",
    b"TEMP",
    b"TEMPDIR",
    b"TMP",
    b"TMPDIR",
];
/// The signals that the seed passes on to the program.
const FORWARDED: [Signal; 3] = [Signal::HUP, Signal::INT, Signal::TERM];

/// The exit code of a program whose places in memory are full, and that asks for another run with
/// them on disk (`EX_TEMPFAIL`).
const MEMORY_IS_FULL: i32 = 75;

/// Runs the program that the options name and returns its exit code.
///
/// # Errors
/// When the cell cannot be made or the program cannot be started.
pub(crate) fn run(options: &Cell, environment: Vec<Vec<u8>>) -> Result<i32, Error> {
    let build = variable(&environment, b"NIX_BUILD_TOP").map(<[u8]>::to_vec);
    let scratch = Scratch::make(&environment, build.is_none())?;
    let code = variables(options, environment, build.as_deref()).and_then(|variables| {
        let plan = plan(options, &scratch, build)?;
        sys::reset(Signal::CHILD);
        let waited = Signals::of(&FORWARDED).with(Signal::CHILD);
        let program = Program {
            inherited: sys::block(waited),
            waited,
            directory: options.directory.as_deref().unwrap_or(BUILD),
            arguments: &options.program,
            variables: &variables,
        };
        match in_namespaces(&plan, options.no_network, &program)? {
            Tried::Ended(code) => Ok(code),
            Tried::Refused(refusal) => traced(&plan, options.no_network, &program, &refusal),
        }
    });
    scratch.remove();
    code
}

/// The program to run, and its surroundings.
struct Program<'a> {
    /// The signals that were blocked when the seed was started, which the program inherits.
    inherited: Signals,
    /// The signals that the seed waits for. It blocks them, and the program must not inherit that.
    waited: Signals,
    directory: &'a [u8],
    arguments: &'a [Vec<u8>],
    variables: &'a [CString],
}

/// The result of a try.
enum Tried {
    /// The program's exit code.
    Ended(i32),
    /// The reason why there is no such cell.
    Refused(String),
}

/// Runs the program in a cell of namespaces, if the system allows it.
fn in_namespaces(plan: &Plan<'_>, no_network: bool, program: &Program<'_>) -> Result<Tried, Error> {
    let (told, tell) = pipe()?;
    let seed = getpid();
    let way = Namespaces { no_network };
    let child = spawn(|| {
        match way.enter(plan) {
            Err(Error::Forbidden(refusal)) => {
                let _ = write_all(&tell, refusal.as_bytes());
                sys::exit(125);
            }
            entered => entered?,
        }
        start_in(program.directory)?;
        die_with(seed)?;
        sys::block(program.inherited);
        execute(program.arguments, program.variables)
    })?;
    drop(tell);
    let code = supervise(child, program.waited);
    // The other end is closed by now: the execution of the program closed it, or the end of the
    // process.
    let mut refusal = vec![0; 4096];
    let length = read_full(&told, &mut refusal).unwrap_or(0);
    refusal.truncate(length);
    if refusal.is_empty() {
        return Ok(Tried::Ended(code));
    }
    Ok(Tried::Refused(String::from_utf8_lossy(&refusal).into()))
}

/// Runs the program in a traced cell.
fn traced(
    plan: &Plan<'_>,
    no_network: bool,
    program: &Program<'_>,
    refusal: &str,
) -> Result<i32, Error> {
    let cell = Traced::new(plan, true)?;
    let (code, memory) = traced_once(cell, no_network, program, refusal)?;
    if code != MEMORY_IS_FULL || memory.is_none() {
        return Ok(code);
    }
    drop(memory);
    output::error(b"seed: /dev/shm is full: once more, with sources on disk\n");
    let cell = Traced::new(plan, false)?;
    traced_once(cell, no_network, program, refusal).map(|(code, _)| code)
}

fn traced_once(
    cell: Traced,
    no_network: bool,
    program: &Program<'_>,
    refusal: &str,
) -> Result<(i32, Option<SharedMemory>), Error> {
    let (ready, tell) = pipe()?;
    let child = spawn(|| {
        traced::prepare(&ready, refusal)?;
        start_in(program.directory)?;
        sys::block(program.inherited);
        execute(program.arguments, program.variables)
    })?;
    let first = child.as_raw_nonzero().get();
    traced::start(first, tell, refusal)?;
    let mut tracer = Tracer::new(cell.view, traced::identity(), no_network, first);
    let ended = loop {
        if forward(program.waited, child) {
            if let Some(ended) = tracer.handle(first) {
                break ended;
            }
        }
    };
    drop(cell.own);
    match ended {
        Ended::Code(code) => Ok((code, cell.memory)),
        Ended::Signal(signal) => Ok((128 + signal, cell.memory)),
    }
}

fn pipe() -> Result<(OwnedFd, OwnedFd), Error> {
    pipe_with(PipeFlags::CLOEXEC).map_err(|errno| Error::io("make a pipe", errno))
}

/// Returns the parts of the cell. `build` is the build's directory outside, if there is one.
fn plan<'a>(
    options: &'a Cell,
    scratch: &Scratch,
    build: Option<Vec<u8>>,
) -> Result<Plan<'a>, Error> {
    let build = match build {
        Some(build) => build,
        None => scratch.directory("build")?,
    };
    let mut binds = vec![Bind {
        source: Source::Outside(build),
        place: BUILD,
    }];
    for (index, place) in options.writable.iter().enumerate() {
        let source = scratch.directory(&format!("writable-{index}"))?;
        let source = Source::Outside(source);
        binds.push(Bind { source, place });
    }
    for place in &options.memory {
        let source = Source::Memory;
        binds.push(Bind { source, place });
    }
    for (source, place) in &options.binds {
        let source = Source::Outside(source.clone());
        binds.push(Bind { source, place });
    }
    Ok(Plan {
        roots: &options.roots,
        binds,
        root: scratch.path.clone(),
        merged: scratch.path_of("merged"),
    })
}

/// Starts a child process that becomes the program.
fn spawn(become_program: impl FnOnce() -> Result<Infallible, Error>) -> Result<Pid, Error> {
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
fn start_in(directory: &[u8]) -> Result<(), Error> {
    chdir(directory).map_err(|errno| {
        let reason = explain(errno);
        Error::Cell(format!("cannot start in {}: {reason}", shown(directory)))
    })
}

/// Lets the kernel kill this process when its parent, the seed, is killed. New namespaces reset
/// this, so it comes after them.
fn die_with(seed: Pid) -> Result<(), Error> {
    let killed = |_| Error::Cell("the seed has been killed".into());
    set_parent_process_death_signal(Some(Signal::KILL)).map_err(killed)?;
    if getppid() == Some(seed) {
        Ok(())
    } else {
        Err(killed(Errno::SRCH))
    }
}

/// Waits for the program, and passes signals on to it. Returns its exit code.
fn supervise(program: Pid, signals: Signals) -> i32 {
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
fn forward(signals: Signals, program: Pid) -> bool {
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
fn execute(program: &[Vec<u8>], variables: &[CString]) -> Result<Infallible, Error> {
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

/// Returns the program's environment. Variables that name the build's directory outside name the
/// one inside.
fn variables(
    options: &Cell,
    outer: Vec<Vec<u8>>,
    build: Option<&[u8]>,
) -> Result<Vec<CString>, Error> {
    let mut all: Vec<Vec<u8>> = Vec::new();
    if !options.clear_environment {
        all.extend(outer.into_iter().map(|entry| match build {
            Some(build) => inside(entry, build),
            None => entry,
        }));
    }
    for (name, value) in &options.variables {
        all.retain(|entry| {
            entry
                .strip_prefix(name.as_slice())
                .is_none_or(|rest| !rest.starts_with(b"="))
        });
        all.push([name.as_slice(), value].join(&b'='));
    }
    all.iter()
        .map(|entry| c_string(entry).map_err(Error::Usage))
        .collect()
}

fn inside(entry: Vec<u8>, build: &[u8]) -> Vec<u8> {
    for name in BUILD_VARIABLES {
        let value = entry
            .strip_prefix(name)
            .and_then(|rest| rest.strip_prefix(b"="));
        if let Some(rest) = value.and_then(|value| value.strip_prefix(build)) {
            if rest.is_empty() || rest[0] == b'/' {
                return [name, b"=", BUILD, rest].concat();
            }
        }
    }
    entry
}

fn variable<'a>(environment: &'a [Vec<u8>], name: &[u8]) -> Option<&'a [u8]> {
    environment
        .iter()
        .find_map(|entry| entry.strip_prefix(name)?.strip_prefix(b"="))
        .filter(|value| value.starts_with(b"/"))
}

/// The directory outside with the files of one cell.
struct Scratch {
    path: Vec<u8>,
    /// Whether the seed has to remove it with everything in it.
    own: bool,
}

impl Scratch {
    fn make(environment: &[Vec<u8>], own: bool) -> Result<Self, Error> {
        let parent = [&b"NIX_BUILD_TOP"[..], b"TMPDIR"]
            .iter()
            .find_map(|name| variable(environment, name));
        let parent = parent.unwrap_or(b"/tmp");
        let name = format!(".cell-{}", getpid().as_raw_nonzero());
        // A killed seed may have left a directory of the same name.
        for attempt in 0..100 {
            let suffix = if attempt == 0 {
                String::new()
            } else {
                format!(".{attempt}")
            };
            let path = [parent, b"/", name.as_bytes(), suffix.as_bytes()].concat();
            match mkdir(path.as_slice(), Mode::from_raw_mode(0o700)) {
                Ok(()) => return Ok(Self { path, own }),
                Err(Errno::EXIST) => {}
                Err(errno) => return Err(Error::io(format!("make {}", shown(&path)), errno)),
            }
        }
        Err(Error::io(
            format!("make a directory in {}", shown(parent)),
            Errno::EXIST,
        ))
    }

    fn path_of(&self, name: &str) -> Vec<u8> {
        [&self.path, name.as_bytes()].join(&b'/')
    }

    fn directory(&self, name: &str) -> Result<Vec<u8>, Error> {
        let path = self.path_of(name);
        mkdir(path.as_slice(), Mode::from_raw_mode(0o755))
            .map_err(|errno| Error::io(format!("make {}", shown(&path)), errno))?;
        Ok(path)
    }

    /// Removes empty directories. In a directory of Nix it leaves the rest to Nix, which can be
    /// told to keep it.
    fn remove(self) {
        if self.own {
            return remove_tree(CWD, &self.path);
        }
        for path in [
            self.path_of("merged"),
            self.path_of("traced"),
            self.path_of("again"),
            self.path,
        ] {
            let _ = unlinkat(CWD, path.as_slice(), AtFlags::REMOVEDIR);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(options: &Cell, outer: &[&str], build: Option<&str>) -> Vec<String> {
        let outer = outer
            .iter()
            .map(|entry| entry.as_bytes().to_vec())
            .collect();
        let variables = variables(options, outer, build.map(str::as_bytes)).unwrap();
        variables
            .into_iter()
            .map(|entry| entry.into_string().unwrap())
            .collect()
    }

    #[test]
    fn variables_that_name_the_builds_directory_name_the_one_inside() {
        let outer = [
            "TMPDIR=/tmp/nix-1/x",
            "TMP=/tmp/nix-12",
            "HOME=/tmp/nix-1",
            "NIX_BUILD_TOP=/tmp/nix-1",
        ];
        assert_eq!(
            with(&Cell::default(), &outer, Some("/tmp/nix-1")),
            [
                "TMPDIR=/build/x",
                "TMP=/tmp/nix-12",
                "HOME=/tmp/nix-1",
                "NIX_BUILD_TOP=/build"
            ]
        );
    }

    #[test]
    fn a_given_variable_wins() {
        let given = Cell {
            variables: vec![(b"A".into(), b"2".into())],
            ..Cell::default()
        };
        assert_eq!(with(&given, &["A=1", "AB=1"], None), ["AB=1", "A=2"]);
        let cleared = Cell {
            clear_environment: true,
            ..given
        };
        assert_eq!(with(&cleared, &["A=1", "AB=1"], None), ["A=2"]);
    }
}
