//! Signatures under a tag beside the image's own tag, as cosign before version 3 keeps them: one
//! manifest for all signatures, and one layer for each.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use crateyard_oci::{Descriptor, Digest, Document, Manifest, Reference, media_type};
use crateyard_registry::{Client, Repository, Source, push};
use crateyard_signing::Simple;
use crateyard_terminal::warning;
use serde_json::json;

use crate::remote::{LeftOut, Remote, first_line, is_about_the_image};
use crate::signer::Signer;

/// The number of signatures that are read under one tag. As many referrers of an image are read.
const MAX_SIGNATURES: usize = 2_000;
/// The size limit for the document of a signature, in bytes.
const MAX_PAYLOAD: u64 = 64 * 1024;

/// Passes the signatures under an image's tag to `look`, one after another, and an error for each
/// unreadable one. Anybody who may write to the repository can add one. The search ends when `look`
/// returns true, because it has seen enough. If there are too many signatures to come that far,
/// returns a [`LeftOut`].
///
/// # Errors
/// When the registry refuses or can't be reached.
pub fn search(
    remote: &Remote,
    digest: &Digest,
    mut look: impl FnMut(Result<Simple, String>) -> bool,
) -> Result<Option<LeftOut>> {
    let manifest = match usable(remote.tagged(&Simple::tag(digest.as_str())))? {
        Ok(Some(manifest)) => manifest,
        Ok(None) => return Ok(None),
        Err(reason) => {
            look(Err(reason));
            return Ok(None);
        }
    };
    for layer in signatures(&manifest).take(MAX_SIGNATURES) {
        if look(signature(remote, layer)?) {
            return Ok(None);
        }
    }
    let total = signatures(&manifest).count();
    Ok((total > MAX_SIGNATURES).then_some(LeftOut {
        list: "the tag for signatures",
        looked: MAX_SIGNATURES,
        total,
    }))
}

/// Reads the signature in a layer. Returns its problem as the inner error.
fn signature(
    remote: &Remote,
    layer: &Descriptor,
) -> Result<Result<Simple, String>, crateyard_registry::Error> {
    if layer.size > MAX_PAYLOAD {
        return Ok(Err(format!("a document of {} bytes", layer.size)));
    }
    let payload = usable(remote.small_blob(layer))?;
    Ok(payload.map(|payload| Simple {
        payload,
        annotations: layer.annotations.clone(),
    }))
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
    if known.iter().flat_map(signatures).any(|layer| *layer == own) {
        return Ok(true);
    }
    let mut layers = match &known {
        Some(manifest) => kept(&repository, manifest).await?,
        None => Vec::new(),
    };
    layers.push(own);
    let diff_ids: Vec<&str> = layers.iter().map(|layer| layer.digest.as_str()).collect();
    let config = json!({
        "architecture": "", "os": "", "config": {}, "created": "0001-01-01T00:00:00Z",
        "history": [], "rootfs": {"type": "layers", "diff_ids": diff_ids},
    });
    let config = config.to_string().into_bytes();
    let blobs = [config.clone().into(), signature.payload.into()];
    let manifest = Manifest::new(Descriptor::of(media_type::CONFIG, &config), layers);
    let source = Source::manifest(crateyard_oci::to_bytes(&manifest)?.into(), blobs);
    push::push(client, source, &target, &push::Options::default())
        .await
        .with_context(|| format!("cannot write {target}"))?;
    Ok(false)
}

/// Returns the layers of the signatures that the repository has. They stay as they are, unread,
/// because anybody may have written them.
async fn kept(
    repository: &Repository,
    manifest: &Document,
) -> Result<Vec<Descriptor>, crateyard_registry::Error> {
    let mut kept = Vec::new();
    let mut known: BTreeMap<&Digest, bool> = BTreeMap::new();
    for layer in signatures(manifest) {
        let digest = &layer.digest;
        let is_there = match known.get(digest) {
            Some(&is_there) => is_there,
            None => repository.has_blob(digest).await?,
        };
        if known.insert(digest, is_there).is_none() && !is_there {
            warning!("leaving out the signature {digest}: the repository no longer has it");
        }
        kept.extend(is_there.then(|| layer.clone()));
    }
    Ok(kept)
}

fn signatures(manifest: &Document) -> impl Iterator<Item = &Descriptor> {
    let layers = manifest.blobs.iter();
    layers.filter(|layer| layer.media_type == Simple::MEDIA_TYPE)
}
