//! The bootstrap programs are data. `bootstrap.lock` has the bytes that their source gives, and an
//! edit that changes no byte builds nothing again.

mod fetched;

use crate::checkout::{Checkout, assemble, repository};
use crate::nix::{self, name_of};
use crate::trial::trial;
use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use std::collections::BTreeMap;
use std::fs;

/// The tests of this file.
pub fn trials() -> Vec<Trial> {
    let test = |name, run| trial(format!("bootstrap::{name}"), run);
    vec![
        test("the_lock_has_the_bytes_of_the_source", lock_is_current),
        test("programs_need_nothing_to_run", programs_are_static),
        test("a_lock_of_another_source_fails_the_check", stale_lock),
        test("a_lock_of_other_bytes_is_refused", other_bytes),
        test(
            "a_comment_in_the_runner_builds_no_unit_again",
            comment_in_the_runner,
        ),
        test(
            "with_the_programs_nothing_of_theirs_is_built",
            nothing_is_compiled,
        ),
        test("fetch_knows_them_the_second_time_too", fetch_twice),
        test(
            "fetch_gets_one_from_a_release_by_its_hash_and_keeps_it",
            fetched::from_a_release,
        ),
    ]
}

/// Nix remembers the evaluation of a commit, and 2.8 can't read back a text with several
/// derivations.
fn fetch_twice() -> Result<()> {
    let checkout = Checkout::new()?;
    let identity = ["-c", "user.name=e2e", "-c", "user.email=e2e@localhost"];
    let commit = ["commit", "--quiet", "--allow-empty", "--message", "Edited"];
    checkout.run("git", &[&identity[..], &commit].concat())?;
    for time in ["first", "second"] {
        let said = checkout.run(&assemble(), &["fetch"])?;
        ensure!(
            !said.contains("the flake does not tell"),
            "the {time} time:\n{said}"
        );
    }
    Ok(())
}

const CHECK: &str = "checks.x86_64-linux.bootstrap";

fn attribute(checkout: &Checkout, name: &str) -> String {
    format!("git+file://{}#{name}", checkout.path().display())
}

fn lock_is_current() -> Result<()> {
    let flake = format!("git+file://{}#{CHECK}", repository().display());
    nix::nix(&["build", "--no-link", "--print-build-logs", &flake]).map(drop)
}

/// The paths of the programs may be named before they exist, so the programs must not contain store
/// paths.
fn programs_are_static() -> Result<()> {
    let flake = format!("git+file://{}#bootstrap", repository().display());
    let text = nix::nix(&["build", "--no-link", "--json", &flake])?;
    let built: serde_json::Value = serde_json::from_str(&text)?;
    let built = built[0]["outputs"]["out"].as_str().context("no output")?;
    let mut count = 0;
    for entry in fs::read_dir(format!("{built}/bin"))? {
        let path = entry?.path();
        let said = duct::cmd!("ldd", &path).stderr_to_stdout().unchecked();
        let said = said.read()?;
        ensure!(
            said.contains("statically linked") || said.contains("not a dynamic executable"),
            "{} needs\n{said}",
            path.display()
        );
        let place = path.canonicalize()?;
        let place = place.ancestors().nth(2).context("it is in no output")?;
        let references = duct::cmd!("nix-store", "-q", "--references", place).read()?;
        ensure!(
            references.is_empty(),
            "{} refers to\n{references}",
            place.display()
        );
        count += 1;
    }
    ensure!(count == 4, "there are {count} programs");
    Ok(())
}

/// Edits the lock's entry of the image program, which evaluation does not run.
fn with_lock(key: &str) -> Result<Checkout> {
    let checkout = Checkout::new()?;
    let text = fs::read_to_string(checkout.path().join("bootstrap.lock"))?;
    let lock: serde_json::Value = serde_json::from_str(&text)?;
    let value = lock["programs"]["x86_64-linux"]["image"][key]
        .as_str()
        .context("the lock has no image program")?;
    let other = value.chars().rev().collect::<String>();
    checkout.replace("bootstrap.lock", value, &other)?;
    Ok(checkout)
}

