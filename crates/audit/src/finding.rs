//! The findings of an audit.

use std::collections::BTreeSet;

use serde::Serialize;

/// The sort of an advisory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A vulnerability.
    Vulnerability,
    /// Safe code can do what only unsafe code should be able to.
    Unsound,
    /// Nobody cares for the crate any longer.
    Unmaintained,
    /// Something else that is worth knowing.
    Notice,
    /// Debian's security team calls it unimportant.
    Unimportant,
}

/// How an advisory affects a component of an image. The names are OpenVEX's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case", tag = "status", content = "justification")]
pub enum Status {
    /// The vulnerable code is in the image.
    Affected,
    /// It is not known yet.
    UnderInvestigation,
    /// It is not in the image, or can't be reached.
    NotAffected(Justification),
    /// The version in the image has the fix.
    Fixed,
}

/// Why an image is not affected. The names are OpenVEX's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Justification {
    /// The component is not in the image.
    ComponentNotPresent,
    /// The component is, the vulnerable code is not.
    VulnerableCodeNotPresent,
    /// The vulnerable code never runs.
    VulnerableCodeNotInExecutePath,
    /// No attacker can decide what it is called with.
    VulnerableCodeCannotBeControlledByAdversary,
    /// Something else in the image prevents it.
    InlineMitigationsAlreadyExist,
}

/// Something that an advisory is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Component {
    /// A crate or a Debian package.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Its package URL.
    pub purl: String,
    /// The programs that a crate is linked into, by path.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub programs: BTreeSet<String>,
}

/// How one advisory affects one component of an image.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// Whether the image is affected.
    #[serde(flatten)]
    pub status: Status,
    /// The advisory's identifier.
    pub id: String,
    /// The component.
    pub component: Component,
    /// The sort of the advisory.
    pub kind: Kind,
    /// The identifiers that others gave to the same.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub aliases: Vec<String>,
    /// The advisory in one line.
    pub title: String,
    /// Where more is said.
    pub url: String,
    /// `low` to `critical`, or Debian's urgency.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub severity: Option<String>,
    /// Why the status is what it is.
    pub reason: String,
    /// The versions that have the fix; empty if there are none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub fixed_in: Vec<String>,
    /// The vulnerable functions, where the advisory names them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub functions: Vec<String>,
    /// Why somebody wants it to be passed over (`audit.toml`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ignored: Option<String>,
}

impl Finding {
    /// Whether it says that something should be done.
    pub fn is_open(&self) -> bool {
        self.ignored.is_none()
            && matches!(self.status, Status::Affected | Status::UnderInvestigation)
    }
}
