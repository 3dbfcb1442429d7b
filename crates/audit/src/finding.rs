//! The findings of an audit.

use std::collections::BTreeSet;

use serde::Serialize;

/// The sort of an advisory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A vulnerability.
    Vulnerability,
    /// Safe code can do something that only unsafe code should be able to do.
    Unsound,
    /// Nobody maintains the crate any longer.
    Unmaintained,
    /// Another notice.
    Notice,
    /// Debian's security team calls the issue unimportant.
    Unimportant,
}

/// The effect of an advisory on a component of an image. The names are OpenVEX's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case", tag = "status", content = "justification")]
pub enum Status {
    /// The vulnerable code is in the image.
    Affected,
    /// Nobody knows yet.
    UnderInvestigation,
    /// The vulnerable code is not in the image, or can't be reached.
    NotAffected(Justification),
    /// The version in the image has the fix.
    Fixed,
}

/// The reason why an image is not affected. The names are OpenVEX's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Justification {
    /// The component is not in the image.
    ComponentNotPresent,
    /// The component is in the image, but the vulnerable code is not.
    VulnerableCodeNotPresent,
    /// The vulnerable code never runs.
    VulnerableCodeNotInExecutePath,
    /// An attacker can't control the input of the vulnerable code.
    VulnerableCodeCannotBeControlledByAdversary,
    /// Something else in the image prevents an attack.
    InlineMitigationsAlreadyExist,
}

/// A component that an advisory is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Component {
    /// The name of a crate or a Debian package.
    pub name: String,
    /// The component's version.
    pub version: String,
    /// The component's package URL.
    pub purl: String,
    /// The paths of the programs that the crate is linked into.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub programs: BTreeSet<String>,
}

/// The effect of one advisory on one component of an image.
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
    /// Other identifiers of the same vulnerability.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub aliases: Vec<String>,
    /// The advisory in one line.
    pub title: String,
    /// The address of a page with details.
    pub url: String,
    /// `low` to `critical`, or Debian's urgency.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub severity: Option<String>,
    /// The reason for the status.
    pub reason: String,
    /// The versions with the fix. Empty if there are none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub fixed_in: Vec<String>,
    /// The vulnerable functions, if the advisory names them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub functions: Vec<String>,
    /// The reason to ignore the finding, from `audit.toml`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ignored: Option<String>,
}

impl Finding {
    /// Whether somebody should act on the finding.
    pub fn is_open(&self) -> bool {
        self.ignored.is_none()
            && matches!(self.status, Status::Affected | Status::UnderInvestigation)
    }
}
