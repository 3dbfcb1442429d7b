//! `toolchain.lock`: the components of one release. Each is pinned by the hash of its archive and,
//! if it was known when the lock was written, of its files.
//!
//! The file is separate from `debian.lock`, because the two change at different times:
//! `debian.lock` when the archive has updates, `toolchain.lock` when the workspace asks for another
//! release.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use crateyard_oci::digest::is_sha256;
use serde::{Deserialize, Serialize};

use crate::choice::Choice;
use crate::error::{Error, Result, io};
use crate::manifest::{ANY, ChannelManifest};

/// The format's version.
pub const VERSION: u32 = 1;

/// The file's name.
pub const FILE: &str = "toolchain.lock";

/// Components for compiling, in addition to the standard library.
pub const COMPILING: [&str; 2] = ["cargo", "rustc"];

/// Components for checks.
pub(crate) const CHECKING: [&str; 2] = ["clippy", "rustfmt"];

/// Rust's standard library, one for each target.
pub const STD: &str = "rust-std";

/// Build platforms, by rustc's names.
pub const HOSTS: [&str; 2] = ["aarch64-unknown-linux-gnu", "x86_64-unknown-linux-gnu"];

/// The whole file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lock {
    /// [`VERSION`].
    pub version: u32,
    /// The requested channel, in rustup's notation.
    pub channel: String,
    /// The compiler's version: `1.95.0`, `1.97.0-nightly`.
    pub release: String,
    /// The day on which the channel had it: `2026-04-16`.
    pub date: String,
    /// Targets in addition to the build platforms, sorted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub targets: Vec<String>,
    /// Component → platform ([`ANY`] for all) → pin.
    pub components: BTreeMap<String, BTreeMap<String, Pin>>,
}

/// The pin of a component for a platform.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pin {
    /// The archive's path below the distribution server's address.
    pub archive: String,
    /// The archive's SHA-256, lower-case hexadecimal.
    pub sha256: String,
    /// The SHA-256 of the component's files as a Nix archive. Without it, the component can only
    /// come from its archive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files: Option<String>,
}

/// A component for a platform.
#[derive(Clone, Copy, Debug)]
pub struct Component<'l> {
    /// Its name, without `-preview`.
    pub name: &'l str,
    /// The platform, by rustc's name, or [`ANY`].
    pub platform: &'l str,
    /// Its pin.
    pub pin: &'l Pin,
}

impl Lock {
    /// Pins the components of a choice by the hashes of their archives. [`Lock::pins`] adds the
    /// hashes of files later.
    ///
    /// A server or a release may lack a build platform, or a component for it. The lock then leaves
    /// that platform out, unless it is `host`. Also returns an error for each such platform.
    ///
    /// # Errors
    /// Fails if the release lacks a component for `host`, or a target's standard library.
    pub fn new(
        choice: &Choice,
        manifest: &ChannelManifest,
        host: &str,
    ) -> Result<(Self, Vec<Error>)> {
        let mut targets = choice.targets.clone();
        targets.retain(|target| !HOSTS.contains(&target.as_str()));
        targets.sort();
        targets.dedup();
        let mut pinned = Vec::new();
        let mut lacking = Vec::new();
        for platform in HOSTS {
            match pins_of(choice, manifest, platform) {
                Ok(pins) => pinned.extend(pins),
                Err(error @ Error::NoComponent { .. }) if platform != host => lacking.push(error),
                Err(error) => return Err(error),
            }
        }
        for target in &targets {
            pinned.push(pin(manifest, STD, target)?);
        }
        let mut components: BTreeMap<String, BTreeMap<String, Pin>> = BTreeMap::new();
        for (component, platform, pin) in pinned {
            let pins = components.entry(component).or_default();
            pins.insert(platform, pin);
        }
        let lock = Self {
            version: VERSION,
            channel: choice.channel.to_string(),
            release: manifest.release()?.to_owned(),
            date: manifest.date.clone(),
            targets,
            components,
        };
        match lock.odd_word() {
            Some(word) => Err(manifest.wrong(not_a_name(word))),
            None => Ok((lock, lacking)),
        }
    }

    /// Returns the first text that is not a plain word: such texts become names of files and parts
    /// of addresses.
    fn odd_word(&self) -> Option<&str> {
        let of_components = self.components().flat_map(|component| {
            let parts = component.pin.archive.split('/');
            parts.chain([component.name, component.platform])
        });
        let mut words = [self.release.as_str(), &self.date]
            .into_iter()
            .chain(self.targets.iter().map(String::as_str))
            .chain(of_components);
        words.find(|word| !is_word(word))
    }

