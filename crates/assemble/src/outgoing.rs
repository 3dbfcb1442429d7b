//! The parts of an image that go to a registry: its layout, and the documents and signatures beside
//! it.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use crateyard_oci::Reference;
use crateyard_registry::Source;
use crateyard_registry::push::Report;

use crate::attach::{self, AttachArgs};
use crate::signer::Signer;
use crate::trust;

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

/// Returns the image at `path` with all its attachments. `workspace` is the workspace that it was
/// built in, if this run built it.
///
/// # Errors
/// When the image is damaged, or a document can't be attached.
pub fn source(
    workspace: &Path,
    path: &Path,
    args: &AttachArgs,
    signer: Option<&Signer>,
) -> anyhow::Result<Arc<Source>> {
    let source = Source::open(path)?;
    if !args.attest && args.vex.is_empty() && signer.is_none() {
        return Ok(source);
    }
    let artifacts = attach::artifacts(workspace, path, args, signer)?;
    Ok(source.attach(&artifacts))
}
