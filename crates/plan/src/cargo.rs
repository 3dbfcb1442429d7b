//! Runs Cargo with the recording rustc.

use crate::advice;
use crate::record::{DIRECTORY, Record, TUNABLES};
use crate::recorder::{COMPILERS, TOOLS};
use crate::sources::Packages;
use crate::{TARGET, WORKSPACE};
use anyhow::{Context, Error, Result, anyhow};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// The directory of the stand-ins, for variables that name one of them.
pub(crate) const STAND_INS: &str = "/cargo/stand-ins";
/// The program that all stand-ins link to.
const STAND_IN: &str = "/cargo/stand-in";
const HOME: &str = "/cargo/home";
const RECORDS: &str = "/cargo/records";
const CONFIG: &str = "/cargo/sources.toml";
/// <https://docs.kernel.org/admin-guide/mm/transhuge.html>
const HUGE_PAGES: &str = "/sys/kernel/mm/transparent_hugepage";

/// Runs Cargo on the stage, once with each list of arguments, and returns all records. A later call
/// records only what the earlier ones did not make.
///
/// # Errors
/// Fails if Cargo fails. It has then printed the reason on standard error.
pub fn record(
    calls: &[Vec<String>],
    environment: &BTreeMap<String, String>,
    packages: &Packages,
) -> Result<Vec<Record>> {
    for dir in [STAND_INS, HOME, RECORDS] {
        fs::create_dir_all(dir).with_context(|| format!("cannot create {dir}"))?;
    }
    fs::copy(std::env::current_exe()?, STAND_IN).context("cannot copy the planner")?;
    for name in TOOLS {
        symlink(STAND_IN, Path::new(STAND_INS).join(name))?;
    }
    fs::write(CONFIG, packages.replacements()?)?;
    for args in calls {
        call(args, environment)?;
    }
    Record::load_all(Path::new(RECORDS))
}

/// Runs Cargo with the recording rustc.
fn call(args: &[String], environment: &BTreeMap<String, String>) -> Result<()> {
    let mut cargo = command();
    use_huge_pages(&mut cargo);
    cargo
        .args(args)
        .args(["--offline", "--locked", "--target-dir", TARGET])
        .args(["--config", CONFIG])
        .envs(environment)
        .env("PATH", format!("{STAND_INS}:/usr/bin"))
        .env(DIRECTORY, RECORDS);
    let output = cargo
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .output()
        .context("cannot start cargo")?;
    if !output.status.success() {
        let call = format!("cargo {}", args.join(" "));
        return Err(failed(&call, &output));
    }
    Ok(())
}

/// Makes Cargo keep its memory in huge pages. Cargo forks for each unit, and a fork copies the page
/// table: 60,000 small pages for 1,400 packages.
fn use_huge_pages(cargo: &mut Command) {
    // The C library looks in `/sys` whether the kernel has huge pages. A cell has no `/sys`, and a
    // kernel without huge pages ignores the advice.
    let answers = [
        ("enabled", "always [madvise] never\n"),
        ("hpage_pmd_size", "2097152\n"),
    ];
    let is_written = fs::create_dir_all(HUGE_PAGES).and_then(|()| {
        let write = |(name, text): &(&str, &str)| fs::write(Path::new(HUGE_PAGES).join(name), text);
        answers.iter().try_for_each(write)
    });
    // Without them Cargo is only slower.
    if is_written.is_ok() {
        cargo.env(TUNABLES, "glibc.malloc.hugetlb=1");
    }
}

/// Asks Cargo for the workspace's packages.
///
/// # Errors
/// Fails if a manifest is malformed. Cargo has then printed that.
pub fn metadata() -> Result<serde_json::Value> {
    fs::create_dir_all(HOME).with_context(|| format!("cannot create {HOME}"))?;
    metadata_with(&["--no-deps"])
}

/// Asks Cargo for a package outside the workspace, and for the other packages of that package's
/// workspace. Returns none if Cargo fails: if it needs the package, it will report the error
/// itself.
pub fn metadata_of(manifest: &Path) -> Option<serde_json::Value> {
    let output = command()
        .args(["metadata", "--format-version=1", "--offline", "--no-deps"])
        .arg("--manifest-path")
        .arg(manifest)
        .env("PATH", "/usr/bin")
        .output()
        .ok()?;
    serde_json::from_slice(&output.stdout).ok()
}