    /// Reads and checks a lock.
    ///
    /// # Errors
    /// Fails if the lock can't be read or is malformed. The message names the line.
    pub fn load(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(io(path))?;
        let wrong = |line: usize, reason: String| Error::File {
            path: path.to_owned(),
            line,
            reason,
        };
        let lock: Self =
            serde_json::from_str(&text).map_err(|error| wrong(error.line(), error.to_string()))?;
        if lock.version != VERSION {
            let reason = format!("version {}, but this program reads {VERSION}", lock.version);
            return Err(wrong(1, reason));
        }
        let fault = lock.components().find_map(|component| {
            let hashes = [Some(&component.pin.sha256), component.pin.files.as_ref()];
            hashes
                .into_iter()
                .flatten()
                .find(|hash| !is_sha256(hash))
                .cloned()
        });
        let line = |part: &str| {
            let line = text.lines().position(|line| line.contains(part));
            line.map_or(1, |line| line + 1)
        };
        if let Some(hash) = fault {
            let reason = format!("`{hash}` is not a SHA-256 in lower-case hexadecimal");
            return Err(wrong(line(&hash), reason));
        }
        if let Some(word) = lock.odd_word() {
            return Err(wrong(line(word), not_a_name(word)));
        }
        Ok(lock)
    }

    /// Writes the lock, whole or not at all.
    ///
    /// # Errors
    /// Fails if writing fails.
    pub fn save(&self, path: &Path) -> Result<()> {
        crateyard_disk::write(path, self.to_text().as_bytes()).map_err(io(path))
    }

    /// Returns the lock's text, one component a line. The same lock always gives the same bytes.
    pub fn to_text(&self) -> String {
        let mut out = String::new();
        // Writing to a string cannot fail.
        let _ = writeln!(out, "{{\n  \"version\": {},", self.version);
        for (name, value) in [
            ("channel", &self.channel),
            ("release", &self.release),
            ("date", &self.date),
        ] {
            let _ = writeln!(out, "  \"{name}\": {},", json(value));
        }
        if !self.targets.is_empty() {
            let _ = writeln!(out, "  \"targets\": {},", json(&self.targets));
        }
        let components = self.components.iter().map(|(name, pins)| {
            let pins: Vec<String> = pins
                .iter()
                .map(|(platform, pin)| format!("      {}: {}", json(platform), json(pin)))
                .collect();
            format!("    {}: {{\n{}\n    }}", json(name), pins.join(",\n"))
        });
        let components: Vec<String> = components.collect();
        let _ = writeln!(
            out,
            "  \"components\": {{\n{}\n  }}\n}}",
            components.join(",\n")
        );
        out
    }

    /// Returns all components, sorted.
    pub fn components(&self) -> impl Iterator<Item = Component<'_>> {
        self.components.iter().flat_map(|(name, pins)| {
            pins.iter().map(move |(platform, pin)| Component {
                name,
                platform,
                pin,
            })
        })
    }

    /// Returns the components for a build platform: its own, and those for all platforms. Standard
    /// libraries are those of the platform and of [`Lock::targets`].
    pub fn for_host(&self, host: &str) -> impl Iterator<Item = Component<'_>> {
        self.components().filter(move |component| {
            component.platform == host
                || component.platform == ANY
                || component.name == STD && self.targets.iter().any(|it| it == component.platform)
        })
    }

    /// Returns the pins, to add hashes of files.
    pub fn pins(&mut self) -> impl Iterator<Item = (&str, &str, &mut Pin)> {
        self.components.iter_mut().flat_map(|(name, pins)| {
            let pins = pins.iter_mut();
            pins.map(move |(platform, pin)| (name.as_str(), platform.as_str(), pin))
        })
    }

    /// Copies the hashes of files from an older lock if the archive is the same.
    pub fn keep_files_of(&mut self, older: &Self) {
        for (name, platform, pin) in self.pins() {
            let known = older
                .components
                .get(name)
                .and_then(|pins| pins.get(platform));
            if let Some(known) = known.filter(|known| known.sha256 == pin.sha256) {
                pin.files.clone_from(&known.files);
            }
        }
    }

    /// Returns the name of a component in the Nix store: `rustc-1.95.0-x86_64-unknown-linux-gnu`. A
    /// nightly release adds its date.
    pub fn store_name(&self, component: Component<'_>) -> String {
        let release = match self.release.contains('-') {
            true => format!("{}-{}", self.release, self.date),
            false => self.release.clone(),
        };
        match component.platform {
            ANY => format!("{}-{release}", component.name),
            platform => format!("{}-{release}-{platform}", component.name),
        }
    }
}

/// Formats a value as JSON on one line, with a space after each colon and comma.
fn json<T: Serialize>(value: &T) -> String {
    // Strings, objects and lists can always be written as JSON.
    spaced(&serde_json::to_value(value).unwrap_or_default())
}

fn spaced(value: &serde_json::Value) -> String {
    match value {
        serde_json::Value::Object(entries) => {
            let entries = entries.iter();
            let entries = entries.map(|(key, value)| format!("{}: {}", json(key), spaced(value)));
            format!("{{{}}}", entries.collect::<Vec<_>>().join(", "))
        }
        serde_json::Value::Array(values) => {
            let values: Vec<String> = values.iter().map(spaced).collect();
            format!("[{}]", values.join(", "))
        }
        other => other.to_string(),
    }
}

