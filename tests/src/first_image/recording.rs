//! Types the lines of the README, and records the output of each.

use super::machine::Machine;
use crate::checkout::repository;
use anyhow::{Context, Result, ensure};
use std::fs;
use std::time::{Duration, Instant};

/// A line that was typed.
pub struct Step {
    /// The line, as a reader types it.
    pub line: String,
    /// Its output and errors, in order.
    pub said: String,
    /// The time that the line took.
    #[allow(dead_code, reason = "the test asserts no times")]
    pub took: Duration,
}

/// The service of a newcomer: one package, no dependencies.
const SERVICE: &str = "nix/templates/service/src/main.rs";

/// Returns the lines that the README tells a reader with a workspace to type, without their
/// comments.
///
/// # Errors
/// When the README has no such lines.
pub fn readme() -> Result<Vec<String>> {
    let text = fs::read_to_string(repository().join("README.md"))?;
    let section = text.split("\n## Your workspace\n").nth(1);
    let section = section.context("README.md has no section \"Your workspace\"")?;
    let lines = section
        .lines()
        .skip_while(|line| !line.starts_with("    "))
        .take_while(|line| line.starts_with("    "));
    let typed = lines.map(|line| line.split(" #").next().unwrap_or_default().trim());
    let typed: Vec<String> = typed.map(str::to_owned).collect();
    ensure!(!typed.is_empty(), "README.md shows no lines to type");
    Ok(typed)
}

/// Returns a line of the README as it is typed on this machine. Returns `None` if it need not be
/// typed: the program that `cargo install` gives is there already.
pub fn on_this_machine(line: &str) -> Option<String> {
    let line = line.replace("NAME", "hello");
    if line.starts_with("cargo install") {
        return None;
    }
    // The recording needs no access to GitHub, and uses one engine wherever there are several.
    Some(match line.as_str() {
        "assemble init" => format!("{line} --crateyard git+file://{}", repository().display()),
        "assemble load hello" => format!("{line} --into podman"),
        _ => line,
    })
}

/// Makes a package, types the README's lines in it, starts the image, and asks the container.
///
/// # Errors
/// When a line fails, or the container answers something else.
pub fn record(machine: &Machine) -> Result<Vec<Step>> {
    let mut steps = Vec::new();
    let mut run = |line: &str| -> Result<()> {
        steps.push(typed(machine, line)?);
        Ok(())
    };
    run("cargo new --quiet hello")?;
    fs::copy(
        repository().join(SERVICE),
        machine.workspace().join("src/main.rs"),
    )?;
    run("git add Cargo.toml src")?;
    for line in readme()?.iter().filter_map(|line| on_this_machine(line)) {
        run(&line)?;
    }
    run("podman run --detach --publish 8080:8080 hello:0.1.0")?;
    steps.push(answered(machine)?);
    Ok(steps)
}

fn typed(machine: &Machine, line: &str) -> Result<Step> {
    eprintln!("$ {line}");
    let start = Instant::now();
    let output = machine.shell(line)?;
    let took = start.elapsed();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    eprintln!("{said}({:.1} s)", took.as_secs_f64());
    ensure!(
        output.status.success(),
        "`{line}` ended with {}",
        output.status
    );
    Ok(Step {
        line: line.to_owned(),
        said,
        took,
    })
}

/// Asks the container until it answers.
fn answered(machine: &Machine) -> Result<Step> {
    let line =
        "curl --silent --retry 40 --retry-delay 1 --retry-all-errors http://127.0.0.1:8080/first";
    let step = typed(machine, line)?;
    ensure!(
        step.said.contains("you asked for /first"),
        "the container answered {:?}",
        step.said
    );
    Ok(step)
}
