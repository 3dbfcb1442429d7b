//! The compilers: the release in toolchain.lock, Debian's, and nixpkgs'.

use crate::checkout::{Checkout, assemble, repository};
use crate::nix;
use crate::trial::ignorable;
use crate::workspaces::{binary_of, ledger};
use anyhow::{Context, Result, ensure};
use libtest_mimic::{Completion, Trial};
use std::fs;
use std::path::Path;

/// The tests of this file.
pub fn trials() -> Vec<Trial> {
    vec![
        test("rustups_files_have_the_hashes_of_the_lock", hashes),
        test("a_release_compiles", release_compiles),
        test("debians_compiler_compiles", debian_compiles),
        test("the_compiler_of_nixpkgs_compiles", nixpkgs_compiles),
        test("shells_have_the_locked_compiler", shells),
    ]
}

/// Makes a test that needs the locked release from the machine's rustup.
fn test(name: &str, run: fn(&Lock) -> Result<()>) -> Trial {
    ignorable(format!("toolchains::{name}"), move || {
        let lock = Lock::read()?;
        if !lock.is_installed() {
            let why = format!("the machine's rustup has no toolchain {}", lock.channel);
            return Ok(Completion::ignored_with(why));
        }
        run(&lock).map(|()| Completion::Completed)
    })
}

/// A new lock from the machine's rustup equals the one in the repository, including hashes of
/// files.
fn hashes(lock: &Lock) -> Result<()> {
    let workspace = tempfile::tempdir()?;
    let at = |name: &str| workspace.path().join(name);
    fs::write(
        at("rust-toolchain.toml"),
        format!("[toolchain]\nchannel = \"{}\"\n", lock.channel),
    )?;
    fs::write(
        at("images.toml"),
        "version = 1\n[images.a]\nbinaries = [\"a\"]\n",
    )?;
    duct::cmd!(assemble(), "lock", "--without-debian")
        .dir(workspace.path())
        .stdout_null()
        .run()?;
    let made = fs::read_to_string(at("toolchain.lock"))?;
    ensure!(made == lock.text, "the lock made here is\n{made}");
    Ok(())
}

/// `nix develop` and `assemble shell` put the same compiler first in PATH.
fn shells(lock: &Lock) -> Result<()> {
    let checkout = Checkout::new()?;
    let asks = "rustc --version; cargo --version; command -v rustc";
    let flake = format!("git+file://{}", checkout.path().display());
    let developed = nix::nix(&["develop", &flake, "--command", "sh", "-c", asks])?;
    let shell = duct::cmd!(assemble(), "shell", "--", "sh", "-c", asks)
        .dir(checkout.path())
        .read()?;
    ensure!(
        developed.trim() == shell.trim(),
        "nix develop has\n{developed}\nassemble shell has\n{shell}"
    );
    for tool in ["rustc", "cargo"] {
        let version = format!("{tool} {} ", lock.channel);
        ensure!(shell.contains(&version), "the shell has\n{shell}");
    }
    ensure!(
        shell
            .lines()
            .last()
            .is_some_and(|path| path.starts_with("/nix/store/")),
        "rustc is not the locked one: {shell}"
    );
    Ok(())
}

fn release_compiles(lock: &Lock) -> Result<()> {
    ledger_compiles("compiler = \"release\"", &lock.release)
}

/// Debian's compiler, for machines that can't get the release.
fn debian_compiles(_: &Lock) -> Result<()> {
    ledger_compiles("compiler = \"debian\"", "1.85.0")
}

/// A test can't download nixpkgs. Its stand-in has the same attributes, and a compiler in the store
/// with its own sysroot, like that of nixpkgs.
fn nixpkgs_compiles(lock: &Lock) -> Result<()> {
    let packages = format!(
        "nixpkgs.legacyPackages.x86_64-linux = let foundation = flake.lib.foundationFor \
         \"x86_64-linux\"; rust = import {}/nix/toolchain/tree.nix {{ inherit (foundation) cell; \
         tools = [ foundation.tools ]; }} {{ inherit (foundation) release; }}; usr = \
         \"${{rust}}/usr\"; in {{ rustc.unwrapped = usr; cargo = usr; clippy = usr; rustfmt = usr; \
         }}",
        repository().display(),
    );
    ledger_compiles(&packages, &lock.release)
}

/// Builds the workspace `ledger` with one more argument of `mkImages`, and runs its program.
fn ledger_compiles(argument: &str, version: &str) -> Result<()> {
    let workspace = ledger()?;
    let made = format!(
        "(flake.lib.mkImages {{ src = {}; {argument}; }}).units",
        workspace.display()
    );
    let program = binary_of(&nix::in_flake(&repository(), &made), "ledger")?;
    let bytes = fs::read(&program)?;
    let stamp = format!("rustc version {version}");
    ensure!(
        bytes
            .windows(stamp.len())
            .any(|window| window == stamp.as_bytes()),
        "{} was not made by {stamp}",
        program.display()
    );
    let said = duct::cmd!(&program).stderr_to_stdout().unchecked().read()?;
    ensure!(!said.is_empty(), "the program said nothing");
    Ok(())
}

/// Crateyard's own toolchain.lock.
struct Lock {
    text: String,
    channel: String,
    release: String,
}

impl Lock {
    fn read() -> Result<Self> {
        let path = repository().join("toolchain.lock");
        let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        let json: serde_json::Value = serde_json::from_str(&text)?;
        let field = |name: &str| {
            let value = json[name].as_str();
            value.map(str::to_owned).with_context(|| name.to_owned())
        };
        Ok(Self {
            channel: field("channel")?,
            release: field("release")?,
            text,
        })
    }

    /// Whether rustup has this release under any name.
    fn is_installed(&self) -> bool {
        let Some(home) = std::env::var_os("HOME") else {
            return false;
        };
        let toolchains = Path::new(&home).join(".rustup/toolchains");
        let entries = fs::read_dir(toolchains).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).any(|root| {
            let manifest = root.join("lib/rustlib/multirust-channel-manifest.toml");
            let text = fs::read_to_string(manifest).unwrap_or_default();
            text.contains(&format!("\nversion = \"{} (", self.release))
        })
    }
}
