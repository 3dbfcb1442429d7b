//! Taking over an image that somebody else wrote as a layout of ours.

use std::path::Path;

use crate::assemble::{LayoutWriter, named, parse_references};
use crate::layout::Layout;
use crate::oci::{Descriptor, Index, Manifest, media_type};
use crate::{Error, Result};

/// How deep indexes may be nested.
const DEPTH: usize = 4;

/// Copies the one image of a layout or archive, each blob checked on the way, to a layout in the directory `out` that gives it
/// `references` as its names. Manifest and digest stay what they are.
///
/// # Errors
/// When it holds several images or none, is damaged, or the disk is full. Then nothing stands at `out`.
pub fn make(from: &Path, references: &[String], out: &Path) -> Result<Descriptor> {
    let references = parse_references(references)?;
    let layout = Layout::open(from)?;
    let mut images = layout.index().manifests.clone();
    for image in &mut images {
        image.annotations = None;
    }
    images.dedup();
    let [image] = images.as_slice() else {
        let problem = format!("it holds {} images", images.len());
        return Err(Error::damaged(from.display().to_string(), problem));
    };
    let mut writer = LayoutWriter::create(out)?;
    copy(&mut writer, &layout, image, DEPTH)?;
    writer.finish(&named(image, &references))?;
    Ok(image.clone())
}

fn copy(
    writer: &mut LayoutWriter,
    layout: &Layout,
    descriptor: &Descriptor,
    depth: usize,
) -> Result<()> {
    if media_type::is_index(&descriptor.media_type) {
        if depth == 0 {
            let problem = "its indexes are nested too deeply";
            return Err(Error::damaged(descriptor.digest.to_string(), problem));
        }
        let index: Index = layout.document(descriptor)?;
        for below in &index.manifests {
            copy(writer, layout, below, depth - 1)?;
        }
    } else {
        let manifest: Manifest = layout.manifest(descriptor)?;
        for blob in manifest.layers.iter().chain([&manifest.config]) {
            writer.copy(layout, blob)?;
        }
    }
    writer.copy(layout, descriptor)
}
