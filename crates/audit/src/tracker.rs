//! Debian's security data: the JSON of its security tracker. For each source package and CVE, it
//! names the version with the fix in each release.
//!
//! Debian publishes it at <https://security-tracker.debian.org/tracker/data/json> and explains its
//! words at <https://security-team.debian.org/security_tracker.html>.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use serde::Deserialize;
use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, Visitor};

use crate::{Error, Result};

/// The largest data that is read, in bytes. In 2025 it had 70 MB.
const MAX_DATA: u64 = 1 << 30;
/// The first bytes of a gzip file.
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// Debian's releases by their numbers, from
/// [distro-info-data](https://salsa.debian.org/debian/distro-info-data/-/blob/main/debian.csv).
const RELEASES: [(&str, &str); 9] = [
    ("7", "wheezy"),
    ("8", "jessie"),
    ("9", "stretch"),
    ("10", "buster"),
    ("11", "bullseye"),
    ("12", "bookworm"),
    ("13", "trixie"),
    ("14", "forky"),
    ("15", "duke"),
];

/// The issues of some source packages.
#[derive(Debug, Clone, Default)]
pub struct Tracker {
    packages: BTreeMap<String, BTreeMap<String, Issue>>,
}

/// One CVE in one source package.
#[derive(Debug, Clone, Deserialize)]
pub struct Issue {
    /// The text of the CVE.
    #[serde(default)]
    pub description: String,
    /// The state in each release, by the release's name.
    #[serde(default)]
    pub releases: BTreeMap<String, InRelease>,
}

/// The state of a CVE in a release.
#[derive(Debug, Clone, Deserialize)]
pub struct InRelease {
    /// `open`, `resolved` or `undetermined`.
    pub status: String,
    /// The version with the fix, or `0` if the release never had the fault.
    #[serde(default)]
    pub fixed_version: Option<String>,
    /// `unimportant`, `low`, `medium`, `high`, `not yet assigned`, `end-of-life`.
    #[serde(default)]
    pub urgency: Option<String>,
    /// The reason why Debian issues no security update.
    #[serde(default)]
    pub nodsa: Option<String>,
}

impl Tracker {
    /// Reads a copy (plain or gzip) and keeps the issues of the source packages in `wanted`.
    ///
    /// # Errors
    /// When the copy can't be read, or is not the tracker's data.
    pub fn read(path: &Path, wanted: &BTreeSet<String>) -> Result<Tracker> {
        let open = || File::open(path).map_err(Error::read(path));
        let mut start = Vec::new();
        let read = open()?.take(2).read_to_end(&mut start);
        read.map_err(Error::read(path))?;
        let file = BufReader::new(open()?);
        let plain: Box<dyn Read> = match start == GZIP {
            true => Box::new(BufReader::new(flate2::read::GzDecoder::new(file))),
            false => Box::new(file),
        };
        let mut json = serde_json::Deserializer::from_reader(plain.take(MAX_DATA));
        let packages = Wanted(wanted).deserialize(&mut json).and_then(|it| {
            json.end()?;
            Ok(it)
        });
        let packages = packages.map_err(|error| {
            let problem = format!(
                "it is not the data of Debian's security tracker: {error}\n  \
                 try: a copy of https://security-tracker.debian.org/tracker/data/json"
            );
            Error::form(path.display().to_string(), problem)
        })?;
        Ok(Tracker { packages })
    }

    /// Returns the issues of a source package, by CVE.
    pub fn about(&self, source: &str) -> impl Iterator<Item = (&String, &Issue)> {
        self.packages.get(source).into_iter().flatten()
    }
}

/// Returns the name of a release, by Debian's number.
pub fn release(number: &str) -> Option<&'static str> {
    let found = RELEASES.iter().find(|(it, _)| *it == number)?;
    Some(found.1)
}

/// A deserializer that keeps some of a map's values and skips the others.
struct Wanted<'a>(&'a BTreeSet<String>);

impl<'de> DeserializeSeed<'de> for Wanted<'_> {
    type Value = BTreeMap<String, BTreeMap<String, Issue>>;

    fn deserialize<D: serde::Deserializer<'de>>(self, json: D) -> Result<Self::Value, D::Error> {
        json.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Wanted<'_> {
    type Value = BTreeMap<String, BTreeMap<String, Issue>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map of source packages")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut kept = BTreeMap::new();
        let mut is_empty = true;
        while let Some(package) = map.next_key::<String>()? {
            is_empty = false;
            if self.0.contains(&package) {
                kept.insert(package, map.next_value()?);
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        // An empty copy would make every image look safe.
        match is_empty {
            true => Err(serde::de::Error::custom("it has no package")),
            false => Ok(kept),
        }
    }
}
