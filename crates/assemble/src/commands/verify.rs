//! `assemble verify`: checks every byte of an image.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use crateyard_image::verify::{Report, Severity, verify, verify_blobs};
use crateyard_oci::Digest;
use crateyard_signing::SecretKey;
use crateyard_terminal::{clean, count, print, print_json, table};
use serde::Serialize;

use crate::connection::bytes;
use crate::image_argument::{Opened, Place, PlaceArgs};
use crate::remote::Remote;
use crate::signer::kept_key;
use crate::trust::policy::{Pattern, Rule, trusted_root};
use crate::trust::{Gathered, Judgement, Policy, gather};

const EXAMPLES: &str = "\
Examples:
  assemble verify gateway
  assemble verify image.tar --json
  assemble verify registry.example/gateway@sha256:… --public-key cosign.pub
  assemble verify registry.example/team/gateway:v1 --policy policy.toml

Exit codes: 0 if the image is sound and satisfies the policy, 1 if not or if there is no such \
image; as `assemble push` for errors of a registry.";

/// The number of unreadable referrers that are reported.
const SHOWN: usize = 5;

/// Check every digest, size, diff id, media type and path of an image
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// An image of images.toml by its name, a layout or archive by its path, or a registry's
    /// reference
    #[arg(value_name = "IMAGE")]
    image: String,

    /// Print JSON
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    place: PlaceArgs,

    #[command(flatten)]
    policy: PolicyArgs,
}

/// Options for whom to trust.
#[derive(clap::Args)]
#[command(next_help_heading = "Signatures, which registries keep and layouts do not")]
struct PolicyArgs {
    /// Require everything in this policy: signers, provenance, witnesses (docs/trust.md)
    #[arg(long, value_name = "FILE", conflicts_with_all = ["public_key", "certificate_identity",
        "certificate_identity_regexp", "certificate_oidc_issuer", "certificate_oidc_issuer_regexp",
        "trusted_root", "witnesses", "witness_key"])]
    policy: Option<PathBuf>,

    /// Require a signature by this public key, or by one of several
    ///
    /// A PEM file, or a reference to a key in a token or a service, as for push --sign-key.
    #[arg(long, value_name = "KEY")]
    public_key: Vec<String>,

    /// Require a signature by this identity
    #[arg(
        long,
        value_name = "IDENTITY",
        group = "identity",
        requires = "trusted_root",
        requires = "issuer"
    )]
    certificate_identity: Option<String>,

    /// Require a signature by an identity that this expression matches completely
    #[arg(
        long,
        value_name = "REGEXP",
        group = "identity",
        requires = "trusted_root",
        requires = "issuer"
    )]
    certificate_identity_regexp: Option<String>,

    /// Require that this issuer has vouched for the identity
    #[arg(long, value_name = "URL", group = "issuer", requires = "identity")]
    certificate_oidc_issuer: Option<String>,

    /// Require that an issuer that this expression matches completely has vouched for the identity
    #[arg(long, value_name = "REGEXP", group = "issuer", requires = "identity")]
    certificate_oidc_issuer_regexp: Option<String>,

    /// The trusted authorities and logs: sigstore's trusted_root.json
    #[arg(long, value_name = "FILE", requires = "identity")]
    trusted_root: Option<PathBuf>,

    /// Require this many witnesses who rebuilt the image with the same digest
    #[arg(long, value_name = "N", requires = "witness_key", default_value_t = 0)]
    witnesses: usize,

    /// The public key of a witness, like --public-key; may be repeated
    #[arg(long, value_name = "KEY", requires = "witnesses")]
    witness_key: Vec<String>,
}

impl PolicyArgs {
    fn policy(&self, authorities: &[PathBuf]) -> Result<Policy> {
        if let Some(path) = &self.policy {
            return Policy::read(path);
        }
        let keys = |keys: &[String]| -> Result<Vec<Rule>> {
            keys.iter().map(|key| rule(key, authorities)).collect()
        };
        let root = self.trusted_root.as_deref().map(trusted_root).transpose()?;
        let mut policy = Policy {
            signers: keys(&self.public_key)?,
            witnesses: keys(&self.witness_key)?,
            count: self.witnesses,
            root,
            ..Policy::default()
        };
        let identity = pattern(
            &self.certificate_identity,
            &self.certificate_identity_regexp,
            "--certificate-identity-regexp",
        )?;
        let issuer = pattern(
            &self.certificate_oidc_issuer,
            &self.certificate_oidc_issuer_regexp,
            "--certificate-oidc-issuer-regexp",
        )?;
        if let Some((identity, issuer)) = identity.zip(issuer) {
            policy.signers.push(Rule::Identity { identity, issuer });
        }
        policy.witness_keys_needed()?;
        if policy.is_empty() && self.is_given() {
            bail!(
                "the options about signatures require nothing: no signer and no witness\n  \
                 try: --public-key, --certificate-identity, or --witnesses with a number above 0"
            );
        }
        Ok(policy)
    }

    /// Whether the command line has one of these options. If so, an empty policy is a mistake, and
    /// must not accept everything.
    fn is_given(&self) -> bool {
        let texts = [
            &self.certificate_identity,
            &self.certificate_identity_regexp,
            &self.certificate_oidc_issuer,
            &self.certificate_oidc_issuer_regexp,
        ];
        self.trusted_root.is_some()
            || !self.public_key.is_empty()
            || !self.witness_key.is_empty()
            || texts.into_iter().any(Option::is_some)
    }
}

