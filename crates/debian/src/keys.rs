//! Public keys that may sign an archive, from keyrings in files.
//!
//! gpgv and apt read binary keyrings. Vendors mostly publish an armoured key, so that form is
//! decoded first: <https://www.rfc-editor.org/rfc/rfc9580#name-forming-ascii-armor>.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// The directories with the keys of the archives that a machine uses: `apt-key(8)`,
/// `sources.list(5)`.
pub const MACHINE_KEYRINGS: [&str; 3] = [
    "/etc/apt/keyrings",
    "/usr/share/keyrings",
    "/etc/apt/trusted.gpg.d",
];

/// The largest file that is read as a keyring, in bytes. Debian's own has 60 kB.
const MAX_KEYRING: u64 = 4 << 20;

const BEGIN: &str = "-----BEGIN PGP PUBLIC KEY BLOCK-----";
const END: &str = "-----END PGP PUBLIC KEY BLOCK-----";

/// Keys that may sign.
#[derive(Clone, Debug)]
pub struct Keys {
    /// Their origin, for messages.
    pub name: PathBuf,
    /// The keyring that gpgv reads.
    pub(crate) binary: Vec<u8>,
    /// The fingerprint of the only key that may sign, in upper-case hexadecimal. Without it, all
    /// may sign.
    pub fingerprint: Option<String>,
}

/// The error for a file that gives no keys.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum KeyError {
    #[error(
        "the keyring {0} does not exist; install Debian's with apt-get install \
         debian-archive-keyring, or name another with --keyring"
    )]
    NoKeyring(PathBuf),
    #[error("{path}: cannot be read: {source}")]
    Read { path: PathBuf, source: io::Error },
    #[error("{path}: {reason}")]
    Invalid { path: PathBuf, reason: String },
    #[error(
        "no keyring of this machine can be read ({directories}), so none has the key \
         {fingerprint}; save the archive's key in the workspace and name the file with `key`"
    )]
    NoneOfMachine {
        directories: String,
        fingerprint: String,
    },
}

impl Keys {
    /// Reads a keyring: binary, or armoured.
    ///
    /// # Errors
    /// Fails if there is no such file, or it holds no public key.
    pub fn read(path: &Path) -> Result<Keys, KeyError> {
        let invalid = |reason: String| KeyError::Invalid {
            path: path.to_owned(),
            reason,
        };
        let unreadable = |source| KeyError::Read {
            path: path.to_owned(),
            source,
        };
        let metadata = fs::metadata(path).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => KeyError::NoKeyring(path.to_owned()),
            _ => unreadable(source),
        })?;
        if !metadata.is_file() {
            return Err(invalid("is not a file".to_owned()));
        }
        if metadata.len() > MAX_KEYRING {
            return Err(invalid(format!(
                "has {} bytes; a keyring has at most {MAX_KEYRING}",
                metadata.len()
            )));
        }
        let mut bytes = Vec::new();
        let opened = fs::File::open(path).map_err(unreadable)?;
        opened
            .take(MAX_KEYRING)
            .read_to_end(&mut bytes)
            .map_err(unreadable)?;
        Ok(Keys {
            name: path.to_owned(),
            binary: to_binary(&bytes).map_err(invalid)?,
            fingerprint: None,
        })
    }

    /// Restricts the keys: only the one with this fingerprint may sign.
    pub fn only(mut self, fingerprint: &str) -> Keys {
        self.fingerprint = Some(fingerprint.to_ascii_uppercase());
        self
    }

    /// Finds the key with this fingerprint in the keyrings of these directories. The fingerprint
    /// says which key may sign, so it does not matter which keyring has it.
    ///
    /// # Errors
    /// Fails if none of the directories has a keyring.
    pub fn of_machine<P: AsRef<Path>>(
        fingerprint: &str,
        directories: &[P],
    ) -> Result<Keys, KeyError> {
        let mut binary = Vec::new();
        for directory in directories {
            let Ok(entries) = fs::read_dir(directory) else {
                continue;
            };
            let mut paths: Vec<PathBuf> = entries
                .filter_map(|entry| Some(entry.ok()?.path()))
                .collect();
            paths.sort();
            for path in paths {
                // The directories also hold keyrings in other forms, which apt ignores too.
                if let Ok(keys) = Keys::read(&path) {
                    binary.extend(keys.binary);
                }
            }
        }
        let names: Vec<String> = directories
            .iter()
            .map(|directory| directory.as_ref().display().to_string())
            .collect();
        let directories = names.join(", ");
        if binary.is_empty() {
            return Err(KeyError::NoneOfMachine {
                directories,
                fingerprint: fingerprint.to_owned(),
            });
        }
        let keys = Keys {
            name: PathBuf::from(format!("the keyrings in {directories}")),
            binary,
            fingerprint: None,
        };
        Ok(keys.only(fingerprint))
    }

    /// Whether a line of gpgv's status is about a valid signature by one of the keys that may sign.
    /// A subkey's signature also names its primary key, at the end:
    /// <https://github.com/gpg/gnupg/blob/master/doc/DETAILS>.
    pub(crate) fn accept(&self, status: &str) -> bool {
        let Some(rest) = status.strip_prefix("[GNUPG:] VALIDSIG ") else {
            return false;
        };
        let mut words = rest.split(' ');
        let (signer, primary) = (words.next(), words.next_back());
        match &self.fingerprint {
            None => true,
            Some(wanted) => [signer, primary].contains(&Some(wanted.as_str())),
        }
    }
}

