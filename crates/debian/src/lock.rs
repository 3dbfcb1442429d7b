//! `debian.lock`: named sets of packages, each package pinned by the hash of its file.
//!
//! The file is sorted JSON with one package a line, so that diffs read well. Its paths are relative
//! to a mirror, and each machine uses its own mirrors.

mod check;
mod text;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// The format's version.
pub const VERSION: u32 = 1;

/// The whole file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lock {
    /// [`VERSION`].
    pub version: u32,
    /// The suites that packages were taken from, the preferred one first.
    pub suites: Vec<Suite>,
    /// A time at which the archives held every file of this lock, in the format of the snapshot
    /// archive: `YYYYMMDDTHHMMSSZ`.
    pub snapshot: String,
    /// Set name → architecture that it was resolved for → package keys, sorted.
    #[serde(deserialize_with = "unique_keys")]
    pub sets: BTreeMap<String, BTreeMap<String, Vec<String>>>,
    /// Set name → packages that the set omits on purpose.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub omitted: BTreeMap<String, Vec<String>>,
    /// Package key (`name:architecture`, `name:all`) → file.
    #[serde(deserialize_with = "unique_keys")]
    pub packages: BTreeMap<String, Package>,
}

/// A suite of an archive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Suite {
    /// `bookworm`, `bookworm-security` ...
    pub name: String,
    /// The archive that serves it: `debian` or `debian-security`, the directory at the mirror. Else
    /// the name of a source in `images.toml`.
    pub archive: String,
    /// Components: `main` ... None if the suite is a directory, such as `./`.
    pub components: Vec<String>,
    /// The address of an archive that is not Debian's, without `/` at its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
}

impl Suite {
    /// Returns the suite's name in messages: `bookworm`, `stable of vendor`.
    pub fn label(&self) -> String {
        match self.url {
            Some(_) => format!("{} of {}", self.name, self.archive),
            None => self.name.clone(),
        }
    }
}

/// One pinned file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Package {
    /// Version.
    pub version: String,
    /// The archive that serves the file.
    pub archive: String,
    /// Path below the archive's directory: `pool/main/...`.
    pub path: String,
    /// SHA-256, lower-case hexadecimal.
    pub sha256: String,
    /// Size in bytes.
    pub size: u64,
}

/// The error for a lock that cannot be used.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum LockError {
    #[error("{path}: {source}")]
    Io { path: PathBuf, source: io::Error },
    #[error("{path}:{line}: {reason}")]
    Invalid {
        path: PathBuf,
        line: usize,
        reason: String,
    },
}

impl Lock {
    /// Reads and checks a lock.
    pub fn load(path: &Path) -> Result<Self, LockError> {
        let text = std::fs::read_to_string(path).map_err(|source| LockError::Io {
            path: path.to_owned(),
            source,
        })?;
        Self::parse(&text, path)
    }

    /// Reads and checks a lock's text. `path` is the file's name in errors.
    pub fn parse(text: &str, path: &Path) -> Result<Self, LockError> {
        let invalid = |line, reason| LockError::Invalid {
            path: path.to_owned(),
            line,
            reason,
        };
        let lock: Lock =
            serde_json::from_str(text).map_err(|e| invalid(e.line(), without_position(&e)))?;
        match lock.fault() {
            Some((needle, reason)) => Err(invalid(line_of(text, &needle), reason)),
            None => Ok(lock),
        }
    }

    /// Writes the lock, whole or not at all.
    pub fn save(&self, path: &Path) -> Result<(), LockError> {
        crateyard_disk::write(path, self.to_text().as_bytes()).map_err(|source| LockError::Io {
            path: path.to_owned(),
            source,
        })
    }

    /// Returns the packages of a set for an architecture, or `None` if there is no such set.
    pub fn set(&self, name: &str, architecture: &str) -> Option<Vec<(&str, &Package)>> {
        let keys = self.sets.get(name)?.get(architecture)?;
        keys.iter()
            .map(|key| {
                self.packages
                    .get_key_value(key)
                    .map(|(key, package)| (key.as_str(), package))
            })
            .collect()
    }
}