/// Returns the arguments with full package specifications, because a dependency may have a member's
/// name.
/// <https://doc.rust-lang.org/cargo/reference/pkgid-spec.html>
pub fn arguments(args: &[String], workspace: &serde_json::Value) -> Vec<String> {
    let mut full = Vec::with_capacity(args.len());
    for arg in args {
        let is_package = full.last().is_some_and(|last| last == "--package");
        let id = is_package.then(|| id(arg, workspace)).flatten();
        full.push(id.unwrap_or_else(|| arg.clone()));
    }
    full
}

fn id(name: &str, workspace: &serde_json::Value) -> Option<String> {
    let mut packages = workspace["packages"].as_array()?.iter();
    let package = packages.find(|package| package["name"] == name)?;
    package["id"].as_str().map(specification)
}

/// Returns the package specification in an identifier of `cargo metadata`. Cargo before 1.77 writes
/// `NAME VERSION (path+URL)`, which it does not accept as a specification.
fn specification(id: &str) -> String {
    let parts = id.strip_suffix(')').and_then(|id| id.split_once(" ("));
    let old = parts.and_then(|(package, source)| {
        let (name, version) = package.split_once(' ')?;
        let (_, url) = source.split_once('+')?;
        Some(format!("{url}#{name}:{version}"))
    });
    old.unwrap_or_else(|| id.to_owned())
}

/// Asks Cargo for the workspace's packages and all their dependencies.
///
/// # Errors
/// Fails if Cargo fails. It has then printed the reason on standard error.
pub fn metadata_of_all(packages: &Packages) -> Result<serde_json::Value> {
    fs::write(CONFIG, packages.replacements()?)?;
    metadata_with(&["--locked", "--config", CONFIG])
}

/// Whether the compiler is a nightly.
///
/// # Errors
/// Fails if the compiler can't be started.
pub fn is_nightly() -> Result<bool> {
    let rustc = format!("{COMPILERS}/rustc");
    let output = Command::new(&rustc).arg("-V").output();
    let output = output.with_context(|| format!("cannot start {rustc}"))?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    Ok(said.contains("-nightly") || said.contains("-dev"))
}

fn metadata_with(arguments: &[&str]) -> Result<serde_json::Value> {
    let output = command()
        .args(["metadata", "--format-version=1", "--offline"])
        .args(arguments)
        .env("PATH", "/usr/bin")
        .output()
        .context("cannot start cargo")?;
    if !output.status.success() {
        return Err(failed("cargo metadata", &output));
    }
    eprint!("{}", String::from_utf8_lossy(&output.stderr));
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// Prints Cargo's errors, and returns the one that ends the planner.
fn failed(call: &str, output: &Output) -> Error {
    let errors = String::from_utf8_lossy(&output.stderr);
    eprint!("{errors}");
    match advice::on(&errors) {
        Some(advice) => anyhow!("{advice}"),
        None => anyhow!("{call} failed: {}", output.status),
    }
}

fn command() -> Command {
    let mut cargo = Command::new("/usr/bin/cargo");
    cargo
        .env_clear()
        .env("CARGO_HOME", HOME)
        .env("HOME", "/homeless")
        .env("LANG", "C.UTF-8")
        .env("CARGO_INCREMENTAL", "0")
        .current_dir(WORKSPACE)
        .stdin(Stdio::null());
    cargo
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// Every Cargo accepts these specifications, whichever version wrote the identifiers.
    #[test]
    fn packages_are_specified_in_full() {
        for (id, expected) in [
            (
                "path+file:///workspace#app@0.5.0",
                "path+file:///workspace#app@0.5.0",
            ),
            (
                "app 0.5.0 (path+file:///workspace/a(1))",
                "file:///workspace/a(1)#app:0.5.0",
            ),
        ] {
            let workspace = json!({ "packages": [{ "name": "app", "id": id }] });
            let args = ["build", "--package", "app", "--bin", "app"].map(str::to_owned);
            let full = arguments(&args, &workspace);
            assert_eq!(full, ["build", "--package", expected, "--bin", "app"]);
        }
    }
}
