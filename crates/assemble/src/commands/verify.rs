//! `assemble verify`: whether an image is whole, to the last byte.

use std::process::ExitCode;

use anyhow::Result;
use image::verify::{Limits, Report, Severity, verify, verify_blobs};
use serde::Serialize;

use crate::connection::bytes;
use crate::place::{Opened, Place, PlaceArgs};
use crate::text::{clean, count, print, print_json, table};

const EXAMPLES: &str = "\
Examples:
  assemble verify gateway
  assemble verify image.tar --json
  assemble verify registry.example/team/gateway@sha256:…

Exit codes: 0 the image is sound, 1 it is not or there is no such image; those of push where a registry
can't be asked.";

/// Check every digest, size, diff id, media type and path of an image
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// An image of images.toml by its name, a layout or archive by its path, or a registry's reference
    #[arg(value_name = "IMAGE")]
    image: String,

    /// Print JSON
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    place: PlaceArgs,
}

/// What is printed as JSON.
#[derive(Serialize)]
struct Verdict<'a> {
    sound: bool,
    #[serde(flatten)]
    report: &'a Report,
}

/// Runs the command.
///
/// # Errors
/// When the image can't be found, or a registry can't be asked.
pub fn run(args: Args) -> Result<ExitCode> {
    let limits = Limits::default();
    let report = match Place::find(&args.image, &args.place.workspace)? {
        // What is wrong with opening it is a finding too.
        Place::Path(path) => verify(&path, limits)?,
        place @ Place::Registry(_) => {
            let opened = place.open(&args.place.connection)?;
            let report = match &opened {
                Opened::Remote(remote) => verify_blobs(remote, &remote.root(), limits),
                Opened::Layout(layout) => image::verify::verify_layout(layout, limits),
            };
            opened.checked(Ok(report))?
        }
    };
    let sound = report.is_sound();
    if args.json {
        print_json(&Verdict {
            sound,
            report: &report,
        })?;
    } else {
        print(&describe(&report))?;
    }
    Ok(match sound {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

fn describe(report: &Report) -> String {
    let row = |finding: &image::verify::Finding| {
        let subject = clean(&finding.subject);
        vec![
            finding.severity.to_string(),
            format!("{subject}: {}", clean(&finding.problem)),
        ]
    };
    let rows: Vec<Vec<String>> = report.findings.iter().map(row).collect();
    let verdict = match report.is_sound() {
        true => "sound".to_owned(),
        false => format!(
            "NOT SOUND, {}",
            count(report.count(Severity::Error), "error")
        ),
    };
    let mut checked = vec![
        count(report.images, "image"),
        format!("{} ({})", count(report.blobs, "blob"), bytes(report.bytes)),
        format!("{} files and directories", report.entries),
    ];
    let warnings = report.count(Severity::Warning);
    if warnings > 0 {
        checked.push(count(warnings, "warning"));
    }
    format!(
        "{}{verdict}: {}\n",
        table(&rows, "", &[]),
        checked.join(", ")
    )
}