/// Returns the name of a package's file in the Nix store: `NAME_VERSION_ARCHITECTURE.deb`, with `-`
/// for each character that store names may not have.
///
/// Store names may have `0-9 a-z A-Z + - . _ ? =`; a Debian version may also have `~` and `:`. Two
/// versions may get the same name, but never the same store path, which also depends on the hash.
pub fn store_name(key: &str, version: &str) -> String {
    let (name, architecture) = key.split_once(':').unwrap_or((key, "all"));
    let allowed = |c: char| c.is_ascii_alphanumeric() || "+-._?=".contains(c);
    format!("{name}_{version}_{architecture}.deb")
        .chars()
        .map(|c| if allowed(c) { c } else { '-' })
        .collect()
}

/// Reads a map and rejects duplicate keys, which a careless merge leaves behind.
fn unique_keys<'de, D, V>(deserializer: D) -> Result<BTreeMap<String, V>, D::Error>
where
    D: serde::Deserializer<'de>,
    V: Deserialize<'de>,
{
    struct Visitor<V>(std::marker::PhantomData<V>);

    impl<'de, V: Deserialize<'de>> serde::de::Visitor<'de> for Visitor<V> {
        type Value = BTreeMap<String, V>;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: serde::de::MapAccess<'de>>(
            self,
            mut access: A,
        ) -> Result<Self::Value, A::Error> {
            let mut map = BTreeMap::new();
            while let Some(key) = access.next_key::<String>()? {
                if map.contains_key(&key) {
                    return Err(serde::de::Error::custom(format!("`{key}` occurs twice")));
                }
                map.insert(key, access.next_value()?);
            }
            Ok(map)
        }
    }

    deserializer.deserialize_map(Visitor(std::marker::PhantomData))
}

/// Returns the number of the first line that holds `needle`, from 1.
fn line_of(text: &str, needle: &str) -> usize {
    text.lines()
        .position(|line| line.contains(needle))
        .map_or(1, |line| line + 1)
}

