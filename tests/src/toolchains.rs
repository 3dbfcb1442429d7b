//! Other compilers than the default.

use crate::checkout::repository;
use crate::nix;
use crate::trial::failed;
use crate::workspaces::{binary_of, ledger};
use anyhow::{Context, Result, ensure};
use libtest_mimic::{Completion, Trial};
use std::fs;
use std::path::{Path, PathBuf};

/// The tests of this file.
pub fn trials() -> Vec<Trial> {
    vec![
        test("a_release_channel_compiles", channel_compiles),
        test("the_compiler_of_nixpkgs_compiles", nixpkgs_compiles),
    ]
}

/// A test that takes the machine's toolchain apart.
fn test(name: &str, run: fn(&Toolchain) -> Result<()>) -> Trial {
    let name = format!("toolchains::{name}");
    Trial::ignorable_test(name.clone(), move || {
        let toolchain = Toolchain::of_machine().map_err(|error| failed(&error))?;
        let Some(toolchain) = toolchain else {
            let why = "the machine's rustc did not come from a release channel (rustup)";
            println!("SKIPPED: {name}: {why}");
            return Ok(Completion::ignored_with(why));
        };
        run(&toolchain).map_err(|error| failed(&error))?;
        Ok(Completion::Completed)
    })
}

const HOST: &str = "x86_64-unknown-linux-gnu";

/// The components that a channel's manifest is asked for, and the names of their archives.
const COMPONENTS: [(&str, &str); 5] = [
    ("cargo", "cargo"),
    ("clippy-preview", "clippy"),
    ("rust-std", "rust-std"),
    ("rustc", "rustc"),
    ("rustfmt-preview", "rustfmt"),
];

/// The Rust project's own server is out of reach for a test, so the machine's toolchain, which came from
/// there, is packed again as that server has it.
fn channel_compiles(toolchain: &Toolchain) -> Result<()> {
    ledger_compiles(
        &format!("channel = {}", toolchain.channel()?.display()),
        &toolchain.version,
    )
}

/// nixpkgs is out of reach too. What stands in for it has the same attributes, and behind them a compiler
/// that lies in the store as nixpkgs' does, with a sysroot of its own.
fn nixpkgs_compiles(toolchain: &Toolchain) -> Result<()> {
    let packages = format!(
        "nixpkgs.legacyPackages.x86_64-linux = let \
           parts = flake.lib.partsFor \"x86_64-linux\"; \
           rust = import {}/nix/toolchain/channel.nix \
             {{ inherit (parts) cell; tools = [ parts.toolchain ]; }} {{ manifest = {}; host = \"{HOST}\"; }}; \
           usr = \"${{rust}}/usr\"; \
         in {{ rustc.unwrapped = usr; cargo = usr; clippy = usr; rustfmt = usr; }}",
        repository().display(),
        toolchain.channel()?.display()
    );
    ledger_compiles(&packages, &toolchain.version)
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

/// A toolchain as rustup installs it.
struct Toolchain {
    root: PathBuf,
    version: String,
}

impl Toolchain {
    /// None where the machine's rustc is packaged otherwise.
    fn of_machine() -> Result<Option<Self>> {
        let root = PathBuf::from(duct::cmd!("rustc", "--print", "sysroot").read()?);
        let toolchain = Self {
            version: duct::cmd!("rustc", "--version")
                .read()?
                .split(' ')
                .nth(1)
                .context("rustc has no version")?
                .to_owned(),
            root,
        };
        let all = COMPONENTS.iter();
        let mut lists = all.map(|(component, _)| toolchain.list(component));
        Ok(lists.all(|list| list.is_file()).then_some(toolchain))
    }

    /// The list of a component's files.
    fn list(&self, component: &str) -> PathBuf {
        let rustlib = self.root.join("lib/rustlib");
        rustlib.join(format!("manifest-{component}-{HOST}"))
    }

    /// The channel's manifest, whose archives lie beside it and in the store: builders can't read what is
    /// in somebody's home. They are packed once for each version.
    fn channel(&self) -> Result<PathBuf> {
        let home = std::env::var_os("HOME").context("HOME is not set")?;
        let place = Path::new(&home)
            .join(".cache/crateyard/channels")
            .join(&self.version);
        let manifest = place.join(format!("channel-rust-{}.toml", self.version));
        if !manifest.is_file() {
            self.pack_all(&place, &manifest)?;
        }
        let mut add = vec!["--add-fixed".into(), "sha256".into()];
        add.extend(COMPONENTS.map(|(_, name)| self.archive(name, &place).into_os_string()));
        duct::cmd("nix-store", add).stdout_null().run()?;
        Ok(manifest)
    }

    fn pack_all(&self, place: &Path, manifest: &Path) -> Result<()> {
        fs::create_dir_all(place)?;
        let mut text = format!("manifest-version = \"2\"\ndate = \"{}\"\n", "2026-01-01");
        for (component, name) in COMPONENTS {
            let archive = self.pack(component, name, place)?;
            let hash = duct::cmd!("sha256sum", &archive).read()?;
            let hash = hash.split(' ').next().unwrap_or_default();
            text += &format!(
                "\n[pkg.{component}]\nversion = \"{} (packed again)\"\n\
                 [pkg.{component}.target.{HOST}]\navailable = true\nurl = \"file://{}\"\nhash = \"{hash}\"\n",
                self.version,
                archive.display()
            );
        }
        let unfinished = manifest.with_extension("part");
        fs::write(&unfinished, text)?;
        fs::rename(&unfinished, manifest)?;
        Ok(())
    }

    fn archive(&self, name: &str, place: &Path) -> PathBuf {
        place.join(format!("{name}-{}-{HOST}.tar.gz", self.version))
    }

    /// An archive as the server has it: NAME/components, NAME/DIRECTORY/manifest.in, NAME/DIRECTORY/FILES.
    fn pack(&self, component: &str, name: &str, place: &Path) -> Result<PathBuf> {
        let whole = format!("{name}-{}-{HOST}", self.version);
        let directory = match component {
            "rust-std" => format!("rust-std-{HOST}"),
            component => component.to_owned(),
        };
        let stage = tempfile::tempdir_in(place)?;
        let inside = stage.path().join(&whole).join(&directory);
        fs::create_dir_all(&inside)?;
        let list = fs::read_to_string(self.list(component))?;
        fs::write(
            stage.path().join(&whole).join("components"),
            format!("{directory}\n"),
        )?;
        fs::write(inside.join("manifest.in"), &list)?;
        let files = list.lines().filter_map(|line| line.strip_prefix("file:"));
        let files: Vec<&str> = files.filter(|file| !file.starts_with("share/")).collect();
        for file in files {
            let target = inside.join(file);
            if let Some(parent) = target.parent() {
                fs::create_dir_all(parent)?;
            }
            fs::hard_link(self.root.join(file), &target)
                .or_else(|_| fs::copy(self.root.join(file), &target).map(drop))
                .with_context(|| format!("{file} of {component}"))?;
        }
        let archive = self.archive(name, place);
        duct::cmd!(
            "tar",
            "--sort=name",
            "--mtime=@0",
            "--owner=0",
            "--group=0",
            "--numeric-owner",
            "--use-compress-program=gzip -1n",
            "-C",
            stage.path(),
            "-cf",
            &archive,
            &whole
        )
        .run()?;
        Ok(archive)
    }
}
