//! Shows which tests run, and where the time goes. Remembers how long each took, so that the next
//! run starts with the longest.

use crate::kept;
use anyhow::Result;
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// The number of tests in the closing list.
const SLOWEST: usize = 10;

/// The tests that have begun.
struct Watch {
    running: Vec<(String, Instant)>,
    done: Vec<(Duration, String)>,
}

static WATCH: Mutex<Watch> = Mutex::new(Watch {
    running: Vec::new(),
    done: Vec::new(),
});

fn watch() -> MutexGuard<'static, Watch> {
    WATCH.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Removes a test from those that run, also if it panics.
struct Turn<'a>(&'a str);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut watch = watch();
        let at = watch.running.iter().position(|(name, _)| name == self.0);
        if let Some(at) = at {
            let (name, begin) = watch.running.remove(at);
            watch.done.push((begin.elapsed(), name));
        }
    }
}

/// Runs a test. Returns its result, and the seconds that it took.
pub fn time<R>(name: &str, run: impl FnOnce() -> R) -> (R, f64) {
    let begin = Instant::now();
    watch().running.push((name.to_owned(), begin));
    let _turn = Turn(name);
    (run(), begin.elapsed().as_secs_f64())
}

/// Says now and then what runs, until the program ends.
pub fn tell(interval: Duration) {
    thread::spawn(move || {
        loop {
            thread::sleep(interval);
            let watch = watch();
            let running: Vec<String> = watch
                .running
                .iter()
                .map(|(name, begin)| format!("{name} ({} s)", begin.elapsed().as_secs()))
                .collect();
            if !running.is_empty() {
                println!("{} done; {} running", watch.done.len(), running.join(", "));
            }
        }
    });
}

/// Prints the tests that took longest.
pub fn print_slowest() {
    let mut done = watch().done.clone();
    done.sort_by(|one, other| other.cmp(one));
    done.truncate(SLOWEST);
    if !done.is_empty() {
        println!("the slowest of them:");
    }
    for (time, name) in done {
        println!("{:>7.1} s  {name}", time.as_secs_f64());
    }
}

/// Sorts tests so that those that took longest last time come first, and none of them runs alone at
/// the end. New tests come before them, in their own order.
pub fn longest_first<T>(tests: &mut [T], name: impl Fn(&T) -> String) {
    let durations = remembered().unwrap_or_default();
    let duration = |test: &T| durations.get(&name(test)).copied();
    tests.sort_by_cached_key(|test| Reverse(duration(test).unwrap_or(Duration::MAX)));
}

/// Writes down how long the tests took that ran. Keeps the durations of the others.
pub fn remember() -> Result<()> {
    let mut durations = remembered().unwrap_or_default();
    let done = watch().done.clone();
    durations.extend(done.into_iter().map(|(duration, name)| (name, duration)));
    kept::save(&durations, &file()?)
}

/// Reads the durations of earlier runs.
fn remembered() -> Result<BTreeMap<String, Duration>> {
    Ok(kept::load(&file()?)?.unwrap_or_default())
}

/// The file lies beside this program in Cargo's target directory, which outlives a clone in CI.
fn file() -> Result<PathBuf> {
    Ok(std::env::current_exe()?.with_extension("durations.json"))
}
