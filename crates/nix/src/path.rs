//! Paths of the Nix store.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::hash::is_base32;

/// The directory of the store. A store elsewhere on the disk has the same logical paths.
pub const STORE: &str = "/nix/store";

/// The number of digits in a store path's hash.
const HASH: usize = 32;

/// A path of the store: `/nix/store/HASH-NAME`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct StorePath {
    base: String,
}

impl StorePath {
    /// Returns `HASH-NAME`.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// Returns the hash, by which caches find the path.
    pub fn hash(&self) -> &str {
        &self.base[..HASH]
    }

    /// Returns the name after the hash.
    pub fn name(&self) -> &str {
        &self.base[HASH + 1..]
    }
}

/// Returns the name in a path: `NAME` for `/nix/store/HASH-NAME.drv`. Also accepts an output's path
/// and invalid paths.
pub fn name_of(path: &str) -> &str {
    let file = path.rsplit('/').next().unwrap_or(path);
    let name = file.split_once('-').map_or(file, |(_, name)| name);
    name.strip_suffix(".drv").unwrap_or(name)
}

impl fmt::Display for StorePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{STORE}/{}", self.base)
    }
}

impl FromStr for StorePath {
    type Err = Error;

    /// Reads `/nix/store/HASH-NAME` or `HASH-NAME`.
    fn from_str(text: &str) -> Result<StorePath, Error> {
        let base = text
            .strip_prefix(STORE)
            .and_then(|rest| rest.strip_prefix('/'))
            .unwrap_or(text);
        let has_name = base.len() > HASH + 1 && base.as_bytes()[HASH] == b'-';
        let is_safe = base
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"+-._?=".contains(&byte));
        if has_name && is_safe && is_base32(&base[..HASH]) {
            return Ok(StorePath {
                base: base.to_owned(),
            });
        }
        let reason = format!("expected {STORE}/HASH-NAME");
        Err(Error::syntax("store path", text, reason))
    }
}

impl TryFrom<String> for StorePath {
    type Error = Error;

    fn try_from(text: String) -> Result<StorePath, Error> {
        text.parse()
    }
}

impl From<StorePath> for String {
    fn from(path: StorePath) -> String {
        path.base
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_a_path() {
        let text = "/nix/store/0088nw260g520izissyias822skzxd61-getrandom-0.4.3-build-script";
        let path: StorePath = text.parse().unwrap();
        assert_eq!(path.to_string(), text);
        assert_eq!(path.hash(), "0088nw260g520izissyias822skzxd61");
        assert_eq!(path.name(), "getrandom-0.4.3-build-script");
        for odd in [
            "",
            "/nix/store/x",
            "0088nw260g520izissyias822skzxd61",
            "0088nw260g520izissyias822skzxd61-a/b",
            "../../nw260g520izissyias822skzxd61-a",
            "éé88nw260g520izissyias822skzxd61-a",
        ] {
            assert!(odd.parse::<StorePath>().is_err(), "{odd}");
        }
    }

    #[test]
    fn names_come_from_paths() {
        assert_eq!(name_of("/nix/store/abc-serde-1.0.219.drv"), "serde-1.0.219");
        assert_eq!(name_of("/nix/store/abc-serde-1.0.219"), "serde-1.0.219");
    }
}
