//! The lines of the README, typed on a machine with an empty store and an empty home, give a
//! container that answers. `cargo run -p e2e --bin first-image` types the same lines, with times.

mod machine;
mod recording;

use crate::checkout::{assemble, repository};
use crate::nix;
use crate::trial::trial_with;
use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use machine::Machine;
use serde_json::Value;
use std::path::{Path, PathBuf};

/// The tests of this file.
pub fn trials() -> Vec<Trial> {
    // The compiler comes from rustup, and the container uses a port of the machine.
    let tools = [
        "cargo", "curl", "git", "nsenter", "podman", "runc", "rustup", "setpriv", "unshare",
    ];
    vec![trial_with(
        "first_image::the_lines_of_the_readme_give_a_container_that_answers".to_owned(),
        &tools,
        readme_gives_an_image,
    )]
}

fn readme_gives_an_image() -> Result<()> {
    let machine = Machine::new(Path::new(&assemble()))?;
    machine.keep(&programs()?)?;
    let steps = recording::record(&machine)?;
    let wanted = recording::readme()?;
    ensure!(
        wanted
            .first()
            .is_some_and(|line| line.starts_with("cargo install --locked")),
        "the README begins with {wanted:?}"
    );
    for line in &wanted[1..] {
        let line = recording::on_this_machine(line).context("a line that is not typed")?;
        ensure!(
            steps.iter().any(|step| step.line == line),
            "{line} was not typed"
        );
    }
    for step in &steps {
        ensure!(!step.said.contains("compiles"), "{}", step.said);
    }
    let last = steps.last().context("nothing was typed")?;
    ensure!(last.said.contains("you asked for /first"), "{}", last.said);
    Ok(())
}

/// Returns the directory of the programs that a release's command line brings along. Cargo built
/// the one under test, which has none inside and finds those that were kept for the user.
fn programs() -> Result<PathBuf> {
    let flake = format!("git+file://{}#bootstrap", repository().display());
    let text = nix::nix(&["build", "--no-link", "--json", &flake])?;
    let built: Value = serde_json::from_str(&text)?;
    let path = built[0]["outputs"]["out"].as_str().context("no output")?;
    Ok(Path::new(path).join("bin"))
}
