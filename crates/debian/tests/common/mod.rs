//! An archive of a few packages, signed by its own key, as a mirror serves it.

#![allow(dead_code)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use sha2::{Digest, Sha256};
use tempfile::TempDir;

/// Reports that a test cannot run here, and why.
pub(crate) fn skipped(test: &str, reason: &str) {
    eprintln!("SKIPPED: {test}: {reason}");
}

/// Returns the first of these programs that is not installed.
pub(crate) fn absent<'p>(programs: &[&'p str]) -> Option<&'p str> {
    let there = |program: &str| {
        let mut command = Command::new(program);
        command
            .arg("--version")
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command.status().is_ok()
    };
    programs.iter().copied().find(|program| !there(program))
}

/// The programs that tests with an [`Archive`] need.
pub(crate) const NEEDED: &[&str] = &["gpg", "gpgconf", "gpgv", "apt-get"];

/// A package in an [`Archive`].
pub(crate) struct Package<'a> {
    pub(crate) name: &'a str,
    pub(crate) version: &'a str,
    pub(crate) architecture: &'a str,
    /// More fields, each with its newline.
    pub(crate) fields: &'a str,
}

/// A mirror in a temporary directory.
pub(crate) struct Archive {
    directory: TempDir,
    suite: String,
    extra: String,
}

