//! `assemble audit`: finds the known vulnerabilities that affect each image.

mod data;
mod planned;
mod text;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use crateyard_attestation::provenance::Statement;
use crateyard_audit::judge::{Data, Report, judge};
use crateyard_audit::policy::{self, Policy};
use crateyard_audit::subject::Subject;
use crateyard_audit::{Finding, Kind, Status, vex};
use crateyard_build::image_build::build_by_nix;
use crateyard_fetch::crates;
use crateyard_oci::{Descriptor, Reference};
use crateyard_terminal::{note, print, print_json, warning};
use crateyard_workspace::{described, files};
use data::{Advisories, DataArgs};
use serde::Serialize;

use crate::attach;
use crate::image_argument::{Opened, Place, PlaceArgs, Selected};

const EXAMPLES: &str = "\
Examples:
  assemble audit                                    every image of images.toml
  assemble audit gateway --advisories ./advisory-db --debian ./debian.json
  assemble audit registry.example/team/gateway:v1 --only-fixed --json
  assemble audit gateway --vex vex \\
      && assemble push gateway --to registry.example/app:v1 --vex vex

Exit codes: 0 if nothing affects the images, 1 if something does or the audit fails.";

/// Show which images known vulnerabilities affect: checks the linked crates and their features
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The images to audit: names from images.toml, paths of layouts or archives, or references
    ///
    /// Images of images.toml are built first. Without arguments, all of them are audited.
    #[arg(value_name = "IMAGE")]
    images: Vec<String>,

    /// The file with advisories to ignore and features that vulnerable code needs [default:
    /// audit.toml]
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,

    /// Audit the plan without building: only crates, only images of images.toml
    #[arg(long, conflicts_with_all = ["vex", "attach"])]
    plan: bool,

    /// Fail on these findings too; may be repeated
    #[arg(long, value_name = "KIND", value_enum, value_delimiter = ',')]
    deny: Vec<Denied>,

    /// Fail only if a fixed version exists
    #[arg(long)]
    only_fixed: bool,

    /// Also show advisories that do not affect the images
    #[arg(long)]
    all: bool,

    /// Write an OpenVEX document for each image into this directory
    #[arg(long, value_name = "DIR")]
    vex: Option<PathBuf>,

    /// Attach an OpenVEX document to each image that is named by its reference
    #[arg(long)]
    attach: bool,

    /// Print JSON
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    place: PlaceArgs,

    #[command(flatten)]
    data: DataArgs,
}

/// The findings that make the command fail only on request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Denied {
    /// Unsound code: safe code can break memory safety
    Unsound,
    /// Unmaintained crates
    Unmaintained,
    /// Other notices
    Notice,
    /// Issues that Debian's security team calls unimportant
    Unimportant,
    /// Findings under investigation
    Unclear,
}

/// An image and its findings.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Audited {
    name: String,
    /// The image's digest; `None` for an image that is not built.
    digest: Option<String>,
    platform: String,
    /// Whether the image makes the command fail.
    failed: bool,
    findings: Vec<Finding>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Output<'a> {
    failed: bool,
    advisories: &'a data::Summary,
    images: &'a [Audited],
    notes: &'a [String],
}

/// An image to audit.
struct Target {
    subject: Subject,
    /// Whether the image is built from the workspace's `Cargo.lock`.
    is_own: bool,
    /// The reference and the manifest of an image in a registry. The command can attach VEX to it.
    published: Option<(Reference, Descriptor)>,
}

impl Target {
    /// Returns the image's digest in hexadecimal form, or nothing for an image that is not built.
    fn hex(&self) -> &str {
        let digest = self.subject.digest.as_ref();
        digest.map_or("", |digest| digest.hex())
    }
}

/// Runs the command.
///
/// # Errors
/// When an image, the advisories or the policy can't be read.
pub fn run(args: Args) -> Result<ExitCode> {
    let file = args.policy.clone();
    let file = match file {
        Some(file) => file,
        None => {
            files::check_files(&args.place.workspace, &[policy::FILE])?;
            args.place.workspace.join(policy::FILE)
        }
    };
    if args.policy.is_some() && !file.exists() {
        bail!("there is no {}", file.display());
    }
    let policy = Policy::read(&file)?;
    let time = now();
    let targets = match args.plan {
        true => planned::targets(&args.place.workspace, &args.images)?,
        false => targets(&args)?,
    };
    let sources = targets.iter().flat_map(|it| &it.subject.packages);
    let sources: BTreeSet<String> = sources.map(|it| it.source.clone()).collect();
    let advisories = Advisories::load(&args.data, &sources)?;
    let lock = args.place.workspace.join("Cargo.lock");
    let locked = match lock.exists() && targets.iter().any(|it| it.is_own) {
        true => crates::of_crates_io(&lock)?,
        false => Vec::new(),
    };
    let mut reports = Vec::new();
    let mut written = BTreeMap::new();
    for (target, vex_name) in targets.iter().zip(vex_names(&targets)) {
        let data = Data {
            database: advisories.rustsec.as_ref(),
            tracker: advisories.debian.as_ref(),
            locked: if target.is_own { &locked } else { &[] },
            policy: &policy,
            today: &time[..10],
        };
        let report = judge(&target.subject, &data);
        if let Some(document) = vex::Document::new(&target.subject, &report.findings, &time) {
            publish(&args, target, &document, &vex_name, &mut written)?;
        }
        reports.push((&target.subject, report));
    }
    finish(&args, &advisories.summary, &policy, reports)
}

