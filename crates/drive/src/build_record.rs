//! What a build did, kept beside the images so that a report can be written of it.

use crate::reason::Reason;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};
use std::path::Path;

/// The version of the JSON form of [`Record`].
pub const FORMAT: u32 = 1;

/// A build. All times are seconds since its beginning.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// [`FORMAT`].
    pub version: u32,
    /// How long it took, evaluation included.
    pub seconds: f64,
    /// Builds at once.
    pub jobs: usize,
    /// When Nix evaluated.
    pub evaluations: Vec<Span>,
    /// What was to be built, in the order in which it started.
    pub units: Vec<Entry>,
    /// What came from caches.
    pub fetched: Vec<Fetch>,
    /// Name to `.drv` paths of all that the images are made of, built now or before.
    pub derivations: BTreeMap<String, Vec<String>>,
    /// The images, and where they lie.
    pub images: Vec<Image>,
}

/// A time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Span {
    /// When it began.
    pub start: f64,
    /// When it ended.
    pub end: f64,
}

/// A derivation that was to be built.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    /// Its name.
    pub name: String,
    /// Its `.drv` file.
    pub derivation: String,
    /// What it is: the kind of a unit's target, `build-script-run`, `download` or `other`.
    pub kind: String,
    /// How it ended.
    pub outcome: Outcome,
    /// When it was built; nothing for what was not.
    pub span: Span,
    /// Its place among those that were built at once.
    pub slot: usize,
    /// How many cores it was told to use.
    pub cores: usize,
    /// How long it was expected to take, in seconds.
    pub expected: f64,
    /// The `.drv` files that it uses and that were to be built too.
    pub inputs: Vec<String>,
    /// Why it was built.
    pub reason: Reason,
    /// Whether it lies on the chain that the build's end waited for.
    pub critical: bool,
}

/// How a derivation's turn ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// Well.
    Built,
    /// Badly.
    Failed,
    /// It had none.
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
    /// When.
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

impl Record {
    /// Reads a record; `path` is for messages.
    ///
    /// # Errors
    /// When it is none, or one of another version.
    pub fn parse(text: &[u8], path: &Path) -> Result<Self> {
        serde_json::from_slice(text).map_err(|source| Error::Record {
            path: path.to_owned(),
            source,
        })
    }

    /// Its bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = serde_json::to_vec(self).unwrap_or_default();
        bytes.push(b'\n');
        bytes
    }

    /// Marks the chain that the end waited for: what ended last, the input of it that ended last,
    /// and so on.
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
        let mut record = Record {
            units: vec![
                entry("a", (0.0, 1.0), &[]),
                entry("b", (0.0, 2.0), &[]),
                entry("c", (2.0, 5.0), &["a", "b"]),
                entry("d", (1.0, 4.0), &["a"]),
            ],
            ..Record::default()
        };
        record.mark_critical();
        let critical = record.units.iter().filter(|u| u.critical);
        let names: Vec<&str> = critical.map(|u| u.name.as_str()).collect();
        assert_eq!(names, ["b", "c"]);
    }
}
