//! `debian.lock`: named sets of packages, each package pinned by the hash of its file.
//!
//! The file is sorted JSON with one package a line, so that diffs read well. Its paths are relative
//! to a mirror, and each machine uses its own mirrors.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::file::write_atomically;
use crate::release::is_sha256;

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
        write_atomically(path, self.to_text().as_bytes()).map_err(|source| LockError::Io {
            path: path.to_owned(),
            source,
        })
    }

    /// Returns the lock's text. The same lock always gives the same bytes.
    pub fn to_text(&self) -> String {
        let mut out = String::new();
        // Writing to a string cannot fail.
        let _ = self.write(&mut out);
        out
    }

    fn write(&self, out: &mut String) -> std::fmt::Result {
        writeln!(out, "{{")?;
        writeln!(out, "  \"version\": {},", self.version)?;
        let suites: Vec<String> = self
            .suites
            .iter()
            .map(|s| format!("    {}", json(s)))
            .collect();
        writeln!(out, "  \"suites\": [\n{}\n  ],", suites.join(",\n"))?;
        writeln!(out, "  \"snapshot\": {},", json(&self.snapshot))?;
        let sets: Vec<String> = self
            .sets
            .iter()
            .map(|(name, set)| set_text(name, set))
            .collect();
        writeln!(out, "  \"sets\": {{\n{}\n  }},", sets.join(",\n"))?;
        if !self.omitted.is_empty() {
            writeln!(out, "  \"omitted\": {{\n{}\n  }},", entries(&self.omitted))?;
        }
        writeln!(out, "  \"packages\": {{\n{}\n  }}", entries(&self.packages))?;
        writeln!(out, "}}")
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

    /// Finds the first fault, and a text that occurs in its line.
    fn fault(&self) -> Option<(String, String)> {
        if self.version != VERSION {
            let reason = format!(
                "version {}, but this program reads version {VERSION}",
                self.version
            );
            return Some(("\"version\"".to_owned(), reason));
        }
        if !is_timestamp(&self.snapshot) {
            let reason = format!("snapshot `{}` is not YYYYMMDDTHHMMSSZ", self.snapshot);
            return Some(("\"snapshot\"".to_owned(), reason));
        }
        self.suite_fault()
            .or_else(|| self.set_fault())
            .or_else(|| self.package_fault())
    }

    fn suite_fault(&self) -> Option<(String, String)> {
        let name_fits = |suite: &Suite| match suite.url {
            Some(_) => suite
                .name
                .split('/')
                .all(|part| part.is_empty() || is_word(part)),
            None => is_word(&suite.name),
        };
        if let Some(suite) = self
            .suites
            .iter()
            .find(|suite| !is_word(&suite.archive) || !name_fits(suite))
        {
            let reason = format!(
                "suite `{}` of archive `{}`: not a plain name",
                suite.name, suite.archive
            );
            return Some((json(&suite.name), reason));
        }
        let url = self
            .suites
            .iter()
            .filter_map(|suite| suite.url.as_ref())
            .find(|url| !is_address(url))?;
        let reason = format!("the address `{url}` is not one of http:// or https://");
        Some((json(url), reason))
    }

    fn set_fault(&self) -> Option<(String, String)> {
        for (name, architectures) in &self.sets {
            for (architecture, keys) in architectures {
                if let Some(pair) = keys.windows(2).find(|pair| pair[0] >= pair[1]) {
                    let reason = format!(
                        "set {name} for {architecture}: `{}` is not in sorted order",
                        pair[1]
                    );
                    return Some((json(&pair[1]), reason));
                }
                if let Some(key) = keys.iter().find(|key| !self.packages.contains_key(*key)) {
                    let reason = format!(
                        "set {name} for {architecture} names `{key}`, which `packages` lacks"
                    );
                    return Some((json(key), reason));
                }
            }
        }
        None
    }

    fn package_fault(&self) -> Option<(String, String)> {
        let used: BTreeSet<&String> = self
            .sets
            .values()
            .flat_map(|set| set.values().flatten())
            .collect();
        self.packages.iter().find_map(|(key, package)| {
            let reason = self.reason_against(key, package, used.contains(key))?;
            Some((
                format!("{}: {{", json(key)),
                format!("package `{key}`: {reason}"),
            ))
        })
    }

    fn reason_against(&self, key: &str, package: &Package, used: bool) -> Option<String> {
        let path_is_clean = package
            .path
            .split('/')
            .all(|part| !matches!(part, "" | "." | ".."));
        if !key
            .split_once(':')
            .is_some_and(|(name, arch)| is_word(name) && is_word(arch))
        {
            Some("its key is not NAME:ARCHITECTURE".to_owned())
        } else if !used {
            Some("no set names it".to_owned())
        } else if let Err(error) = package.version.parse::<crate::version::Version>() {
            Some(error.to_string())
        } else if !is_sha256(&package.sha256) {
            Some(format!(
                "`{}` is not a SHA-256 in lower-case hexadecimal",
                package.sha256
            ))
        } else if !path_is_clean {
            Some(format!(
                "the path `{}` is not relative to a mirror",
                package.path
            ))
        } else if !self
            .suites
            .iter()
            .any(|suite| suite.archive == package.archive)
        {
            Some(format!(
                "no suite of this lock has the archive `{}`",
                package.archive
            ))
        } else {
            None
        }
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

fn set_text(name: &str, set: &BTreeMap<String, Vec<String>>) -> String {
    let architectures: Vec<String> = set
        .iter()
        .map(|(architecture, keys)| {
            let keys: Vec<String> = keys
                .iter()
                .map(|key| format!("        {}", json(key)))
                .collect();
            match keys.is_empty() {
                true => format!("      {}: []", json(architecture)),
                false => format!(
                    "      {}: [\n{}\n      ]",
                    json(architecture),
                    keys.join(",\n")
                ),
            }
        })
        .collect();
    format!(
        "    {}: {{\n{}\n    }}",
        json(name),
        architectures.join(",\n")
    )
}

fn entries<T: Serialize>(map: &BTreeMap<String, T>) -> String {
    let lines: Vec<String> = map
        .iter()
        .map(|(key, value)| format!("    {}: {}", json(key), json(value)))
        .collect();
    lines.join(",\n")
}

/// Formats a value as JSON on one line, with a space after each colon and comma.
fn json<T: Serialize + ?Sized>(value: &T) -> String {
    let mut out = Vec::new();
    let mut serializer = serde_json::Serializer::with_formatter(&mut out, OneLine);
    // These types hold only strings, numbers and lists, so writing JSON cannot fail.
    let _ = value.serialize(&mut serializer);
    String::from_utf8(out).unwrap_or_default()
}

struct OneLine;

impl serde_json::ser::Formatter for OneLine {
    fn begin_array_value<W: io::Write + ?Sized>(
        &mut self,
        writer: &mut W,
        first: bool,
    ) -> io::Result<()> {
        writer.write_all(if first { b"" } else { b", " })
    }

    fn begin_object_key<W: io::Write + ?Sized>(
        &mut self,
        writer: &mut W,
        first: bool,
    ) -> io::Result<()> {
        writer.write_all(if first { b"" } else { b", " })
    }

    fn begin_object_value<W: io::Write + ?Sized>(&mut self, writer: &mut W) -> io::Result<()> {
        writer.write_all(b": ")
    }
}

fn is_word(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"+-._".contains(&b))
}

/// Whether a text is an address that apt and Nix read as one word. apt has other methods, which run
/// programs or read files of the machine.
fn is_address(text: &str) -> bool {
    ["http://", "https://"].iter().any(|scheme| {
        text.strip_prefix(scheme)
            .is_some_and(|rest| !rest.is_empty() && !rest.starts_with('/'))
    }) && text
        .bytes()
        .all(|b| b.is_ascii_graphic() && !b"\"'`\\<>^{|}".contains(&b))
}

fn is_timestamp(text: &str) -> bool {
    let digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
    text.is_ascii()
        && text.len() == 16
        && digits(&text[..8])
        && &text[8..9] == "T"
        && digits(&text[9..15])
        && text.ends_with('Z')
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
            r#"    "b:all": {{"version": "1", "archive": "debian", "path": "pool/main/b/b/b_1_all.deb", "sha256": "{}", "size": 7}}"#,
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
