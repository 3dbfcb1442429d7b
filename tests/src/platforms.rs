//! One image for two platforms, compiled on one machine. Both programs run.

use crate::engine::unpack;
use crate::trial::trial_with;
use crate::workspaces::{attribute, build, fetch};
use crate::{checkout::repository, nix};
use anyhow::{Result, bail, ensure};
use libtest_mimic::Trial;
use std::path::{Path, PathBuf};

/// The tests of this file.
pub fn trials() -> Vec<Trial> {
    let test = |name: &str, run| {
        let tools = ["skopeo", "umoci", "qemu-aarch64-static"];
        trial_with(format!("platforms::{name}"), &tools, run)
    };
    vec![
        test("an_index_has_a_program_for_each", both_run),
        test("what_runs_while_building_is_compiled_once", host_units),
    ]
}

fn lantern() -> Result<PathBuf> {
    let workspace = repository().join("tests/workspaces/lantern");
    fetch(&workspace, &workspace.join("debian.lock"))?;
    Ok(workspace)
}

/// The root file system of each platform's image runs its program, with its own libc and loader.
fn both_run() -> Result<()> {
    let index = build(&lantern()?, "images.lantern")?;
    for (architecture, machine, runner) in [
        ("amd64", "x86_64", None),
        ("arm64", "aarch64", Some("qemu-aarch64-static")),
    ] {
        let said = run(&index, architecture, runner)?;
        let expected = format!(r#"{{"rust":"{machine}","c":"{machine}"}}"#);
        ensure!(
            said == expected,
            "{architecture}: the program says {said}, not {expected}"
        );
    }
    Ok(())
}

pub fn run(index: &Path, architecture: &str, runner: Option<&str>) -> Result<String> {
    let layout = tempfile::tempdir()?;
    duct::cmd!(
        "skopeo",
        "copy",
        "--quiet",
        "--override-arch",
        architecture,
        format!("oci:{}", index.display()),
        format!("oci:{}:one", layout.path().display())
    )
    .run()?;
    let bundle = unpack(layout.path())?;
    let root = bundle.path().join("rootfs");
    let Some(runner) = runner else {
        return Ok(duct::cmd!("chroot", &root, "/usr/bin/lantern").read()?);
    };
    // The runner is static, so it also runs in there.
    std::fs::copy(which::which(runner)?, root.join("runner"))?;
    Ok(duct::cmd!("chroot", &root, "/runner", "/usr/bin/lantern").read()?)
}

/// Procedural macros and their dependencies are for the build machine, so both platforms share
/// these derivations.
fn host_units() -> Result<()> {
    let image = nix::nix(&[
        "eval",
        "--impure",
        "--raw",
        "--expr",
        &attribute(&lantern()?, "images.lantern.drvPath"),
    ])?;
    let programs = named(&below(&image)?, "lantern-0.1.0-bin-lantern");
    let [one, other] = &programs[..] else {
        bail!("two programs expected, there are {programs:?}");
    };
    let (one, other) = (below(one)?, below(other)?);
    for (name, shared) in [
        ("syn-3.0.9", true),
        ("serde_derive-1.0.229", true),
        ("zmij-1.0.23-build-script", true),
        ("zmij-1.0.23-build-script-run", false),
        ("itoa-1.0.18", false),
    ] {
        let (one, other) = (named(&one, name), named(&other, name));
        ensure!(
            one.len() == 1 && other.len() == 1 && (one == other) == shared,
            "{name}: {one:?} and {other:?}"
        );
    }
    Ok(())
}

/// Returns all derivations in the closure of one, itself included.
fn below(derivation: &str) -> Result<Vec<String>> {
    let closure = duct::cmd!("nix-store", "--query", "--requisites", derivation).read()?;
    let derivations = closure.lines().filter(|path| path.ends_with(".drv"));
    Ok(derivations.map(str::to_owned).collect())
}

fn named(derivations: &[String], name: &str) -> Vec<String> {
    let wanted = derivations.iter().filter(|path| nix::name_of(path) == name);
    wanted.cloned().collect()
}
