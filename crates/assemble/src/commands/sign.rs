//! `assemble sign`: signs an image that is in a registry.

use std::path::PathBuf;

use anyhow::{Context, Result};
use crateyard_oci::Reference;
use registry::{Failure, Kind, Source, push};

use crate::attach;
use crate::connection::ConnectionArgs;
use crate::text::print;

const EXAMPLES: &str = "\
Examples:
  COSIGN_PASSWORD=… assemble sign registry.example/team/gateway@sha256:… --sign-key cosign.key
  assemble verify registry.example/team/gateway:v1 --public-key cosign.pub

The exit codes are those of push.";

/// Sign an image in a registry; `push --sign-key` does it while it sends one
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// What to sign: REGISTRY/REPOSITORY@DIGEST, or by :TAG
    #[arg(value_name = "REFERENCE")]
    reference: String,

    /// The key (PEM): one of cosign's, opened by COSIGN_PASSWORD, or an unencrypted ECDSA P-256 key
    #[arg(long, value_name = "FILE")]
    sign_key: PathBuf,

    #[command(flatten)]
    connection: ConnectionArgs,
}

/// Runs the command.
///
/// # Errors
/// When the key can't be read, or the registry has no such image or refuses.
pub fn run(args: Args) -> Result<()> {
    let reference: Reference = args.reference.parse()?;
    let key = attach::secret_key(&args.sign_key)?;
    let (client, _) = args.connection.client()?;
    let (digest, report) = registry::run(async {
        let repository = client.repository(&reference)?.for_push();
        let version = reference.version();
        let manifest = repository.manifest(&version).await?;
        let subject = manifest.map(|manifest| manifest.plain_descriptor());
        let subject = subject.ok_or_else(|| not_there(&reference))?;
        let artifact = attach::signature(&subject, &key);
        let source = Source::artifact(&artifact);
        let target = reference.with_digest(&artifact.digest());
        let options = push::Options::default();
        let report = push::push(&client, source, &target, &options).await?;
        Ok::<_, registry::Error>((subject.digest, report))
    })
    .with_context(|| format!("cannot sign {reference}"))?;
    let done = if report.unchanged {
        "was signed by this key before"
    } else {
        "signed"
    };
    print(&format!(
        "{}@{digest}  {done}\n",
        reference.without_version()
    ))
}

fn not_there(reference: &Reference) -> registry::Error {
    Failure {
        reference: reference.to_string(),
        request: format!("GET /v2/{}/manifests", reference.repository()),
        kind: Kind::NotFound,
        detail: "the image is not there".to_owned(),
        remedy: "check the repository and the tag, or push the image first".to_owned(),
    }
    .into()
}
