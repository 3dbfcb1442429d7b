//! Remembers how long derivations took on this machine, by name.
//!
//! A name survives an edit, so an earlier measurement predicts the next one. The measurements are
//! in a JSON file below `$XDG_STATE_HOME`, never in a store.

use crate::Result;
use crateyard_nix::Error;
use crateyard_unit::METADATA;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// The version of the file's format.
const FORMAT: u32 = 1;

/// The weight of a new measurement. The old ones count too, because other work on the machine
/// disturbs a single one.
const WEIGHT_OF_NEW: f64 = 0.5;

/// The least sum of guesses, in seconds, that says something about the machine.
const LEAST_TO_SCALE: f64 = 5.0;

#[derive(Serialize, Deserialize)]
struct File {
    version: u32,
    seconds: BTreeMap<String, f64>,
    #[serde(default = "unscaled")]
    scale: f64,
}

fn unscaled() -> f64 {
    1.0
}

/// The remembered durations.
#[derive(Clone, Debug)]
pub struct Durations {
    seconds: BTreeMap<String, f64>,
    scale: f64,
    /// Measurements since the file was read.
    measured: BTreeMap<String, f64>,
    /// For derivations whose duration was guessed: the sums of guesses and of measurements.
    guessed: (f64, f64),
}

impl Default for Durations {
    fn default() -> Self {
        Self {
            seconds: BTreeMap::new(),
            scale: unscaled(),
            measured: BTreeMap::new(),
            guessed: (0.0, 0.0),
        }
    }
}

/// Returns the path of the file.
pub fn default_path() -> Option<PathBuf> {
    Some(state_directory()?.join("durations.json"))
}

/// Returns the directory of Crateyard's state: `$XDG_STATE_HOME/crateyard`, or
/// `~/.local/state/crateyard`. Returns `None` if neither variable is an absolute path.
pub fn state_directory() -> Option<PathBuf> {
    let absolute = |name: &str| {
        let path = PathBuf::from(std::env::var_os(name)?);
        path.is_absolute().then_some(path)
    };
    let state = absolute("XDG_STATE_HOME").or_else(|| Some(absolute("HOME")?.join(".local/state")));
    Some(state?.join("crateyard"))
}

impl Durations {
    /// Reads a file. A missing file, or one of another version, holds nothing.
    ///
    /// # Errors
    /// Fails if the file exists but can't be read.
    pub fn read(path: &Path) -> Result<Self> {
        let text = match fs::read(path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(Error::io("read", path)(error).into()),
        };
        let file = serde_json::from_slice::<File>(&text).ok();
        let known = file.filter(|file| file.version == FORMAT);
        Ok(known.map_or_else(Self::default, |file| Self {
            seconds: file.seconds,
            scale: file.scale,
            ..Self::default()
        }))
    }

    /// Remembers how long something took. `expected` is the duration that was predicted.
    pub fn remember(&mut self, name: &str, seconds: f64, expected: f64) {
        if self.seconds(name).is_none() {
            self.guessed.0 += expected / self.scale;
            self.guessed.1 += seconds;
        }
        self.measured.insert(name.to_owned(), seconds);
    }

    /// Returns how much longer derivations take on this machine than guessed.
    pub fn scale(&self) -> f64 {
        self.scale
    }

    /// Returns how long something took. Falls back to another version of the same package.
    pub fn seconds(&self, name: &str) -> Option<f64> {
        if let Some(seconds) = self.measured.get(name).or_else(|| self.seconds.get(name)) {
            return Some(*seconds);
        }
        let wanted = without_version(name)?;
        // Names with the same beginning are adjacent.
        let from = self.seconds.range(wanted.0.to_owned()..);
        from.take_while(|(other, _)| other.starts_with(wanted.0))
            .filter(|(other, _)| without_version(other) == Some(wanted))
            .map(|(_, seconds)| *seconds)
            .last()
    }

    /// Adds the measurements to the file, atomically. Keeps what another process has added
    /// meanwhile, unless both write at the same moment.
    ///
    /// # Errors
    /// Fails if the file can't be written.
    pub fn save(&mut self, path: &Path) -> Result<()> {
        if self.measured.is_empty() {
            return Ok(());
        }
        let mut all = Self::read(path)?.seconds;
        for (name, new) in std::mem::take(&mut self.measured) {
            let seconds = match all.get(&name) {
                Some(old) => old + WEIGHT_OF_NEW * (new - old),
                None => new,
            };
            let milliseconds = (seconds * 1e3).round() / 1e3;
            all.insert(name, milliseconds);
        }
        let (guessed, measured) = std::mem::take(&mut self.guessed);
        if guessed > LEAST_TO_SCALE {
            self.scale += WEIGHT_OF_NEW * (measured / guessed - self.scale);
        }
        self.seconds = all.clone();
        let file = File {
            version: FORMAT,
            seconds: all,
            scale: self.scale,
        };
        write_json(path, &file)
    }
}

