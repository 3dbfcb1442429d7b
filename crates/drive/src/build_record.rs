//! The record of a build, kept for reports.

use crate::reason::Reason;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};
use std::path::Path;

/// The version of the JSON format of [`BuildRecord`].
pub const FORMAT: u32 = 1;

/// The record of a build. All times are in seconds since its beginning.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BuildRecord {
    /// [`FORMAT`].
    pub version: u32,
    /// The duration of the build, with evaluation.
    pub seconds: f64,
    /// The number of builds that ran at once.
    pub jobs: usize,
    /// The times of Nix's evaluations.
    pub evaluations: Vec<Span>,
    /// The derivations to build, in the order in which they started.
    pub units: Vec<Entry>,
    /// The paths that came from caches.
    pub fetched: Vec<Fetch>,
    /// All derivations of the images, built now or before: name to `.drv` paths.
    pub derivations: BTreeMap<String, Vec<String>>,
    /// The images.
    pub images: Vec<Image>,
}

/// A span of time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Span {
    /// When it began.
    pub start: f64,
    /// When it ended.
    pub end: f64,
}

/// A derivation to build.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    /// Its name.
    pub name: String,
    /// Its `.drv` file.
    pub derivation: String,
    /// Its kind: that of a unit's target, `build-script-run`, `download` or `other`.
    pub kind: String,
    /// How it ended.
    pub outcome: Outcome,
    /// When it was built. Zero if it was not.
    pub span: Span,
    /// Its slot among the builds that ran at once.
    pub slot: usize,
    /// The number of cores that it was allowed to use.
    pub cores: usize,
    /// Its expected duration in seconds.
    pub expected: f64,
    /// The `.drv` files that it needs and that were to be built too.
    pub inputs: Vec<String>,
    /// The reason why it was built.
    pub reason: Reason,
    /// Whether it is on the critical chain, which the build's end waited for.
    pub critical: bool,
}

/// The outcome of a derivation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It was built.
    Built,
    /// It failed.
    Failed,
    /// It was not tried.
    Skipped,
}

/// A store path that came from a cache.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Fetch {
    /// The path.
    pub path: String,
    /// The cache.
    pub from: String,
    /// When it was fetched.
    pub span: Span,
}

/// An image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Image {
    /// Its name.
    pub name: String,
    /// Its OCI layout.
    pub path: String,
}

impl BuildRecord {
    /// Parses a record. `path` is its name in messages.
    ///
    /// # Errors
    /// Fails if the text is not a record, or if it has another version.
    pub fn parse(text: &[u8], path: &Path) -> Result<Self> {
        serde_json::from_slice(text).map_err(|source| Error::Record {
            path: path.to_owned(),
            source,
        })
    }

    /// Returns the record as JSON.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = serde_json::to_vec(self).unwrap_or_default();
        bytes.push(b'\n');
        bytes
    }

    /// Marks the critical chain: the derivation that ended last, its input that ended last, and so
    /// on.
    pub fn mark_critical(&mut self) {
        let place: HashMap<String, usize> = self
            .units
            .iter()
            .enumerate()
            .filter(|(_, unit)| unit.outcome != Outcome::Skipped)
            .map(|(index, unit)| (unit.derivation.clone(), index))
            .collect();
        let last = |candidates: &mut dyn Iterator<Item = usize>| {
            candidates.max_by(|&a, &b| {
                let (a, b) = (&self.units[a], &self.units[b]);
                a.span.end.total_cmp(&b.span.end).then(b.name.cmp(&a.name))
            })
        };
        let mut chain = Vec::new();
        let mut next = last(&mut place.values().copied());
        while let Some(index) = next {
            chain.push(index);
            let inputs = &self.units[index].inputs;
            next = last(&mut inputs.iter().filter_map(|path| place.get(path).copied()));
        }
        for index in chain {
            self.units[index].critical = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(name: &str, span: (f64, f64), inputs: &[&str]) -> Entry {
        Entry {
            name: name.into(),
            derivation: name.into(),
            kind: "lib".into(),
            outcome: Outcome::Built,
            span: Span {
                start: span.0,
                end: span.1,
            },
            slot: 0,
            cores: 1,
            expected: 1.0,
            inputs: inputs.iter().map(|&i| i.into()).collect(),
            reason: Reason::New,
            critical: false,
        }
    }

    #[test]
    fn the_critical_chain_follows_what_ended_last() {
        let mut record = BuildRecord {
            units: vec![
                entry("a", (0.0, 1.0), &[]),
                entry("b", (0.0, 2.0), &[]),
                entry("c", (2.0, 5.0), &["a", "b"]),
                entry("d", (1.0, 4.0), &["a"]),
            ],
            ..BuildRecord::default()
        };
        record.mark_critical();
        let critical = record.units.iter().filter(|u| u.critical);
        let names: Vec<&str> = critical.map(|u| u.name.as_str()).collect();
        assert_eq!(names, ["b", "c"]);
    }
}
