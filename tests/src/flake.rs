//! The flake as `nix flake` sees it.

use crate::checkout::{Checkout, repository};
use crate::nix;
use crate::trial::trial;
use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;

/// The tests of this file.
pub fn trials() -> Vec<Trial> {
    let test = |name, run| trial(format!("flake::{name}"), run);
    vec![
        test("show_lists_everything_and_builds_nothing", show),
        test("arm64_has_all_outputs_of_its_own", arm64),
        test("check_passes", check),
        test("fmt_formats_by_the_locked_release", fmt),
        test("a_flake_s_own_formatter_wins", own_formatter),
        test(
            "a_seed_that_is_not_the_source_s_fails_the_check",
            other_seed,
        ),
    ]
}

/// The systems whose packages another machine builds.
pub const MACS: [&str; 2] = ["aarch64-darwin", "x86_64-darwin"];

/// The systems that have only the formatter for machines without a locked release.
const ELSEWHERE: [&str; 3] = ["aarch64-darwin", "aarch64-linux", "x86_64-darwin"];

/// Runs in an empty store, where nothing is built yet, and forbids builds during evaluation.
fn show() -> Result<()> {
    let store = tempfile::tempdir()?;
    let shown = nix::nix(&[
        "flake",
        "show",
        "--json",
        "--no-allow-import-from-derivation",
        "--store",
        &store.path().to_string_lossy(),
        &format!("git+file://{}", repository().display()),
    ])?;
    let shown: Value = serde_json::from_str(&shown)?;
    let packages = &shown["packages"]["x86_64-linux"];
    for (attribute, name) in [
        ("gateway-image", "gateway-image"),
        ("supervisor-image", "supervisor-image"),
        ("cluster-image", "cluster-image"),
        ("images", "images"),
        ("assemble", "assemble"),
        ("seed", "seed"),
    ] {
        ensure!(
            packages[attribute]["name"] == name,
            "{attribute} is shown as {}",
            packages[attribute]
        );
    }
    for system in MACS {
        ensure!(
            shown["packages"][system] == *packages,
            "{system} has other packages"
        );
    }
    for system in ELSEWHERE {
        ensure!(
            shown["formatter"][system]["name"] == "fmt",
            "{system} has no formatter"
        );
    }
    ensure!(
        shown["formatter"]["x86_64-linux"]["name"] == "fmt",
        "this system has no formatter"
    );
    let built = fs::read_dir(store.path().join("nix/store"))
        .context("nix has made no store")?
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .collect::<Result<Vec<_>>>()?;
    // The flake itself must be in the store.
    let built: Vec<&String> = built
        .iter()
        .filter(|name| *name != ".links" && !name.ends_with(".drv") && !name.ends_with("-source"))
        .collect();
    ensure!(built.is_empty(), "these were built: {built:?}");
    Ok(())
}

/// Their names and systems are known without running anything on such a machine.
fn arm64() -> Result<()> {
    let outputs = "let described = builtins.mapAttrs (_: it: { inherit (it) type name system; }); \
                   ours = described flake.packages.x86_64-linux; in { inherit ours; theirs = \
                   described (builtins.intersectAttrs ours flake.legacyPackages.aarch64-linux); \
                   checks = builtins.attrNames flake.checks.x86_64-linux; theirChecks = \
                   builtins.attrNames flake.legacyPackages.aarch64-linux.checks; shell = \
                   flake.legacyPackages.aarch64-linux ? shell; app = \
                   flake.apps.aarch64-linux.default.type; toolchain = \
                   flake.legacyPackages.aarch64-linux.toolchain.drvPath; }";
    let found: Value = nix::evaluate(&repository(), outputs)?;
    let text = found["ours"]
        .to_string()
        .replace("x86_64-linux", "aarch64-linux");
    let expected: Value = serde_json::from_str(&text)?;
    ensure!(
        found["theirs"] == expected,
        "{} instead of {expected}",
        found["theirs"]
    );
    let theirs = found["theirChecks"].as_array().context("no checks")?;
    for check in found["checks"].as_array().context("no checks")? {
        ensure!(theirs.contains(check), "no {check} in {theirs:?}");
    }
    ensure!(
        found["shell"] == true && found["app"] == "app",
        "no shell or no app in {found}"
    );
    Ok(())
}

