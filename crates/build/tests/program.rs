//! Tests `fetch-and-build`, the program of `make images`.

use std::collections::BTreeSet;
use std::process::{Command, Output};

fn run(arguments: &[&str]) -> Output {
    let place = tempfile::tempdir().unwrap();
    Command::new(env!("CARGO_BIN_EXE_fetch-and-build"))
        .args(arguments)
        .current_dir(place.path())
        .output()
        .unwrap()
}

/// Returns the crates that a package needs to run, as Cargo.lock has them.
fn crates_of(package: &str) -> BTreeSet<String> {
    let arguments = ["tree", "--locked", "--offline", "--edges=normal"];
    let form = ["--prefix=none", "--no-dedupe", "--package", package];
    let out = Command::new(env!("CARGO"))
        .args(arguments)
        .args(form)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "{said}");
    let lines = String::from_utf8(out.stdout).unwrap();
    // NAME VERSION, and then a path or a mark.
    let crates = lines
        .lines()
        .map(|line| line.split(' ').take(2).collect::<Vec<_>>().join(" "));
    crates.collect()
}

#[test]
fn it_needs_half_the_crates_of_the_command_line() {
    let (its, all) = (crates_of("crateyard-build"), crates_of("assemble"));
    assert!(all.len() > 200, "only {all:?}");
    assert!(its.is_subset(&all), "{its:?}");
    assert!(
        its.len() <= all.len() / 2,
        "{} of {}: {its:?}",
        its.len(),
        all.len()
    );
    // The largest library, and the engines that need it.
    for not in ["crateyard-image v0.1.0", "crateyard-engines v0.1.0"] {
        assert!(all.contains(not) && !its.contains(not), "{not}: {its:?}");
    }
}

#[test]
fn it_has_the_two_commands_that_build_images() {
    let help = run(&["--help"]);
    let help = String::from_utf8(help.stdout).unwrap();
    let commands = help.split("Commands:").nth(1).unwrap();
    let commands = commands.split("Options:").next().unwrap().lines();
    let names: Vec<&str> = commands
        // Further lines of a description are indented more.
        .filter_map(|line| line.strip_prefix("  ")?.split(' ').next())
        .filter(|name| !name.is_empty())
        .collect();
    assert_eq!(names, ["fetch", "build", "help"]);
}

#[test]
fn its_errors_are_those_of_the_command_line() {
    let out = run(&["fetch"]);
    let said = String::from_utf8(out.stderr).unwrap();
    assert_eq!(out.status.code(), Some(1), "{said}");
    assert!(
        said.starts_with("error: ") && said.contains("assemble init"),
        "{said}"
    );
}
