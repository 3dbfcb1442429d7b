//! Tests `assemble explain` on this repository's images.

use crate::checkout::{Checkout, assemble};
use crate::trial::trial;
use crate::workspaces::{build, small};
use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use serde_json::Value;
use std::fs;

/// The tests of this file.
pub fn trials() -> Vec<Trial> {
    vec![
        trial(
            "explain::an_edited_file_and_an_edited_description_are_named".into(),
            edited_file_and_description,
        ),
        trial(
            "explain::what_the_description_declares_for_a_crate_is_named".into(),
            declared_for_a_crate,
        ),
    ]
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

/// A crate of a registry gets a variable, the revision and a file of the workspace.
fn declared_for_a_crate() -> Result<()> {
    let workspace = small("declared", "fn main() {}", "")?;
    let description = workspace.path().join("images.toml");
    let plain = fs::read_to_string(&description)?;
    let image = |note: &str, data: &str| {
        fs::write(workspace.path().join("data.txt"), data)?;
        let declared = format!(
            "\n[crates.itoa]\nenvironment = {{ NOTE = \"{note}\" }}\nrevision = true\nfiles = \
             [\"data.txt\"]\n"
        );
        fs::write(&description, format!("{plain}{declared}"))?;
        build(workspace.path(), "images.declared")
    };
    let (before, after) = (image("one", "1")?, image("two", "2")?);
    let said = duct::cmd!(assemble(), "explain", &after, "--against", &before).read()?;
    for change in [
        "variables and revision of crates: 1 change\n  ~  itoa.environment.NOTE  one -> two",
        "source files: 1 change\n  ~  data.txt  ",
    ] {
        ensure!(said.contains(change), "{change:?} is not in {said}");
    }
    let provenance = duct::cmd!(assemble(), "explain", &after, "--json").read()?;
    let explained: Value = serde_json::from_str(&provenance)?;
    let definition = &explained["provenance"]["predicate"]["buildDefinition"];
    let crates = &definition["externalParameters"]["build"]["crates"];
    let commit = &crates["itoa"]["revision"]["commit"];
    ensure!(commit.is_string(), "{crates}");
    Ok(())
}
