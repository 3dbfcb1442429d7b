//! Runs the program with bounds on its memory and its time.

use std::fs::File;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// The most memory that a command may use, in KiB.
const MEMORY: i64 = 256 << 10;
/// The largest address space, in KiB, so that a failing test does not exhaust the machine.
const ADDRESS_SPACE: u64 = 2 << 20;
/// Enough for a machine that is busy with other tests.
const TIME: Duration = Duration::from_secs(600);

/// Runs a command that may succeed or fail, but must end by itself and use little memory.
#[expect(clippy::zombie_processes, reason = "`wait` waits, by wait4")]
pub(crate) fn survives<S: AsRef<str>>(arguments: &[S]) -> (i32, String) {
    let words: Vec<&str> = arguments.iter().map(AsRef::as_ref).collect();
    let said = tempfile::NamedTempFile::new().unwrap();
    let child = Command::new("sh")
        .args([
            "-c",
            "ulimit -v \"$0\"; exec \"$@\"",
            &ADDRESS_SPACE.to_string(),
        ])
        .arg(env!("CARGO_BIN_EXE_assemble"))
        .args(&words)
        .env("XDG_CACHE_HOME", std::env::temp_dir())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(File::create(said.path()).unwrap())
        .spawn()
        .unwrap();
    let (status, peak) = wait(child.id() as i32, &words);
    let said = String::from_utf8_lossy(&std::fs::read(said.path()).unwrap()).into_owned();
    assert!(
        libc::WIFEXITED(status),
        "{words:?} was ended by a signal: {said}"
    );
    assert!(!said.contains("panicked"), "{words:?}: {said}");
    assert!(peak < MEMORY, "{words:?} took {} MiB", peak >> 10);
    assert!(said.len() < 1 << 20, "{words:?} said {} bytes", said.len());
    (libc::WEXITSTATUS(status), said)
}

/// Like [`survives`], but the command must fail with an error that contains `why`.
pub(crate) fn refuses<S: AsRef<str>>(arguments: &[S], why: &str) -> (i32, String) {
    let (code, said) = survives(arguments);
    let words: Vec<&str> = arguments.iter().map(AsRef::as_ref).collect();
    assert!(code != 0, "{words:?} went well");
    assert!(said.contains(why), "{words:?}: {said}");
    (code, said)
}

/// Returns the exit status of a process, and its peak memory in KiB.
fn wait(process: i32, words: &[&str]) -> (i32, i64) {
    let begin = Instant::now();
    let mut status = 0;
    loop {
        // SAFETY: `rusage` is plain numbers, for which zeros are a value.
        let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
        // SAFETY: both places live until the call returns, and the process is a child that nobody
        // else waits for.
        let waited =
            unsafe { libc::wait4(process, &raw mut status, libc::WNOHANG, &raw mut usage) };
        if waited == process {
            return (status, usage.ru_maxrss);
        }
        if begin.elapsed() > TIME {
            // SAFETY: the process is still this one's child.
            unsafe { libc::kill(process, libc::SIGKILL) };
            panic!("{words:?} has not ended after {} s", TIME.as_secs());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}
