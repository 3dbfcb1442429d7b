//! Problems of this machine that affect builds.

mod machine;
mod nix;
mod workspace;

use std::path::Path;

use crateyard_terminal::note;
use serde::Serialize;

/// The severity of a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Nothing is wrong.
    Ok,
    /// Builds work, but something costs time or is missing.
    Warning,
    /// Nothing can build.
    Error,
}

/// The result of one check.
#[derive(Debug, Serialize)]
pub struct Finding {
    /// The check's name. It does not change between versions.
    pub check: &'static str,
    /// Its severity.
    pub status: Status,
    /// The observation.
    pub found: String,
    /// The cost.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cost: Option<String>,
    /// The command that fixes the problem.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mend: Option<String>,
}

impl Finding {
    fn ok(check: &'static str, found: impl Into<String>) -> Self {
        Self {
            check,
            status: Status::Ok,
            found: found.into(),
            cost: None,
            mend: None,
        }
    }

    fn warning(
        check: &'static str,
        found: impl Into<String>,
        cost: impl Into<String>,
        mend: impl Into<String>,
    ) -> Self {
        Self {
            status: Status::Warning,
            cost: Some(cost.into()),
            mend: Some(mend.into()),
            ..Self::ok(check, found)
        }
    }

    fn error(
        check: &'static str,
        found: impl Into<String>,
        cost: impl Into<String>,
        mend: impl Into<String>,
    ) -> Self {
        Self {
            status: Status::Error,
            ..Self::warning(check, found, cost, mend)
        }
    }
}

/// Names the machine's problems that may explain a failed build.
pub fn explain_failure(workspace: &Path) {
    for finding in findings(workspace) {
        if finding.status == Status::Error {
            let mend = finding.mend.unwrap_or_default();
            note!(
                "`assemble doctor` says of {}: {}\n  try: {mend}",
                finding.check,
                finding.found
            );
        }
    }
}

/// Runs all checks.
pub fn findings(workspace: &Path) -> Vec<Finding> {
    let mut all = nix::findings();
    all.extend(machine::findings());
    all.extend(workspace::findings(workspace));
    all
}