/// Returns the message of serde_json without `at line 1 column 2`, because errors already begin
/// with the line.
fn without_position(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.rsplit_once(" at line ")
        .map_or(text.clone(), |(message, _)| message.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(version: &str, path: &str) -> Package {
        Package {
            version: version.to_owned(),
            archive: "debian".to_owned(),
            path: path.to_owned(),
            sha256: "0".repeat(64),
            size: 7,
        }
    }

    fn lock() -> Lock {
        let keys = vec!["a:amd64".to_owned(), "b:all".to_owned()];
        let empty = BTreeMap::from([("amd64".to_owned(), Vec::new())]);
        Lock {
            version: VERSION,
            suites: vec![Suite {
                name: "bookworm".to_owned(),
                archive: "debian".to_owned(),
                components: vec!["main".to_owned()],
                url: None,
            }],
            snapshot: "20260712T101637Z".to_owned(),
            sets: BTreeMap::from([
                (
                    "base".to_owned(),
                    BTreeMap::from([("amd64".to_owned(), keys)]),
                ),
                ("empty".to_owned(), empty),
            ]),
            omitted: BTreeMap::from([("base".to_owned(), vec!["c".to_owned()])]),
            packages: BTreeMap::from([
                (
                    "a:amd64".to_owned(),
                    package("1:2~rc1-3", "pool/main/a/a/a_2~rc1-3_amd64.deb"),
                ),
                (
                    "b:all".to_owned(),
                    package("1", "pool/main/b/b/b_1_all.deb"),
                ),
            ]),
        }
    }

    fn parse(text: &str) -> Result<Lock, String> {
        Lock::parse(text, Path::new("debian.lock")).map_err(|error| error.to_string())
    }

    #[test]
    fn a_lock_reads_back_as_it_was_written() {
        let text = lock().to_text();
        assert_eq!(parse(&text), Ok(lock()));
        let line = text
            .lines()
            .find(|line| line.contains("\"b:all\": {"))
            .expect("one line for a package");
        let expected = format!(
            "    \"b:all\": {{\"version\": \"1\", \"archive\": \"debian\", \"path\": \
             \"pool/main/b/b/b_1_all.deb\", \"sha256\": \"{}\", \"size\": 7}}",
            "0".repeat(64)
        );
        assert_eq!(line, expected);
    }

    #[test]
    fn saving_replaces_the_whole_file() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("debian.lock");
        std::fs::write(&path, "old").expect("an old file");
        lock().save(&path).expect("saved");
        assert_eq!(Lock::load(&path).expect("loaded"), lock());
        assert_eq!(
            std::fs::read_dir(directory.path()).expect("listed").count(),
            1
        );
    }

    #[test]
    fn faults_are_told_with_their_line() {
        let text = lock().to_text();
        for (from, to, expected) in [
            (
                "\"version\": 1,",
                "\"version\": 2,",
                "debian.lock:2: version 2, but this program reads version 1",
            ),
            (
                "20260712T101637Z",
                "yesterday",
                "debian.lock:6: snapshot `yesterday`",
            ),
            (
                "        \"a:amd64\",\n        \"b:all\"",
                "        \"b:all\",\n        \"a:amd64\"",
                "debian.lock:11: set base for amd64: `a:amd64` is not in sorted order",
            ),
            (
                "\"b:all\"\n",
                "\"c:all\"\n",
                "debian.lock:11: set base for amd64 names `c:all`, which `packages` lacks",
            ),
            (
                ",\n        \"b:all\"",
                "",
                "debian.lock:22: package `b:all`: no set names it",
            ),
            (
                "\"size\": 7}\n",
                "\"size\": 7, \"url\": \"x\"}\n",
                "debian.lock:23: unknown field `url`",
            ),
            (
                "\"version\": \"1\"",
                "\"version\": \"1_0\"",
                "debian.lock:23: package `b:all`: `1_0` is not a Debian version",
            ),
            (
                "pool/main/b/b/b_1_all.deb",
                "../b.deb",
                "debian.lock:23: package `b:all`: the path `../b.deb`",
            ),
            (
                "\"archive\": \"debian\", \"path\": \"pool/main/b",
                "\"archive\": \"other\", \"path\": \"pool/main/b",
                "debian.lock:23: package `b:all`: no suite of this lock has the archive `other`",
            ),
            (
                "\"b:all\": {",
                "\"a:amd64\": {",
                "debian.lock:23: `a:amd64` occurs twice",
            ),
        ] {
            assert!(text.contains(from), "{from}");
            let error = parse(&text.replacen(from, to, 1)).expect_err(expected);
            assert!(error.starts_with(expected), "{error}\nexpected: {expected}");
        }
    }

    #[test]
    fn store_names_hold_only_what_store_names_may() {
        for (key, version, expected) in [
            (
                "libc6:amd64",
                "2.36-9+deb12u14",
                "libc6_2.36-9+deb12u14_amd64.deb",
            ),
            ("gcc:amd64", "4:12.2.0-3", "gcc_4-12.2.0-3_amd64.deb"),
            (
                "rustc-web:amd64",
                "1.85.0+dfsg3-1~deb12u3",
                "rustc-web_1.85.0+dfsg3-1-deb12u3_amd64.deb",
            ),
            (
                "libstdc++6:arm64",
                "12.2.0-14",
                "libstdc++6_12.2.0-14_arm64.deb",
            ),
            (
                "tzdata:all",
                "2026b-0+deb12u1",
                "tzdata_2026b-0+deb12u1_all.deb",
            ),
        ] {
            assert_eq!(store_name(key, version), expected);
        }
    }
}
