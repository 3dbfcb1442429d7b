//! Measures how long rustc and its linker run during a build. No builder can save that time. Both
//! times come from one run, because the same call may take 1.5 times as long in the next.

use anyhow::{Result, ensure};
use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// The interval between looks at the processes. It is also the error of each time.
const PERIOD: Duration = Duration::from_millis(5);

/// Does some work. Returns its duration, and how long a rustc was running meanwhile, in seconds.
///
/// # Errors
/// When the work fails, or no rustc was seen.
pub fn beside(work: impl FnOnce() -> Result<f64>) -> Result<(f64, f64)> {
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let watch = scope.spawn(|| watch(&is_over));
        let whole = work();
        is_over.store(true, Ordering::Relaxed);
        let compiling = watch.join().unwrap_or_default().as_secs_f64();
        ensure!(compiling > 0.0, "no rustc was seen: nothing was compiled");
        Ok((whole?, compiling))
    })
}

fn watch(is_over: &AtomicBool) -> Duration {
    let mut sum = Duration::ZERO;
    while !is_over.load(Ordering::Relaxed) {
        let begin = Instant::now();
        if let Some(process) = running_rustc() {
            while is_rustc(&process) && !is_over.load(Ordering::Relaxed) {
                std::thread::sleep(PERIOD);
            }
            sum += begin.elapsed();
        } else {
            std::thread::sleep(PERIOD);
        }
    }
    sum
}

fn running_rustc() -> Option<String> {
    let processes = fs::read_dir("/proc").ok()?.flatten();
    let mut names = processes.filter_map(|entry| entry.file_name().into_string().ok());
    names.find(|name| name.starts_with(|c: char| c.is_ascii_digit()) && is_rustc(name))
}

fn is_rustc(process: &str) -> bool {
    fs::read_to_string(format!("/proc/{process}/comm")).is_ok_and(|name| name.trim() == "rustc")
}
