//! A machine as it is before Crateyard: an empty `/nix`, an empty home.

use anyhow::{Context, Result};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use tempfile::TempDir;

/// Runs a line in `$2` with `$1` as `/nix`, errors among the output.
const ENTER: &str = r#"mount --bind "$1" /nix && cd "$2" && exec sh -c "$3" 2>&1"#;

/// The engine of the recording: one storage for it alone, the machine's network.
const CONTAINERS: &str = r#"
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
[containers]
netns = "host"
log_driver = "k8s-file"
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
"#;

/// Directories of its own, which the processes see in place of the machine's.
pub struct Machine {
    place: TempDir,
}

impl Machine {
    /// An empty machine on which `assemble` is installed.
    pub fn new(assemble: &Path) -> Result<Self> {
        let machine = Self {
            place: tempfile::Builder::new()
                .prefix("crateyard-first-")
                .tempdir()?,
        };
        for name in ["nix", "home", "bin", "tmp"] {
            fs::create_dir(machine.path(name))?;
        }
        fs::copy(assemble, machine.path("bin/assemble"))?;
        fs::write(machine.path("containers.conf"), CONTAINERS)?;
        let storage = format!(
            "[storage]\ndriver = \"vfs\"\ngraphroot = \"{0}/graph\"\nrunroot = \"{0}/run\"\n",
            machine.place.path().display()
        );
        fs::write(machine.path("storage.conf"), storage)?;
        Ok(machine)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.place.path().join(name)
    }

    /// The new package.
    pub fn workspace(&self) -> PathBuf {
        self.path("home/hello")
    }

    /// Runs a line in the package's directory, or in the home directory before there is one.
    pub fn shell(&self, line: &str) -> Result<Output> {
        let workspace = self.workspace();
        let directory = if workspace.exists() {
            workspace
        } else {
            self.path("home")
        };
        let mut command = Command::new("unshare");
        command
            .args([
                "--mount",
                "--propagation",
                "private",
                "sh",
                "-c",
                ENTER,
                "sh",
            ])
            .args([&self.path("nix"), &directory])
            .arg(line)
            .stdin(Stdio::null())
            .env_clear()
            .env("PATH", self.search_path()?)
            .env("HOME", self.path("home"))
            .env("TMPDIR", self.path("tmp"))
            .env("CONTAINERS_CONF", self.path("containers.conf"))
            .env("CONTAINERS_STORAGE_CONF", self.path("storage.conf"));
        // The toolchain that rustup installed is the only thing that was downloaded before.
        let home = std::env::var_os("HOME").map(|home| Path::new(&home).join(".rustup"));
        if let Some(toolchains) = std::env::var_os("RUSTUP_HOME").or(home.map(Into::into)) {
            command.env("RUSTUP_HOME", toolchains);
        }
        command
            .output()
            .with_context(|| format!("cannot run `{line}`"))
    }

    fn search_path(&self) -> Result<std::ffi::OsString> {
        let own = std::env::var_os("PATH").unwrap_or_default();
        let all = std::iter::once(self.path("bin")).chain(std::env::split_paths(&own));
        Ok(std::env::join_paths(all)?)
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // There may be no container, and a failed recording has its own error.
        let _ = self.shell("podman rm --force --all");
    }
}