/// Makes a rule for the holder of the key in a file, or of a key that a token or a service keeps.
fn rule(key: &str, authorities: &[PathBuf]) -> Result<Rule> {
    match kept_key(key, authorities)? {
        Some(kept) => Ok(Rule::Key {
            name: SecretKey::name_of(key).to_owned(),
            key: kept.public(),
        }),
        None => Rule::key(Path::new(key)),
    }
}

fn pattern(
    exact: &Option<String>,
    regexp: &Option<String>,
    option: &str,
) -> Result<Option<Pattern>> {
    match (exact, regexp) {
        (Some(text), _) => Ok(Some(Pattern::Exact(text.clone()))),
        (None, Some(text)) => {
            let pattern = Pattern::regexp(text);
            pattern.with_context(|| option.to_owned()).map(Some)
        }
        (None, None) => Ok(None),
    }
}

/// The command's JSON output.
#[derive(Serialize)]
struct Verdict<'a> {
    sound: bool,
    /// The verified image, if it is in a registry.
    #[serde(skip_serializing_if = "Option::is_none")]
    reference: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    digest: Option<String>,
    /// Whether one of the permitted signers has signed the image.
    #[serde(skip_serializing_if = "Option::is_none")]
    signed: Option<bool>,
    /// Whether all rules of the policy are satisfied.
    #[serde(skip_serializing_if = "Option::is_none")]
    accepted: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rules: Option<&'a [Judgement]>,
    /// The reasons why referrers that look like signatures are unusable.
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
    let authorities = args.place.connection.authorities();
    let policy = args.policy.policy(authorities)?;
    let mut judged: Option<Judged> = None;
    let mut verified = None;
    let report = match Place::find(&args.image, &args.place.workspace)? {
        // An error on opening the image is a finding too.
        Place::Path(path) if !policy.is_empty() => bail!(
            "{} is a layout, but only registries keep signatures\n  try: the reference that it \
             was pushed to",
            path.display()
        ),
        Place::Path(path) => verify(&path)?,
        place @ Place::Registry(_) => {
            let opened = place.open(&args.place.connection)?;
            let report = match &opened {
                Opened::Remote(remote) => verify_blobs(remote, &remote.root()),
                Opened::Layout(layout) => crateyard_image::verify::verify_layout(layout),
            };
            if let Opened::Remote(remote) = &opened {
                let digest = remote.root().digest.to_string();
                verified = Some((remote.reference().without_version().to_string(), digest));
                if !policy.is_empty() {
                    judged = Some(judge(&opened, remote, &policy)?);
                }
            }
            opened.checked(Ok::<_, crateyard_image::Error>(report))?
        }
    };
    let sound = report.is_sound();
    let accepted = judged.as_ref().map(Judged::is_accepted);
    if args.json {
        print_json(&Verdict {
            sound,
            reference: verified.as_ref().map(|(reference, _)| reference.clone()),
            digest: verified.as_ref().map(|(_, digest)| digest.clone()),
            signed: judged.as_ref().and_then(Judged::is_signed),
            accepted,
            rules: judged.as_ref().map(|it| &it.rules[..]),
            unusable: judged.as_ref().map(|it| &it.unusable[..]),
            report: &report,
        })?;
    } else {
        let mut text = describe(&report);
        if let Some((reference, digest)) = &verified {
            text += &format!("{reference}@{digest}\n");
        }
        text += &judged.as_ref().map(describe_rules).unwrap_or_default();
        print(&text)?;
    }
    Ok(match sound && accepted != Some(false) {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

/// The results of the policy's rules.
struct Judged {
    rules: Vec<Judgement>,
    /// The reasons why referrers that look like signatures are unusable.
    unusable: Vec<String>,
}

impl Judged {
    fn is_accepted(&self) -> bool {
        self.rules.iter().all(|rule| rule.satisfied)
    }

    fn is_signed(&self) -> Option<bool> {
        let rule = self.rules.iter().find(|rule| rule.rule == "signers");
        rule.map(|rule| rule.satisfied)
    }
}

/// Judges the documents in the registry about an image, and about the images that an index names.
fn judge(opened: &Opened, remote: &Remote, policy: &Policy) -> Result<Judged> {
    let root = remote.root().digest;
    let images = opened.runnable()?.into_iter();
    let images: Vec<Digest> = images.map(|image| image.descriptor.digest).collect();
    let mut subjects = vec![root.clone()];
    subjects.extend(images.iter().filter(|image| **image != root).cloned());
    let mut gathered = Gathered::default();
    let is_enough = |gathered: &Gathered| {
        let rules = policy.judge(&root, &images, gathered);
        // A witness who objects may come last.
        policy.count == 0 && rules.iter().all(|rule| rule.satisfied)
    };
    for subject in &subjects {
        gather(remote, subject, policy, &mut gathered, is_enough)?;
        if is_enough(&gathered) {
            break;
        }
    }
    Ok(Judged {
        rules: policy.judge(&root, &images, &gathered),
        unusable: gathered.unusable,
    })
}

fn describe_rules(judged: &Judged) -> String {
    let passed = judged.unusable.iter().take(SHOWN);
    let mut text: String = passed
        .map(|reason| format!("passed over: {}\n", clean(reason)))
        .collect();
    if judged.unusable.len() > SHOWN {
        text += &format!("passed over: {} more\n", judged.unusable.len() - SHOWN);
    }
    let row = |rule: &Judgement| {
        let verdict = if rule.satisfied { "ok" } else { "REFUSED" };
        let reason = clean(&rule.reason).into_owned();
        vec![verdict.to_owned(), rule.rule.to_owned(), reason]
    };
    text + &table(&judged.rules.iter().map(row).collect::<Vec<_>>(), "", &[])
}

fn describe(report: &Report) -> String {
    let row = |finding: &crateyard_image::verify::Finding| {
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
