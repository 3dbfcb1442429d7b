//! `assemble push`: sends images to a registry.

use std::path::Path;
use std::time::Instant;

use anyhow::Context;
use crateyard_registry::push::{How, Options, Report};
use crateyard_terminal as text;

use self::jobs::{Destination, find_images};
use crate::attach::AttachArgs;
use crate::connection::{ConnectionArgs, bytes, parse_size};
use crate::outgoing::{sign_by_tag, source};

mod jobs;

const EXAMPLES: &str = "\
Examples:
  assemble push gateway --to registry.example/team/gateway:v1
  assemble push ./layout --to localhost:5000/app --tag v1 --tag latest
  assemble push --to registry.example/team/ --tag v1   every image of the flake
  assemble push image.tar --to localhost:5000/app --dry-run --json
  assemble push gateway --to registry.example/gateway:v1 \\
      --attest --sign-key cosign.key

Exit codes: 0 success, 2 wrong usage, 3 damaged image, 4 denied, 5 not found, 6 refused, 7 \
unreachable, 8 contradiction, 1 other errors.";

/// Send images to a registry: only missing blobs, and tags last
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Images to send: an OCI layout or archive by its path, or an image of this directory's flake
    /// by its name
    ///
    /// Images of the flake are built first. Without arguments, all of them are sent.
    #[arg(value_name = "IMAGE")]
    images: Vec<String>,

    /// The target: REGISTRY/REPOSITORY, or REGISTRY/REPOSITORY:TAG
    ///
    /// Several images, or a REPOSITORY that ends in a slash, go to REPOSITORY/NAME each.
    #[arg(long, value_name = "REFERENCE")]
    to: String,

    /// Also give the image this tag; may be repeated
    #[arg(long = "tag", short = 't', value_name = "TAG")]
    tags: Vec<String>,

    /// The image of a layout that holds several: its name there, or its digest
    #[arg(long, value_name = "NAME")]
    name: Option<String>,

    /// Another repository of the registry that has some of the blobs; may be repeated
    #[arg(long, value_name = "REPOSITORY")]
    mount_from: Vec<String>,

    /// Show what would be sent, and send nothing
    #[arg(long, short = 'n')]
    dry_run: bool,

    /// Print the sent images as JSON
    #[arg(long)]
    json: bool,

    /// How many blobs to send at the same time
    #[arg(long, short, value_name = "N", default_value_t = Options::default().jobs)]
    jobs: usize,

    /// The size of the parts in which a blob is sent
    #[arg(long, value_name = "SIZE", default_value = "32M", value_parser = parse_size)]
    chunk_size: u64,

    #[command(flatten)]
    attach: AttachArgs,

    #[command(flatten)]
    connection: ConnectionArgs,
}

/// Runs the command.
pub fn run(args: Args) -> anyhow::Result<()> {
    let destination = Destination::parse(&args)?;
    let signer = args.attach.signer.signer(args.connection.authorities())?;
    // A dry run leaves no trace: it makes no entry in a log, and does not use a key that a service
    // keeps.
    let signer = signer.filter(|signer| !args.dry_run || signer.is_local());
    let jobs = find_images(&args, &destination)?;
    let (client, display) = args.connection.client()?;
    let options = Options {
        tags: args.tags.clone(),
        name: args.name.clone(),
        jobs: args.jobs,
        chunk_size: args.chunk_size,
        mount_from: args.mount_from.clone(),
        dry_run: args.dry_run,
    };
    let reports = crateyard_registry::run_on_this_thread(async {
        let mut reports = Vec::new();
        // Push images one after another, so that the second can mount blobs of the first.
        for job in &jobs {
            let begin = Instant::now();
            display.begin(&job.target.to_string());
            let context = || format!("cannot push {}", job.path.display());
            let here = Path::new(".");
            let source = source(here, &job.path, &args.attach, signer.as_ref());
            let source = source.with_context(context)?;
            let result =
                crateyard_registry::push::push(&client, source, &job.target, &options).await;
            display.end();
            let report = result.with_context(context)?;
            let tags = signer
                .as_ref()
                .filter(|it| it.makes_tags() && !args.dry_run);
            if let Some(signer) = tags {
                sign_by_tag(&client, &job.target, &report, signer)
                    .await
                    .with_context(context)?;
            }
            if !args.json {
                text::print(&describe(&report, begin))?;
            }
            reports.push(report);
        }
        Ok::<_, anyhow::Error>(reports)
    })?;
    if args.json {
        text::print_json(&serde_json::json!({ "images": reports }))?;
    }
    Ok(())
}

/// Formats the numbers of bytes that were sent and saved.
fn describe(report: &Report, begin: Instant) -> String {
    let mut lines = String::new();
    let repository = &report.repository;
    if report.tags.is_empty() {
        lines += &format!("{repository}@{}\n", report.digest);
    }
    for tag in &report.tags {
        lines += &format!("{repository}:{tag}@{}\n", report.digest);
    }
    let (blobs, seconds) = (&report.blobs, begin.elapsed().as_secs_f64());
    if report.unchanged {
        lines += &format!("  unchanged: {} saved", bytes(report.bytes_saved));
    } else {
        let verb = if report.dry_run { "would send" } else { "sent" };
        lines += &format!(
            "  {verb} {} ({} blobs), ",
            bytes(report.bytes_sent),
            blobs.uploaded
        );
        lines += &format!(
            "saved {} ({} there, {} mounted)",
            bytes(report.bytes_saved),
            blobs.existing,
            blobs.mounted
        );
    }
    lines += &format!(
        "; {} requests, {} retries, {seconds:.1} s\n",
        report.requests, report.retries
    );
    if report.dry_run {
        for transfer in &report.transfers {
            let how = match transfer.how {
                How::MountOrUpload => "mount or send",
                How::Mounted => "mount",
                How::Uploaded => "send",
            };
            lines += &format!(
                "  would {how} {} ({})\n",
                transfer.digest,
                bytes(transfer.size)
            );
        }
    }
    lines
}
