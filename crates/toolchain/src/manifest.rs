//! The manifest of a release channel: the components of a release, and the hashes of their
//! archives.
//!
//! <https://forge.rust-lang.org/infra/channel-layout.html>

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::error::{Error, Result};

/// The supported version of manifests.
const VERSION: &str = "2";

/// The platform of a component that is the same for all, such as `rust-src`.
pub const ANY: &str = "*";

/// A channel's manifest.
#[derive(Debug, Deserialize)]
pub struct ChannelManifest {
    #[serde(rename = "manifest-version")]
    version: String,
    /// The day on which the channel had this release: `2026-04-16`.
    pub date: String,
    pkg: BTreeMap<String, Package>,
    #[serde(default)]
    renames: BTreeMap<String, Rename>,
    /// The manifest's name in messages.
    #[serde(skip)]
    origin: String,
}

#[derive(Debug, Deserialize)]
struct Rename {
    to: String,
}

#[derive(Debug, Deserialize)]
struct Package {
    version: String,
    #[serde(default)]
    target: BTreeMap<String, Target>,
}

#[derive(Debug, Deserialize)]
struct Target {
    available: bool,
    xz_url: Option<String>,
    xz_hash: Option<String>,
}

/// An archive on a distribution server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Archive {
    /// The path below the server's address:
    /// `dist/2026-04-16/rustc-1.95.0-x86_64-unknown-linux-gnu.tar.xz`.
    pub path: String,
    /// SHA-256, lower-case hexadecimal.
    pub sha256: String,
}

impl ChannelManifest {
    /// Parses a manifest. `origin` is its name in messages.
    ///
    /// # Errors
    /// Fails if the manifest is malformed or has another version.
    pub fn parse(text: &str, origin: &str) -> Result<Self> {
        let wrong = |reason: String| Error::Manifest {
            origin: origin.to_owned(),
            reason,
        };
        let manifest: Self = toml::from_str(text)
            .map_err(|error| wrong(format!("not a channel's manifest: {}", error.message())))?;
        if manifest.version != VERSION {
            return Err(wrong(format!(
                "the manifest has version {:?}, but this program reads {VERSION:?}",
                manifest.version
            )));
        }
        Ok(Self {
            origin: origin.to_owned(),
            ..manifest
        })
    }

    /// Returns the compiler's version: `1.95.0`, `1.97.0-nightly`.
    ///
    /// # Errors
    /// Fails if the release has no compiler.
    pub fn release(&self) -> Result<&str> {
        let version = &self.package("rustc", ANY)?.version;
        Ok(version.split(' ').next().unwrap_or(version))
    }

    /// Returns the archive of a component for a platform. The name may lack `-preview`. Components
    /// such as `rust-src` are the same for all platforms, and have the platform [`ANY`].
    ///
    /// # Errors
    /// Fails if the release lacks the component.
    pub fn archive(&self, component: &str, platform: &str) -> Result<Archive> {
        let target = self.target(component, platform)?;
        let (Some(url), Some(hash)) = (&target.xz_url, &target.xz_hash) else {
            return Err(self.wrong(format!(
                "`{component}` has no .tar.xz archive for {platform}"
            )));
        };
        let Some((_, path)) = url.split_once("/dist/") else {
            return Err(self.wrong(format!("the archive {url} is not below dist/")));
        };
        if hash.len() != 64 || !hash.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(self.wrong(format!("`{hash}` of `{component}` is not a SHA-256")));
        }
        Ok(Archive {
            path: format!("dist/{path}"),
            sha256: hash.clone(),
        })
    }

    /// Returns the platform under which the manifest lists a component: the given one, or [`ANY`].
    ///
    /// # Errors
    /// Fails if the release lacks the component.
    pub fn platform_of<'a>(&self, component: &str, platform: &'a str) -> Result<&'a str> {
        let package = self.package(component, platform)?;
        let has_any = package.target.contains_key(ANY) && !package.target.contains_key(platform);
        Ok(if has_any { ANY } else { platform })
    }

    /// Returns the name under which the manifest and rustup list a component: `clippy-preview` for
    /// `clippy`.
    pub fn listed<'a>(&'a self, component: &'a str) -> &'a str {
        self.renames
            .get(component)
            .map_or(component, |rename| &rename.to)
    }

    /// Makes the error for a manifest that can't be used.
    pub(crate) fn wrong(&self, reason: String) -> Error {
        Error::Manifest {
            origin: self.origin.clone(),
            reason,
        }
    }

    fn target(&self, component: &str, platform: &str) -> Result<&Target> {
        let package = self.package(component, platform)?;
        let target = package.target.get(platform);
        target
            .filter(|target| target.available)
            .ok_or_else(|| self.lacks(component, platform))
    }

    fn package(&self, component: &str, platform: &str) -> Result<&Package> {
        self.pkg
            .get(self.listed(component))
            .ok_or_else(|| self.lacks(component, platform))
    }

    fn lacks(&self, component: &str, platform: &str) -> Error {
        let rustc = self.pkg.get("rustc").map(|rustc| rustc.version.as_str());
        Error::NoComponent {
            release: rustc.unwrap_or(&self.origin).to_owned(),
            component: component.to_owned(),
            platform: platform.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"
        manifest-version = "2"
        date = "2026-04-16"
        [pkg.rustc]
        version = "1.95.0 (59807616e 2026-04-14)"
        [pkg.rustc.target.x86_64-unknown-linux-gnu]
        available = true
        xz_url = "https://mirror.example/a/dist/2026-04-16/rustc-1.95.0-x86_64-unknown-linux-gnu.tar.xz"
        xz_hash = "0000000000000000000000000000000000000000000000000000000000000000"
        [pkg.clippy-preview]
        version = "0.1.95"
        [pkg.clippy-preview.target.x86_64-unknown-linux-gnu]
        available = false
        [renames.clippy]
        to = "clippy-preview"
    "#;
    const HOST: &str = "x86_64-unknown-linux-gnu";

    #[test]
    fn archives_are_named_relative_to_a_server() {
        let manifest = ChannelManifest::parse(TEXT, "a.toml").unwrap();
        assert_eq!(manifest.release().unwrap(), "1.95.0");
        let archive = manifest.archive("rustc", HOST).unwrap();
        assert_eq!(
            archive.path,
            "dist/2026-04-16/rustc-1.95.0-x86_64-unknown-linux-gnu.tar.xz"
        );
    }

    #[test]
    fn what_a_release_lacks_is_named() {
        let manifest = ChannelManifest::parse(TEXT, "a.toml").unwrap();
        for component in ["clippy", "miri"] {
            let said = manifest.archive(component, HOST).unwrap_err().to_string();
            assert!(
                said.contains(&format!("no component `{component}`")),
                "{said}"
            );
        }
        assert!(ChannelManifest::parse("", "a.toml").is_err());
        let other = TEXT.replace("version = \"2\"", "version = \"3\"");
        let said = ChannelManifest::parse(&other, "a.toml")
            .unwrap_err()
            .to_string();
        assert!(
            said.contains("a.toml: the manifest has version \"3\""),
            "{said}"
        );
    }
}
