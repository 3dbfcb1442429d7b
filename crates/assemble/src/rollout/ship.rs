//! Images that manifests name, built and pushed, each once.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use crateyard_oci::Digest;
use deploy::manifest::Pushed;
use registry::Source;
use registry::push::{Options, Report};
use serde::Serialize;

use super::settings::{Settings, ShipArgs};
use crate::commands::build::build_by_nix;
use crate::commands::push::{sign_by_tag, source};

/// Digits of a digest that an image's tag has where no other tag is asked for. A tag keeps registries from
/// collecting the image as garbage.
const TAG_DIGITS: usize = 12;

/// An image that is built, and where it goes.
#[derive(Debug)]
pub struct Shipped {
    /// The layout or archive.
    pub path: PathBuf,
    /// What manifests are told.
    pub pushed: Pushed,
    /// What the push came to.
    pub report: Report,
}

/// Builds images, and sends what the registry lacks. A dry run sends nothing, and tells what it would.
///
/// # Errors
/// When a build fails, or the registry refuses.
pub fn ship(
    args: &ShipArgs,
    settings: &Settings,
    images: &BTreeSet<String>,
    is_dry: bool,
) -> Result<BTreeMap<String, Shipped>> {
    // Where they go is checked before anything is built.
    for image in images {
        settings.repository(image)?;
    }
    let signer = args.attach.signer.signer(args.connection.authorities())?;
    let signer = signer.filter(|signer| !(is_dry && signer.is_logged()));
    let built = build(args, settings, images)?;
    let (client, display) = args.connection.client()?;
    registry::run_on_this_thread(async {
        let mut shipped = BTreeMap::new();
        // One after the other: what the first sent the others can mount.
        for (image, path) in built {
            let context = || format!("cannot push {image} of {}", path.display());
            let plain = Source::open(&path).with_context(context)?;
            let digest = digest(&plain, &path)?;
            let source = source(&path, &args.attach, signer.as_ref()).with_context(context)?;
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
            let result = registry::push::push(&client, source, &target, &options).await;
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
    /// The image by its digest.
    pub fn reference(&self) -> String {
        let pushed = &self.pushed;
        pushed.repository.with_digest(&pushed.digest).to_string()
    }
}

/// What is printed of an image as JSON.
#[derive(Serialize)]
pub struct Sent<'a> {
    reference: String,
    push: &'a Report,
}

/// What is printed of images as JSON.
pub fn sent(shipped: &BTreeMap<String, Shipped>) -> BTreeMap<&str, Sent<'_>> {
    let each = shipped.iter().map(|(name, one)| {
        let reference = one.reference();
        let push = &one.report;
        (name.as_str(), Sent { reference, push })
    });
    each.collect()
}

/// What manifests are told of images.
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

/// The digest of the one image of a layout; of an image for several platforms, that of its index.
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
            "{} has {} images, and one is wanted",
            path.display(),
            several.len()
        ),
    }
}

fn tag(digest: &Digest) -> String {
    let hex = digest.as_str().split(':').next_back().unwrap_or_default();
    hex.chars().take(TAG_DIGITS).collect()
}
