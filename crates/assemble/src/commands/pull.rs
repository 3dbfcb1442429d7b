//! `assemble pull`: fetches an image into an OCI layout.

use std::path::PathBuf;

use anyhow::Context;
use registry::Reference;
use registry::pull::Options;

use crate::connection::{ConnectionArgs, bytes};
use crate::text;

const EXAMPLES: &str = "\
Examples:
  assemble pull registry.example/team/base@sha256:… base
  assemble pull debian:12 base --platform linux/amd64

The exit codes are those of push.";

/// Fetch an image into an OCI layout, with every digest verified
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// What to fetch: REGISTRY/REPOSITORY@DIGEST, or by :TAG
    #[arg(value_name = "REFERENCE")]
    reference: String,

    /// The directory of the layout; it is made where there is none
    #[arg(value_name = "DIRECTORY")]
    destination: PathBuf,

    /// Only the image for this platform: OS/ARCHITECTURE, or OS/ARCHITECTURE/VARIANT
    #[arg(long, value_name = "PLATFORM")]
    platform: Option<String>,

    /// Print what was fetched as JSON
    #[arg(long)]
    json: bool,

    /// How many blobs to fetch at the same time
    #[arg(long, short, value_name = "N", default_value_t = Options::default().jobs)]
    jobs: usize,

    #[command(flatten)]
    connection: ConnectionArgs,
}

/// Runs the command.
pub fn run(args: Args) -> anyhow::Result<()> {
    let reference: Reference = args.reference.parse()?;
    let (client, display) = args.connection.client()?;
    let options = Options {
        platform: args.platform,
        jobs: args.jobs,
    };
    display.begin(&reference.to_string());
    let result = registry::run(registry::pull::pull(
        &client,
        &reference,
        &args.destination,
        &options,
    ));
    display.end();
    let report =
        result.with_context(|| format!("cannot pull into {}", args.destination.display()))?;
    if args.json {
        return text::print_json(&report);
    }
    text::print(&format!(
        "{}@{}\n  received {} ({} blobs), {} were there; {} requests, {} retries\n",
        reference.without_version(),
        report.digest,
        bytes(report.bytes_received),
        report.fetched,
        report.existing,
        report.requests,
        report.retries
    ))
}
