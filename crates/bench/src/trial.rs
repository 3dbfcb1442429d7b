//! A copy of the workspace to edit.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use crateyard_engines::Engine;
use tempfile::TempDir;

/// The copy. Dropping it removes the directory.
pub(crate) struct Trial {
    directory: TempDir,
    /// A value that is unique to this copy.
    pub nonce: String,
}

impl Trial {
    /// Copies the files that git knows in the workspace, in their current state.
    ///
    /// # Errors
    /// When git does not know the workspace, or the disk is full.
    pub(crate) fn new(workspace: &Path, engine: Engine, crateyard: Option<&str>) -> Result<Trial> {
        let directory = tempfile::Builder::new()
            .prefix("crateyard-bench-")
            .tempdir()?;
        let name = directory.path().file_name().unwrap_or_default();
        let trial = Trial {
            nonce: name.to_string_lossy().into_owned(),
            directory,
        };
        let listed = git(
            workspace,
            &[
                "ls-files",
                "-z",
                "--cached",
                "--others",
                "--exclude-standard",
            ],
        )
        .context("the workspace must be known to git")?;
        for name in listed.split('\0').filter(|name| !name.is_empty()) {
            let from = workspace.join(name);
            // A file that git lists but that is missing is being deleted.
            if from.symlink_metadata().is_ok() {
                copy(&from, &trial.root().join(name))?;
            }
        }
        git(trial.root(), &["init", "--quiet"])?;
        trial.append(".git/info/exclude", "/target\n/.crateyard\n")?;
        trial.choose_flake(workspace, engine, crateyard)?;
        trial.track()?;
        Ok(trial)
    }

    /// Returns the path of the copy.
    pub(crate) fn root(&self) -> &Path {
        self.directory.path()
    }

    /// Makes the copy build with the library of another flake. Crateyard's own workspace builds its
    /// tools from itself, so an edit in the copy would build those again too. The bench does not
    /// measure them, so the copy is built with the library of the original.
    fn choose_flake(&self, workspace: &Path, engine: Engine, given: Option<&str>) -> Result<()> {
        if engine != Engine::Nix {
            return Ok(());
        }
        let is_crateyard = workspace.join("nix/lib.nix").is_file();
        let flake = match given {
            Some(flake) => flake.to_owned(),
            None if is_crateyard => format!("git+file://{}", workspace.canonicalize()?.display()),
            None => return Ok(()),
        };
        let text = format!(
            "{{\n  inputs.crateyard.url = \"{flake}\";\n  \
             outputs = {{ self, crateyard }}: crateyard.lib.mkFlake {{ src = self; }};\n}}\n"
        );
        fs::write(self.root().join("flake.nix"), text)?;
        // The lock is for the other flake.
        match fs::remove_file(self.root().join("flake.lock")) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
        git(self.root(), &["add", "flake.nix"])?;
        let features = ["--extra-experimental-features", "nix-command flakes"];
        self.run("nix", &[&features[..], &["flake", "lock"]].concat())?;
        Ok(())
    }

    /// Returns the directory of the state that commands keep for the copy.
    pub(crate) fn state(&self) -> PathBuf {
        self.root().join(".crateyard/state")
    }

    /// Adds the files to git, because Nix sees only files that git knows.
    ///
    /// # Errors
    /// When git fails.
    pub(crate) fn track(&self) -> Result<()> {
        git(self.root(), &["add", "--all"]).map(drop)
    }

    /// Appends to a file, or creates it if it is missing.
    ///
    /// # Errors
    /// When the file can't be written.
    pub(crate) fn append(&self, name: &str, text: &str) -> Result<()> {
        let path = self.root().join(name);
        let old = match path.exists() {
            true => read(&path)?,
            false => String::new(),
        };
        self.write(name, &(old + text))
    }

    /// Changes a file. An edit that changes nothing is an error.
    ///
    /// # Errors
    /// When the file can't be read or written, or does not change.
    pub(crate) fn change(
        &self,
        name: &str,
        edit: impl FnOnce(&str) -> Option<String>,
    ) -> Result<()> {
        let path = self.root().join(name);
        let old = read(&path)?;
        match edit(&old) {
            Some(new) if new != old => self.write(name, &new),
            _ => bail!("the edit of {name} changes nothing"),
        }
    }

    fn write(&self, name: &str, text: &str) -> Result<()> {
        let path = self.root().join(name);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
    }

    /// Runs a program in the copy.
    ///
    /// # Errors
    /// When the program fails. The error quotes its output.
    pub(crate) fn run(&self, program: &str, arguments: &[&str]) -> Result<String> {
        run(self.root(), program, arguments)
    }
}

fn read(path: &PathBuf) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    let context = || format!("cannot copy {}", from.display());
    if let Some(parent) = to.parent() {
        fs::create_dir_all(parent).with_context(context)?;
    }
    if from.is_symlink() {
        return std::os::unix::fs::symlink(fs::read_link(from)?, to).with_context(context);
    }
    fs::copy(from, to).map(drop).with_context(context)
}

fn git(directory: &Path, arguments: &[&str]) -> Result<String> {
    run(directory, "git", arguments)
}

fn run(directory: &Path, program: &str, arguments: &[&str]) -> Result<String> {
    let output = Command::new(program)
        .args(arguments)
        .current_dir(directory)
        .output()
        .with_context(|| format!("cannot start {program}"))?;
    if !output.status.success() {
        bail!(
            "`{program} {}` failed: {}",
            arguments.join(" "),
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
