//! Builds and pushes the images that manifests name, once each.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use crateyard_build::image_build::build_by_nix;
use crateyard_deploy::manifest::Pushed;
use crateyard_oci::Digest;
use crateyard_registry::Source;
use crateyard_registry::push::{Options, Report};
use serde::Serialize;

use super::settings::{Settings, ShipArgs};
use crate::outgoing::{sign_by_tag, source};

/// The number of digits of the digest in an image's default tag. The tag protects the image from
/// the registry's garbage collection.
const TAG_DIGITS: usize = 12;

/// A built image and its target.
#[derive(Debug)]
pub struct Shipped {
    /// The layout or archive.
    pub path: PathBuf,
    /// The reference for manifests.
    pub pushed: Pushed,
    /// The result of the push.
    pub report: Report,
}

/// Builds images, and sends the missing blobs to the registry. A dry run sends nothing, and reports
/// what a push would send.
///
/// # Errors
/// When a build fails, or the registry refuses.
pub fn ship(
    args: &ShipArgs,
    settings: &Settings,
    images: &BTreeSet<String>,
    is_dry: bool,
) -> Result<BTreeMap<String, Shipped>> {
    // Check the targets before building anything.
    for image in images {
        settings.repository(image)?;
    }
    let signer = args.attach.signer.signer(args.connection.authorities())?;
    let signer = signer.filter(|signer| !is_dry || signer.is_local());
    let built = build(args, settings, images)?;
    let (client, display) = args.connection.client()?;
    crateyard_registry::run_on_this_thread(async {
        let mut shipped = BTreeMap::new();
        // Push images one after another, so that the others can mount blobs of the first.
        for (image, path) in built {
            let context = || format!("cannot push {image} of {}", path.display());
            let plain = Source::open(&path).with_context(context)?;
            let digest = digest(&plain, &path)?;
            let source = source(&args.workspace, &path, &args.attach, signer.as_ref());
            let source = source.with_context(context)?;
            let pushed = Pushed {
                repository: settings.repository(&image)?,
                tag: args.tag.clone().unwrap_or_else(|| tag(&digest)),
                digest,
            };
            let options = Options {
                dry_run: is_dry,
                ..Options::default()
            };
            let target = pushed.repository.with_tag(&pushed.tag)?;
            display.begin(&target.to_string());
            let result = crateyard_registry::push::push(&client, source, &target, &options).await;
            display.end();
            let report = result.with_context(context)?;
            if let Some(signer) = signer.as_ref().filter(|it| it.makes_tags() && !is_dry) {
                let signed = sign_by_tag(&client, &target, &report, signer).await;
                signed.with_context(context)?;
            }
            shipped.insert(
                image,
                Shipped {
                    path,
                    pushed,
                    report,
                },
            );
        }
        Ok(shipped)
    })
}

impl Shipped {
    /// Returns the image's reference by digest.
    pub fn reference(&self) -> String {
        let pushed = &self.pushed;
        pushed.repository.with_digest(&pushed.digest).to_string()
    }
}

/// The JSON output for an image.
#[derive(Serialize)]
pub struct Sent<'a> {
    reference: String,
    push: &'a Report,
}

/// Collects the JSON output for images.
pub fn sent(shipped: &BTreeMap<String, Shipped>) -> BTreeMap<&str, Sent<'_>> {
    let each = shipped.iter().map(|(name, one)| {
        let reference = one.reference();
        let push = &one.report;
        (name.as_str(), Sent { reference, push })
    });
    each.collect()
}

/// Returns the references of images for manifests.
pub fn references(shipped: &BTreeMap<String, Shipped>) -> BTreeMap<String, Pushed> {
    let each = shipped.iter();
    each.map(|(image, shipped)| (image.clone(), shipped.pushed.clone()))
        .collect()
}

fn build(
    args: &ShipArgs,
    settings: &Settings,
    images: &BTreeSet<String>,
) -> Result<BTreeMap<String, PathBuf>> {
    let (given, wanted): (Vec<&String>, Vec<&String>) = images
        .iter()
        .partition(|image| settings.layouts.contains_key(*image));
    let mut paths: BTreeMap<String, PathBuf> = given
        .into_iter()
        .map(|image| (image.clone(), settings.layouts[image].clone()))
        .collect();
    let wanted: Vec<String> = wanted.into_iter().cloned().collect();
    if !wanted.is_empty() {
        let built = build_by_nix(&args.workspace, &wanted)?;
        paths.extend(wanted.into_iter().zip(built));
    }
    Ok(paths)
}

/// Returns the digest of the only image in a layout. An image for several platforms has the digest
/// of its index.
fn digest(source: &Source, path: &Path) -> Result<Digest> {
    let all: BTreeSet<&Digest> = source
        .index()
        .manifests
        .iter()
        .map(|manifest| &manifest.digest)
        .collect();
    match all.into_iter().collect::<Vec<_>>().as_slice() {
        [only] => Ok((*only).clone()),
        several => bail!(
            "{} has {} images; expected one",
            path.display(),
            several.len()
        ),
    }
}

fn tag(digest: &Digest) -> String {
    let hex = digest.as_str().split(':').next_back().unwrap_or_default();
    hex.chars().take(TAG_DIGITS).collect()
}