/// Writes a document, attaches it, or does both, as the options say.
fn publish(
    args: &Args,
    target: &Target,
    document: &vex::Document,
    name: &str,
    written: &mut BTreeMap<String, String>,
) -> Result<()> {
    if let Some(directory) = &args.vex {
        write_vex(directory, name, document, written)?;
    }
    if let (true, Some((reference, image))) = (args.attach, &target.published) {
        let artifact = attach::vex(image, serde_json::to_vec(document)?);
        let (client, _) = args.place.connection.client()?;
        attach::send(&client, reference, &artifact)?;
    }
    Ok(())
}

fn finish(
    args: &Args,
    summary: &data::Summary,
    policy: &Policy,
    reports: Vec<(&Subject, Report)>,
) -> Result<ExitCode> {
    let notes = notes(policy, &reports);
    let audited: Vec<Audited> = reports
        .into_iter()
        .map(|(subject, report)| Audited {
            name: subject.name.clone(),
            digest: subject.digest.as_ref().map(ToString::to_string),
            platform: subject.platform.to_string(),
            failed: is_unjudged(&report, args) || report.findings.iter().any(|it| fails(it, args)),
            findings: report.findings,
        })
        .collect();
    let failed = audited.iter().any(|it| it.failed);
    if args.json {
        print_json(&Output {
            failed,
            advisories: summary,
            images: &audited,
            notes: &notes,
        })?;
    } else {
        for note in &notes {
            note!("{note}");
        }
        let images = audited.iter().map(|it| text::describe(it, args.all));
        print(&(images.collect::<Vec<_>>().join("\n") + &summary.to_string()))?;
    }
    Ok(match failed {
        true => ExitCode::FAILURE,
        false => ExitCode::SUCCESS,
    })
}

/// Whether packages that could not be judged make the command fail.
fn is_unjudged(report: &Report, args: &Args) -> bool {
    args.deny.contains(&Denied::Unclear) && !report.without_release.is_empty()
}

/// Whether a finding makes the command fail.
fn fails(finding: &Finding, args: &Args) -> bool {
    let is_denied = |kind: Denied| args.deny.contains(&kind);
    if !finding.is_open() || args.only_fixed && finding.fixed_in.is_empty() {
        return false;
    }
    if finding.status == Status::UnderInvestigation {
        return is_denied(Denied::Unclear);
    }
    match finding.kind {
        Kind::Vulnerability => true,
        Kind::Unsound => is_denied(Denied::Unsound),
        Kind::Unmaintained => is_denied(Denied::Unmaintained),
        Kind::Notice => is_denied(Denied::Notice),
        Kind::Unimportant => is_denied(Denied::Unimportant),
    }
}

/// Warns about policy entries without effect, and about packages that can't be judged.
fn notes(policy: &Policy, reports: &[(&Subject, Report)]) -> Vec<String> {
    let mut notes = Vec::new();
    for (place, entry) in policy.ignore.iter().enumerate() {
        let is_in = |sets: fn(&Report) -> &BTreeSet<usize>| {
            reports.iter().any(|(_, it)| sets(it).contains(&place))
        };
        if is_in(|it| &it.over) {
            let day = entry.last_day().unwrap_or_default();
            notes.push(format!(
                "{} was ignored until {day}: {}",
                entry.id, entry.reason
            ));
        } else if !is_in(|it| &it.used) {
            notes.push(format!(
                "the entry for {} has no effect: remove it",
                entry.id
            ));
        }
    }
    for (subject, report) in reports {
        if let Some(first) = report.without_release.first() {
            let count = report.without_release.len();
            let name = &subject.name;
            notes.push(format!(
                "{name}: {count} packages, such as {first}, can't be judged: their release is \
                 unknown"
            ));
        }
    }
    notes
}