fn stale_lock() -> Result<()> {
    let checkout = with_lock("source")?;
    let said = nix::nix_fails(&[
        "build",
        "--no-link",
        "--print-build-logs",
        &attribute(&checkout, CHECK),
    ])?;
    ensure!(
        said.contains("bootstrap.lock is not of the source") && said.contains("assemble bootstrap"),
        "it says\n{said}"
    );
    Ok(())
}

fn other_bytes() -> Result<()> {
    let checkout = with_lock("files")?;
    let said = nix::nix_fails(&["build", "--no-link", &attribute(&checkout, CHECK)])?;
    ensure!(said.contains("hash mismatch"), "it says\n{said}");
    Ok(())
}

const UNITS: &str =
    r"builtins.mapAttrs (_: unit: unit.outPath) flake.legacyPackages.x86_64-linux.units";

fn comment_in_the_runner() -> Result<()> {
    let checkout = Checkout::new()?;
    let before: BTreeMap<String, String> = nix::evaluate(checkout.path(), UNITS)?;
    ensure!(before.len() > 200, "only {} units", before.len());
    checkout.append("crates/unit/src/main.rs", "\n// edited\n")?;
    let after: BTreeMap<String, String> = nix::evaluate(checkout.path(), UNITS)?;
    let again = after
        .iter()
        .filter(|(key, path)| before.get(*key) != Some(path));
    let again: Vec<String> = again.map(|(_, path)| name_of(path)).collect();
    ensure!(
        again.is_empty(),
        "{} are built again: {again:?}",
        again.len()
    );
    Ok(())
}

/// In a store that holds only these bytes, Nix plans to build the derivations that unpack, read and
/// plan. It plans to compile nothing.
fn nothing_is_compiled() -> Result<()> {
    let lock = fs::read_to_string(repository().join("bootstrap.lock"))?;
    let lock: serde_json::Value = serde_json::from_str(&lock)?;
    let programs = lock["programs"]["x86_64-linux"].as_object();
    let programs = programs.context("the lock has no programs")?;
    let store = tempfile::tempdir()?;
    let url = store.path().to_string_lossy().into_owned();
    let planned = nix::nix(&["path-info", "--derivation", &flake_attribute("evaluation")])?;
    let closure = duct::cmd!("nix-store", "-qR", planned.trim()).read()?;
    let drv = closure
        .lines()
        .find(|path| path.ends_with(".drv") && name_of(path) == "targets")
        .context("nothing is called targets")?;
    let outputs: Vec<String> = closure
        .lines()
        .filter(|path| path.ends_with(".drv") && name_of(path).starts_with("bootstrap-"))
        .filter(|path| {
            programs
                .keys()
                .any(|name| name_of(path) == format!("bootstrap-{name}"))
        })
        .map(|path| Ok(duct::cmd!("nix-store", "-q", "--outputs", path).read()?))
        .collect::<Result<_>>()?;
    ensure!(!outputs.is_empty(), "evaluation needs no bootstrap program");
    let copy = ["copy", "--no-check-sigs", "--to", &url];
    let outputs = outputs.iter().map(String::as_str);
    nix::nix(&copy.into_iter().chain(outputs).collect::<Vec<_>>())?;
    nix::nix(&["copy", "--no-check-sigs", "--derivation", "--to", &url, drv])?;
    let said = duct::cmd!("nix-store", "--store", &url, "--realise", "--dry-run", drv)
        .env("NIX_CONFIG", nix::configuration())
        .stderr_to_stdout()
        .read()?;
    duct::cmd!("chmod", "-R", "u+w", store.path()).run()?;
    let compiles = |line: &&str| line.contains("bootstrap-") || line.ends_with(".crate.drv");
    let wrong: Vec<&str> = said.lines().filter(compiles).collect();
    ensure!(wrong.is_empty(), "these are planned: {wrong:?}");
    ensure!(said.contains("targets.drv"), "nothing is planned:\n{said}");
    Ok(())
}

fn flake_attribute(name: &str) -> String {
    format!("git+file://{}#{name}", repository().display())
}
