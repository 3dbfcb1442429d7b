//! The mirrors of the archives, as the machine's apt knows them.

use std::collections::BTreeMap;
use std::process::Command;
use std::str::FromStr;

use super::private::PrivateApt;
use super::{AptError, archive_of, run};
use crate::lock::Suite;

/// A mirror that a user names for an archive, as `ARCHIVE=URL`.
///
/// ```
/// use crateyard_debian::apt::Mirror;
///
/// let mirror: Mirror = "debian=http://mirror.example/debian".parse()?;
/// assert_eq!(mirror.archive, "debian");
/// # Ok::<(), crateyard_debian::apt::AptError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mirror {
    /// The archive: `debian`, `debian-security`, or the name of a source in `images.toml`.
    pub archive: String,
    /// The mirror's address.
    pub url: String,
}

impl FromStr for Mirror {
    type Err = AptError;

    fn from_str(text: &str) -> Result<Self, AptError> {
        match text.split_once('=') {
            Some((archive, url)) if !archive.is_empty() && url.contains(':') => Ok(Self {
                archive: archive.to_owned(),
                url: url.to_owned(),
            }),
            _ => Err(AptError::NotAMirror),
        }
    }
}

/// The mirrors of each archive, best first. Addresses have no `/` at their end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mirrors(pub(super) BTreeMap<String, Vec<String>>);

impl Mirrors {
    /// Finds the mirrors in the machine's apt sources.
    pub fn of_machine() -> Result<Self, AptError> {
        // With the machine's lists, apt would read them all first and update the machine's cache.
        let apt = PrivateApt::new()?;
        let option = |name: &str, path: &str| format!("{name}={}", apt.path(path).display());
        let mut command = Command::new("apt-get");
        command.args(["-o", &option("Dir::State::Lists", "state/lists")]);
        command.args(["-o", &option("Dir::State::status", "status")]);
        command.args(["-o", &option("Dir::Cache", "cache")]);
        command.args(["--no-release-info", "indextargets", "--format"]);
        command.arg("$(REPO_URI) $(RELEASE) $(COMPONENT) $(CREATED_BY)");
        let output = run(&mut command, "apt-get indextargets")?;
        Ok(Self::from_targets(&String::from_utf8_lossy(&output.stdout)))
    }

    /// Reads lines of `REPO_URI RELEASE COMPONENT CREATED_BY`.
    ///
    /// The path of an address shows the archive that it serves (`.../debian`,
    /// `.../debian/20250520T000000Z`). A private mirror may have another path. If it has a suite
    /// with the component `main`, it becomes a guess, after the sure mirrors. A wrong guess is
    /// harmless: its signatures and hashes would not match.
    fn from_targets(text: &str) -> Self {
        let (mut sure, mut guessed) = (Self::default(), Self::default());
        for line in text.lines() {
            let [uri, release, component, "Packages"] = line.split(' ').collect::<Vec<_>>()[..]
            else {
                continue;
            };
            let uri = uri.trim_end_matches('/');
            let mut segments = uri.rsplit('/');
            let named = segments
                .by_ref()
                .take(2)
                .find(|s| matches!(*s, "debian" | "debian-security"));
            match named {
                Some(archive) => sure.add(archive, uri),
                None if component == "main" => guessed.add(archive_of(release), uri),
                None => {}
            }
        }
        for (archive, uris) in guessed.0 {
            uris.iter().for_each(|uri| sure.add(&archive, uri));
        }
        sure
    }

    /// Adds a mirror after the others.
    pub fn add(&mut self, archive: &str, uri: &str) {
        let uri = uri.trim_end_matches('/').to_owned();
        let known = self.0.entry(archive.to_owned()).or_default();
        if !known.contains(&uri) {
            known.push(uri);
        }
    }

    /// Adds the addresses of archives that are not Debian's.
    pub fn set_sources(&mut self, suites: &[Suite]) {
        for suite in suites {
            if let Some(url) = &suite.url {
                self.set(&suite.archive, url);
            }
        }
    }

    /// Makes each of these mirrors the only one of its archive.
    pub fn set_all(&mut self, mirrors: &[Mirror]) {
        for mirror in mirrors {
            self.set(&mirror.archive, &mirror.url);
        }
    }

    /// Makes this mirror the only one of an archive.
    fn set(&mut self, archive: &str, uri: &str) {
        self.0.remove(archive);
        self.add(archive, uri);
    }

    /// Returns the mirrors of an archive, best first. There is at least one.
    pub fn of(&self, archive: &str) -> Result<&[String], AptError> {
        match self.0.get(archive) {
            Some(uris) => Ok(uris),
            None => Err(AptError::NoMirror(archive.to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mirrors_are_told_by_their_path_then_guessed() {
        let mirrors = Mirrors::from_targets(
            "https://tools.example/apt/ bookworm main Packages\n\
             http://a.example/debian/ bookworm main Packages\n\
             http://a.example/debian/ bookworm main DEP-11\n\
             http://b.example/archive/debian/20250520T000000Z/ bookworm main Packages\n\
             https://vendor.example/linux/ bookworm stable Packages\n\
             http://a.example/debian-security/ bookworm-security main Packages\n",
        );
        assert_eq!(
            mirrors.of("debian").expect("mirrors"),
            [
                "http://a.example/debian",
                "http://b.example/archive/debian/20250520T000000Z",
                "https://tools.example/apt"
            ]
        );
        assert_eq!(
            mirrors.of("debian-security").expect("mirrors"),
            ["http://a.example/debian-security"]
        );
        let error = mirrors.of("other").expect_err("no mirror").to_string();
        assert!(error.contains("--mirror other=URL"), "{error}");
    }
}
