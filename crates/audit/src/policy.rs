//! `audit.toml`: advisories to ignore, and the features that vulnerable code needs.

use std::collections::BTreeSet;
use std::path::Path;

use serde::Deserialize;

use crate::finding::Justification;
use crate::{Error, Result};

/// The name of the file, which lies beside `images.toml`.
pub const FILE: &str = "audit.toml";
const VERSION: i64 = 1;

/// The content of `audit.toml`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    version: i64,
    /// Advisories to ignore.
    #[serde(default)]
    pub ignore: Vec<Ignore>,
    /// The features that vulnerable code needs.
    #[serde(default)]
    pub reach: Vec<Reach>,
}

/// An advisory to ignore.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ignore {
    /// The advisory's identifier, or an alias.
    pub id: String,
    /// The reason.
    pub reason: String,
    /// The last day on which the advisory is ignored: `2027-03-01`.
    #[serde(default)]
    pub until: Option<Day>,
    /// Limits the entry to this crate or package.
    #[serde(default)]
    pub package: Option<String>,
    /// Limits the entry to these images.
    #[serde(default)]
    pub images: Option<BTreeSet<String>>,
    /// The justification for VEX. With it, VEX says that the image is not affected.
    #[serde(default)]
    pub justification: Option<Justification>,
}

/// The features without which a crate's vulnerable code is not compiled. Each audit asks the plan
/// for them, so the advisory comes back if somebody turns the feature on.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reach {
    /// The advisory's identifier, or an alias.
    pub id: String,
    /// The features that the vulnerable code needs, all of them. Each further entry about an
    /// advisory is another way to reach the code.
    pub features: BTreeSet<String>,
    /// The evidence for the entry.
    pub reason: String,
}

/// A day, which TOML writes as a date or as text.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Day(String);

impl<'de> Deserialize<'de> for Day {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Day, D::Error> {
        let said: toml::Value = Deserialize::deserialize(from)?;
        let text = match &said {
            toml::Value::Datetime(date) => date.to_string(),
            toml::Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        let is_date = text.parse::<toml::value::Datetime>();
        let is_date = is_date.is_ok_and(|it| it.date.is_some() && it.time.is_none());
        match is_date {
            true => Ok(Day(text)),
            false => Err(serde::de::Error::custom(format!(
                "{text:?} is not a day such as 2027-03-01"
            ))),
        }
    }
}

impl Policy {
    /// Reads `audit.toml`. A missing file is an empty policy.
    ///
    /// # Errors
    /// Names the wrong line.
    pub fn read(path: &Path) -> Result<Policy> {
        match std::fs::read_to_string(path) {
            Ok(text) => Policy::parse(&path.display().to_string(), &text),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Policy::default()),
            Err(error) => Err(Error::read(path)(error)),
        }
    }

    /// Reads a text. Errors call the file `file`.
    ///
    /// # Errors
    /// Names the wrong line.
    pub fn parse(file: &str, text: &str) -> Result<Policy> {
        let policy: Policy =
            toml::from_str(text).map_err(|error| Error::toml(file, text, 1, &error))?;
        if policy.version != VERSION {
            let problem = format!("version {} is not {VERSION}", policy.version);
            return Err(Error::form(file, problem));
        }
        let reasons = policy.ignore.iter().map(|it| (&it.id, &it.reason));
        let mut reasons = reasons.chain(policy.reach.iter().map(|it| (&it.id, &it.reason)));
        if let Some((id, _)) = reasons.find(|(_, reason)| reason.trim().is_empty()) {
            return Err(Error::form(
                file,
                format!("{id:?} has an empty reason: say why"),
            ));
        }
        if let Some(empty) = policy.reach.iter().find(|it| it.features.is_empty()) {
            let problem = format!(
                "{:?} has no features: name those that the code needs",
                empty.id
            );
            return Err(Error::form(file, problem));
        }
        Ok(policy)
    }
}

impl Ignore {
    /// Whether the entry has expired on `today` (`2027-03-01`).
    pub fn is_over(&self, today: &str) -> bool {
        self.until
            .as_ref()
            .is_some_and(|until| until.0.as_str() < today)
    }

    /// Returns the last day on which the entry is valid.
    pub fn last_day(&self) -> Option<&str> {
        self.until.as_ref().map(|it| it.0.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_ends_after_its_last_day() {
        let text = r#"
            version = 1
            ignore = [
              { id = "A", reason = "r", until = 2027-03-01 },
              { id = "B", reason = "r", until = "2027-03-02" },
              { id = "C", reason = "r" },
            ]
        "#;
        let policy = Policy::parse("audit.toml", text).unwrap();
        let over = |today: &str| {
            let over = policy.ignore.iter().filter(|it| it.is_over(today));
            over.map(|it| it.id.clone()).collect::<String>()
        };
        assert_eq!(over("2027-03-01"), "");
        assert_eq!(over("2027-03-02"), "A");
        assert_eq!(over("2028-01-01"), "AB");
    }

    #[test]
    fn unknown_and_empty_fields_are_refused() {
        for (text, expected) in [
            ("version = 2", "audit.toml: version 2 is not 1"),
            ("", "missing field `version`"),
            (
                "version = 1\n[[ignore]]\nid = 'A'",
                "audit.toml:2: missing field `reason`",
            ),
            (
                "version = 1\n[[ignore]]\nid = 'A'\nreason = ' '",
                "\"A\" has an empty reason",
            ),
            (
                "version = 1\n[[ignore]]\nid = 'A'\nreason = 'r'\nuntill = 1",
                "audit.toml:5: unknown field",
            ),
            (
                "version = 1\n[[ignore]]\nid = 'A'\nreason = 'r'\nuntil = 'soon'",
                "\"soon\" is not a day",
            ),
            (
                "version = 1\n[[reach]]\nid = 'A'\nreason = 'r'\nfeatures = []",
                "no features",
            ),
        ] {
            let error = Policy::parse("audit.toml", text).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
