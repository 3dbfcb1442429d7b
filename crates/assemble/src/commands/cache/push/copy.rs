//! Runs `nix copy`.

use std::io::{BufRead, BufReader, IsTerminal};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use indicatif::{ProgressBar, ProgressStyle};

/// Runs `nix copy`, shows its progress, and returns the number of sent paths.
pub(super) fn copy(mut command: Command) -> Result<usize> {
    let mut child = command
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .context("cannot start nix copy")?;
    let stderr = child
        .stderr
        .take()
        .context("nix copy has no standard error")?;
    let bar = progress(0);
    let (mut sent, mut said) = (0, String::new());
    for line in BufReader::new(stderr).lines() {
        let line = line?;
        if line.starts_with("copying path ") {
            sent += 1;
            bar.inc(1);
        } else if let Some(total) = total_of(&line) {
            bar.set_length(total);
        } else {
            said += &format!("{line}\n");
        }
    }
    bar.finish_and_clear();
    let status = child.wait()?;
    if !status.success() {
        bail!(
            "nix copy failed: {}",
            said.trim().trim_start_matches("error: ")
        );
    }
    Ok(sent)
}

/// Parses the number in `copying 332 paths...`.
fn total_of(line: &str) -> Option<u64> {
    line.strip_prefix("copying ")?
        .split(' ')
        .next()?
        .parse()
        .ok()
}

/// Makes a bar on a terminal, and a hidden one elsewhere.
pub(super) fn progress(total: usize) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(total as u64);
    match ProgressStyle::with_template("paths [{bar:40}] {pos}/{len} {elapsed}") {
        Ok(style) => bar.with_style(style.progress_chars("=> ")),
        Err(_) => bar,
    }
}
