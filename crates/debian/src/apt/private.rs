//! Runs apt without the machine's state.

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use tempfile::TempDir;

use super::download::Download;
use super::indexes::IndexOptions;
use super::{AptError, io_error, run};
use crate::lock::Suite;
use crate::release::is_flat;

/// apt's downloader, from the package `apt` itself.
const APT_HELPER: &str = "/usr/lib/apt/apt-helper";

/// Creates a temporary directory that apt can download into. If root runs apt, the user `_apt`
/// downloads, and so must own the directory.
pub fn download_directory() -> Result<TempDir, AptError> {
    let directory = temporary_directory()?;
    let is_root = fs::metadata("/proc/self").is_ok_and(|me| me.uid() == 0);
    let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let apt = passwd
        .lines()
        .find_map(|line| line.strip_prefix("_apt:")?.split(':').nth(1)?.parse().ok());
    if let (true, Some(uid)) = (is_root, apt) {
        chown(directory.path(), Some(uid), None)
            .map_err(|source| io_error(directory.path(), source))?;
    }
    Ok(directory)
}

/// Creates a temporary directory that every user may read.
fn temporary_directory() -> Result<TempDir, AptError> {
    let directory = tempfile::Builder::new()
        .prefix("crateyard-apt-")
        .tempdir()
        .map_err(|source| io_error(&std::env::temp_dir(), source))?;
    let open = fs::Permissions::from_mode(0o755);
    fs::set_permissions(directory.path(), open)
        .map_err(|source| io_error(directory.path(), source))?;
    Ok(directory)
}

/// A directory in which apt runs without the machine's state.
pub(super) struct PrivateApt {
    directory: TempDir,
}

impl PrivateApt {
    pub(super) fn new() -> Result<Self, AptError> {
        let apt = PrivateApt {
            directory: temporary_directory()?,
        };
        for name in ["state/lists/partial", "cache/archives/partial", "etc"] {
            let path = apt.path(name);
            fs::create_dir_all(&path).map_err(|source| io_error(&path, source))?;
        }
        apt.write("status", "")?;
        apt.write("apt.conf", &apt.configuration())?;
        Ok(apt)
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(super) fn write(&self, name: &str, text: &str) -> Result<(), AptError> {
        let path = self.path(name);
        fs::write(&path, text).map_err(|source| io_error(&path, source))
    }

    /// Settings that override the machine's configuration.
    pub(super) fn configuration(&self) -> String {
        let directory = self.directory.path().display();
        format!(
            "#clear APT::Update::Pre-Invoke;\n\
             #clear APT::Update::Post-Invoke;\n\
             #clear APT::Update::Post-Invoke-Success;\n\
             APT::Update::Error-Mode \"any\";\n\
             Dir::State \"{directory}/state\";\n\
             Dir::State::status \"{directory}/status\";\n\
             Dir::Cache \"{directory}/cache\";\n\
             Dir::Etc::sourcelist \"{directory}/etc/archive.sources\";\n\
             Dir::Etc::sourceparts \"-\";\n\
             Dir::Etc::preferences \"-\";\n\
             Dir::Etc::preferencesparts \"-\";\n\
             Acquire::GzipIndexes \"false\";\n\
             Acquire::PDiffs \"false\";\n\
             Acquire::Languages \"none\";\n"
        )
    }

    pub(super) fn write_source(
        &self,
        mirror: &str,
        suite: &Suite,
        options: &IndexOptions<'_>,
    ) -> Result<(), AptError> {
        let keyring = self.path("etc/keyring.gpg");
        fs::write(&keyring, &options.keys_of(suite).binary)
            .map_err(|source| io_error(&keyring, source))?;
        let words = [("the mirror", mirror), ("the suite", &suite.name)].into_iter();
        let components = suite.components.iter();
        for (what, text) in words.chain(components.map(|it| ("the component", it.as_str()))) {
            if text.is_empty() || text.contains(|c: char| c.is_whitespace() || c.is_control()) {
                let text = text.to_owned();
                return Err(AptError::NotAWord { what, text });
            }
        }
        let architectures: Vec<&str> = options
            .architectures_of(suite)
            .into_iter()
            .map(String::as_str)
            .collect();
        let text = format!(
            "Types: deb\nURIs: {mirror}\nSuites: {}\n{}Architectures: {}\n\
             Signed-By: {}\nTargets: Packages\n{}",
            suite.name,
            match is_flat(&suite.name) {
                true => String::new(),
                false => format!("Components: {}\n", suite.components.join(" ")),
            },
            architectures.join(" "),
            keyring.display(),
            if options.allow_stale {
                "Check-Valid-Until: no\n"
            } else {
                ""
            },
        );
        self.write("etc/archive.sources", &text)
    }

    pub(super) fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command
            .arg("-c")
            .arg(self.path("apt.conf"))
            .env("LC_ALL", "C");
        command
    }

    pub(super) fn update(&self) -> Result<(), AptError> {
        let mut command = self.command("apt-get");
        command.args(["-q", "update"]);
        run(&mut command, "apt-get update").map(drop)
    }

    /// Finds a downloaded file by its name in the release file. apt puts the address before the
    /// name, but there is only one suite, so the end of the name is enough.
    pub(super) fn list(&self, name: &str) -> Result<Option<PathBuf>, AptError> {
        let directory = self.path("state/lists");
        let end = format!("_{}", name.replace('/', "_"));
        let entries = fs::read_dir(&directory).map_err(|source| io_error(&directory, source))?;
        for entry in entries {
            let path = entry.map_err(|source| io_error(&directory, source))?.path();
            if path.to_string_lossy().ends_with(&end) {
                return Ok(Some(path));
            }
        }
        Ok(None)
    }

    /// Downloads one batch and returns apt's messages. The caller checks which files have arrived.
    pub(super) fn download(
        &self,
        batch: &[(usize, String)],
        files: &[Download],
        mut progress: impl FnMut(usize),
    ) -> Result<String, AptError> {
        let mut command = self.command(APT_HELPER);
        command.args(["-q", "download-file"]);
        for (place, uri) in batch {
            let file = &files[*place];
            command
                .arg(uri)
                .arg(&file.to)
                .arg(format!("SHA256:{}", file.sha256));
        }
        let not_found = |source| AptError::NotFound {
            program: APT_HELPER.to_owned(),
            source,
        };
        let stderr =
            tempfile::tempfile().map_err(|source| io_error(&std::env::temp_dir(), source))?;
        let mut errors = stderr
            .try_clone()
            .map_err(|source| io_error(&std::env::temp_dir(), source))?;
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(stderr)
            .spawn()
            .map_err(not_found)?;
        let mut said = String::new();
        let mut count = 0;
        if let Some(stdout) = child.stdout.take() {
            for line in io::BufRead::lines(io::BufReader::new(stdout)).map_while(Result::ok) {
                if line.starts_with("Get:") {
                    progress(count);
                    count += 1;
                }
                said.push_str(&line);
                said.push('\n');
            }
        }
        child.wait().map_err(not_found)?;
        let read = io::Seek::rewind(&mut errors)
            .and_then(|()| io::Read::read_to_string(&mut errors, &mut said));
        read.map_err(|source| io_error(&std::env::temp_dir(), source))?;
        Ok(said)
    }
}
