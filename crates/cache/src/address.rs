//! The address of a cache.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use crateyard_oci::Reference;

use crate::error::Error;

const PACKS: &str = "pack:";
const REGISTRY: &str = "oci://";
const FILE: &str = "file://";

/// The address of a cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// A binary cache in a directory: a path, or `file://PATH`.
    Directory(PathBuf),
    /// A binary cache behind a web server: `http://…`, `https://…`.
    Http(String),
    /// Packs in a directory: `pack:PATH`.
    Packs(PathBuf),
    /// Packs in a registry: `oci://REGISTRY/REPOSITORY[:TAG]`.
    Registry(Reference),
    /// A cache that only Nix can read: `s3://…`, `ssh://…` and so on.
    Nix(String),
}

impl Address {
    /// Whether Nix needs a local server to read it.
    pub fn needs_server(&self) -> bool {
        matches!(self, Address::Packs(_) | Address::Registry(_))
    }
}

impl FromStr for Address {
    type Err = Error;

    fn from_str(text: &str) -> Result<Address, Error> {
        let wrong =
            |reason: String| Error::from(crateyard_nix::Error::syntax("cache", text, reason));
        if let Some(path) = text.strip_prefix(PACKS) {
            return Ok(Address::Packs(path.into()));
        }
        if let Some(reference) = text.strip_prefix(REGISTRY) {
            let reference: Reference = reference.parse()?;
            return match reference.digest() {
                None => Ok(Address::Registry(reference)),
                Some(_) => Err(wrong(
                    "a cache is named by a tag, not by a digest".to_owned(),
                )),
            };
        }
        if let Some(path) = text.strip_prefix(FILE) {
            if !path.starts_with(['/', '.']) {
                return Err(wrong(format!(
                    "write {FILE}/PATH, or {FILE}./PATH for a path relative to this directory"
                )));
            }
            return directory(path).map_err(|error| wrong(error.to_string()));
        }
        if text.starts_with("http://") || text.starts_with("https://") {
            return Ok(Address::Http(text.trim_end_matches('/').to_owned()));
        }
        if text.contains("://") {
            return Ok(Address::Nix(text.to_owned()));
        }
        match text.starts_with(['/', '.']) {
            true => directory(text).map_err(|error| wrong(error.to_string())),
            false => Err(wrong(format!(
                "expected a path, {FILE}PATH, http(s)://…, s3://…, {PACKS}PATH or \
                 {REGISTRY}REGISTRY/REPOSITORY:TAG"
            ))),
        }
    }
}

/// Makes an address from a directory's absolute path. Nix takes any text after `file://` as an
/// absolute path.
fn directory(path: &str) -> std::io::Result<Address> {
    std::path::absolute(path).map(Address::Directory)
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Directory(path) => write!(f, "{FILE}{}", path.display()),
            Address::Packs(path) => write!(f, "{PACKS}{}", path.display()),
            Address::Registry(reference) => write!(f, "{REGISTRY}{reference}"),
            Address::Http(url) | Address::Nix(url) => f.write_str(url),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_named_by_its_whole_path() {
        let here = std::env::current_dir().unwrap();
        let parse = |text: &str| text.parse::<Address>().map(|it| it.to_string());
        for text in ["file://./cache", "./cache", "file://././cache"] {
            let expected = format!("file://{}/cache", here.display());
            assert_eq!(parse(text).unwrap(), expected, "{text}");
        }
        for text in ["file:///srv/cache", "/srv/cache"] {
            assert_eq!(parse(text).unwrap(), "file:///srv/cache", "{text}");
        }
        for text in [
            "file://cache",
            "file://localhost/srv/cache",
            "file://",
            "cache",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
