//! A runner: a machine with an empty store.

use crate::checkout::assemble;
use anyhow::{Context, Result, bail};
use serde::Deserialize;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// An empty machine with its own store and home.
pub struct Runner {
    directory: TempDir,
}

/// The images of one build.
pub struct Images(Vec<Image>);

#[derive(Clone, Deserialize)]
pub struct Image {
    pub name: String,
    pub digest: String,
    pub size: u64,
}

impl Images {
    /// Returns the size of manifests, configurations and layers, in bytes.
    pub fn bytes(&self) -> u64 {
        self.0.iter().map(|image| image.size).sum()
    }

    pub fn digest(&self, name: &str) -> Result<String> {
        let found = self.0.iter().find(|image| image.name == name);
        Ok(found
            .with_context(|| format!("no image {name}"))?
            .digest
            .clone())
    }
}

impl Runner {
    pub fn new() -> Result<Self> {
        let directory = tempfile::Builder::new()
            .prefix("crateyard-runner-")
            .tempdir()?;
        fs::create_dir(directory.path().join("home"))?;
        Ok(Self { directory })
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub fn store(&self) -> PathBuf {
        self.path("store")
    }

    /// Returns the paths in its store.
    pub fn paths(&self) -> Result<Vec<String>> {
        let store = self.store().join("nix/store");
        if !store.exists() {
            return Ok(Vec::new());
        }
        let entries = fs::read_dir(store)?;
        entries
            .map(|it| Ok(it?.file_name().to_string_lossy().into_owned()))
            .collect()
    }

    /// Builds the images. Also returns Nix's messages.
    pub fn build(
        &self,
        workspace: &Path,
        caches: &[String],
        nix: &[&str],
    ) -> Result<(Images, String)> {
        self.build_some(&[], workspace, caches, nix)
    }

    pub fn build_some(
        &self,
        names: &[&str],
        workspace: &Path,
        caches: &[String],
        nix: &[&str],
    ) -> Result<(Images, String)> {
        let store = self.store().display().to_string();
        let workspace = workspace.display().to_string();
        let mut arguments = vec![
            "build",
            "--json",
            "--store",
            &store,
            "--workspace",
            &workspace,
        ];
        arguments.extend(names);
        arguments.extend(caches.iter().map(String::as_str));
        // Nix builds in another store only with these options.
        arguments.extend(["--", "--builders", "", "-L", "--max-jobs", "2"]);
        arguments.extend(nix);
        let (text, said) = self.assemble(&arguments)?;
        Ok((Images(serde_json::from_str(&text)?), said))
    }

    /// Runs a verb of `assemble cache` on the images of a workspace.
    pub fn cache(
        &self,
        verb: &str,
        workspace: &Path,
        caches: &[String],
        more: &[&str],
    ) -> Result<String> {
        let store = self.store().display().to_string();
        let workspace = workspace.display().to_string();
        let mut arguments = vec!["cache", verb, "--store", &store, "--workspace", &workspace];
        arguments.extend(caches.iter().map(String::as_str));
        arguments.extend(more);
        Ok(self.assemble(&arguments)?.0)
    }

    /// Runs the command line with this runner's home. Returns its standard output and standard
    /// error.
    pub fn assemble(&self, arguments: &[&str]) -> Result<(String, String)> {
        let output = self.command(arguments).output()?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        if !output.status.success() {
            bail!("assemble {} failed:\n{said}", arguments.join(" "));
        }
        Ok((String::from_utf8(output.stdout)?, said))
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(assemble());
        command
            .args(arguments)
            .env("HOME", self.path("home"))
            .env_remove("XDG_CACHE_HOME")
            .env(
                "NIX_CONFIG",
                "warn-dirty = false\nmax-jobs = 2\nconnect-timeout = 2\nstalled-download-timeout = \
                 4\n",
            );
        command
    }
}

impl Drop for Runner {
    fn drop(&mut self) {
        // The store's directories are read-only.
        let _ = Command::new("chmod")
            .args(["-R", "u+w"])
            .arg(self.directory.path())
            .status();
    }
}
