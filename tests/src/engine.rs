//! Unpacks images with umoci and runs them with runc.

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Unpacks an OCI layout into a bundle: `rootfs` and `config.json`.
pub fn unpack(layout: &Path) -> Result<TempDir> {
    let index: Value = serde_json::from_str(&fs::read_to_string(layout.join("index.json"))?)?;
    let tag = &index["manifests"][0]["annotations"]["org.opencontainers.image.ref.name"];
    let tag = tag.as_str().context("the layout's image has no name")?;
    // umoci writes beside the layout, but the store is read-only.
    let bundle = tempfile::tempdir()?;
    let copy = bundle.path().join("layout");
    ensure!(
        Command::new("cp")
            .arg("-r")
            .args([layout, &copy])
            .status()?
            .success(),
        "cannot copy the layout"
    );
    ensure!(
        Command::new("chmod")
            .args(["-R", "u+w"])
            .arg(&copy)
            .status()?
            .success(),
        "chmod failed"
    );
    let output = Command::new("umoci")
        .args(["unpack", "--image"])
        .arg(format!("{}:{tag}", copy.display()))
        .arg(bundle.path().join("bundle"))
        .output()?;
    ensure!(
        output.status.success(),
        "umoci unpack: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    for name in ["rootfs", "config.json"] {
        fs::rename(
            bundle.path().join("bundle").join(name),
            bundle.path().join(name),
        )?;
    }
    Ok(bundle)
}

/// Makes a bundle that runs an image with its own entrypoint. If given, `arguments` replace its
/// command.
fn bundle(layout: &Path, arguments: &[&str]) -> Result<TempDir> {
    let bundle = unpack(layout)?;
    let path = bundle.path().join("config.json");
    let mut config: Value = serde_json::from_str(&fs::read_to_string(&path)?)?;
    config["process"]["terminal"] = json!(false);
    if !arguments.is_empty() {
        let entrypoint = config["process"]["args"][0].clone();
        let given = arguments.iter().map(|a| json!(a));
        config["process"]["args"] = std::iter::once(entrypoint).chain(given).collect();
    }
    fs::write(&path, config.to_string())?;
    Ok(bundle)
}

/// Returns a unique name for the container of a bundle.
fn name_for(bundle: &TempDir) -> String {
    let directory = bundle.path().file_name().unwrap_or_default();
    let directory = directory.to_string_lossy().replace('.', "");
    format!("crateyard-{}-{directory}", std::process::id())
}

/// Runs an image until it ends, and returns its output and errors.
pub fn run(layout: &Path, arguments: &[&str], input: &str) -> Result<String> {
    run_until(layout, arguments, input, 0)
}

/// Does the same for a program that ends with another exit code.
pub fn run_until(layout: &Path, arguments: &[&str], input: &str, code: i32) -> Result<String> {
    let bundle = bundle(layout, arguments)?;
    let run = duct::cmd!("runc", "run", "--bundle", bundle.path(), name_for(&bundle));
    let output = run
        .stdin_bytes(input)
        .stderr_to_stdout()
        .stdout_capture()
        .unchecked()
        .run()?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(
        output.status.code() == Some(code),
        "it ended with {} instead of exit code {code}:\n{said}",
        output.status
    );
    Ok(said)
}

/// A running container. It ends on drop.
pub struct Container {
    bundle: TempDir,
    name: String,
    process: std::cell::RefCell<Child>,
}

impl Container {
    /// Starts an image with its own entrypoint. If given, `arguments` replace its command.
    pub fn start(layout: &Path, arguments: &[&str]) -> Result<Self> {
        let bundle = bundle(layout, arguments)?;
        let name = name_for(&bundle);
        let log = File::create(bundle.path().join("log"))?;
        let process = Command::new("runc")
            .args(["run", "--bundle"])
            .arg(bundle.path())
            .arg(&name)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        Ok(Self {
            bundle,
            name,
            process: process.into(),
        })
    }

    /// Returns the container's output so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.bundle.path().join("log")).unwrap_or_default()
    }

    /// Waits until a command in the container succeeds.
    pub fn until_exec_succeeds(&self, command: &[&str], limit: Duration) -> Result<()> {
        self.until(&format!("{command:?} to succeed"), limit, || {
            let exec = Command::new("runc")
                .arg("exec")
                .arg(&self.name)
                .args(command)
                .output();
            exec.is_ok_and(|output| output.status.success())
        })
    }

    /// Waits until the container has printed a text.
    pub fn until_logged(&self, text: &str, limit: Duration) -> Result<()> {
        self.until(&format!("{text:?} in the log"), limit, || {
            self.log().contains(text)
        })
    }

    fn until(&self, what: &str, limit: Duration, check: impl Fn() -> bool) -> Result<()> {
        let start = Instant::now();
        while start.elapsed() < limit {
            if check() {
                return Ok(());
            }
            if let Some(status) = self.process.borrow_mut().try_wait()? {
                bail!(
                    "the container ended with {status}; it said:\n{}",
                    self.log()
                );
            }
            std::thread::sleep(Duration::from_millis(200));
        }
        bail!(
            "waited {limit:?} for {what}; the container said:\n{}",
            self.log()
        )
    }

    /// Returns a field of process 1 in /proc/PID/status.
    pub fn status_field(&self, field: &str) -> Result<String> {
        let state = Command::new("runc").args(["state", &self.name]).output()?;
        let state: Value = serde_json::from_slice(&state.stdout)?;
        let status = fs::read_to_string(format!("/proc/{}/status", state["pid"]))?;
        let line = status
            .lines()
            .find(|line| line.starts_with(&format!("{field}:")));
        let line = line.with_context(|| format!("no {field} in {status}"))?;
        Ok(line[field.len() + 1..].trim().to_owned())
    }

    /// Sends a signal and waits for the end; returns the exit code.
    pub fn stop(&self, signal: &str, limit: Duration) -> Result<i32> {
        Command::new("runc")
            .args(["kill", &self.name, signal])
            .status()?;
        let start = Instant::now();
        while start.elapsed() < limit {
            if let Some(status) = self.process.borrow_mut().try_wait()? {
                return Ok(status.code().unwrap_or(-1));
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        bail!(
            "still running {limit:?} after SIG{signal}; it said:\n{}",
            self.log()
        )
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        // Best effort, because a container that ended by itself is already gone.
        let _ = Command::new("runc")
            .args(["delete", "--force", &self.name])
            .output();
        let _ = self.process.borrow_mut().wait();
    }
}
