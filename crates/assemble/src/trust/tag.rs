//! Signatures under a tag beside the image's own tag, as cosign before version 3 keeps them: one
//! manifest for all signatures, and one layer for each.

use anyhow::{Context, Result};
use crateyard_oci::{Descriptor, Digest, Document, Manifest, Reference, media_type};
use crateyard_registry::{Client, Source, push};
use crateyard_signing::Simple;
use serde_json::json;

use crate::remote::{Remote, first_line, is_about_the_image};
use crate::signer::Signer;

/// The number of signatures that are read under one tag.
const MAX_SIGNATURES: usize = 200;
/// The size limit for the document of a signature, in bytes.
const MAX_PAYLOAD: u64 = 64 * 1024;

/// Reads the signatures under an image's tag, and returns an error for each unreadable one. Anybody
/// who may write to the repository can add one.
///
/// # Errors
/// When the registry refuses or can't be reached.
pub fn read(remote: &Remote, digest: &Digest) -> Result<Vec<Result<Simple, String>>> {
    let manifest = match usable(remote.tagged(&Simple::tag(digest.as_str())))? {
        Ok(Some(manifest)) => manifest,
        Ok(None) => return Ok(Vec::new()),
        Err(reason) => return Ok(vec![Err(reason)]),
    };
    let mut found = Vec::new();
    for layer in signatures(&manifest).take(MAX_SIGNATURES) {
        if layer.size > MAX_PAYLOAD {
            found.push(Err(format!("a document of {} bytes", layer.size)));
            continue;
        }
        let payload = usable(remote.small_blob(layer))?;
        found.push(payload.map(|payload| Simple {
            payload,
            annotations: layer.annotations.clone(),
        }));
    }
    Ok(found)
}

/// Returns a problem of the signatures as the inner error, and a failure to query the registry as
/// the outer one.
fn usable<T>(
    result: Result<T, crateyard_registry::Error>,
) -> Result<Result<T, String>, crateyard_registry::Error> {
    match result {
        Ok(value) => Ok(Ok(value)),
        Err(error) if is_about_the_image(&error) => Ok(Err(first_line(&error))),
        Err(error) => Err(error),
    }
}

/// Adds a signature to an image. Returns whether the image already had it.
///
/// # Errors
/// When the log or the registry refuses or can't be reached.
pub async fn add(
    client: &Client,
    reference: &Reference,
    subject: &Descriptor,
    signer: &Signer,
) -> Result<bool> {
    let digest = subject.digest.as_str();
    let repository = client.repository(reference)?.for_push();
    let target = reference.without_version().with_tag(&Simple::tag(digest))?;
    let known = repository.manifest(&target.version()).await?;
    let named = reference.without_version().to_string();
    let signature = signer.simple(Simple::document(&named, digest))?;
    let own = Descriptor {
        annotations: signature.annotations,
        ..Descriptor::of(Simple::MEDIA_TYPE, &signature.payload)
    };
    let mut layers: Vec<Descriptor> = known.iter().flat_map(signatures).cloned().collect();
    if layers.contains(&own) {
        return Ok(true);
    }
    layers.push(own);
    let diff_ids: Vec<&str> = layers.iter().map(|layer| layer.digest.as_str()).collect();
    let config = json!({
        "architecture": "", "os": "", "config": {}, "created": "0001-01-01T00:00:00Z",
        "history": [], "rootfs": {"type": "layers", "diff_ids": diff_ids},
    });
    let config = config.to_string().into_bytes();
    let mut blobs = vec![config.clone().into(), signature.payload.into()];
    for layer in &layers[..layers.len() - 1] {
        blobs.push(repository.small_blob(layer).await?);
    }
    let manifest = Manifest::new(Descriptor::of(media_type::CONFIG, &config), layers);
    let source = Source::manifest(crateyard_oci::to_bytes(&manifest)?.into(), blobs);
    push::push(client, source, &target, &push::Options::default())
        .await
        .with_context(|| format!("cannot write {target}"))?;
    Ok(false)
}

fn signatures(manifest: &Document) -> impl Iterator<Item = &Descriptor> {
    let layers = manifest.blobs.iter();
    layers.filter(|layer| layer.media_type == Simple::MEDIA_TYPE)
}