impl Archive {
    /// Makes an archive with one suite, `stable`, whose codename is `bookworm`.
    pub(crate) fn new(packages: &[Package<'_>]) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755))
            .expect("permissions");
        let archive = Archive {
            directory,
            suite: "bookworm".to_owned(),
            extra: String::new(),
        };
        archive.make_key();
        archive.publish(packages);
        archive
    }

    /// Returns the mirror's address for apt.
    pub(crate) fn mirror(&self) -> String {
        format!("file://{}", self.root().display())
    }

    /// Returns the key that signs the archive.
    pub(crate) fn keyring(&self) -> PathBuf {
        self.directory.path().join("keyring.gpg")
    }

    /// Returns the key, as gpgv needs it.
    pub(crate) fn keys(&self) -> crateyard_debian::keys::Keys {
        crateyard_debian::keys::Keys::read(&self.keyring()).expect("a key")
    }

    /// Returns the key in armour, as vendors publish it.
    pub(crate) fn armoured_key(&self) -> PathBuf {
        let path = self.directory.path().join("key.asc");
        self.gpg(&["--yes", "--armor", "--output"], &[&path]);
        path
    }

    /// Returns the key's fingerprint.
    pub(crate) fn fingerprint(&self) -> String {
        let said = self.gpg(&["--with-colons", "--list-keys"], &[]);
        let line = said.lines().find_map(|line| line.strip_prefix("fpr:"));
        line.expect("a fingerprint").replace(':', "")
    }

    /// Returns the directory that the mirror serves.
    pub(crate) fn root(&self) -> PathBuf {
        self.directory.path().join("debian")
    }

    /// Returns a file below the suite's directory.
    pub(crate) fn dist(&self, name: &str) -> PathBuf {
        self.root().join("dists").join(&self.suite).join(name)
    }

    /// Signs again with more fields in the release file.
    pub(crate) fn sign_with(&mut self, extra: &str) {
        self.extra = extra.to_owned();
        self.sign();
    }

    /// Writes packages and indexes, and signs.
    pub(crate) fn publish(&self, packages: &[Package<'_>]) {
        for architecture in ["amd64", "arm64"] {
            let index: String = packages
                .iter()
                .filter(|package| [architecture, "all"].contains(&package.architecture))
                .map(|package| self.add(package))
                .collect();
            let path = self.dist(&format!("main/binary-{architecture}/Packages"));
            fs::create_dir_all(path.parent().expect("a directory")).expect("a directory");
            fs::write(path, index).expect("an index");
        }
        self.sign();
    }

    /// Writes packages and one index of them beside the suites, and signs it: an archive without
    /// suites.
    pub(crate) fn publish_directory(&self, packages: &[Package<'_>]) {
        let index: String = packages.iter().map(|package| self.add(package)).collect();
        fs::write(self.root().join("Packages"), &index).expect("an index");
        let release = format!(
            "Date: Sat, 11 Jul 2026 10:16:37 UTC\nSHA256:\n {} {} Packages\n",
            sha256(index.as_bytes()),
            index.len()
        );
        self.sign_text(&release, &self.root().join("InRelease"));
    }

    /// Signs again without the index of an architecture.
    pub(crate) fn leave_out(&self, architecture: &str) {
        fs::remove_file(self.dist(&format!("main/binary-{architecture}/Packages")))
            .expect("removed");
        self.sign();
    }

    /// Writes a package's file, which is not a real `.deb`, and returns its stanza.
    fn add(&self, package: &Package<'_>) -> String {
        let Package {
            name,
            version,
            architecture,
            fields,
        } = package;
        let path = format!(
            "pool/main/{name}/{name}_{}_{architecture}.deb",
            version.replace(':', "%3a")
        );
        let file = self.root().join(&path);
        let content = format!("the package {name} {version} {architecture}\n");
        fs::create_dir_all(file.parent().expect("a directory")).expect("a directory");
        fs::write(&file, &content).expect("a package");
        format!(
            "Package: {name}\nVersion: {version}\nArchitecture: {architecture}\n{fields}Filename: \
             {path}\nSize: {}\nSHA256: {}\n\n",
            content.len(),
            sha256(content.as_bytes())
        )
    }

    fn sign(&self) {
        let mut architectures = vec!["amd64", "arm64"];
        architectures.retain(|it| self.dist(&format!("main/binary-{it}/Packages")).exists());
        let mut release = format!(
            "Origin: Debian\nSuite: stable\nCodename: bookworm\nDate: Sat, 11 Jul 2026 10:16:37 \
             UTC\n{}Architectures: {}\nComponents: main\nSHA256:\n",
            self.extra,
            architectures.join(" ")
        );
        for architecture in architectures {
            let name = format!("main/binary-{architecture}/Packages");
            let content = fs::read(self.dist(&name)).expect("an index");
            release += &format!(" {} {} {name}\n", sha256(&content), content.len());
        }
        self.sign_text(&release, &self.dist("InRelease"));
    }

    fn sign_text(&self, release: &str, output: &Path) {
        let plain = self.directory.path().join("Release");
        fs::write(&plain, release).expect("a release file");
        let _ = fs::remove_file(output);
        self.gpg(&["--clearsign", "--output"], &[output, &plain]);
    }

    fn make_key(&self) {
        let home = self.directory.path().join("gnupg");
        fs::create_dir(&home).expect("a directory");
        fs::set_permissions(&home, fs::Permissions::from_mode(0o700)).expect("permissions");
        self.gpg(
            &[
                "--quick-generate-key",
                "archive@test.example",
                "rsa2048",
                "sign",
                "never",
            ],
            &[],
        );
        self.gpg(&["--output"], &[&self.keyring()]);
    }

    fn gpg(&self, arguments: &[&str], paths: &[&Path]) -> String {
        let mut command = Command::new("gpg");
        command
            .arg("--homedir")
            .arg(self.directory.path().join("gnupg"));
        command.args([
            "--batch",
            "--quiet",
            "--passphrase",
            "",
            "--pinentry-mode",
            "loopback",
        ]);
        command.args(arguments).args(paths);
        if matches!(arguments, ["--output"] | [.., "--armor", "--output"]) {
            command.arg("--export");
        }
        let output = command.output().expect("gpg");
        assert!(
            output.status.success(),
            "gpg: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

impl Drop for Archive {
    fn drop(&mut self) {
        let home = self.directory.path().join("gnupg");
        let _ = Command::new("gpgconf")
            .arg("--homedir")
            .arg(home)
            .args(["--kill", "all"])
            .status();
    }
}

/// Returns the SHA-256 of bytes, in hexadecimal digits.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}
