//! Tests, lints, documentation and formatting as units.

use crate::checkout::{copy_of, repository};
use crate::nix::{self, name_of};
use crate::trial::trial;
use crate::workspaces::{attribute, ledger, small};
use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use tempfile::TempDir;

/// The tests of this file.
pub fn trials() -> Vec<Trial> {
    let test = |name, run| trial(format!("checks::{name}"), run);
    vec![
        test("all_of_another_workspace_pass", ledger_is_checked),
        test("their_names_need_no_plan", names_need_no_plan),
        test(
            "an_edit_runs_again_what_depends_on_it",
            an_edit_runs_its_dependents,
        ),
        test("a_test_file_compiles_nothing_else", a_test_file_is_a_leaf),
        test(
            "dependencies_are_the_units_of_images",
            dependencies_are_shared,
        ),
        test("each_fails_for_its_reason", each_fails),
        test(
            "test_programs_run_on_a_machine_without_rust",
            programs_run_elsewhere,
        ),
        test(
            "the_archive_for_nextest_holds_what_it_names",
            nextest_archive,
        ),
        nextest_runs(),
    ]
}

/// Debian has no package of nextest; `cargo install cargo-nextest` installs it.
fn nextest_runs() -> Trial {
    let title = "checks::nextest_runs_the_archive";
    let missing = which::which("cargo-nextest").is_err();
    if missing {
        println!("SKIPPED: {title}: cargo-nextest is not installed");
    }
    trial(title.to_owned(), run_by_nextest).with_ignored_flag(missing)
}

fn ledger_is_checked() -> Result<()> {
    let workspace = ledger()?;
    let checks = attribute(&workspace, "checks");
    nix::build_all(&format!(
        "builtins.concatMap builtins.attrValues (builtins.attrValues ({checks}))"
    ))?;
    Ok(())
}

fn names_need_no_plan() -> Result<()> {
    let expression = format!(
        "builtins.mapAttrs (_: builtins.mapAttrs (_: check: check.name)) ({})",
        attribute(&ledger()?, "checks")
    );
    let text = nix::nix(&[
        "eval",
        "--impure",
        "--json",
        "--option",
        "allow-import-from-derivation",
        "false",
        "--expr",
        &expression,
    ])?;
    let names: BTreeMap<String, BTreeMap<String, String>> = serde_json::from_str(&text)?;
    let packages: Vec<&str> = names.keys().map(String::as_str).collect();
    // The names come from Cargo.lock, which does not distinguish members from packages that
    // `[patch]` takes from the workspace. `itoa` is not a member, so its checks do nothing.
    ensure!(
        packages == ["checksum-sys", "itoa", "ledger", "table", "table-derive"],
        "checked are {packages:?}"
    );
    ensure!(names["table"]["fmt"] == "table-fmt", "{names:?}");
    Ok(())
}

/// Makes a copy of the workspace `ledger` to edit.
fn copy_of_ledger() -> Result<TempDir> {
    copy_of(&ledger()?)
}

/// Returns the derivations of `cargo test`'s units.
fn test_units(workspace: &Path) -> Result<BTreeSet<String>> {
    let expression = format!(
        "map (unit: unit.drvPath) (builtins.attrValues ({}))",
        attribute(workspace, "checkUnits.test")
    );
    let text = nix::nix(&["eval", "--impure", "--json", "--expr", &expression])?;
    Ok(serde_json::from_str(&text)?)
}

/// Returns the names of the units that an edit of a file changes.
fn changed(file: &str, text: &str) -> Result<BTreeSet<String>> {
    let copy = copy_of_ledger()?;
    let before = test_units(copy.path())?;
    ensure!(before.len() > 30, "only {} units", before.len());
    let path = copy.path().join(file);
    let old = fs::read_to_string(&path).with_context(|| format!("there is no {file}"))?;
    fs::write(&path, old + text)?;
    let after = test_units(copy.path())?;
    Ok(after
        .difference(&before)
        .map(|path| name_of(path))
        .collect())
}

