//! `assemble doctor`: finds problems of this machine that affect builds.

mod machine;
mod nix;
mod workspace;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Result;
use crateyard_terminal as text;
use crateyard_terminal::note;
use serde::Serialize;

/// Check this machine: the problems, their cost, and the command that fixes each
#[derive(clap::Args)]
pub struct Args {
    /// The workspace
    #[arg(long, value_name = "DIR", default_value = ".")]
    workspace: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// The severity of a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Status {
    Ok,
    /// Builds work, but something costs time or is missing.
    Warning,
    /// Nothing can build.
    Error,
}

/// The result of one check.
#[derive(Debug, Serialize)]
struct Finding {
    /// The check's name. It does not change between versions.
    check: &'static str,
    status: Status,
    /// The observation.
    found: String,
    /// The cost.
    #[serde(skip_serializing_if = "Option::is_none")]
    cost: Option<String>,
    /// The command that fixes the problem.
    #[serde(skip_serializing_if = "Option::is_none")]
    mend: Option<String>,
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

/// Prints the findings. The exit code is 1 if one of them prevents building.
///
/// # Errors
/// When standard output can't be written.
pub fn run(args: Args) -> Result<ExitCode> {
    let findings = findings(&args.workspace);
    if args.json {
        text::print_json(&findings)?;
    } else {
        text::print(&findings.iter().map(describe).collect::<String>())?;
    }
    let prevents = findings
        .iter()
        .any(|finding| finding.status == Status::Error);
    Ok(ExitCode::from(u8::from(prevents)))
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

fn findings(workspace: &Path) -> Vec<Finding> {
    let mut all = nix::findings();
    all.extend(machine::findings());
    all.extend(workspace::findings(workspace));
    all
}

fn describe(finding: &Finding) -> String {
    let mark = match finding.status {
        Status::Ok => "ok",
        Status::Warning => "warning",
        Status::Error => "error",
    };
    let mut lines = format!("{mark:8} {:12} {}\n", finding.check, finding.found);
    for (name, value) in [("costs", &finding.cost), ("mend", &finding.mend)] {
        if let Some(value) = value {
            lines += &format!("{:21} {name}: {value}\n", "");
        }
    }
    lines
}
