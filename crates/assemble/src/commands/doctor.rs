//! `assemble doctor`: finds problems of this machine that affect builds.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use crateyard_build::findings::{Finding, Status, findings};
use crateyard_terminal::{print, print_json};

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

/// Prints the findings. The exit code is 1 if one of them prevents building.
///
/// # Errors
/// When standard output can't be written.
pub fn run(args: Args) -> Result<ExitCode> {
    let findings = findings(&args.workspace);
    if args.json {
        print_json(&findings)?;
    } else {
        print(&findings.iter().map(describe).collect::<String>())?;
    }
    let prevents = findings
        .iter()
        .any(|finding| finding.status == Status::Error);
    Ok(ExitCode::from(u8::from(prevents)))
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
