//! `assemble fetch` gets a bootstrap program from a release, by the hash that the lock pins, and
//! keeps it for other stores.

use crate::checkout::{Checkout, assemble, git};
use crate::served::serve;
use anyhow::{Context, Result, ensure};
use crateyard_nix::{Store, nar};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// The bytes that stand for the image program. No machine has them.
const PROGRAM: &[u8] = b"#!/bin/sh\n# stands for the image program\n";

pub(super) fn from_a_release() -> Result<()> {
    let place = Place::new()?;
    let release = place.release();
    fs::create_dir_all(&release)?;
    let path = place.store("first").path_of_program();
    let file = release.join(Path::new(&path).file_name().context("no name")?);
    fs::write(&file, PROGRAM)?;
    let said = place.fetch("first", "cache")?;
    ensure!(!compiles_it(&said), "it is in the release:\n{said}");
    ensure!(place.store("first").has_it()?, "it is not in the store");

    fs::write(&file, "other")?;
    let said = place.fetch("second", "cache")?;
    ensure!(!compiles_it(&said), "it was kept:\n{said}");
    ensure!(place.store("second").has_it()?, "it is not in the store");

    let said = place.fetch("third", "another-cache")?;
    ensure!(compiles_it(&said), "other bytes were taken:\n{said}");
    ensure!(
        said.contains("not the bytes that bootstrap.lock pins for image"),
        "{said}"
    );
    ensure!(!place.store("third").has_it()?, "it is in the store");
    Ok(())
}

/// Whether a fetch has announced that a build compiles the image program.
fn compiles_it(said: &str) -> bool {
    let mut lines = said.lines();
    lines.any(|line| line.contains("the first build compiles") && line.contains("image"))
}

/// A workspace that uses a Crateyard whose lock pins [`PROGRAM`], and a server with releases.
struct Place {
    directory: TempDir,
    releases: String,
    /// The flake's input.
    crateyard: Checkout,
}

/// A store in a directory of a [`Place`].
struct Elsewhere(PathBuf);

impl Place {
    fn new() -> Result<Self> {
        let crateyard = pinning()?;
        let directory = tempfile::tempdir()?;
        let releases = directory.path().join("releases");
        fs::create_dir(&releases)?;
        let place = Self {
            releases: serve(&releases, None)?,
            directory,
            crateyard,
        };
        let above = place.directory.path();
        duct::cmd!("cargo", "new", "--quiet", "hello")
            .dir(above)
            .run()?;
        let flake = format!("git+file://{}", place.crateyard.path().display());
        let workspace = place.workspace();
        let init = duct::cmd!(assemble(), "init", "--crateyard", flake);
        init.dir(&workspace).stderr_to_stdout().read()?;
        git(&workspace, &["add", "--all"])?;
        Ok(place)
    }

    fn workspace(&self) -> PathBuf {
        self.directory.path().join("hello")
    }

    /// Returns the directory of the release with Crateyard's own version.
    fn release(&self) -> PathBuf {
        let tag = concat!("v", env!("CARGO_PKG_VERSION"));
        self.directory.path().join("releases").join(tag)
    }

    fn store(&self, name: &str) -> Elsewhere {
        Elsewhere(self.directory.path().join(name))
    }

    /// Fetches into a store with a user's cache. Leaves out what takes long: the compiler and its
    /// Debian packages.
    fn fetch(&self, store: &str, cache: &str) -> Result<String> {
        let store = self.directory.path().join(store);
        let fetch = duct::cmd!(
            assemble(),
            "fetch",
            "--sets=base",
            "--toolchain-lock=none/toolchain.lock",
            "--store",
            &store
        );
        fetch
            .dir(self.workspace())
            .env("XDG_CACHE_HOME", self.directory.path().join(cache))
            .env("CRATEYARD_RELEASES", &self.releases)
            .stderr_to_stdout()
            .read()
            .with_context(|| format!("cannot fetch into {}", store.display()))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // Nix takes the right to write away from what it stores.
        let _ = duct::cmd!("chmod", "-R", "u+w", self.directory.path()).run();
    }
}

impl Elsewhere {
    fn path_of_program(&self) -> String {
        let hash = nar::hash_of_executable(PROGRAM).base16();
        self.nix().path_of_tree("bootstrap-image", &hash)
    }

    fn nix(&self) -> Store {
        Store::new(Some(self.0.to_string_lossy().into_owned()))
    }

    fn has_it(&self) -> Result<bool> {
        let path = self.path_of_program();
        let has = self.nix().missing([path.as_str()])?.is_empty();
        ensure!(!has || fs::read(self.nix().physical(&path))? == PROGRAM);
        Ok(has)
    }
}

/// Returns a Crateyard whose lock pins [`PROGRAM`] as the image program.
fn pinning() -> Result<Checkout> {
    let checkout = Checkout::new()?;
    let text = fs::read_to_string(checkout.path().join("bootstrap.lock"))?;
    let lock: Value = serde_json::from_str(&text)?;
    let pinned = lock["programs"]["x86_64-linux"]["image"]["files"].as_str();
    let pinned = pinned.context("the lock has no image program")?;
    let hash = nar::hash_of_executable(PROGRAM).base16();
    checkout.replace("bootstrap.lock", pinned, &hash)?;
    let identity = ["-c", "user.name=e2e", "-c", "user.email=e2e@localhost"];
    let commit = [
        "commit",
        "--quiet",
        "--all",
        "--message",
        "Pin another program",
    ];
    git(checkout.path(), &[&identity[..], &commit].concat())?;
    Ok(checkout)
}
