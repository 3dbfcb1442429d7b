//! Parts of the tests: a cache that main has pushed, runners with empty stores, and services.

mod runner;
mod services;

pub use runner::{Images, Runner};
pub use services::{Bucket, Nginx, Registry, free_port, moto};

use crate::checkout::{assemble, repository};
use crate::nix;
use crate::release::{Release, cache};
use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

/// A program that ends with the test.
pub struct Running(Child);

impl Running {
    pub fn start(command: &mut Command) -> Result<Self> {
        let name = command.get_program().to_string_lossy().into_owned();
        let child = command
            .spawn()
            .with_context(|| format!("cannot start {name}"))?;
        Ok(Self(child))
    }

    /// Ends the program with all its children. It leads its own process group.
    pub fn kill_group(&mut self) -> Result<()> {
        duct::cmd!("kill", "-KILL", "--", format!("-{}", self.0.id())).run()?;
        self.0.wait()?;
        Ok(())
    }

    pub fn kill(&mut self) -> Result<()> {
        self.0.kill()?;
        self.0.wait()?;
        Ok(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.kill();
    }
}

/// A signing key, and its trusted public key.
pub struct Key {
    pub file: PathBuf,
    pub public: String,
}

impl Key {
    /// Makes a key, or reads the existing one.
    pub fn at(file: &Path, name: &str) -> Result<Self> {
        if !file.exists() {
            fs::create_dir_all(file.parent().context("a file has a directory")?)?;
            let key = nix::nix(&["key", "generate-secret", "--key-name", name])?;
            fs::write(file, key)?;
        }
        let public = duct::cmd!("nix", "key", "convert-secret-to-public")
            .env("NIX_CONFIG", nix::SETTINGS)
            .stdin_path(file)
            .read()?;
        Ok(Self {
            file: file.to_owned(),
            public: public.trim().to_owned(),
        })
    }
}

/// The output of `assemble cache push --json`.
#[derive(Debug, Deserialize)]
pub struct Pushed {
    pub sent: usize,
    pub bytes: u64,
    pub requests: u64,
}

/// Main's cache: a directory that tests keep between runs, with all paths of this commit.
pub struct Main {
    pub directory: PathBuf,
    pub key: Key,
}

impl Main {
    /// Pushes the missing paths, once in each run.
    pub fn pushed() -> Result<&'static Main> {
        static PUSHED: OnceLock<Result<Main, String>> = OnceLock::new();
        let push = || -> Result<Main> {
            let main = Main {
                directory: cache("ci-cache")?,
                key: Key::at(&cache("ci-cache.key")?, "main-1")?,
            };
            main.push(&main.address(), &[])?;
            // Remove the builds of other commits.
            duct::cmd!(assemble(), "cache", "gc", &main.directory, "--grace", "0s")
                .stdout_null()
                .run()?;
            Ok(main)
        };
        let pushed = PUSHED.get_or_init(|| push().map_err(|error| format!("{error:#}")));
        pushed.as_ref().map_err(|error| anyhow::anyhow!("{error}"))
    }

    pub fn address(&self) -> String {
        self.directory.display().to_string()
    }

    /// Returns the options for a cache that main has signed.
    pub fn from(&self, address: &str) -> Vec<String> {
        let mut options = self.without_key(address);
        options.extend(["--trusted-key".to_owned(), self.key.public.clone()]);
        options
    }

    pub fn without_key(&self, address: &str) -> Vec<String> {
        vec!["--cache".to_owned(), address.to_owned()]
    }

    /// Pushes this repository's images from the machine's store.
    pub fn push(&self, address: &str, options: &[&str]) -> Result<Pushed> {
        let output = self
            .push_command(address, options)
            .stdout(Stdio::piped())
            .output()?;
        ensure!(output.status.success(), "cache push --to {address} failed");
        Ok(serde_json::from_slice(&output.stdout)?)
    }

    pub fn start_push(&self, address: &str, options: &[&str]) -> Result<Running> {
        let mut command = self.push_command(address, options);
        Running::start(command.stdout(Stdio::null()).process_group(0))
    }

    fn push_command(&self, address: &str, options: &[&str]) -> Command {
        let mut command = Command::new(assemble());
        command
            .args(["cache", "push", "--json", "--to", address, "--workspace"])
            .arg(repository())
            .arg("--sign-key")
            .arg(&self.key.file)
            .args(options)
            .env("NIX_CONFIG", "warn-dirty = false\n");
        command
    }
}

/// Counts the paths of a cache in a directory. Fails if one is incomplete.
pub fn whole(directory: &Path) -> Result<usize> {
    if !directory.exists() {
        return Ok(0);
    }
    let mut count = 0;
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.extension().is_none_or(|it| it != "narinfo") {
            continue;
        }
        let text = fs::read_to_string(&path)?;
        let info = crateyard_nix::NarInfo::parse(&text, &path.display().to_string())?;
        let archive = directory.join(&info.url);
        let size = fs::metadata(&archive)
            .with_context(|| format!("{} is missing", archive.display()))?
            .len();
        ensure!(
            Some(size) == info.file_size,
            "{} is cut off",
            archive.display()
        );
        for reference in info.references.iter().filter(|it| **it != info.path) {
            let there = directory.join(format!("{}.narinfo", reference.hash()));
            ensure!(
                there.exists(),
                "{} refers to {reference}, which is missing",
                info.path
            );
        }
        count += 1;
    }
    Ok(count)
}

/// Newer versions of Nix take packs from `assemble cache serve`, with the signatures of this Nix.
pub fn other_nix() -> Result<()> {
    let main = Main::pushed()?;
    let runner = Runner::new()?;
    let packs = format!("pack:{}", runner.path("packs").display());
    main.push(&packs, &["--packages-only"])?;
    let mut command = runner.command(&["cache", "serve"]);
    command.args(main.from(&packs)).stdout(Stdio::piped());
    let mut child = command.spawn()?;
    let mut url = String::new();
    let stdout = child.stdout.take().context("serve prints nothing")?;
    BufReader::new(stdout).read_line(&mut url)?;
    let _server = Running(child);
    let flake = format!(
        "git+file://{}#gateway-image.outPath",
        repository().display()
    );
    let image = nix::nix(&["eval", "--raw", &flake])?;
    for suite in ["trixie", "sid"] {
        let release = Release::with_nix(suite)?;
        let settings = format!(
            "sandbox = true\nsubstituters = {}\ntrusted-public-keys = {}\nrequire-sigs = \
             true\nmax-jobs = 0\n",
            url.trim(),
            main.key.public
        );
        let environment = [("NIX_CONFIG", settings.as_str()), ("NIX_REMOTE", "local")];
        let store = format!("/tmp/crateyard-cold-{}", std::process::id());
        let result = release.run(
            &[],
            &environment,
            &["nix-store", "--store", &store, "--realise", image.trim()],
        );
        let place = release.path(&store);
        let is_there = place.join(&image.trim()[1..]).join("index.json").exists();
        let _ = Command::new("chmod")
            .args(["-R", "u+w"])
            .arg(&place)
            .status();
        fs::remove_dir_all(&place)?;
        let (_, said) = result?;
        ensure!(is_there, "{suite}: the image is not there:\n{said}");
        println!("the Nix of {suite} reads packs through serve");
    }
    Ok(())
}
