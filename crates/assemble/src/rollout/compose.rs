//! Runs compose files. The user's own `docker compose` restarts services with a new configuration
//! and leaves the others alone.

use std::ffi::OsString;
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use anyhow::{Context, Result, bail};
use crateyard_disk::Directory;
use crateyard_terminal::clean_log;
use crateyard_workspace::state::State;
use sha2::{Digest, Sha256};

use super::files::MAX_FILE;

/// Whether a file has a name of compose's files: `compose.yaml`, `docker-compose.prod.yml`.
pub fn is_compose(name: &str) -> bool {
    let rest = name.strip_prefix("docker-").unwrap_or(name);
    let Some(rest) = rest.strip_prefix("compose") else {
        return false;
    };
    rest.starts_with(['.', '-']) && (rest.ends_with(".yaml") || rest.ends_with(".yml"))
}

/// Returns the command for compose, as words: `docker compose`, `docker-compose` or
/// `podman-compose`.
fn program() -> Result<Vec<OsString>> {
    let candidates: [&[&str]; 3] = [
        &["docker", "compose"],
        &["docker-compose"],
        &["podman-compose"],
    ];
    for words in candidates {
        let version = duct::cmd(words[0], words[1..].iter().chain([&"version"]));
        let answer = version.stdout_null().stderr_null().unchecked().run();
        if answer.is_ok_and(|answer| answer.status.success()) {
            return Ok(words.iter().map(OsString::from).collect());
        }
    }
    bail!(
        "there is no compose\n  try: install docker compose (Debian: apt-get install \
         docker-compose)"
    )
}

/// Starts the services of a resolved file, restarts the changed ones, and waits until they are
/// healthy. In a dry run, compose only tells what it would do.
///
/// # Errors
/// When compose is not installed, or fails.
pub fn up(file: &Path, text: &str, is_dry: bool) -> Result<String> {
    let program = program()?;
    let directory = file
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    let directory = directory.unwrap_or(Path::new("."));
    let mut words: Vec<OsString> = program[1..].to_vec();
    words.extend(["--project-directory".into(), directory.into()]);
    if is_dry {
        words.push("--dry-run".into());
    }
    words.extend(["--file", "-", "up", "--detach", "--wait"].map(OsString::from));
    let output = duct::cmd(&program[0], words)
        .stdin_bytes(text.as_bytes())
        .stderr_to_stdout()
        .stdout_capture()
        .unchecked()
        .before_spawn(|command| {
            crateyard_nix::process::end_with_parent(command);
            Ok(())
        })
        .run()
        .context("cannot start compose")?;
    let said = String::from_utf8_lossy(&output.stdout);
    let said = clean_log(said.trim()).into_owned();
    if !output.status.success() {
        bail!("compose did not start {}: {said}", file.display());
    }
    Ok(said)
}

/// The directory of resolved files, below the workspace's state.
const PLACE: &str = "deployed/compose";
/// The number of digits of the hash in a file's name.
const DIGITS: usize = 16;

/// The resolved texts of one compose file: the running text, and the text before.
pub struct Kept {
    directory: Directory,
    last: String,
    before: String,
}

impl Kept {
    /// Opens the texts of a file.
    ///
    /// # Errors
    /// When the workspace is not writable.
    pub fn of(workspace: &Path, file: &Path) -> Result<Kept> {
        let full = file.canonicalize().unwrap_or_else(|_| file.to_owned());
        let mut key = format!("{:x}", Sha256::digest(full.as_os_str().as_bytes()));
        key.truncate(DIGITS);
        Ok(Kept {
            directory: State::of(workspace)?.make_directory(PLACE)?,
            last: format!("{key}-last.yaml"),
            before: format!("{key}-before.yaml"),
        })
    }

    /// Keeps the text that runs now. Returns whether another one ran before.
    ///
    /// # Errors
    /// When the text can't be written.
    pub fn keep(&self, text: &str) -> Result<bool> {
        let last = self.directory.read(&self.last, MAX_FILE)?;
        if last.as_deref() == Some(text.as_bytes()) {
            return Ok(false);
        }
        if last.is_some() {
            self.directory.rename(&self.last, &self.before)?;
        }
        self.directory.write(&self.last, text.as_bytes())?;
        Ok(true)
    }

    /// Deletes the text that ran before.
    ///
    /// # Errors
    /// When the text can't be removed.
    pub fn forget(&self) -> Result<()> {
        match self.directory.remove_file(&self.before) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// Reads the text that ran before.
    ///
    /// # Errors
    /// When the text can't be read.
    pub fn before(&self) -> Result<Option<String>> {
        let bytes = self.directory.read(&self.before, MAX_FILE)?;
        bytes
            .map(String::from_utf8)
            .transpose()
            .context("a saved compose file is not valid UTF-8")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_compose_files() {
        for name in [
            "compose.yaml",
            "compose.yml",
            "docker-compose.yml",
            "docker-compose.prod.yaml",
            "compose-dev.yaml",
        ] {
            assert!(is_compose(name), "{name}");
        }
        for name in [
            "composer.yaml",
            "deployment.yaml",
            "compose.json",
            "my-compose.yaml",
        ] {
            assert!(!is_compose(name), "{name}");
        }
    }
}
