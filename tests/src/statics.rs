//! The release's other standard libraries, from the Rust project's distribution server: static
//! programs for musl, and a module for WebAssembly.

use crate::checkout::{assemble, copy_of, repository};
use crate::engine::unpack;
use crate::trial::ignorable;
use crate::workspaces::{build, fetch};
use anyhow::{Error, Result, ensure};
use libtest_mimic::{Completion, Trial};
use std::fs;
use std::path::Path;
use std::sync::OnceLock;
use tempfile::TempDir;

/// The tests of this file.
pub fn trials() -> Vec<Trial> {
    vec![
        test("a_lock_without_rustup_is_the_same", locks_are_equal),
        test("programs_for_musl_hold_a_wasm_module", both_run),
    ]
}

/// Makes a test that needs the distribution server.
fn test(name: &str, run: fn() -> Result<()>) -> Trial {
    ignorable(format!("statics::{name}"), move || {
        let asked = duct::cmd!("curl", "-sSfI", "--max-time", "20", MANIFEST);
        let answer = asked.stdout_null().stderr_to_stdout().unchecked().run()?;
        if !answer.status.success() {
            return Ok(Completion::ignored_with(format!(
                "no answer from {MANIFEST}"
            )));
        }
        run().map(|()| Completion::Completed)
    })
}

const MANIFEST: &str = "https://static.rust-lang.org/dist/channel-rust-1.95.0.toml";

/// The archives of the server and rustup's files give the same lock, hashes of files included.
fn locks_are_equal() -> Result<()> {
    let workspace = beacon()?;
    let nowhere = workspace.path().join("nowhere");
    let with_archives = lock(workspace.path(), &[("RUSTUP_HOME", &nowhere)])?;
    let with_rustup = locked_with_rustup()?;
    ensure!(
        with_archives == with_rustup,
        "archives give\n{with_archives}\nrustup gives\n{with_rustup}"
    );
    Ok(())
}

/// Both programs run alone in their images.
fn both_run() -> Result<()> {
    let workspace = beacon()?;
    fs::write(
        workspace.path().join("toolchain.lock"),
        locked_with_rustup()?,
    )?;
    fetch(workspace.path(), &workspace.path().join("debian.lock"))?;
    let said = |image: &str, runner: &[&str]| -> Result<String> {
        let bundle = unpack(&build(workspace.path(), &format!("images.{image}"))?)?;
        let program = bundle.path().join("rootfs/usr/bin/beacon");
        let program = program.to_string_lossy().into_owned();
        let call = [runner, &[&program]].concat();
        Ok(duct::cmd(call[0], &call[1..]).read()?)
    };
    // A module begins with a zero and `asm`.
    let native = said("beacon", &[])?;
    ensure!(native == "x86_64 [0, 97, 115, 109]", "{native}");
    let foreign = said("beacon-arm", &["qemu-aarch64-static"])?;
    ensure!(foreign == "aarch64 [0, 97, 115, 109]", "{foreign}");
    Ok(())
}

/// Returns the lock that rustup's files give. `assemble lock` unpacks archives for a minute, so the
/// tests share it.
fn locked_with_rustup() -> Result<String> {
    static LOCKED: OnceLock<Result<String, String>> = OnceLock::new();
    let locked = LOCKED.get_or_init(|| {
        let locked = beacon().and_then(|workspace| lock(workspace.path(), &[]));
        locked.map_err(|error| format!("{error:#}"))
    });
    locked.clone().map_err(Error::msg)
}

/// Copies the workspace of both tests.
fn beacon() -> Result<TempDir> {
    copy_of(&repository().join("tests/workspaces/beacon"))
}

/// Pins the toolchain, and returns the lock.
fn lock(workspace: &Path, variables: &[(&str, &Path)]) -> Result<String> {
    let mut lock = duct::cmd!(assemble(), "lock", "--without-debian");
    for (name, value) in variables {
        lock = lock.env(name, value);
    }
    lock.dir(workspace).stdout_null().run()?;
    Ok(fs::read_to_string(workspace.join("toolchain.lock"))?)
}
