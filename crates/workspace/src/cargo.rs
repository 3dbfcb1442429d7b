//! Calls the machine's Cargo, for commands that only read a workspace.
//!
//! rustup picks the toolchain that the workspace names. If it is not installed, Cargo does not run
//! at all. Any Cargo can read manifests, so then the default toolchain's Cargo reads them.
//!
//! The workspace may be somebody else's. So Crateyard runs no toolchain or program that it names by
//! a path, unless the user says that the workspace is trusted ([`TRUST`]).

mod configuration;
pub mod said;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use crateyard_terminal::warning;
use crateyard_toolchain::file::ToolchainFile;

use self::configuration::{Configuration, Sources};

/// Tells rustup which toolchain to run, and overrides the one that the workspace names.
const TOOLCHAIN: &str = "RUSTUP_TOOLCHAIN";

/// If this variable is 1, Cargo may run programs that the workspace's own configuration names.
pub const TRUST: &str = "CRATEYARD_TRUST_WORKSPACE";

/// The way to call Cargo for a workspace.
pub struct Cargo {
    directory: PathBuf,
    /// The toolchain to use instead of one that is not installed.
    instead: Option<Instead>,
    /// The safe part of the workspace's configuration; `None` if the workspace is trusted.
    configuration: Option<Configuration>,
}

/// A toolchain that replaces one that is not installed.
struct Instead {
    file: PathBuf,
    wanted: String,
    taken: String,
}

impl Cargo {
    /// Prepares calls for a workspace.
    ///
    /// # Errors
    /// Fails if the workspace's configuration can't be read.
    pub fn of(directory: &Path) -> Result<Self> {
        Self::with(directory, Sources::Configured)
    }

    /// Prepares calls that download `.crate` files for a workspace: from registries, also if its
    /// configuration puts unpacked copies in their place. A trusted workspace's configuration is
    /// Cargo's own matter.
    ///
    /// # Errors
    /// Fails if the workspace's configuration can't be read.
    pub fn to_download(directory: &Path) -> Result<Self> {
        Self::with(directory, Sources::Registries)
    }

    fn with(directory: &Path, sources: Sources) -> Result<Self> {
        let directory = match directory.as_os_str().is_empty() {
            true => Path::new("."),
            false => directory,
        };
        crate::files::check(directory)?;
        crate::files::check_manifests(directory)?;
        let is_free = std::env::var_os(TOOLCHAIN).is_none();
        let instead = is_free.then(|| instead(directory)).flatten();
        let is_trusted = std::env::var_os(TRUST).is_some_and(|value| value == "1");
        let configuration = (!is_trusted).then(|| Configuration::of(directory, sources));
        Ok(Self {
            directory: directory.to_owned(),
            instead,
            configuration: configuration.transpose()?,
        })
    }

    /// Prepares a call of Cargo without input: a subcommand that reads a manifest, and its
    /// arguments.
    ///
    /// # Errors
    /// Fails if the workspace's path is unknown.
    pub fn command(&self, arguments: &[&str]) -> Result<Command> {
        let program = std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
        let mut command = Command::new(program);
        command.stdin(Stdio::null());
        // CI often asks for colours, which would hide the errors in its messages.
        command.env("CARGO_TERM_COLOR", "never");
        match &self.configuration {
            None => {
                command.args(arguments).current_dir(&self.directory);
            }
            Some(configuration) => {
                if let Some(file) = &configuration.file {
                    command.arg("--config").arg(file.path());
                }
                command.args(arguments).current_dir(&configuration.outside);
                let manifest = std::path::absolute(&self.directory)?.join("Cargo.toml");
                command.arg("--manifest-path").arg(manifest);
            }
        }
        if let Some(toolchain) = self.toolchain() {
            command.env(TOOLCHAIN, toolchain);
        }
        Ok(command)
    }

    /// Returns the toolchain that rustup must run. Outside the repository rustup does not see the
    /// one that the workspace names.
    fn toolchain(&self) -> Option<String> {
        match &self.instead {
            Some(instead) => Some(instead.taken.clone()),
            None if self.configuration.is_some() && std::env::var_os(TOOLCHAIN).is_none() => {
                named(&self.directory).map(|(_, channel)| channel)
            }
            None => None,
        }
    }

    /// Warns about programs of the workspace's configuration that are not run.
    pub fn warn(&self) {
        for program in self.configuration.iter().flat_map(|it| &it.refused) {
            warning!(
                "{program} names a program, which is not run\n  try: your own \
                 $CARGO_HOME/config.toml, or {TRUST}=1 if you trust this workspace"
            );
        }
    }

    /// Returns a note if another toolchain than the workspace's reads the workspace.
    pub fn note(&self) -> Option<String> {
        let Instead {
            file,
            wanted,
            taken,
        } = self.instead.as_ref()?;
        let file = file.display();
        Some(format!(
            "{file} names the toolchain {wanted}, which rustup has not installed: the Cargo of \
             {taken} reads the workspace"
        ))
    }

    /// Returns the output of `cargo metadata` for the workspace.
    ///
    /// # Errors
    /// Fails if Cargo can't be started, or exits with an error. The error quotes its message.
    pub fn metadata(&self, arguments: &[&str]) -> Result<String> {
        self.read(&[&["metadata", "--format-version=1"], arguments].concat())
    }

    /// Runs Cargo, and returns its output.
    ///
    /// # Errors
    /// Fails if Cargo can't be started, or exits with an error. The error quotes its message.
    pub fn read(&self, arguments: &[&str]) -> Result<String> {
        let place = self.directory.display();
        let output = self.command(arguments)?.output();
        let output = output.with_context(|| format!("cannot start cargo in {place}"))?;
        if !output.status.success() {
            let what = arguments.first().copied().unwrap_or_default();
            let status = output.status;
            match said::cause(&String::from_utf8_lossy(&output.stderr)) {
                cause if cause.is_empty() => bail!("`cargo {what}` failed in {place}: {status}"),
                cause => bail!("`cargo {what}` failed in {place}: {cause}"),
            }
        }
        Ok(String::from_utf8(output.stdout)?)
    }
}

/// Returns a replacement for the toolchain that a directory names, if rustup has not installed it.
fn instead(directory: &Path) -> Option<Instead> {
    let (file, wanted) = named(directory)?;
    let rustup = which::which("rustup").ok()?;
    // rustup runs elsewhere, so that it does not install the toolchain that the workspace names.
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

/// Returns the nearest toolchain file, and the channel that it names.
fn named(directory: &Path) -> Option<(PathBuf, String)> {
    let directory = directory.canonicalize().ok()?;
    let mut files = directory.ancestors().map(ToolchainFile::of);
    // rustup itself reports a file that can't be understood.
    let file = files.find_map(|file| file.ok().flatten())?;
    Some((file.path, file.channel?.to_string()))
}

/// Returns the toolchain from rustup's list that replaces `wanted`: the default, or the first;
/// `None` if the list has `wanted`.
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
