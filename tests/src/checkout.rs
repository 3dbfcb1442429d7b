//! A clean clone of this repository to edit.

use anyhow::{Context, Result, ensure};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use tempfile::TempDir;

/// A clean clone; removed when it is dropped.
pub struct Checkout {
    directory: TempDir,
}

impl Checkout {
    /// Clones the repository, and copies uncommitted changes.
    pub fn new() -> Result<Self> {
        let directory = tempfile::Builder::new().prefix("crateyard-").tempdir()?;
        let checkout = Self { directory };
        let root = source();
        git(
            &root,
            &[
                "clone",
                "--quiet",
                "--no-hardlinks",
                ".",
                &checkout.path().to_string_lossy(),
            ],
        )?;
        // The list includes staged changes.
        let changed = git(&root, &["diff", "--name-only", "--no-renames", "HEAD"])?;
        let new = git(&root, &["ls-files", "--others", "--exclude-standard"])?;
        for name in changed.lines().chain(new.lines()) {
            let (from, to) = (root.join(name), checkout.path().join(name));
            if from.is_file() {
                fs::create_dir_all(to.parent().context("a file has a directory")?)?;
                fs::copy(from, to)?;
            } else if to.is_file() {
                fs::remove_file(to)?;
            }
        }
        checkout.track()?;
        Ok(checkout)
    }

    /// Returns the directory of the clone.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Adds new files to git, because Nix sees only tracked files.
    pub fn track(&self) -> Result<()> {
        git(self.path(), &["add", "--all"])?;
        Ok(())
    }

    /// Appends to a file.
    pub fn append(&self, name: &str, text: &str) -> Result<()> {
        let path = self.path().join(name);
        let old = fs::read_to_string(&path).with_context(|| format!("cannot read {name}"))?;
        fs::write(path, old + text)?;
        self.track()
    }

    /// Writes a file.
    pub fn write(&self, name: &str, text: &str) -> Result<()> {
        write(self.path(), name, text)?;
        self.track()
    }

    /// Replaces a text that must be there.
    pub fn replace(&self, name: &str, from: &str, to: &str) -> Result<()> {
        replace(self.path(), name, from, to)?;
        self.track()
    }

    /// Runs a program in it.
    pub fn run(&self, program: &str, arguments: &[&str]) -> Result<String> {
        duct::cmd(program, arguments)
            .dir(self.path())
            .stderr_to_stdout()
            .read()
            .with_context(|| format!("{program} {} failed", arguments.join(" ")))
    }
}

/// The clone that stands for this repository while tests run.
static CLONE: Mutex<Option<Checkout>> = Mutex::new(None);

/// A clone that replaces [`repository`] as long as it lives.
pub struct InClone;

impl InClone {
    /// Clones the repository, with its uncommitted changes.
    pub fn new() -> Result<Self> {
        *clone() = Some(Checkout::new()?);
        Ok(Self)
    }
}

impl Drop for InClone {
    fn drop(&mut self) {
        *clone() = None;
    }
}

fn clone() -> MutexGuard<'static, Option<Checkout>> {
    CLONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Returns this repository, or a clone of it. `assemble` keeps its state in the workspace, and
/// tests must leave nothing in the repository that they run in.
pub fn repository() -> PathBuf {
    match &*clone() {
        Some(checkout) => checkout.path().to_owned(),
        None => source(),
    }
}

/// Returns this repository itself, with its built programs.
pub fn source() -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().unwrap_or(tests).to_owned()
}

/// Makes a copy of a directory, to edit.
pub fn copy_of(directory: &Path) -> Result<TempDir> {
    let copy = tempfile::tempdir()?;
    duct::cmd!("cp", "-rT", directory, copy.path()).run()?;
    Ok(copy)
}

/// Makes a copy of a template, to edit.
pub fn template(name: &str) -> Result<TempDir> {
    copy_of(&repository().join("nix/templates").join(name))
}

/// Writes a file below a directory, and creates the directories that it lacks.
pub fn write(directory: &Path, name: &str, text: &str) -> Result<()> {
    let path = directory.join(name);
    fs::create_dir_all(path.parent().context("a file has a directory")?)?;
    Ok(fs::write(path, text)?)
}

/// Replaces a text that must be in a file of a directory.
pub fn replace(directory: &Path, name: &str, from: &str, to: &str) -> Result<()> {
    let path = directory.join(name);
    let old = fs::read_to_string(&path).with_context(|| format!("cannot read {name}"))?;
    ensure!(old.contains(from), "{name} does not hold {from:?}");
    Ok(fs::write(path, old.replacen(from, to, 1))?)
}

/// Runs git in a directory.
pub fn git(directory: &Path, arguments: &[&str]) -> Result<String> {
    duct::cmd("git", arguments)
        .dir(directory)
        .read()
        .with_context(|| format!("git {} failed", arguments.join(" ")))
}

/// Returns the command line under test, as an absolute path.
pub fn assemble() -> String {
    let program = std::env::var("ASSEMBLE").unwrap_or_else(|_| "target/release/assemble".into());
    source().join(program).to_string_lossy().into_owned()
}
