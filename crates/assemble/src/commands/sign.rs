//! `assemble sign`: signs an image in a registry.

use anyhow::{Context, Result, bail};
use crateyard_oci::Reference;
use crateyard_registry::{Failure, Kind};
use crateyard_terminal::print;

use crate::attach;
use crate::connection::ConnectionArgs;
use crate::signer::SignerArgs;
use crate::trust::tag;

const EXAMPLES: &str = "\
Examples:
  COSIGN_PASSWORD=… assemble sign registry.example/gateway@sha256:… \\
      --sign-key cosign.key
  assemble sign registry.example/team/gateway@sha256:… --keyless --sign-as both
  assemble verify registry.example/team/gateway:v1 --public-key cosign.pub

Exit codes: as `assemble push`.";

/// Sign an image in a registry; `push --sign-key` signs while it sends
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The image to sign: REGISTRY/REPOSITORY@DIGEST, or by :TAG
    #[arg(value_name = "REFERENCE")]
    reference: String,

    #[command(flatten)]
    signer: SignerArgs,

    #[command(flatten)]
    connection: ConnectionArgs,
}

/// Runs the command.
///
/// # Errors
/// When the key can't be read, or the registry refuses or has no such image.
pub fn run(args: Args) -> Result<()> {
    let reference: Reference = args.reference.parse()?;
    let Some(signer) = args.signer.signer(args.connection.authorities())? else {
        bail!("no signer is named\n  try: --sign-key cosign.key, or in a CI job --keyless");
    };
    let (client, _) = args.connection.client()?;
    let (digest, was_signed) = crateyard_registry::run(async {
        let repository = client.repository(&reference)?.for_push();
        let version = reference.version();
        let manifest = repository.manifest(&version).await?;
        let subject = manifest.map(|manifest| manifest.plain_descriptor());
        let subject = subject.ok_or_else(|| not_there(&reference))?;
        let mut was_signed = true;
        if signer.makes_bundles() {
            let artifact = signer.image(&subject)?;
            let report = attach::upload(&client, &reference, &artifact).await?;
            was_signed &= report.unchanged;
        }
        if signer.makes_tags() {
            was_signed &= tag::add(&client, &reference, &subject, &signer).await?;
        }
        Ok::<_, anyhow::Error>((subject.digest, was_signed))
    })
    .with_context(|| format!("cannot sign {reference}"))?;
    let done = if was_signed {
        "was signed by this key before"
    } else {
        "signed"
    };
    print(&format!(
        "{}@{digest}  {done}\n",
        reference.without_version()
    ))
}

fn not_there(reference: &Reference) -> crateyard_registry::Error {
    Failure {
        reference: reference.to_string(),
        request: format!("GET /v2/{}/manifests", reference.repository()),
        kind: Kind::NotFound,
        detail: "the image is not there".to_owned(),
        remedy: "check the repository and the tag, or push the image first".to_owned(),
    }
    .into()
}
