//! `InRelease`: the archive's signed list of index files and their hashes.
//!
//! The file is trusted only after `gpgv` has found a valid signature by a key of the keyring. Then
//! only the text that `gpgv` prints counts, because the file may have unsigned text around it.
//! Format: <https://wiki.debian.org/DebianRepository/Format#A.22Release.22_files>.

mod date;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use crateyard_oci::digest::is_sha256;
use sha2::{Digest, Sha256};

use crate::control::Stanza;
use crate::keys::Keys;

pub use date::Date;

/// The keyring of Debian's own archive keys, from the package `debian-archive-keyring`.
pub const DEBIAN_KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// The size of the largest `InRelease` that is read, in bytes. Debian's has 200 kB.
const MAX_RELEASE: u64 = 16 << 20;
/// The size of the largest index that is read, in bytes, uncompressed. Debian's has 60 MB.
const MAX_INDEX: u64 = 512 << 20;

/// A verified `Release` file.
#[derive(Clone, Debug)]
pub struct Release {
    /// `Codename` and `Suite`: the names under which the archive serves it. Archives without
    /// suites have none.
    pub names: Vec<String>,
    /// When the archive made it.
    pub date: Date,
    /// The time after which it must not be used, if the archive sets one.
    pub valid_until: Option<Date>,
    /// Whether packages for all architectures have their own index. If not, the index of each
    /// architecture has them: `No-Support-for-Architecture-all`.
    pub splits_all: bool,
    /// Size and SHA-256 in hexadecimal of each index file, by its path below the suite's directory.
    pub files: BTreeMap<String, (u64, String)>,
}

/// The error for a `Release` file, or an index in its list, that cannot be used.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum ReleaseError {
    #[error("{path}: cannot be read: {source}")]
    Read { path: PathBuf, source: io::Error },
    #[error(
        "gpgv cannot be started ({0}); it checks the archive's signature: apt-get install gpgv"
    )]
    NoGpgv(io::Error),
    #[error("{path}: no valid signature by {signer}; gpgv says: {said}")]
    Signature {
        path: PathBuf,
        signer: String,
        said: String,
    },
    #[error("{path}: {reason}")]
    Malformed { path: PathBuf, reason: String },
    #[error("{path} is the release file of {found}, not of {wanted}")]
    OtherSuite {
        path: PathBuf,
        found: String,
        wanted: String,
    },
    #[error(
        "{path} expired: it was valid until {valid_until}, now it is {now}; the mirror is out of \
         date, or this machine's clock is wrong"
    )]
    Stale {
        path: PathBuf,
        valid_until: Date,
        now: Date,
    },
    #[error("{path}: the release file of {suite} lists no `{name}`")]
    NotListed {
        path: PathBuf,
        suite: String,
        name: String,
    },
    #[error("{path} does not match the signed release file: {what} {found}, expected {expected}")]
    Mismatch {
        path: PathBuf,
        what: &'static str,
        found: String,
        expected: String,
    },
}

impl Release {
    /// Verifies the signature of an `InRelease` file and reads it.
    pub fn open(path: &Path, keys: &Keys) -> Result<Self, ReleaseError> {
        let signed = signed_text(path, keys)?;
        Self::parse(&signed).map_err(|reason| ReleaseError::Malformed {
            path: path.to_owned(),
            reason,
        })
    }

    /// Reads a `Release` file that was verified elsewhere.
    pub fn parse(text: &str) -> Result<Self, String> {
        let stanza = Stanza::whole(text);
        let date_field = |name: &str| -> Result<Option<Date>, String> {
            stanza
                .get(name)
                .map(|value| {
                    Date::parse(value).ok_or_else(|| format!("`{name}: {value}` is not a date"))
                })
                .transpose()
        };
        let names: Vec<String> = ["Codename", "Suite"]
            .iter()
            .filter_map(|name| stanza.get(name).map(str::to_owned))
            .collect();
        let hashes = stanza.get("SHA256").ok_or("it has no `SHA256` list")?;
        Ok(Release {
            names,
            date: date_field("Date")?.ok_or("it has no `Date`")?,
            valid_until: date_field("Valid-Until")?,
            splits_all: stanza.get("No-Support-for-Architecture-all") != Some("Packages"),
            files: hashes
                .lines()
                .filter(|line| !line.trim().is_empty())
                .map(parse_hash_line)
                .collect::<Result<_, _>>()?,
        })
    }

