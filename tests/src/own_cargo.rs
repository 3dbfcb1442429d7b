//! The Cargo that a user has: rustup's, typed in a clone of the workspace.

use crate::cold::{Cold, remove_all, seconds};
use anyhow::{Context, Result, ensure};
use crateyard_plan::Plan;
use crateyard_unit::TargetKind;
use serde::Deserialize;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// A kind of build in a comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// `assemble build`.
    Units,
    /// `cargo build --release` in the clone.
    Cargo,
}

/// Returns both kinds in their order for a repetition. They take turns in going first.
pub fn turns(repetition: usize) -> [Side; 2] {
    match repetition % 2 {
        0 => [Side::Units, Side::Cargo],
        _ => [Side::Cargo, Side::Units],
    }
}

/// A clone of a workspace, and the call that builds a plan's programs in it.
pub struct OwnCargo {
    clone: PathBuf,
    /// The release that the units were compiled with. rustup selects it.
    release: String,
    /// `--package` and `--bin` of each program.
    selection: Vec<String>,
}

/// The part of `toolchain.lock` that names the release.
#[derive(Deserialize)]
struct Lock {
    release: String,
}

impl OwnCargo {
    /// Clones the workspace, and downloads the sources of its dependencies.
    ///
    /// # Errors
    /// When rustup has no toolchain of the release that `lock`, a `toolchain.lock`, pins.
    pub fn new(cold: &Cold, plan: &Plan, lock: &Path) -> Result<Self> {
        let clone = cold.place.join("own-cargo");
        remove_all(&clone)?;
        duct::cmd!("git", "clone", "--quiet", &cold.workspace, &clone).run()?;
        let text = fs::read(lock).with_context(|| format!("cannot read {}", lock.display()))?;
        let Lock { release } = serde_json::from_slice(&text)?;
        let programs = plan.programs.iter();
        let programs = programs.filter(|program| program.kind == TargetKind::Bin);
        let own = Self {
            clone,
            selection: programs
                .flat_map(|program| ["--package", &program.package, "--bin", &program.name])
                .map(str::to_owned)
                .collect(),
            release,
        };
        let version = own.cargo(&["--version"]).read()?;
        ensure!(
            version.contains(&own.release),
            "the machine's Cargo is {version}, and the units are compiled with {}: run `rustup \
             toolchain install {}`",
            own.release,
            own.release
        );
        own.cargo(&["fetch", "--quiet", "--locked"]).run()?;
        Ok(own)
    }

    /// Builds the programs from nothing. Returns seconds.
    ///
    /// # Errors
    /// When Cargo fails. Cargo's output then stands above.
    pub fn cold(&self) -> Result<f64> {
        remove_all(&self.clone.join("target"))?;
        self.build()
    }

    /// Edits a file, and builds the programs again. Returns seconds.
    ///
    /// # Errors
    /// When Cargo fails, or the file can't be written.
    pub fn edited(&self, file: &str) -> Result<f64> {
        edit(&self.clone.join(file))?;
        self.build()
    }

    /// Returns the main file of a program, relative to the workspace.
    ///
    /// # Errors
    /// When Cargo can't read the workspace, or it has no such program.
    pub fn main_file(&self, program: &str) -> Result<String> {
        let arguments = ["metadata", "--no-deps", "--format-version=1", "--locked"];
        let metadata: Metadata = serde_json::from_str(&self.cargo(&arguments).read()?)?;
        let mut targets = metadata.packages.iter().flat_map(|p| &p.targets);
        let target = targets.find(|t| t.name == program && t.kind.contains(&"bin".to_owned()));
        let file = &target
            .with_context(|| format!("no program {program}"))?
            .src_path;
        let file = file.strip_prefix(self.clone.canonicalize()?)?;
        Ok(file.to_string_lossy().into_owned())
    }

    fn build(&self) -> Result<f64> {
        let selection: Vec<&str> = self.selection.iter().map(String::as_str).collect();
        let command = ["build", "--release", "--locked", "--quiet"];
        let build = self.cargo(&[&command[..], &selection].concat());
        seconds(|| Ok(build.run().map(drop)?))
    }

    /// Returns a call of Cargo without the settings that this program's caller has for itself.
    fn cargo(&self, arguments: &[&str]) -> duct::Expression {
        let mut cargo = duct::cmd("cargo", arguments)
            .dir(&self.clone)
            .env("RUSTUP_TOOLCHAIN", &self.release);
        for (name, _) in std::env::vars().filter(|(name, _)| is_setting(name)) {
            cargo = cargo.env_remove(name);
        }
        cargo
    }
}

/// Whether a variable changes a build of Cargo's.
fn is_setting(name: &str) -> bool {
    let is_cargos = name.starts_with("CARGO") && name != "CARGO_HOME";
    is_cargos || name.starts_with("RUSTC") || name == "RUSTFLAGS"
}

/// The part of `cargo metadata` that names targets.
/// <https://doc.rust-lang.org/cargo/commands/cargo-metadata.html>
#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    targets: Vec<Target>,
}

#[derive(Deserialize)]
struct Target {
    kind: Vec<String>,
    name: String,
    src_path: PathBuf,
}

/// Adds a line to a source file that no earlier edit had.
///
/// # Errors
/// When the file can't be read or written.
pub fn edit(file: &Path) -> Result<()> {
    let text = fs::read_to_string(file)?;
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
    fs::write(file, format!("{text}\n// edited {}\n", now.as_nanos()))?;
    Ok(())
}
