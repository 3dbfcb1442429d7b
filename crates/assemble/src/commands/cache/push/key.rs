//! Finds the key that signs the pushed paths.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use crateyard_nix::SecretKey;
use tempfile::NamedTempFile;

/// The variable that holds the signing key.
const KEY_VARIABLE: &str = "CRATEYARD_SIGN_KEY";

/// A signing key, and a file that holds it.
pub(super) struct Key {
    pub(super) secret: SecretKey,
    pub(super) path: PathBuf,
    /// The file, if it is temporary. Dropping the key removes it.
    _file: Option<NamedTempFile>,
}

impl Key {
    pub(super) fn find(file: Option<&Path>) -> Result<Key> {
        if let Some(path) = file {
            let text = std::fs::read_to_string(path)
                .with_context(|| format!("cannot read the key {}", path.display()))?;
            let path = std::path::absolute(path)?;
            return Ok(Key {
                secret: text.parse()?,
                path,
                _file: None,
            });
        }
        let text = std::env::var(KEY_VARIABLE).unwrap_or_default();
        if text.is_empty() {
            bail!(
                "there is no key to sign with, and Nix rejects unsigned paths\n  try: --sign-key \
                 FILE or {KEY_VARIABLE}; make one with: nix key generate-secret --key-name NAME"
            );
        }
        let secret = text.parse()?;
        // Nix needs a file. Only the user can read this one.
        let mut file = NamedTempFile::new().context("cannot make a file for the key")?;
        file.write_all(text.as_bytes())?;
        let path = file.path().to_owned();
        Ok(Key {
            secret,
            path,
            _file: Some(file),
        })
    }
}
