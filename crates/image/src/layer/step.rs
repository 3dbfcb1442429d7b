//! A command over the files of the layers below. Its changes are a layer.
//!
//! The files are unpacked, the command runs with them as its root, and the files are compared with
//! their earlier state. All of that happens twice, in different seconds of the clock, and both runs
//! must give the same result. A step whose result depends on the time, on chance or on the order of
//! processes is refused, with the paths of the files that differ. Files that are known to differ
//! and that nothing needs are left out before the comparison (`fate.rs`).

mod below;
mod changes;
mod disk;
mod fate;
mod owned;
mod unpack;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use super::tree::Tree;
use crate::spec::StepSource;
use crate::{Error, Result};
use below::Below;
use changes::Changes;

/// Directories of the command's own. Nothing in them is in the layer, and they are there even if
/// the image lacks them.
pub(crate) const OWN: [&str; 3] = ["dev", "proc", "tmp"];
/// More directories of the command's own, if the image has them.
const OWN_IF_THERE: [&str; 2] = ["sys", "var/tmp"];

/// A command, ready to run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepCommand {
    /// The root directory of the command. It holds the image's files, and the directories `dev`,
    /// `proc` and `tmp` for the command's own use.
    pub root: PathBuf,
    /// An empty directory for temporary files.
    pub temporary: PathBuf,
    /// Places in the root, relative to it, that show temporary directories.
    pub temporary_places: Vec<String>,
    /// The program and its arguments.
    pub words: Vec<String>,
    /// All variables of the command.
    pub variables: Vec<(String, String)>,
    /// The directory to start in, an absolute path in the root.
    pub directory: String,
}

/// The exit code of a runner that could not start the command, as in env(1) and others.
pub const NOT_STARTED: i32 = 125;

/// A runner of commands: with their root as `/`, as root of a user namespace, without a network.
pub trait Runner {
    /// Returns a directory for the files of the image. The order in which its directories list
    /// their files must not depend on the disk.
    fn workplace(&self) -> &Path;

    /// Runs a command until it and all processes that it started have ended.
    ///
    /// # Errors
    /// When no process can be made.
    fn run(&self, command: &StepCommand) -> io::Result<ExitStatus>;
}

/// The files of the layers below after the command. They stay until the layer is written.
pub(super) struct Workplace {
    path: PathBuf,
}

impl Drop for Workplace {
    fn drop(&mut self) {
        // Ignore a failure: nothing of a derivation's own place remains anyway.
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// Adds the changes of a command.
///
/// # Errors
/// When a layer below is damaged, the command fails, or its changes can't be a layer.
pub(super) fn add(
    tree: &mut Tree,
    source: &StepSource,
    epoch: u64,
    runner: &dyn Runner,
) -> Result<Workplace> {
    let below = Below::open(source)?;
    let run = |name: &str| -> Result<(Workplace, Changes)> {
        let workplace = Workplace {
            path: runner.workplace().join(name),
        };
        let root = unpack::unpack(&below, &workplace.path)?;
        start(source, &root, &workplace.path, epoch, runner)?;
        let changes = changes::find(&below, &root)?;
        Ok((workplace, changes))
    };
    let (first, expected) = run("first")?;
    // Keeping both in memory at once would take twice as much.
    drop(first);
    wait_for_another_second();
    let (second, changes) = run("second")?;
    changes::require_same(&source.run, &expected, &changes)?;
    changes.insert(tree, &below, &origin(source))?;
    Ok(second)
}

/// Returns the step's name in messages and records.
fn origin(source: &StepSource) -> String {
    format!("step {}", shown(&source.run))
}

/// Returns the command as one would type it, and cuts a long one.
fn shown(words: &[String]) -> String {
    let text = crateyard_text::clean(&words.join(" ")).into_owned();
    match text.char_indices().nth(100) {
        Some((end, _)) => format!("`{}…`", &text[..end]),
        None => format!("`{text}`"),
    }
}

fn start(
    source: &StepSource,
    root: &unpack::Root,
    workplace: &Path,
    epoch: u64,
    runner: &dyn Runner,
) -> Result<()> {
    let command = StepCommand {
        root: root.path.clone(),
        temporary: workplace.join("temporary"),
        temporary_places: root.temporary_places.clone(),
        words: source.run.clone(),
        variables: variables(source, epoch),
        directory: source.workdir.clone(),
    };
    fs::create_dir(&command.temporary).map_err(Error::io("create", &command.temporary))?;
    let ended = runner.run(&command);
    let status = ended.map_err(Error::io("start", Path::new(&source.run[0])))?;
    match status.success() {
        true => Ok(()),
        false => Err(failed(source, status)),
    }
}

/// Returns the variables of every step: the common ones, which keep programs from recording values
/// that differ from build to build, and the step's own, which win.
fn variables(source: &StepSource, epoch: u64) -> Vec<(String, String)> {
    let common = [
        ("HOME", "/root"),
        ("LANG", "C.UTF-8"),
        ("LOGNAME", "root"),
        (
            "PATH",
            "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        ),
        ("PYTHONDONTWRITEBYTECODE", "1"),
        ("PYTHONHASHSEED", "0"),
        ("SOURCE_DATE_EPOCH", &epoch.to_string()),
        ("TZ", "UTC"),
        ("USER", "root"),
    ];
    let common = common.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let mut all: BTreeMap<String, String> = common.into_iter().collect();
    all.extend(source.environment.clone());
    all.into_iter().collect()
}

fn failed(source: &StepSource, status: ExitStatus) -> Error {
    let remedy = match status.code() {
        Some(127) => {
            "a program that it names is not among the image's files so far: add its Debian package \
             to `packages` of the image (`dash` has sh, `libc-bin` has ldconfig); a binary of the \
             workspace is there with `after = \"binaries\"`"
        }
        Some(NOT_STARTED) => "the reason stands above",
        _ => {
            "what it said stands above; it runs without a network and as root of a user namespace \
             in which there are no other users, so it can't give files away (`user` of `files` and \
             `directories` does), mount, or make devices and set-id programs"
        }
    };
    let ended = match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "an unknown end".to_owned(),
    };
    Error::spec(origin(source), format!("it failed: {ended}"), remedy)
}

/// Waits, so that files with the time in them differ.
fn wait_for_another_second() {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let into_it = now.map_or(0, |now| now.subsec_nanos());
    std::thread::sleep(Duration::from_nanos(u64::from(1_000_000_000 - into_it)));
}

#[cfg(test)]
mod tests;
