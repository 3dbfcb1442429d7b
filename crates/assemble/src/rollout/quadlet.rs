//! Installs Quadlet units in the directory that podman's generator reads, and restarts the changed
//! ones.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::Output;

use anyhow::{Context, Result, bail};
use crateyard_deploy::quadlet;
use crateyard_disk::Directory;
use crateyard_terminal::clean_log;

/// The size limit for reading a unit, in bytes.
const MAX_UNIT: u64 = 1 << 20;
/// The suffix of the file with the old unit. The generator does not read this file as a unit.
const BEFORE: &str = ".before-crateyard";
/// The suffix of the file that marks a unit that was installed and has not started since.
const PENDING: &str = ".pending-crateyard";

/// The directory of units, and the user who runs them.
pub struct Units {
    directory: Directory,
    is_user: bool,
}

impl Units {
    /// Opens a directory, or the one that the generator reads: `/etc/containers/systemd` for root,
    /// `$XDG_CONFIG_HOME/containers/systemd` for other users.
    ///
    /// # Errors
    /// When the directory can't be made.
    pub fn new(directory: Option<&Path>) -> Result<Units> {
        let is_user = !rustix::process::geteuid().is_root();
        let path = match directory {
            Some(directory) => directory.to_owned(),
            None if is_user => home()?.join("containers/systemd"),
            None => "/etc/containers/systemd".into(),
        };
        let made = Directory::create(&path);
        Ok(Units {
            directory: made.with_context(|| format!("cannot create {}", path.display()))?,
            is_user,
        })
    }

    /// Whether the installed unit differs from a text.
    ///
    /// # Errors
    /// When the unit can't be read.
    pub fn differs(&self, name: &OsStr, text: &str) -> Result<bool> {
        let installed = self.directory.read(name, MAX_UNIT)?;
        Ok(installed.as_deref() != Some(text.as_bytes()))
    }

    /// Whether the installed unit with this text does not run: it has not started since its
    /// installation, or has failed.
    ///
    /// # Errors
    /// When its state is unknown.
    pub fn is_down(&self, name: &OsStr, text: &str) -> Result<bool> {
        if self.directory.read(pending(name), MAX_UNIT)?.is_some() {
            return Ok(true);
        }
        let service = name
            .to_str()
            .and_then(|name| quadlet::service((name, text)));
        let Some(service) = service else {
            return Ok(false);
        };
        let output = self.call(&["is-failed", "--quiet", "--", &service])?;
        Ok(output.status.success())
    }

    /// Writes a unit, and keeps the old one.
    ///
    /// # Errors
    /// When the unit can't be written.
    pub fn install(&self, name: &OsStr, text: &str) -> Result<()> {
        let write = || -> std::io::Result<()> {
            self.directory.write(pending(name), b"")?;
            if let Some(before) = self.directory.read(name, MAX_UNIT)? {
                self.directory.write(kept(name), &before)?;
            }
            self.directory.write(name, text.as_bytes())
        };
        write().with_context(|| {
            format!(
                "cannot write {:?} in {}",
                name,
                self.directory.path().display()
            )
        })
    }

    /// Deletes the kept old unit.
    ///
    /// # Errors
    /// When the old unit can't be removed.
    pub fn forget(&self, name: &OsStr) -> Result<()> {
        self.remove(&kept(name))
    }

    /// Reads the unit from before the last installation.
    ///
    /// # Errors
    /// When the old unit can't be read.
    pub fn before(&self, name: &OsStr) -> Result<Option<String>> {
        let bytes = self.directory.read(kept(name), MAX_UNIT)?;
        bytes
            .map(String::from_utf8)
            .transpose()
            .context("a saved unit is not valid UTF-8")
    }

    fn remove(&self, file: &Path) -> Result<()> {
        match self.directory.remove_file(file) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// Makes systemd read the units again and restart those with these names, and those among `all`
    /// that read their files. Returns when they have started.
    ///
    /// # Errors
    /// When systemd refuses, or a unit does not start.
    pub fn restart(&self, names: &[&OsStr], all: &[quadlet::File<'_>]) -> Result<()> {
        self.systemctl(&["daemon-reload"])?;
        let mut done = BTreeSet::new();
        let is_unit_alone = |name: &&&OsStr| service_of(name, all).len() < 2;
        // Those that other units read come first: systemd restarts both in one go.
        let (alone, read): (Vec<&&OsStr>, Vec<&&OsStr>) = names.iter().partition(is_unit_alone);
        for name in read.into_iter().chain(alone) {
            let mut services = service_of(name, all);
            services.retain(|service| done.insert(service.clone()));
            self.restart_services(&services)?;
            self.remove(&pending(name))?;
        }
        Ok(())
    }

    fn restart_services(&self, services: &[String]) -> Result<()> {
        let Some(first) = services.first() else {
            return Ok(());
        };
        // The name of a file may begin with a dash, and must not count as an option.
        let words = ["restart", "--"].into_iter();
        let words: Vec<&str> = words.chain(services.iter().map(String::as_str)).collect();
        self.systemctl(&words).with_context(|| {
            format!(
                "{} did not start\n  try: journalctl --unit={first}, or restore what ran before: \
                 assemble deploy --rollback",
                services.join(" or ")
            )
        })
    }

    fn systemctl(&self, arguments: &[&str]) -> Result<()> {
        let output = self.call(arguments)?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stdout);
            bail!(
                "systemctl {}: {}",
                arguments.join(" "),
                clean_log(said.trim())
            );
        }
        Ok(())
    }

    /// Returns the output of systemctl. A failure of systemctl is not an error.
    fn call(&self, arguments: &[&str]) -> Result<Output> {
        let mut words: Vec<&str> = Vec::new();
        if self.is_user {
            words.push("--user");
        }
        words.extend(arguments);
        let command = duct::cmd("systemctl", &words);
        let output = command
            .stdout_capture()
            .stderr_to_stdout()
            .unchecked()
            .run();
        output.context("cannot start systemctl")
    }
}

/// Returns the services that a changed file concerns.
fn service_of(name: &OsStr, all: &[quadlet::File<'_>]) -> Vec<String> {
    let name = name.to_str();
    name.map_or_else(Vec::new, |name| quadlet::services(name, all))
}

fn kept(name: &OsStr) -> PathBuf {
    beside(name, BEFORE)
}

fn pending(name: &OsStr) -> PathBuf {
    beside(name, PENDING)
}

fn beside(name: &OsStr, ending: &str) -> PathBuf {
    let mut file = name.to_owned();
    file.push(ending);
    file.into()
}

fn home() -> Result<PathBuf> {
    let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    let config = variable("XDG_CONFIG_HOME").map(PathBuf::from);
    let below_home = || Some(PathBuf::from(variable("HOME")?).join(".config"));
    config
        .or_else(below_home)
        .context("neither XDG_CONFIG_HOME nor HOME is set")
}