/// Writes a JSON file, whole or not at all.
///
/// # Errors
/// Fails if the file can't be written.
pub fn write_json(path: &Path, document: &impl Serialize) -> Result<()> {
    let write = || -> std::io::Result<()> {
        let directory = path.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(directory)?;
        let mut text = serde_json::to_vec(document)?;
        text.push(b'\n');
        crateyard_disk::write(path, &text)
    };
    write().map_err(|error| Error::io("write", path)(error).into())
}

/// The suffixes after the version in a unit's name that are the same for other versions.
const SUFFIXES: [&str; 3] = ["-build-script", METADATA, "-bin-"];

/// Returns the parts before and after the version in a unit's name: `ring-` and `-build-script-run`
/// for `ring-0.17.14-build-script-run`.
fn without_version(name: &str) -> Option<(&str, &str)> {
    let mut starts = name.match_indices('-').map(|(dash, _)| dash + 1);
    let start = starts.rfind(|&start| is_version(&name[start..]))?;
    let rest = &name[start..];
    let end = SUFFIXES.iter().filter_map(|suffix| rest.find(suffix)).min();
    Some((&name[..start], end.map_or("", |end| &rest[end..])))
}

/// Whether a text begins like a version: a number, a dot and a number.
fn is_version(text: &str) -> bool {
    let digits = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
    let major = digits(text);
    let rest = &text[major..];
    major > 0 && rest.starts_with('.') && digits(&rest[1..]) > 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_version_is_the_next_best() {
        let mut durations = Durations::default();
        for (name, seconds) in [
            ("serde-1.0.218", 3.0),
            ("serde_json-1.0.1", 9.0),
            ("ring-0.17.1", 1.0),
            ("ring-0.17.1-build-script-run", 5.0),
            ("ring-0.17.1-metadata", 0.5),
            ("gateway-0.1.0-bin-gateway", 7.0),
        ] {
            durations.seconds.insert(name.into(), seconds);
        }
        assert_eq!(durations.seconds("serde-1.0.219"), Some(3.0));
        assert_eq!(durations.seconds("ring-0.17.14"), Some(1.0));
        assert_eq!(
            durations.seconds("ring-0.17.14-build-script-run"),
            Some(5.0)
        );
        assert_eq!(durations.seconds("ring-0.17.14-metadata"), Some(0.5));
        let program = durations.seconds("gateway-0.2.0-rc.1-bin-gateway");
        assert_eq!(program, Some(7.0));
        assert_eq!(durations.seconds("tokio-1.0.0"), None);
        assert_eq!(durations.seconds("layer-gateway"), None);
    }

    #[test]
    fn guesses_are_scaled_to_the_machine() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("durations.json");
        let mut durations = Durations::default();
        durations.remember("a-1.0.0", 30.0, 10.0);
        // A known duration does not count as a guess.
        durations.remember("a-1.0.0", 90.0, 30.0);
        durations.save(&path).unwrap();
        let scale = Durations::read(&path).unwrap().scale();
        assert!((scale - 2.0).abs() < 1e-9, "{scale}");
    }

    #[test]
    fn a_file_keeps_what_others_added_and_survives_damage() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("state/durations.json");
        let mut first = Durations::read(&path).unwrap();
        let mut second = Durations::read(&path).unwrap();
        first.remember("a-1.0.0", 2.0, 1.0);
        first.save(&path).unwrap();
        second.remember("b-1.0.0", 3.0, 1.0);
        second.remember("a-1.0.0", 4.0, 1.0);
        second.save(&path).unwrap();
        let both = Durations::read(&path).unwrap();
        assert_eq!(both.seconds("a-1.0.0"), Some(3.0));
        assert_eq!(both.seconds("b-1.0.0"), Some(3.0));
        fs::write(&path, "{\"version\":1,\"seco").unwrap();
        let none = Durations::read(&path).unwrap();
        assert_eq!(none.seconds("a-1.0.0"), None);
    }
}