/// Returns a component's name without `-preview`.
pub fn short(component: &str) -> &str {
    component.strip_suffix("-preview").unwrap_or(component)
}

/// Whether a text is a name as releases, components and platforms have them.
fn is_word(text: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._+*-".contains(&byte);
    !text.is_empty() && !text.starts_with(['.', '-']) && text.bytes().all(is_plain)
}

fn not_a_name(word: &str) -> String {
    format!("{word:?} is not a name of a release, a component, a platform or an archive")
}

/// A component, its platform and its pin.
type Pinned = (String, String, Pin);

/// Returns the pins for one build platform.
fn pins_of(choice: &Choice, manifest: &ChannelManifest, platform: &str) -> Result<Vec<Pinned>> {
    let asked = choice.components.iter().map(String::as_str);
    let always = COMPILING.into_iter().chain(CHECKING).chain([STD]);
    let all = always.chain(asked);
    all.map(|component| pin(manifest, component, platform))
        .collect()
}

fn pin(manifest: &ChannelManifest, component: &str, platform: &str) -> Result<Pinned> {
    let platform = manifest.platform_of(component, platform)?;
    let archive = manifest.archive(component, platform)?;
    let pin = Pin {
        archive: archive.path,
        sha256: archive.sha256,
        files: None,
    };
    Ok((short(component).to_owned(), platform.to_owned(), pin))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ARM: &str = HOSTS[0];
    const X86: &str = HOSTS[1];

    /// Makes a manifest whose components exist only for x86-64, except `everywhere`, which exist
    /// for both platforms.
    fn manifest(everywhere: &[&str]) -> ChannelManifest {
        let mut text = "manifest-version = \"2\"\ndate = \"2023-07-13\"\n".to_owned();
        for component in COMPILING.into_iter().chain(CHECKING).chain([STD]) {
            let _ = writeln!(text, "[pkg.{component}]\nversion = \"1.71.0\"");
            for platform in HOSTS {
                if platform == X86 || everywhere.contains(&component) {
                    let hash = "0".repeat(64);
                    let _ = writeln!(
                        text,
                        "[pkg.{component}.target.{platform}]\navailable = true\nxz_url = \
                         \"https://a.example/dist/2023-07-13/{component}.tar.xz\"\nxz_hash = \
                         \"{hash}\""
                    );
                }
            }
        }
        ChannelManifest::parse(&text, "a.toml").unwrap()
    }

    fn choice() -> Choice {
        let directory = tempfile::tempdir().unwrap();
        crate::choose(directory.path(), Some("1.71.0"), &[]).unwrap()
    }

    #[test]
    fn names_in_a_lock_are_no_paths() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(FILE);
        let (lock, _) = Lock::new(&choice(), &manifest(&[]), X86).unwrap();
        let whole = lock.to_text();
        std::fs::write(&path, &whole).unwrap();
        assert_eq!(Lock::load(&path).unwrap(), lock);
        let odd = ["/etc", "..", "../a", "a b", "-x", "\u{1b}[2J", "a\nb", ""];
        for (name, word) in odd
            .iter()
            .flat_map(|odd| [(&lock.release, odd), (&lock.date, odd)])
        {
            let changed = whole.replace(&format!("\"{name}\""), &json(word));
            assert_ne!(changed, whole);
            std::fs::write(&path, changed).unwrap();
            let said = Lock::load(&path).unwrap_err().to_string();
            assert!(said.contains("is not a name"), "{said}");
            assert!(!said.contains('\u{1b}'), "{said:?}");
        }
        for (from, to) in [
            ("dist/", "/dist/"),
            ("dist/", "dist/../"),
            ("\"rustc\"", "\"../rustc\""),
        ] {
            std::fs::write(&path, whole.replace(from, to)).unwrap();
            let said = Lock::load(&path).unwrap_err().to_string();
            assert!(said.contains("is not a name"), "{said}");
        }
    }

    #[test]
    fn a_platform_that_the_release_lacks_is_left_out() {
        for everywhere in [&[][..], &["rustc", "cargo"]] {
            let (lock, lacking) = Lock::new(&choice(), &manifest(everywhere), X86).unwrap();
            let platforms = lock.components().map(|component| component.platform);
            assert!(platforms.into_iter().all(|platform| platform == X86));
            assert_eq!(lock.components().count(), 5);
            assert_eq!(lacking.len(), 1);
            assert!(lacking[0].to_string().contains(ARM), "{}", lacking[0]);
        }
    }

    #[test]
    fn a_release_without_the_own_platform_is_refused() {
        let error = Lock::new(&choice(), &manifest(&["rustc"]), ARM).unwrap_err();
        let said = "the release 1.71.0 has no component `cargo` for aarch64-unknown-linux-gnu";
        assert_eq!(error.to_string(), said);
    }
}
