//! Takes a base out of a layout that has several images.

use std::path::Path;

use crateyard_oci::{Blobs, Descriptor, Digest, Image, Index, Layout, images};

use crate::layout::Writer;
use crate::spec::BaseSpec;
use crate::{Error, Result};

/// Makes a layout in the directory `out` with those images of another layout that a digest names:
/// one image, or all images of an index. Returns the descriptor with this digest.
///
/// # Errors
/// When the layout is damaged or has nothing of that digest, or the disk is full. Nothing is left
/// at `out` then.
pub fn make(spec: &BaseSpec, out: &Path) -> Result<Descriptor> {
    let layout = Layout::open(&spec.layout)?;
    let (descriptor, chosen) = chosen(&layout, &spec.digest)?;
    let mut writer = Writer::create(out)?;
    for image in &chosen {
        let manifest = layout.manifest(&image.descriptor)?;
        for blob in manifest.blobs() {
            writer.copy(&layout, blob)?;
        }
        writer.copy(&layout, &image.descriptor)?;
    }
    let descriptors = chosen.into_iter().map(|image| Descriptor {
        platform: image.platform,
        ..image.descriptor
    });
    writer.finish(&descriptors.collect::<Vec<_>>())?;
    Ok(descriptor)
}

/// Returns the descriptor that has the digest, and the images that it leads to.
fn chosen(layout: &Layout, digest: &Digest) -> Result<(Descriptor, Vec<Image>)> {
    let has = |descriptor: &Descriptor| descriptor.digest == *digest;
    let top = layout.index().manifests.iter().find(|it| has(it));
    let all = match top {
        Some(top) => images(layout, &Index::new(vec![top.clone()]))?,
        None => layout.images()?,
    };
    let is_chosen = |image: &Image| top.is_some() || has(&image.descriptor);
    let chosen = all
        .iter()
        .filter(|it| !it.is_attestation() && is_chosen(it));
    let chosen: Vec<Image> = chosen.cloned().collect();
    let Some(first) = chosen.first() else {
        let known: Vec<String> = all
            .iter()
            .map(|it| it.descriptor.digest.to_string())
            .collect();
        return Err(Error::spec(
            "digest",
            format!("{} has no image {digest}", layout.title()),
            format!("take one of these: {}", known.join(", ")),
        ));
    };
    let descriptor = top.unwrap_or(&first.descriptor).clone();
    Ok((descriptor, chosen))
}