fn expect(found: &BTreeSet<String>, expected: &[&str]) -> Result<()> {
    let expected: BTreeSet<String> = expected.iter().map(|name| (*name).to_owned()).collect();
    ensure!(*found == expected, "expected {expected:?}, found {found:?}");
    Ok(())
}

fn an_edit_runs_its_dependents() -> Result<()> {
    let found = changed("table/src/lib.rs", "\n// edited\n")?;
    expect(
        &found,
        &[
            "table-1.4.2",
            "table-1.4.2-test",
            "table-1.4.2-run-table",
            "table-1.4.2-test-doc",
            "ledger-1.4.2-bin-ledger",
            "ledger-1.4.2-test-bin-ledger",
            "ledger-1.4.2-run-ledger",
            "ledger-1.4.2-test-program",
            "ledger-1.4.2-run-program",
        ],
    )
}

fn a_test_file_is_a_leaf() -> Result<()> {
    let found = changed("ledger/tests/program.rs", "\n// edited\n")?;
    expect(
        &found,
        &[
            // Unit tests may read the files of tests.
            "ledger-1.4.2-test-bin-ledger",
            "ledger-1.4.2-run-ledger",
            "ledger-1.4.2-test-program",
            "ledger-1.4.2-run-program",
        ],
    )
}

/// Every unit of the image's binary is also a unit of the tests.
fn dependencies_are_shared() -> Result<()> {
    let workspace = ledger()?;
    let tested = test_units(&workspace)?;
    let expression = format!(
        "map (unit: unit.drvPath) (builtins.attrValues ({}))",
        attribute(&workspace, "units")
    );
    let text = nix::nix(&["eval", "--impure", "--json", "--expr", &expression])?;
    let built: BTreeSet<String> = serde_json::from_str(&text)?;
    let own: BTreeSet<String> = built
        .difference(&tested)
        .map(|path| name_of(path))
        .collect();
    ensure!(own.is_empty(), "of the image alone: {own:?}");
    Ok(())
}

fn each_fails() -> Result<()> {
    let main = "fn main() {}\n#[test]\nfn sums() {assert_eq!(1 + 1, 3, \"sums are wrong\"); let \
                unused = 1; }\n";
    let workspace = small("faulty", main, "")?;
    let reasons = [
        ("test", "sums are wrong"),
        ("clippy", "unused variable"),
        ("fmt", "run: cargo fmt --package faulty"),
    ];
    for (kind, reason) in reasons {
        let check = attribute(workspace.path(), &format!("checks.faulty.{kind}"));
        let said = nix::build_fails(&check)?;
        ensure!(said.contains(reason), "{kind} says\n{said}");
    }
    Ok(())
}

/// Tests run in a root file system with little more than libc, a shell and `env`.
fn programs_run_elsewhere() -> Result<()> {
    let archive = nix::build(&attribute(&ledger()?, "tests.ledger"))?;
    let root = machine_without_rust()?;
    let archive = archive.join("ledger-tests.tar.xz");
    duct::cmd!("tar", "-xf", archive, "-C", root.path()).run()?;
    let said = duct::cmd!("chroot", root.path(), "/usr/bin/sh", "/tests/run")
        .env("PATH", "/usr/sbin:/usr/bin")
        .stderr_to_stdout()
        .read()
        .context("the tests fail elsewhere")?;
    ensure!(
        said.contains("the_program_runs ... ok"),
        "the tests say\n{said}"
    );
    Ok(())
}

