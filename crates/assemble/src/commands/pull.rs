//! `assemble pull`: fetches an image into an OCI layout.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use crateyard_image::verify::{Severity, verify_blobs};
use crateyard_oci::{Blobs, Budget, Descriptor, Platform, Reference};
use crateyard_registry::Error;
use crateyard_registry::pull::{Fetched, Options};
use crateyard_terminal::{self as text, clean, count};

use crate::connection::{ConnectionArgs, bytes};

/// The number of errors of a damaged image that are shown.
const SHOWN: usize = 5;

const EXAMPLES: &str = "\
Examples:
  assemble pull registry.example/team/base@sha256:… base
  assemble pull debian:12 base --platform linux/amd64

Refuses an image that is not sound (see `assemble verify`). Exit codes: as `assemble push`.";

/// Fetch an image into an OCI layout, with every digest verified
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The image to fetch: REGISTRY/REPOSITORY@DIGEST, or by :TAG
    #[arg(value_name = "REFERENCE")]
    reference: String,

    /// The directory of the layout, which is created if it does not exist
    #[arg(value_name = "DIRECTORY")]
    destination: PathBuf,

    /// Fetch only the image for this platform: OS/ARCHITECTURE, or OS/ARCHITECTURE/VARIANT
    #[arg(long, value_name = "PLATFORM")]
    platform: Option<Platform>,

    /// Print the fetched image as JSON
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
        platform: args.platform.clone(),
        jobs: args.jobs,
    };
    display.begin(&reference.to_string());
    let fetched = crateyard_registry::run(crateyard_registry::pull::fetch(
        &client,
        &reference,
        &args.destination,
        &options,
    ));
    display.end();
    let place = || format!("cannot pull into {}", args.destination.display());
    let fetched = fetched.with_context(place)?;
    if let Err(error) = check(&fetched, &args.destination, args.platform, &reference) {
        fetched.discard();
        return Err(error);
    }
    let report = fetched.finish().with_context(place)?;
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

/// Checks the image before the layout's index names it.
fn check(
    fetched: &Fetched,
    layout: &Path,
    platform: Option<Platform>,
    reference: &Reference,
) -> anyhow::Result<()> {
    let mut root = fetched.root().plain();
    root.platform = platform;
    let blobs = Unlisted {
        layout,
        title: reference.to_string(),
        budget: Arc::default(),
    };
    let report = verify_blobs(&blobs, &root);
    if report.is_sound() {
        return Ok(());
    }
    let errors = report.findings.iter();
    let errors = errors.filter(|finding| finding.severity == Severity::Error);
    let lines: Vec<String> = errors
        .take(SHOWN)
        .map(|it| format!("\n  {}: {}", clean(&it.subject), clean(&it.problem)))
        .collect();
    let number = count(report.count(Severity::Error), "error");
    let error = Error::Source {
        place: format!("{}@{}", reference.without_version(), root.digest),
        reason: format!(
            "the image is not sound, so it was not pulled: {number}{}",
            lines.concat()
        ),
        remedy: format!(
            "assemble verify {reference}, which lists all of them; push the image again"
        ),
    };
    Err(error.into())
}

/// The blobs of a layout that its index does not name yet.
struct Unlisted<'a> {
    layout: &'a Path,
    title: String,
    budget: Arc<Budget>,
}

impl Blobs for Unlisted<'_> {
    fn open_blob(
        &self,
        descriptor: &Descriptor,
    ) -> crateyard_oci::Result<Box<dyn Read + Send + '_>> {
        let path = self.layout.join(descriptor.digest.blob_path());
        match File::open(path) {
            Ok(file) => Ok(Box::new(file)),
            Err(error) => Err(crateyard_oci::Error::NotFound {
                what: format!("blob {}", descriptor.digest),
                place: self.title(),
                hint: format!(": {error}"),
            }),
        }
    }

    fn title(&self) -> String {
        self.title.clone()
    }

    fn budget(&self) -> &Arc<Budget> {
        &self.budget
    }
}