/// Finds the images to audit. Builds images of the workspace together.
fn targets(args: &Args) -> Result<Vec<Target>> {
    let workspace = &args.place.workspace;
    let described = described::names(workspace)?;
    if args.images.is_empty() && described.is_empty() {
        bail!(
            "{} has no images.toml that describes an image\n  \
             try: the path of a layout or archive, or a reference",
            workspace.display()
        );
    }
    let wanted = match args.images.is_empty() {
        true => &described,
        false => &args.images,
    };
    let is_own =
        |name: &&String| described.contains(name) && !Path::new(name).join("oci-layout").exists();
    let own: Vec<String> = wanted.iter().filter(is_own).cloned().collect();
    let mut targets = Vec::new();
    if !own.is_empty() {
        for path in build_by_nix(workspace, &own)? {
            targets.extend(opened(args, Place::Path(path), true)?);
        }
    }
    for other in wanted.iter().filter(|it| !is_own(it)) {
        targets.extend(opened(args, Place::find(other, workspace)?, false)?);
    }
    Ok(targets)
}

fn opened(args: &Args, place: Place, is_own: bool) -> Result<Vec<Target>> {
    let opened = place.open(&args.place.connection)?;
    let selected = opened.select_all()?;
    let target = |selected: &Selected| {
        Ok(Target {
            subject: subject(&opened, selected)?,
            is_own,
            published: match &opened {
                Opened::Remote(remote) => {
                    let image = selected.image.descriptor.plain();
                    Some((remote.reference().clone(), image))
                }
                Opened::Layout(_) => None,
            },
        })
    };
    selected.iter().map(target).collect()
}

/// Reads an image from its documents.
fn subject(opened: &Opened, selected: &Selected) -> Result<Subject> {
    let sbom = opened.sbom(selected)?;
    let sbom = sbom.with_context(|| {
        format!(
            "{} has no bill of materials, so its components are unknown\n  \
             try: a layout that `assemble build` made, or a reference pushed with --attest",
            opened.blobs().title()
        )
    })?;
    let provenance = opened.provenance(selected)?;
    let provenance = provenance.and_then(|bytes| Statement::parse(&bytes).ok());
    if provenance.is_none() {
        warning!(
            "{} has no provenance: the audit assumes all features, and that all crates are from \
             crates.io",
            opened.blobs().title()
        );
    }
    let digest = &selected.image.descriptor.digest;
    let platform = &selected.config.platform;
    Ok(Subject::new(digest, platform, &sbom, provenance.as_ref()))
}

/// Writes a document below a directory. Fails if the same name has another one already in
/// `written`: one of them would be lost.
fn write_vex(
    directory: &Path,
    name: &str,
    document: &vex::Document,
    written: &mut BTreeMap<String, String>,
) -> Result<()> {
    std::fs::create_dir_all(directory)
        .with_context(|| format!("cannot create {}", directory.display()))?;
    let path = directory.join(name);
    let text = serde_json::to_string_pretty(document)? + "\n";
    if written.get(name).is_some_and(|before| *before != text) {
        bail!(
            "{} would hold two documents: two images have one name and digest, and different bills \
             of materials\n  try: audit one of them at a time",
            path.display()
        );
    }
    crateyard_terminal::write_to(&path, &text)?;
    written.insert(name.to_owned(), text);
    Ok(())
}

/// Returns the name of each image's OpenVEX document: the image's name and platform, and also the
/// start of its digest if another image has both.
fn vex_names(targets: &[Target]) -> Vec<String> {
    let mut digests: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
    let stem = |it: &Target| plain_name(&format!("{}-{}", it.subject.name, it.subject.platform));
    for target in targets {
        digests
            .entry(stem(target))
            .or_default()
            .insert(target.hex());
    }
    let name = |target: &Target| {
        let mut name = stem(target);
        if digests[&name].len() > 1 {
            name = format!("{name}-{}", target.hex());
        }
        name + attach::VEX_SUFFIX
    };
    targets.iter().map(name).collect()
}

/// Returns a name for a file that every system and shell takes.
fn plain_name(name: &str) -> String {
    let allowed = |c: char| match c.is_ascii_alphanumeric() || "._-".contains(c) {
        true => c,
        false => '-',
    };
    let name: String = name.chars().map(allowed).collect();
    name.trim_start_matches('.').to_owned()
}

/// Returns the time of the audit: `SOURCE_DATE_EPOCH`, or else the clock's time.
fn now() -> String {
    let said = std::env::var("SOURCE_DATE_EPOCH").ok();
    let said = said.and_then(|text| text.parse().ok());
    let clock = || SystemTime::now().duration_since(UNIX_EPOCH);
    let seconds = said.unwrap_or_else(|| clock().map_or(0, |it| it.as_secs()));
    crateyard_text::time::rfc3339(seconds)
}
