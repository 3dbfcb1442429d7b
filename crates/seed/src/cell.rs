//! Runs a program in a cell.
//!
//! The seed stays the program's parent. It keeps its standard streams open until the program has
//! ended, because Nix takes the end of the builder's output for the end of the build. It passes on
//! the program's exit status.

mod environment;
mod process;
mod scratch;

use alloc::ffi::CString;
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use rustix::process::{Signal, getpid};

use crate::arguments::Cell;
use crate::enter::{Bind, Namespaces, Plan, Source};
use crate::error::Error;
use crate::files::{read_full, write_all};
use crate::output;
use crate::shared_memory::SharedMemory;
use crate::sys::{self, Signals};
use crate::trace::{Ended, Tracer};
use crate::traced::{self, Traced};
use environment::{variable, variables};
use process::{FORWARDED, die_with, execute, forward, pipe, spawn, start_in, supervise};
use scratch::Scratch;

/// The place of the build's directory in the cell. Programs start there.
const BUILD: &[u8] = b"/build";
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
