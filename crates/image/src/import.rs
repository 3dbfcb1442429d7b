//! Copies an image that somebody else wrote to a layout of ours.

use std::path::Path;

use crateyard_oci::{Descriptor, Layout, walk};

use crate::layout::{Writer, parse_references};
use crate::{Error, Result};

/// Copies the only image of a layout or archive to a layout in the directory `out` that gives the
/// image `references` as its names. Checks each blob on the way. Manifest and digest stay the same.
///
/// # Errors
/// When the source holds several images or none, or is damaged, or the disk is full. Nothing is
/// left at `out` then.
pub fn make(from: &Path, references: &[String], out: &Path) -> Result<Descriptor> {
    let references = parse_references(references)?;
    let layout = Layout::open(from)?;
    let mut images = layout.index().manifests.clone();
    for image in &mut images {
        image.annotations.clear();
    }
    images.dedup();
    let [image] = images.as_slice() else {
        let problem = format!("it holds {} images", images.len());
        return Err(Error::damaged(from.display().to_string(), problem));
    };
    let mut writer = Writer::create(out)?;
    walk(&layout, image, &mut |found| writer.copy(&layout, found))?;
    writer.finish(&image.named(&references))?;
    Ok(image.clone())
}
