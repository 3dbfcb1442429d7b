//! The real program, as a test sees it: started plainly, or as process 1 of a new process
//! namespace.
#![allow(dead_code)]

use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// The binary under test.
pub(crate) const SUPERVISOR: &str = env!("CARGO_BIN_EXE_supervisor");

/// How a supervisor is started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// As any process: it makes itself the reaper of its descendants.
    Plain,
    /// As process 1.
    First,
}

/// The ways that this machine allows; says which test goes without one, and why.
pub(crate) fn ways(test: &str) -> Vec<Way> {
    let namespace = Command::new("unshare")
        .args(["--pid", "--fork", "--mount-proc", "true"])
        .output();
    match namespace {
        Ok(output) if output.status.success() => vec![Way::Plain, Way::First],
        Ok(output) => {
            let reason = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            eprintln!("SKIPPED: {test} as process 1: {reason}");
            vec![Way::Plain]
        }
        Err(error) => {
            eprintln!("SKIPPED: {test} as process 1: unshare: {error}");
            vec![Way::Plain]
        }
    }
}

/// A running supervisor with a directory of its own; ended when dropped.
pub(crate) struct Supervisor {
    process: Child,
    way: Way,
    directory: tempfile::TempDir,
}

impl Supervisor {
    /// Runs `command` with these flags.
    pub(crate) fn start(way: Way, flags: &[&str], command: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut start = match way {
            Way::Plain => Command::new(SUPERVISOR),
            Way::First => {
                let mut unshare = Command::new("unshare");
                unshare.args([
                    "--pid",
                    "--fork",
                    "--mount-proc",
                    "--kill-child",
                    SUPERVISOR,
                ]);
                unshare
            }
        };
        let process = start
            .args(["--log-format=json", "--log-level=debug"])
            .args(flags)
            .arg("--")
            .args(command)
            .env("SUPERVISOR_STATUS_SOCKET", directory.path().join("socket"))
            .current_dir(directory.path())
            .stderr(std::fs::File::create(directory.path().join("log")).unwrap())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        Supervisor {
            process,
            way,
            directory,
        }
    }

    /// Runs a shell script.
    pub(crate) fn script(way: Way, flags: &[&str], script: &str) -> Self {
        Self::start(way, flags, &["sh", "-c", script])
    }

    /// A file in the directory where the command runs.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The content of that file, empty if there is none.
    pub(crate) fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    /// Waits until that file has at least this many lines.
    pub(crate) fn wait_for_lines(&self, name: &str, count: usize) {
        self.wait_until(&format!("{count} lines in {name}"), || {
            self.read(name).lines().count() >= count
        });
    }

    /// Waits until it is so, at most ten seconds.
    pub(crate) fn wait_until(&self, what: &str, is_so: impl Fn() -> bool) {
        let deadline = Instant::now() + Duration::from_secs(10);
        while !is_so() {
            let log = self.read("log");
            assert!(Instant::now() < deadline, "no {what}; log:\n{log}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// The supervisor's process id as this test sees it.
    pub(crate) fn pid(&self) -> u32 {
        let started = self.process.id();
        match self.way {
            Way::Plain => started,
            Way::First => children(started).first().map_or(started, |child| child.0),
        }
    }

    /// Sends a signal by name.
    pub(crate) fn signal(&self, name: &str) {
        let id = self.pid().to_string();
        let status = Command::new("kill").args(["-s", name, &id]).status();
        assert!(status.unwrap().success());
    }

    /// Waits for the end, at most ten seconds.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            if let Some(status) = self.process.try_wait().unwrap() {
                return status;
            }
            let log = self.read("log");
            assert!(Instant::now() < deadline, "does not end; log:\n{log}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Waits for the end, and gives the exit code.
    pub(crate) fn code(&mut self) -> i32 {
        let status = self.wait();
        let log = self.read("log");
        status
            .code()
            .unwrap_or_else(|| panic!("{status}; log:\n{log}"))
    }

    /// Runs `supervisor ACTION` against this one.
    pub(crate) fn ask(&self, action: &str) -> std::process::Output {
        let mut command = Command::new(SUPERVISOR);
        command.env("SUPERVISOR_STATUS_SOCKET", self.path("socket"));
        command.arg(action).output().unwrap()
    }

    /// How many log events have this message.
    pub(crate) fn logged(&self, message: &str) -> usize {
        let wanted = format!("\"message\":\"{message}\"");
        let log = self.read("log");
        log.lines().filter(|line| line.contains(&wanted)).count()
    }
}

/// Killed outright, it could not end its command: that is done here.
impl Drop for Supervisor {
    fn drop(&mut self) {
        let running = matches!(self.process.try_wait(), Ok(None));
        let commands = if running {
            children(self.pid())
        } else {
            Vec::new()
        };
        let _ = self.process.kill();
        for (command, _) in commands {
            let group = format!("-{command}");
            let _ = Command::new("kill")
                .args(["-s", "KILL", "--", &group])
                .status();
        }
        let _ = self.process.wait();
    }
}

/// The children of a process: id and state, such as `S`, or `Z` for a zombie.
pub(crate) fn children(parent: u32) -> Vec<(u32, char)> {
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter_map(|pid: u32| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let (_, fields) = stat.rsplit_once(") ")?;
        let mut fields = fields.split(' ');
        let state = fields.next()?.chars().next()?;
        (fields.next()?.parse() == Ok(parent)).then_some((pid, state))
    })
    .collect()
}

/// Whether a process exists (a zombie does too).
pub(crate) fn exists(pid: u32) -> bool {
    Path::new(&format!("/proc/{pid}")).exists()
}