fn check() -> Result<()> {
    let flake = format!("git+file://{}", repository().display());
    nix::nix(&["flake", "check", &flake])?;
    Ok(())
}

/// The `cargo` in `PATH` only says that it ran, so the formatter of this system must have its own.
/// Those of other systems have none.
fn fmt() -> Result<()> {
    let checkout = Checkout::new()?;
    let file = "crates/terminal/src/lib.rs";
    let before = fs::read_to_string(checkout.path().join(file))?;
    checkout.append(file, "fn   spread( )  {  }\n")?;
    let tools = tempfile::tempdir()?;
    let stand_in = tools.path().join("cargo");
    fs::write(&stand_in, "#!/bin/sh\necho \"called with $*\"\n")?;
    fs::set_permissions(&stand_in, fs::Permissions::from_mode(0o755))?;
    let path = format!("{}:/usr/bin:/bin", tools.path().display());
    let format = |arguments: &[&str]| {
        duct::cmd("nix", arguments)
            .dir(checkout.path())
            .env("NIX_CONFIG", nix::configuration())
            .env("PATH", &path)
            .stdout_capture()
            .stderr_capture()
            .unchecked()
            .run()
    };

    let checked = format(&["fmt", "--", "--check"])?;
    let said = String::from_utf8_lossy(&checked.stdout);
    ensure!(
        !checked.status.success() && said.contains("fn spread() {}"),
        "nix fmt -- --check says\n{said}{}",
        String::from_utf8_lossy(&checked.stderr)
    );
    let formatted = format(&["fmt"])?;
    ensure!(
        formatted.status.success(),
        "nix fmt says\n{}",
        String::from_utf8_lossy(&formatted.stderr)
    );
    let after = fs::read_to_string(checkout.path().join(file))?;
    ensure!(
        after == format!("{before}fn spread() {{}}\n"),
        "it is not formatted: {}",
        after.trim_start_matches(&before)
    );

    for system in ELSEWHERE {
        let flake = format!("git+file://{}", checkout.path().display());
        let attribute = format!("{flake}#formatter.{system}");
        let built = nix::nix(&["build", "--no-link", "--json", &attribute])?;
        let built: Value = serde_json::from_str(&built)?;
        let out = built[0]["outputs"]["out"].as_str().context("no output")?;
        let said = duct::cmd!(format!("{out}/bin/fmt"), "--check")
            .dir(checkout.path())
            .env("PATH", &path)
            .read()?;
        ensure!(said == "called with fmt --all --check", "{system}: {said}");
    }
    Ok(())
}

fn own_formatter() -> Result<()> {
    let formatters = "builtins.mapAttrs (_: each: each.name) (flake.lib.addImages { src = flake; } \
                      { formatter.x86_64-linux = { name = \"own\"; }; }).formatter";
    let found: BTreeMap<String, String> = nix::evaluate(&repository(), formatters)?;
    for system in ELSEWHERE {
        ensure!(found[system] == "fmt", "{system} has {:?}", found[system]);
    }
    ensure!(found["x86_64-linux"] == "own", "there is {found:?}");
    Ok(())
}

/// The seed of the other architecture builds nothing here, so its change affects nothing else.
fn other_seed() -> Result<()> {
    let checkout = Checkout::new()?;
    let seed = checkout.path().join("nix/seed/seed-aarch64-linux");
    let mut bytes = fs::read(&seed)?;
    let last = bytes.last_mut().context("the seed is empty")?;
    *last ^= 1;
    fs::write(&seed, bytes)?;
    checkout.track()?;
    let said = nix::nix_fails(&[
        "build",
        "--no-link",
        "--print-build-logs",
        &format!(
            "git+file://{}#checks.x86_64-linux.seed-aarch64",
            checkout.path().display()
        ),
    ])?;
    ensure!(said.contains("docs/seed.md"), "it says\n{said}");
    Ok(())
}
