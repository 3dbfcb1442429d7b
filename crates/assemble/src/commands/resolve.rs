//! `assemble resolve`: puts pushed references into manifests.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use crateyard_deploy::manifest::Edit;
use crateyard_disk::Directory;
use crateyard_terminal::{note, print_json};
use serde::Serialize;

use crate::rollout::files::{self, Source};
use crate::rollout::settings::{Settings, ShipArgs};
use crate::rollout::ship::{self, Sent};

const EXAMPLES: &str = "\
Examples:
  assemble resolve -f deploy/manifests --to registry.example/team/ \\
      | kubectl apply -f -
  assemble resolve -f values.yaml --map docker.io/crateyard/gateway=gateway \\
      | helm upgrade --install app ./chart -f -
  helm template app ./chart | assemble resolve -f - --to registry.example/team/
  assemble resolve -f deploy/manifests --output resolved/ --json";

/// Replace crateyard://IMAGE in manifests with pushed references with digests
///
/// Reads Kubernetes manifests, kustomizations, Helm values, compose files and Quadlet units. Builds
/// the images that they name, and pushes them if the registry lacks them. Everything else in the
/// files stays as it is, byte for byte.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Write the files below this directory instead of to standard output
    #[arg(long, short, value_name = "DIR", conflicts_with = "in_place")]
    output: Option<PathBuf>,

    /// Overwrite each file
    #[arg(long, short)]
    in_place: bool,

    /// Push nothing; use the references that a push would create
    #[arg(long)]
    dry_run: bool,

    /// Print replacements and pushes as JSON; write the files only with --output or --in-place
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    ship: ShipArgs,
}

/// The command's JSON output.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Said<'a> {
    images: BTreeMap<&'a str, Sent<'a>>,
    edits: Vec<Line>,
}

/// An edit of a file.
#[derive(Serialize)]
struct Line {
    file: String,
    line: usize,
    column: usize,
    image: String,
    before: String,
    after: String,
}

/// Runs the command.
///
/// # Errors
/// When a manifest can't be read or resolved, a build fails, or the registry refuses. No file is
/// written then.
pub fn run(args: Args) -> Result<()> {
    let settings = Settings::of(&args.ship)?;
    let sources = files::read(&settings.files, &settings.names)?;
    let images: BTreeSet<String> = sources
        .iter()
        .flat_map(Source::uses)
        .map(|one| one.image)
        .collect();
    if images.is_empty() {
        note!("no manifest names an image of the workspace");
    }
    let shipped = ship::ship(&args.ship, &settings, &images, args.dry_run)?;
    let references = ship::references(&shipped);
    let mut resolved = Vec::new();
    for source in &sources {
        let (text, edits) = source
            .manifest
            .resolve(&references)
            .with_context(|| source.title())?;
        resolved.push((source, text, edits));
    }
    write(&args, &resolved)?;
    if !args.json {
        return Ok(());
    }
    let edits = resolved
        .into_iter()
        .flat_map(|(source, _, edits)| lines(source, edits));
    print_json(&Said {
        images: ship::sent(&shipped),
        edits: edits.collect(),
    })
}

fn lines(source: &Source, edits: Vec<Edit>) -> Vec<Line> {
    let line = |edit: Edit| Line {
        file: source.title(),
        line: edit.position.line,
        column: edit.position.column,
        image: edit.image,
        before: edit.before,
        after: edit.after,
    };
    edits.into_iter().map(line).collect()
}

fn write(args: &Args, resolved: &[(&Source, String, Vec<Edit>)]) -> Result<()> {
    if let Some(output) = &args.output {
        let output = Directory::create(output)
            .with_context(|| format!("cannot create {}", output.display()))?;
        for (source, text, _) in resolved {
            let written = output.write(&source.below, text.as_bytes());
            written.with_context(|| {
                format!(
                    "cannot write {}",
                    output.path().join(&source.below).display()
                )
            })?;
        }
        return Ok(());
    }
    if args.in_place {
        return resolved
            .iter()
            .filter(|(_, _, edits)| !edits.is_empty())
            .try_for_each(|(source, text, _)| replace(source.path.as_deref(), text));
    }
    match args.json {
        true => Ok(()),
        false => print_all(resolved),
    }
}

fn replace(path: Option<&Path>, text: &str) -> Result<()> {
    let Some(path) = path else {
        bail!("standard input can't be written in place\n  try: leave --in-place out");
    };
    let parent = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    let directory = Directory::open(parent.unwrap_or(Path::new(".")));
    let name = path.file_name().unwrap_or_default();
    let written = directory.and_then(|directory| directory.write(name, text.as_bytes()));
    written.with_context(|| format!("cannot write {}", path.display()))
}

/// Prints a single text as it is, and several texts as documents of one stream.
fn print_all(resolved: &[(&Source, String, Vec<Edit>)]) -> Result<()> {
    let unit = resolved.iter().find(|(source, _, _)| source.is_unit());
    if let (Some((unit, _, _)), true) = (unit, resolved.len() > 1) {
        bail!(
            "{} is a unit of systemd's, which no stream of several files can hold\n  try: --output \
             DIR",
            unit.title()
        );
    }
    let stream = files::join(resolved.iter().map(|(_, text, _)| text.as_str()));
    // These are bytes of the user's own files for a program, so they are not cleaned.
    let mut out = std::io::stdout().lock();
    match out.write_all(stream.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        result => result.context("cannot write to standard output"),
    }
}