    /// Checks that this is the file of the requested suite, and that it has not expired, unless
    /// `allow_stale`. Without the first check, an attacker could serve an older suite under a newer
    /// name. Some archives add to a suite's name in addresses (`bookworm/tool/7.0`), and those
    /// without suites name none.
    pub fn check(
        &self,
        path: &Path,
        suite: &str,
        now: Date,
        allow_stale: bool,
    ) -> Result<(), ReleaseError> {
        let is_of = |name: &String| {
            let rest = suite.strip_prefix(name.as_str());
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        if !is_flat(suite) && !self.names.iter().any(is_of) {
            return Err(ReleaseError::OtherSuite {
                path: path.to_owned(),
                found: match self.names.is_empty() {
                    true => "no suite".to_owned(),
                    false => self.names.join(", "),
                },
                wanted: suite.to_owned(),
            });
        }
        match self.valid_until {
            Some(valid_until) if valid_until < now && !allow_stale => Err(ReleaseError::Stale {
                path: path.to_owned(),
                valid_until,
                now,
            }),
            _ => Ok(()),
        }
    }

    /// Reads the index file at `path`, which this release lists as `name`, such as
    /// `main/binary-amd64/Packages`. Its size and hash must match.
    pub fn read_index(&self, path: &Path, name: &str) -> Result<Vec<u8>, ReleaseError> {
        let (size, sha256) = self
            .files
            .get(name)
            .ok_or_else(|| ReleaseError::NotListed {
                path: path.to_owned(),
                suite: self.names.join(", "),
                name: name.to_owned(),
            })?;
        let read = |source| ReleaseError::Read {
            path: path.to_owned(),
            source,
        };
        refuse_large(path, MAX_INDEX)?;
        let bytes = fs::read(path).map_err(read)?;
        let mismatch = |what, found, expected| ReleaseError::Mismatch {
            path: path.to_owned(),
            what,
            found,
            expected,
        };
        if bytes.len() as u64 != *size {
            return Err(mismatch("size", bytes.len().to_string(), size.to_string()));
        }
        let found = format!("{:x}", Sha256::digest(&bytes));
        if found != *sha256 {
            return Err(mismatch("SHA-256", found, sha256.clone()));
        }
        Ok(bytes)
    }
}

/// Whether a suite is a directory with all its packages, without components: `./`, `stable/`.
pub fn is_flat(suite: &str) -> bool {
    suite.ends_with('/')
}

/// Returns the signed text of `path`, which `gpgv` prints after checking the signature.
fn signed_text(path: &Path, keys: &Keys) -> Result<String, ReleaseError> {
    refuse_large(path, MAX_RELEASE)?;
    let temporary = |source| ReleaseError::Read {
        path: std::env::temp_dir(),
        source,
    };
    let directory = tempfile::tempdir().map_err(temporary)?;
    let keyring = directory.path().join("keyring.gpg");
    fs::write(&keyring, &keys.binary).map_err(temporary)?;
    let output = directory.path().join("signed");
    let run = Command::new("gpgv")
        .args(["--status-fd", "1", "--homedir"])
        .arg(directory.path())
        .arg("--keyring")
        .arg(&keyring)
        .arg("--output")
        .arg(&output)
        .arg(path)
        .env("LC_ALL", "C")
        .output()
        .map_err(ReleaseError::NoGpgv)?;
    let status = String::from_utf8_lossy(&run.stdout);
    if !run.status.success() || !status.lines().any(|line| keys.accept(line)) {
        let keyring = keys.name.display();
        return Err(ReleaseError::Signature {
            path: path.to_owned(),
            signer: match &keys.fingerprint {
                Some(fingerprint) => format!("the key {fingerprint} of {keyring}"),
                None => format!("a key of {keyring}"),
            },
            said: summarize(&String::from_utf8_lossy(&run.stderr)),
        });
    }
    fs::read_to_string(&output).map_err(|source| ReleaseError::Read {
        path: output,
        source,
    })
}

/// Refuses a file that would not fit into memory. Who signs an archive also says how large its
/// indexes are, and a workspace may name any archive.
fn refuse_large(path: &Path, most: u64) -> Result<(), ReleaseError> {
    let metadata = fs::metadata(path).map_err(|source| ReleaseError::Read {
        path: path.to_owned(),
        source,
    })?;
    match metadata.len() > most {
        true => Err(ReleaseError::Malformed {
            path: path.to_owned(),
            reason: format!(
                "it has {} bytes, more than the {most} that are read",
                metadata.len()
            ),
        }),
        false => Ok(()),
    }
}

/// Joins the messages of gpgv on one line, without the program's name.
fn summarize(stderr: &str) -> String {
    let lines: Vec<&str> = stderr
        .lines()
        .map(|line| line.trim_start_matches("gpgv:").trim())
        .filter(|line| !line.is_empty())
        .collect();
    lines.join("; ")
}

fn parse_hash_line(line: &str) -> Result<(String, (u64, String)), String> {
    let words: Vec<&str> = line.split_whitespace().collect();
    match words[..] {
        [sha256, size, name] if is_sha256(sha256) => {
            let size = size
                .parse()
                .map_err(|_| format!("`{size}` is not a size"))?;
            Ok((name.to_owned(), (size, sha256.to_owned())))
        }
        _ => Err(format!("`{line}` is not a line of hash, size and name")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_of_another_suite_or_time_is_refused() {
        let text = "Suite: oldstable\nCodename: bookworm\nDate: Sat, 11 Jul 2026 10:16:37 UTC\n\
                    Valid-Until: Sat, 18 Jul 2026 10:16:37 UTC\nSHA256:\n";
        let release = Release::parse(text).expect("a release");
        let path = Path::new("InRelease");
        let (before, after) = (release.date.plus_hours(1), release.date.plus_hours(24 * 8));
        assert!(release.check(path, "bookworm", before, false).is_ok());
        assert!(release.check(path, "oldstable", before, false).is_ok());
        assert!(release.check(path, "bookworm", after, true).is_ok());
        let error = release
            .check(path, "trixie", before, false)
            .expect_err("another suite");
        assert_eq!(
            error.to_string(),
            "InRelease is the release file of bookworm, oldstable, not of trixie"
        );
        let error = release
            .check(path, "bookworm", after, false)
            .expect_err("stale");
        assert!(
            error
                .to_string()
                .contains("expired: it was valid until 2026-07-18 10:16 UTC"),
            "{error}"
        );
    }
}