fn to_binary(bytes: &[u8]) -> Result<Vec<u8>, String> {
    // The first byte of an OpenPGP packet has its highest bit set, and a public key's packet type
    // is 6: <https://www.rfc-editor.org/rfc/rfc9580#name-packet-headers>.
    if matches!(bytes.first(), Some(0x98..=0x9b | 0xc6)) {
        return Ok(bytes.to_vec());
    }
    let text = String::from_utf8_lossy(bytes);
    if text.contains("-----BEGIN PGP PRIVATE KEY BLOCK-----") {
        return Err(
            "holds a private key, which belongs in no workspace; export the public one with: \
             gpg --armor --export"
                .to_owned(),
        );
    }
    let mut binary = Vec::new();
    let mut rest = &*text;
    while let Some((_, after)) = rest.split_once(BEGIN) {
        let (block, after) = after
            .split_once(END)
            .ok_or_else(|| format!("ends without `{END}`"))?;
        binary.extend(decode(block)?);
        rest = after;
    }
    match binary.is_empty() {
        true => Err(
            "holds no public key; a key's file is binary, or armoured (it begins with \
             `-----BEGIN PGP PUBLIC KEY BLOCK-----`): gpg --armor --export FINGERPRINT"
                .to_owned(),
        ),
        false => Ok(binary),
    }
}

/// Decodes an armoured block: headers, an empty line, base64, a checksum that readers may ignore.
fn decode(block: &str) -> Result<Vec<u8>, String> {
    let lines = block.lines().map(str::trim).skip(1);
    let data: String = lines
        .skip_while(|line| line.contains(':'))
        .filter(|line| !line.starts_with('='))
        .collect();
    STANDARD
        .decode(data)
        .map_err(|error| format!("its armoured key is damaged: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn armour_is_taken_off() {
        let block = format!("text\n{BEGIN}\r\nComment: x\r\n\r\nmQEN\r\nBGE=\r\n=abcd\r\n{END}\n");
        let once = to_binary(block.as_bytes()).expect("a key");
        assert_eq!(once, [0x99, 0x01, 0x0d, 0x04, 0x61]);
        let twice = to_binary(block.repeat(2).as_bytes()).expect("two keys");
        assert_eq!(twice, [once.clone(), once.clone()].concat());
        assert_eq!(to_binary(&once), Ok(once));
    }

    #[test]
    fn files_without_a_public_key_are_refused() {
        for (text, expected) in [
            ("", "holds no public key"),
            ("<html>not found</html>", "holds no public key"),
            (BEGIN, "ends without"),
            (
                "-----BEGIN PGP PRIVATE KEY BLOCK-----",
                "holds a private key",
            ),
            (&format!("{BEGIN}\n\nm!\n{END}"), "damaged"),
        ] {
            let error = to_binary(text.as_bytes()).expect_err(expected);
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn only_the_named_key_counts() {
        let keys = Keys {
            name: PathBuf::new(),
            binary: Vec::new(),
            fingerprint: None,
        };
        let line = "[GNUPG:] VALIDSIG AAAA 2026-07-11 1 0 4 0 1 8 01 BBBB";
        assert!(keys.accept(line));
        assert!(!keys.accept("[GNUPG:] GOODSIG AAAA"));
        for (fingerprint, expected) in [("aaaa", true), ("BBBB", true), ("01", false)] {
            assert_eq!(keys.clone().only(fingerprint).accept(line), expected);
        }
    }
}
