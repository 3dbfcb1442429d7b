//! `assemble push`: sends images to a registry.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, bail};
use crateyard_oci::Reference;
use crateyard_registry::Source;
use crateyard_registry::push::{How, Options, Report};

use crate::attach::{self, AttachArgs};
use crate::commands::build::build_by_nix;
use crate::connection::{ConnectionArgs, bytes, parse_size};
use crate::signer::Signer;
use crate::{place, text, trust};

const EXAMPLES: &str = "\
Examples:
  assemble push gateway --to registry.example/team/gateway:v1
  assemble push ./layout --to localhost:5000/app --tag v1 --tag latest
  assemble push --to registry.example/team/ --tag v1       every image of the flake
  assemble push image.tar --to localhost:5000/app --dry-run --json
  assemble push gateway --to registry.example/gateway:v1 --attest --sign-key cosign.key

Exit codes: 0 done, 2 wrong usage, 3 damaged image, 4 denied, 5 not found, 6 refused, 7 unreachable,
8 contradiction, 1 anything else.";

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

/// An image and its target.
struct Job {
    path: PathBuf,
    target: Reference,
}

/// Runs the command.
pub fn run(args: Args) -> anyhow::Result<()> {
    let destination = Destination::parse(&args)?;
    let signer = args.attach.signer.signer(args.connection.authorities())?;
    // A dry run leaves no trace: no entry in a log, no use of a key that a service keeps.
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
        // Images go one after another, so that the second can mount blobs of the first.
        for job in &jobs {
            let begin = Instant::now();
            display.begin(&job.target.to_string());
            let context = || format!("cannot push {}", job.path.display());
            let source = source(&job.path, &args.attach, signer.as_ref()).with_context(context)?;
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

/// Signs pushed images in the form of cosign before version 3.
///
/// # Errors
/// When the log or the registry refuses, or can't be reached.
pub async fn sign_by_tag(
    client: &crateyard_registry::Client,
    target: &Reference,
    report: &Report,
    signer: &Signer,
) -> anyhow::Result<()> {
    let repository = client.repository(target)?;
    let version = target.with_digest(&report.digest).version();
    let manifest = repository.manifest(&version).await?;
    let subject = manifest.context("the registry has lost the image")?;
    trust::tag::add(client, target, &subject.plain_descriptor(), signer).await?;
    Ok(())
}

/// The image at `path` with all its attachments.
///
/// # Errors
/// When the image is damaged, or a document can't be attached.
pub fn source(
    path: &Path,
    args: &AttachArgs,
    signer: Option<&Signer>,
) -> anyhow::Result<Arc<Source>> {
    let source = Source::open(path)?;
    if !args.attest && args.vex.is_empty() && signer.is_none() {
        return Ok(source);
    }
    let artifacts = attach::artifacts(path, args, signer)?;
    Ok(source.attach(&artifacts))
}

/// The meaning of `--to`.
enum Destination {
    /// One repository.
    Repository(Reference),
    /// A repository for each image, below this one.
    Parent { path: String, tag: Option<String> },
}

impl Destination {
    fn parse(args: &Args) -> anyhow::Result<Destination> {
        if !args.to.ends_with('/') && args.images.len() == 1 {
            return Ok(Destination::Repository(args.to.parse()?));
        }
        if let Some(path) = args.to.strip_suffix('/') {
            return Ok(Destination::Parent {
                path: path.to_owned(),
                tag: None,
            });
        }
        let parent: Reference = args.to.parse()?;
        if parent.digest().is_some() {
            bail!(
                "--to {}: several images cannot have one digest\n  try: leave @{{digest}} out",
                args.to
            );
        }
        let tag = parent.tag().map(str::to_owned);
        Ok(Destination::Parent {
            path: parent.without_version().to_string(),
            tag,
        })
    }

    fn target(&self, name: &str) -> anyhow::Result<Reference> {
        match self {
            Destination::Repository(reference) => Ok(reference.clone()),
            Destination::Parent { path, tag } => {
                let tag = tag
                    .as_ref()
                    .map(|tag| format!(":{tag}"))
                    .unwrap_or_default();
                Ok(format!("{path}/{name}{tag}").parse()?)
            }
        }
    }
}

/// Images named by path are used as they are; images named by name are built.
fn find_images(args: &Args, destination: &Destination) -> anyhow::Result<Vec<Job>> {
    let workspace = Path::new(".");
    let described = place::described(workspace)?;
    let (paths, mut names): (Vec<&String>, Vec<&String>) = args
        .images
        .iter()
        .partition(|image| is_path(image, &described));
    // A flake may keep its description elsewhere, or may be in a directory above. Then Nix knows
    // the names.
    let may_know = described.is_empty() && is_in_flake()?;
    if let Some(unknown) = names
        .iter()
        .find(|name| !may_know && !described.contains(name))
    {
        bail!(place::no_image(unknown, &described, workspace));
    }
    if args.images.is_empty() {
        names = described.iter().collect();
    }
    if paths.is_empty() && names.is_empty() {
        bail!(
            "no images.toml here describes an image\n  try: name a layout or archive by its path"
        );
    }
    let mut jobs = Vec::new();
    for path in paths {
        let stem = Path::new(path)
            .file_name()
            .unwrap_or_default()
            .to_string_lossy();
        let stem = stem.strip_suffix(".tar").unwrap_or(&stem);
        jobs.push(Job {
            path: path.into(),
            target: destination.target(stem)?,
        });
    }
    // Every target is checked before the first image is built.
    let targets = names
        .iter()
        .map(|name| destination.target(name))
        .collect::<anyhow::Result<Vec<_>>>()?;
    jobs.extend(
        build(&names)?
            .into_iter()
            .zip(targets)
            .map(|(path, target)| Job { path, target }),
    );
    Ok(jobs)
}

/// A directory with an image's name only counts if it is a layout.
fn is_path(image: &str, described: &[String]) -> bool {
    let path = Path::new(image);
    image.contains('/')
        || image.ends_with(".tar")
        || path.is_file()
        || path.join("oci-layout").is_file()
        || path.is_dir() && !described.iter().any(|name| name == image)
}

/// Whether this directory or one above it has a flake.
fn is_in_flake() -> anyhow::Result<bool> {
    let here = std::env::current_dir().context("cannot tell the current directory")?;
    Ok(here
        .ancestors()
        .any(|directory| directory.join("flake.nix").is_file()))
}

/// Builds images through Nix, and returns the paths of their layouts in the same order.
fn build(names: &[&String]) -> anyhow::Result<Vec<PathBuf>> {
    if names.is_empty() {
        return Ok(Vec::new());
    }
    // One call builds them all, so that they are built in parallel.
    let names: Vec<String> = names.iter().map(|&name| name.clone()).collect();
    build_by_nix(Path::new("."), &names)
}

/// The bytes that were sent and saved, for people.
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
