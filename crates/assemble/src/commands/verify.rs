//! `assemble verify`: whether an image is whole, to the last byte.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use image::verify::{Report, Severity, verify, verify_blobs};
use serde::Serialize;
use signing::PublicKey;

use crate::connection::bytes;
use crate::place::{Opened, Place, PlaceArgs};
use crate::signature::{self, Search};
use crate::text::{clean, count, print, print_json, table};

const EXAMPLES: &str = "\
Examples:
  assemble verify gateway
  assemble verify image.tar --json
  assemble verify registry.example/team/gateway@sha256:… --public-key cosign.pub

Exit codes: 0 the image is sound (and signed), 1 it is not or there is no such image; those of push where a registry
can't be asked.";

/// How many referrers that can't be read are said.
const SHOWN: usize = 5;

/// Check every digest, size, diff id, media type and path of an image
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// An image of images.toml by its name, a layout or archive by its path, or a registry's reference
    #[arg(value_name = "IMAGE")]
    image: String,

    /// Require a signature by the key that this public key (PEM) belongs to
    ///
    /// Signatures are kept in registries, not in layouts.
    #[arg(long, value_name = "FILE")]
    public_key: Option<PathBuf>,

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
    /// What was verified, where it is in a registry.
    #[serde(skip_serializing_if = "Option::is_none")]
    reference: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    digest: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    signed: Option<bool>,
    /// What stood in for a signature and was none.
    #[serde(rename = "unusable", skip_serializing_if = "Option::is_none")]
    unusable: Option<&'a [String]>,
    #[serde(flatten)]
    report: &'a Report,
}

/// Runs the command.
///
/// # Errors
/// When the image can't be found, or a registry can't be asked.
pub fn run(args: Args) -> Result<ExitCode> {
    let key = args.public_key.as_deref().map(public_key).transpose()?;
    let mut search: Option<Search> = None;
    let mut verified = None;
    let report = match Place::find(&args.image, &args.place.workspace)? {
        // What is wrong with opening it is a finding too.
        Place::Path(path) if key.is_some() => bail!(
            "{} is a layout, and signatures are kept in registries\n  try: the reference that it was pushed to",
            path.display()
        ),
        Place::Path(path) => verify(&path)?,
        place @ Place::Registry(_) => {
            let opened = place.open(&args.place.connection)?;
            let report = match &opened {
                Opened::Remote(remote) => verify_blobs(remote, &remote.root()),
                Opened::Layout(layout) => image::verify::verify_layout(layout),
            };
            if let Opened::Remote(remote) = &opened {
                let digest = remote.root().digest.to_string();
                verified = Some((remote.reference().without_version().to_string(), digest));
                if let Some(key) = &key {
                    search = Some(signature::search(remote, key)?);
                }
            }
            opened.checked(Ok::<_, image::Error>(report))?
        }
    };
    let sound = report.is_sound();
    let signed = search.as_ref().map(|search| search.is_signed);
    if args.json {
        print_json(&Verdict {
            sound,
            reference: verified.as_ref().map(|(reference, _)| reference.clone()),
            digest: verified.as_ref().map(|(_, digest)| digest.clone()),
            signed,
            unusable: search.as_ref().map(|search| &search.unusable[..]),
            report: &report,
        })?;
    } else {
        let mut text = describe(&report);
        if let Some((reference, digest)) = &verified {
            text += &format!("{reference}@{digest}\n");
        }
        text += &search.as_ref().map(describe_signature).unwrap_or_default();
        print(&text)?;
    }
    Ok(match sound && signed != Some(false) {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

fn describe_signature(search: &Search) -> String {
    let verdict = match search.is_signed {
        true => "this digest is signed by this key\n",
        false => "this digest is NOT SIGNED by this key\n",
    };
    let passed = search.unusable.iter().take(SHOWN);
    let mut text: String = passed
        .map(|reason| format!("passed over: {}\n", clean(reason)))
        .collect();
    if search.unusable.len() > SHOWN {
        text += &format!("passed over: {} more\n", search.unusable.len() - SHOWN);
    }
    text += verdict;
    text
}

fn public_key(path: &Path) -> Result<PublicKey> {
    let pem = std::fs::read_to_string(path);
    let pem = pem.with_context(|| format!("cannot read the key {}", path.display()))?;
    PublicKey::from_pem(&pem).with_context(|| format!("{}", path.display()))
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
