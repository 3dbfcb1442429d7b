//! Runs the test programs of `cargo test` side by side. Cargo itself runs one after another,
//! although most of them wait for registries, engines or Nix.
//!
//! Cargo's runner is `units record QUEUE`, which writes down how Cargo would run each program: its
//! directory, variables and arguments. `units run QUEUE --log LOG` then runs them. `tests/run` does
//! both.
// No code outside a program can reach its items, so `pub` means the same as `pub(crate)`.
#![allow(unreachable_pub)]

use anyhow::{Context, Result};
use clap::Parser;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread::{self, available_parallelism};
use std::time::Duration;

mod kept;
mod watch;

/// Runs the test programs of `cargo test` side by side.
#[derive(Parser)]
enum Arguments {
    /// Writes down how a program is to be run.
    Record {
        /// The directory of what is written down.
        queue: PathBuf,
        program: PathBuf,
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Runs the programs, and fails if one of them fails.
    Run {
        queue: PathBuf,
        /// The file for all that the programs print.
        #[arg(long)]
        log: PathBuf,
        /// How many programs run at once: as many as there are cores, unless given.
        #[arg(long)]
        jobs: Option<usize>,
    },
}

/// How Cargo runs a program.
#[derive(Serialize, Deserialize)]
struct Call {
    directory: PathBuf,
    environment: BTreeMap<String, String>,
    program: PathBuf,
    arguments: Vec<String>,
}

fn main() -> Result<ExitCode> {
    match Arguments::parse() {
        Arguments::Record {
            queue,
            program,
            arguments,
        } => record(&queue, program, arguments).map(|()| ExitCode::SUCCESS),
        Arguments::Run { queue, log, jobs } => {
            let cores = available_parallelism().map_or(1, usize::from);
            let mut calls = recorded(&queue)?;
            watch::longest_first(&mut calls, Call::name);
            watch::tell(Duration::from_secs(30));
            let failed = run_all(&calls, &log, jobs.unwrap_or(cores))?;
            watch::print_slowest();
            watch::remember()?;
            Ok(ExitCode::from(u8::from(failed)))
        }
    }
}

fn record(queue: &Path, program: PathBuf, arguments: Vec<String>) -> Result<()> {
    let text = |(name, value): (OsString, OsString)| {
        Some((name.into_string().ok()?, value.into_string().ok()?))
    };
    let call = Call {
        directory: std::env::current_dir()?,
        environment: std::env::vars_os().filter_map(text).collect(),
        program,
        arguments,
    };
    // Cargo calls this once for each program, and waits.
    let number = fs::read_dir(queue)?.count();
    let file = queue.join(format!("{number:04}.json"));
    Ok(fs::write(file, serde_json::to_vec(&call)?)?)
}

/// Returns the recorded calls in Cargo's order.
fn recorded(queue: &Path) -> Result<Vec<Call>> {
    let files = fs::read_dir(queue).with_context(|| format!("no {}", queue.display()))?;
    let mut files: Vec<PathBuf> = files.map(|file| Ok(file?.path())).collect::<Result<_>>()?;
    files.sort();
    let read = |file: &PathBuf| Ok(serde_json::from_slice(&fs::read(file)?)?);
    files.iter().map(read).collect()
}

/// Runs the programs, as many at once as `jobs` says. Returns whether one of them failed.
fn run_all(calls: &[Call], log: &Path, jobs: usize) -> Result<bool> {
    let log = Mutex::new(File::create(log)?);
    let (next, failed) = (Mutex::new(calls.iter()), AtomicBool::new(false));
    let work = || -> Result<()> {
        loop {
            let call = next.lock().unwrap_or_else(PoisonError::into_inner).next();
            let Some(call) = call else { return Ok(()) };
            let name = call.name();
            let (outcome, seconds) = watch::time(&name, || call.run());
            let (succeeded, said) = outcome?;
            let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
            write!(log, "     Running {name}\n{said}\n")?;
            println!("{seconds:>7.1} s  {name}: {}", result(&said));
            if !succeeded {
                failed.store(true, Ordering::Relaxed);
                let failures = said.find("\nfailures:\n").unwrap_or(0);
                println!("{}", &said[failures..]);
            }
        }
    };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..jobs.max(1)).map(|_| scope.spawn(work)).collect();
        workers
            .into_iter()
            .try_for_each(|worker| worker.join().expect("a worker does not panic"))
    })?;
    Ok(failed.into_inner())
}

/// Returns the result in the output of a test program.
fn result(said: &str) -> &str {
    let result = said
        .lines()
        .rev()
        .find_map(|line| line.strip_prefix("test result: "));
    let result = result.unwrap_or("it ended without a result");
    result.split("; 0 measured").next().unwrap_or(result)
}

impl Call {
    /// Returns the package's directory and the program's name without Cargo's hash.
    fn name(&self) -> String {
        let here = std::env::current_dir().unwrap_or_default();
        let package = self.directory.strip_prefix(here).unwrap_or(&self.directory);
        let program = self
            .program
            .file_name()
            .unwrap_or_default()
            .to_string_lossy();
        let program = program.rsplit_once('-').map_or(&*program, |(name, _)| name);
        format!("{} {program}", package.display())
    }

    /// Runs it. Returns whether it succeeded, and what it printed.
    fn run(&self) -> Result<(bool, String)> {
        let mut output = tempfile::tempfile()?;
        let status = Command::new(&self.program)
            .args(&self.arguments)
            .current_dir(&self.directory)
            .env_clear()
            .envs(&self.environment)
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output.try_clone()?)
            .status()
            .with_context(|| format!("cannot start {}", self.program.display()))?;
        let mut said = Vec::new();
        output.rewind()?;
        output.read_to_end(&mut said)?;
        Ok((
            status.success(),
            String::from_utf8_lossy(&said).into_owned(),
        ))
    }
}
