//! Tests `assemble explain` on this repository's images.

use crate::checkout::{Checkout, assemble};
use crate::trial::trial;
use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use std::fs;

/// The tests of this file.
pub fn trials() -> Vec<Trial> {
    vec![trial(
        "explain::an_edited_file_and_an_edited_description_are_named".into(),
        edited_file_and_description,
    )]
}

fn edited_file_and_description() -> Result<()> {
    let checkout = Checkout::new()?;
    let run = |arguments: &[&str]| {
        duct::cmd(assemble(), arguments)
            .dir(checkout.path())
            .stderr_capture()
            .read()
            .with_context(|| format!("assemble {}", arguments.join(" ")))
    };
    run(&["build", "supervisor"])?;
    let said = run(&["explain", "supervisor"])?;
    ensure!(said.contains("nothing to compare with"), "{said}");
    checkout.append("services/supervisor/src/main.rs", "// edited\n")?;
    let description = checkout.path().join("images.toml");
    let text = fs::read_to_string(&description)?;
    let (before, after) = text
        .split_once("[images.supervisor]")
        .context("images.toml describes the supervisor")?;
    let after = after.replacen("\"info\"", "\"debug\"", 1);
    fs::write(&description, format!("{before}[images.supervisor]{after}"))?;
    checkout.track()?;
    // Run it twice, because an explanation must not forget anything.
    for _ in 0..2 {
        let said = run(&["explain", "supervisor"])?;
        for change in [
            "description: 1 change\n  ~  config.env.RUST_LOG.value  info -> debug\n",
            "source files: 1 change\n  ~  services/supervisor/src/main.rs  ",
        ] {
            ensure!(said.contains(change), "{change:?} is not in {said}");
        }
        ensure!(!said.contains("toolchain"), "{said}");
    }
    Ok(())
}