fn nextest_archive() -> Result<()> {
    let archive = nix::build(&attribute(&ledger()?, "tests.ledger"))?;
    let archive = archive.join("ledger-tests.tar.zst");
    let place = tempfile::tempdir()?;
    duct::cmd!("tar", "--zstd", "-xf", archive, "-C", place.path()).run()?;
    let read = |name: &str| -> Result<serde_json::Value> {
        let text = fs::read(place.path().join("target/nextest").join(name))?;
        Ok(serde_json::from_slice(&text)?)
    };
    let (binaries, cargo) = (
        read("binaries-metadata.json")?,
        read("cargo-metadata.json")?,
    );
    let packages = cargo["packages"].as_array().context("no packages")?;
    let ids: BTreeSet<&str> = packages.iter().filter_map(|p| p["id"].as_str()).collect();
    let tests = binaries["rust-binaries"].as_object().context("no tests")?;
    let names: Vec<&str> = tests.keys().map(String::as_str).collect();
    ensure!(
        names == ["ledger::bin/ledger", "ledger::program"],
        "tests: {names:?}"
    );
    for (name, test) in tests {
        let path = test["binary-path"].as_str().context("no path")?;
        let inner = path.strip_prefix("/cargo/").context("another directory")?;
        let file = place.path().join(inner);
        ensure!(file.is_file(), "{name} is not at {inner}");
        let package = test["package-id"].as_str().context("no package")?;
        ensure!(ids.contains(package), "Cargo knows no {package}");
    }
    let started = &binaries["rust-build-meta"]["non-test-binaries"];
    let started = started.as_object().context("no programs")?;
    let program = started
        .values()
        .filter_map(|list| list.as_array())
        .flatten();
    let paths: Vec<&str> = program
        .filter_map(|program| program["path"].as_str())
        .collect();
    ensure!(!paths.is_empty(), "the test's program is not told");
    for path in paths {
        let file = place.path().join("target").join(path);
        ensure!(file.is_file(), "{path} is not there");
    }
    Ok(())
}

/// Tests run on a machine without Cargo. The archive is unpacked at the path that was compiled into
/// the tests.
fn run_by_nextest() -> Result<()> {
    let workspace = ledger()?;
    let archive = nix::build(&attribute(&workspace, "tests.ledger"))?;
    let root = machine_without_rust()?;
    let at = |path: &str| root.path().join(path);
    fs::copy(which::which("cargo-nextest")?, at("usr/bin/cargo-nextest"))?;
    fs::copy(archive.join("ledger-tests.tar.zst"), at("tests.tar.zst"))?;
    fs::create_dir(at("cargo"))?;
    duct::cmd!("cp", "-r", workspace, at("workspace")).run()?;
    let run = "cd /workspace && exec cargo-nextest nextest run --archive-file /tests.tar.zst \
               --extract-to /cargo --workspace-remap /workspace";
    let said = duct::cmd!("chroot", root.path(), "/usr/bin/sh", "-c", run)
        .env("PATH", "/usr/sbin:/usr/bin")
        .env("HOME", "/")
        .stderr_to_stdout()
        .read()
        .context("nextest fails")?;
    ensure!(
        said.contains("3 tests run: 3 passed, 0 skipped") && !said.contains("could not find"),
        "nextest says\n{said}"
    );
    Ok(())
}

fn machine_without_rust() -> Result<TempDir> {
    let foundation = format!(
        "(builtins.getFlake \"git+file://{}\").lib.foundationFor \"x86_64-linux\"",
        repository().display()
    );
    let runtime = nix::build(&format!("({foundation}).runtime"))?;
    let toolchain = nix::build(&format!("({foundation}).tools"))?;
    let root = tempfile::tempdir()?;
    let at = |path: &str| root.path().join(path);
    for directory in ["usr/bin", "tmp", "dev"] {
        fs::create_dir_all(at(directory))?;
    }
    // Standard input of started processes.
    fs::write(at("dev/null"), "")?;
    for directory in ["usr/lib", "usr/lib64"] {
        duct::cmd!("cp", "-rT", runtime.join(directory), at(directory)).run()?;
    }
    duct::cmd!("chmod", "-R", "u+w", root.path()).run()?;
    for (link, target) in [("lib", "usr/lib"), ("lib64", "usr/lib64")] {
        std::os::unix::fs::symlink(target, at(link))?;
    }
    // Libraries that coreutils needs in addition to libc.
    let libraries = "usr/lib/x86_64-linux-gnu";
    for library in ["libselinux.so.1", "libpcre2-8.so.0"] {
        let path = format!("{libraries}/{library}");
        fs::copy(toolchain.join(&path), at(&path))?;
    }
    for (program, name) in [("dash", "sh"), ("env", "env"), ("mkdir", "mkdir")] {
        fs::copy(
            toolchain.join("usr/bin").join(program),
            at("usr/bin").join(name),
        )?;
    }
    Ok(root)
}
