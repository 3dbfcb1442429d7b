//! Joins single-platform layouts into one multi-platform layout.

use std::collections::BTreeSet;
use std::path::Path;

use crateyard_oci::{Descriptor, Index, Layout, media_type};

use crate::attestation;
use crate::layout::{Writer, parse_references};
use crate::spec::IndexSpec;
use crate::{Error, Result};

/// Makes a layout in the directory `out` with one image index that names the image of each layout.
/// Returns the index's descriptor.
///
/// # Errors
/// When a layout is damaged or has several images, two are for one platform, or the disk is full.
/// Nothing is left at `out` then.
pub fn make(spec: &IndexSpec, out: &Path) -> Result<Descriptor> {
    let references = parse_references(&spec.references)?;
    if spec.layouts.is_empty() {
        let problem = format!("the index {} has no layouts", spec.name);
        return Err(Error::spec("layouts", problem, "name at least one"));
    }
    let mut writer = Writer::create(out)?;
    let mut manifests = Vec::new();
    for path in &spec.layouts {
        manifests.push(add_layout(&mut writer, path)?);
    }
    manifests.sort_by(|one, other| one.platform.cmp(&other.platform));
    refuse_equal_platforms(&manifests)?;
    let mut index = Index::new(manifests);
    index.annotations = spec.annotations.clone();
    let descriptor = writer.add_json(media_type::INDEX, &index)?;
    writer.finish(&descriptor.named(&references))?;
    Ok(descriptor)
}

/// Copies the only image of a layout and describes it with its platform.
fn add_layout(writer: &mut Writer, path: &Path) -> Result<Descriptor> {
    let layout = Layout::open(path)?;
    let image = layout.image(None, None)?;
    let manifest = layout.manifest(&image.descriptor)?;
    let config = layout.config(&manifest)?;
    for blob in manifest.blobs() {
        writer.copy(&layout, blob)?;
    }
    writer.copy(&layout, &image.descriptor)?;
    attestation::copy(&writer.output, &layout, &config.platform)?;
    let mut plain = image.descriptor.plain();
    plain.platform = Some(config.platform);
    Ok(plain)
}

fn refuse_equal_platforms(manifests: &[Descriptor]) -> Result<()> {
    let mut seen = BTreeSet::new();
    for platform in manifests
        .iter()
        .filter_map(|manifest| manifest.platform.as_ref())
    {
        if !seen.insert(platform) {
            return Err(Error::spec(
                "layouts",
                format!("two layouts are for {platform}"),
                "an index has one image for each platform",
            ));
        }
    }
    Ok(())
}
