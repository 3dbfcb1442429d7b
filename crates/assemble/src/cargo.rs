//! The machine's Cargo, where it only has to read a workspace.
//!
//! rustup answers for the toolchain that the workspace names, and where that is not installed Cargo does not run at all. To read
//! manifests any Cargo will do, so then the default toolchain's does.

use anyhow::{Context, Result, bail};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use toolchain::file::ToolchainFile;

/// Says which toolchain rustup is to run, before what the workspace names.
const TOOLCHAIN: &str = "RUSTUP_TOOLCHAIN";

/// How Cargo is called in a directory.
pub struct Cargo {
    directory: PathBuf,
    /// The toolchain in place of one that is not installed.
    instead: Option<Instead>,
}

/// A toolchain that takes the place of one that is not installed.
struct Instead {
    file: PathBuf,
    wanted: String,
    taken: String,
}

impl Cargo {
    /// Of a workspace.
    pub fn of(directory: &Path) -> Self {
        let directory = match directory.as_os_str().is_empty() {
            true => Path::new("."),
            false => directory,
        };
        let is_free = std::env::var_os(TOOLCHAIN).is_none();
        let instead = is_free.then(|| instead(directory)).flatten();
        let directory = directory.to_owned();
        Self { directory, instead }
    }

    /// A call of it, without input.
    pub fn command(&self) -> Command {
        let program = std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
        let mut command = Command::new(program);
        command.current_dir(&self.directory).stdin(Stdio::null());
        if let Some(instead) = &self.instead {
            command.env(TOOLCHAIN, &instead.taken);
        }
        command
    }

    /// That another toolchain reads the workspace than it names, where that is so.
    pub fn note(&self) -> Option<String> {
        let Instead {
            file,
            wanted,
            taken,
        } = self.instead.as_ref()?;
        let file = file.display();
        Some(format!(
            "{file} names the toolchain {wanted}, which rustup has not installed: the Cargo of {taken} reads the workspace"
        ))
    }

    /// What `cargo metadata` says of the workspace.
    ///
    /// # Errors
    /// When Cargo can't be started, or fails; what it said is in the error.
    pub fn metadata(&self, arguments: &[&str]) -> Result<String> {
        self.read(&[&["metadata", "--format-version=1"], arguments].concat())
    }

    /// What Cargo prints.
    ///
    /// # Errors
    /// When it can't be started, or fails; what it said is in the error.
    pub fn read(&self, arguments: &[&str]) -> Result<String> {
        let place = self.directory.display();
        let output = self.command().args(arguments).output();
        let output = output.with_context(|| format!("cannot start cargo in {place}"))?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            let what = arguments.first().copied().unwrap_or_default();
            bail!("`cargo {what}` failed in {place}: {}", said.trim_end());
        }
        Ok(String::from_utf8(output.stdout)?)
    }
}

/// What takes the place of the toolchain that a directory names, where rustup has not installed that.
fn instead(directory: &Path) -> Option<Instead> {
    let (file, wanted) = named(directory)?;
    let rustup = which::which("rustup").ok()?;
    // Elsewhere, so that rustup does not see to it that what the workspace names gets installed.
    let list = Command::new(rustup)
        .args(["toolchain", "list"])
        .current_dir("/")
        .stdin(Stdio::null())
        .output()
        .ok()?;
    let list = String::from_utf8_lossy(&list.stdout).into_owned();
    let taken = replacement(&list, &wanted)?.to_owned();
    Some(Instead {
        file,
        wanted,
        taken,
    })
}

/// The channel that the nearest toolchain file names, and the file.
fn named(directory: &Path) -> Option<(PathBuf, String)> {
    let directory = directory.canonicalize().ok()?;
    let mut files = directory.ancestors().map(ToolchainFile::of);
    // What can't be understood rustup complains of itself.
    let file = files.find_map(|file| file.ok().flatten())?;
    Some((file.path, file.channel?.to_string()))
}

/// The toolchain of a list of rustup's that is taken where the list has no `wanted`: the default, or the first.
fn replacement<'l>(list: &'l str, wanted: &str) -> Option<&'l str> {
    let names = || {
        list.lines()
            .filter_map(|line| line.split_whitespace().next())
    };
    let of_channel = |name: &str| {
        let rest = name.strip_prefix(wanted);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
    };
    if names().any(of_channel) || list.trim().starts_with("no installed") {
        return None;
    }
    let default = list.lines().find(|line| line.contains("default"));
    default
        .and_then(|line| line.split_whitespace().next())
        .or_else(|| names().next())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_toolchain_that_is_there_needs_no_other() {
        let list =
            "stable-x86_64-unknown-linux-gnu (active, default)\n1.85.0-x86_64-unknown-linux-gnu\n";
        assert_eq!(replacement(list, "1.85.0"), None);
        assert_eq!(replacement(list, "stable-x86_64-unknown-linux-gnu"), None);
        let default = Some("stable-x86_64-unknown-linux-gnu");
        assert_eq!(replacement(list, "1.8"), default);
        assert_eq!(replacement(list, "1.90.0"), default);
        assert_eq!(replacement("1.85.0-x\n", "1.90"), Some("1.85.0-x"));
        assert_eq!(replacement("no installed toolchains\n", "1.90"), None);
    }
}
