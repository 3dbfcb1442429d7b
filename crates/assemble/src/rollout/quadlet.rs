//! Installs Quadlet units in the directory that podman's generator reads, and restarts the changed
//! ones.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::Output;

use anyhow::{Context, Result, bail};
use crateyard_deploy::quadlet::{self, Files};
use crateyard_disk::Directory;
use crateyard_terminal::clean_log;

/// The size limit for reading a unit, in bytes.
const MAX_UNIT: u64 = 1 << 20;
/// The suffix of the file with the old unit. The generator does not read this file as a unit.
const BEFORE: &str = ".before-crateyard";
/// The suffix of the file that marks a unit that was installed and has not started since.
const PENDING: &str = ".pending-crateyard";

/// A unit, or a file that belongs to one.
pub struct QuadletUnit {
    /// The path of the file with the manifest.
    pub source: PathBuf,
    /// The path below the directory of units: `app.container`, `app.container.d/10.conf`.
    pub name: PathBuf,
    /// The text to install.
    pub text: String,
}

/// Puts units together with their drop-ins.
pub fn files<'a>(units: impl IntoIterator<Item = &'a QuadletUnit>) -> Files {
    let named = units.into_iter();
    let named = named.filter_map(|unit| Some((unit.name.to_str()?, unit.text.as_str())));
    Files::new(&named.collect::<Vec<_>>())
}

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

    /// Reads an installed unit. Returns `None` if there is none.
    ///
    /// # Errors
    /// When the unit can't be read.
    pub fn installed(&self, name: &Path) -> Result<Option<Vec<u8>>> {
        Ok(self.directory.read(name, MAX_UNIT)?)
    }

    /// Whether an installed unit does not run: it has not started since its installation, or its
    /// service has failed.
    ///
    /// # Errors
    /// When its state is unknown.
    pub fn is_down(&self, name: &Path, service: Option<&str>) -> Result<bool> {
        if self.directory.read(pending(name), MAX_UNIT)?.is_some() {
            return Ok(true);
        }
        let Some(service) = service else {
            return Ok(false);
        };
        let output = self.call(&["is-failed", "--quiet", "--", service])?;
        Ok(output.status.success())
    }

    /// Writes a unit, and keeps the old one.
    ///
    /// # Errors
    /// When the unit can't be written.
    pub fn install(&self, name: &Path, text: &str) -> Result<()> {
        let write = || -> std::io::Result<()> {
            self.directory.write(pending(name), b"")?;
            if let Some(before) = self.before_install(name)? {
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

    /// Returns the text that a rollback restores. A drop-in without lines does what none does.
    fn before_install(&self, name: &Path) -> std::io::Result<Option<Vec<u8>>> {
        let installed = self.directory.read(name, MAX_UNIT)?;
        let is_part = quadlet::is_drop_in(&name.to_string_lossy());
        Ok(installed.or(is_part.then(Vec::new)))
    }

    /// Deletes the kept old unit.
    ///
    /// # Errors
    /// When the old unit can't be removed.
    pub fn forget(&self, name: &Path) -> Result<()> {
        self.remove(&kept(name))
    }

    /// Reads the unit from before the last installation.
    ///
    /// # Errors
    /// When the old unit can't be read.
    pub fn before(&self, name: &Path) -> Result<Option<String>> {
        let bytes = self.directory.read(kept(name), MAX_UNIT)?;
        bytes
            .map(String::from_utf8)
            .transpose()
            .context("a saved unit is not valid UTF-8")
    }

    fn remove(&self, file: &Path) -> Result<()> {
        let parent = file.parent().unwrap_or(Path::new(""));
        let Some(directory) = self.directory.directory(parent)? else {
            return Ok(());
        };
        match directory.remove_file(file.file_name().unwrap_or_default()) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// Makes systemd read the units again and restart those with these names, and those among `all`
    /// that read their files. Returns when they have started.
    ///
    /// # Errors
    /// When systemd refuses, or a unit does not start.
    pub fn restart(&self, names: &[&Path], all: &Files) -> Result<()> {
        self.systemctl(&["daemon-reload"])?;
        let mut done = BTreeSet::new();
        let is_unit_alone = |name: &&&Path| service_of(name, all).len() < 2;
        // Those that other units read come first: systemd restarts both in one go.
        let (alone, read): (Vec<&&Path>, Vec<&&Path>) = names.iter().partition(is_unit_alone);
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
fn service_of(name: &Path, all: &Files) -> Vec<String> {
    let name = name.to_str();
    name.map_or_else(Vec::new, |name| all.services(name))
}

fn kept(name: &Path) -> PathBuf {
    beside(name, BEFORE)
}

fn pending(name: &Path) -> PathBuf {
    beside(name, PENDING)
}

fn beside(name: &Path, ending: &str) -> PathBuf {
    let mut file = name.as_os_str().to_owned();
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
