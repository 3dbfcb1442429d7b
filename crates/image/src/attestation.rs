//! What an image is made of, written down beside it: a bill of materials ([`spdx`]) and a provenance
//! ([`provenance`]) for each image, as plain JSON files in the layout's directory.
//!
//! They stand beside the image and not in it, so that its digest depends on what runs and on nothing
//! else, and not in `index.json` either, where tools that expect one image would find three. A push
//! makes them referrers of the image. Their bytes depend on the image and its inputs alone.

pub mod provenance;
mod purl;
mod sources;
pub mod spdx;

use std::fs;

use crateyard_oci::{Descriptor, Layout, Platform};

use crate::output::OutputDir;
use crate::spec::InputsSpec;
use crate::{Error, Result};

/// The directory in a layout that has one directory a platform.
pub const DIRECTORY: &str = "attestations";
/// The bill of materials.
pub const SBOM: &str = "sbom.spdx.json";
/// The provenance.
pub const PROVENANCE: &str = "provenance.json";

/// An image about which something is to be said.
pub(crate) struct Subject<'a> {
    /// Its name.
    pub name: &'a str,
    /// What it runs on.
    pub platform: &'a Platform,
    /// Its manifest.
    pub manifest: &'a Descriptor,
    /// What its layers are, with their descriptors.
    pub layers: &'a [(String, Descriptor)],
    /// The manifest of the image that it stands on.
    pub base: Option<&'a Descriptor>,
}

/// Writes both documents.
pub(crate) fn write(output: &OutputDir, subject: &Subject<'_>, inputs: &InputsSpec) -> Result<()> {
    let place = directory(subject.platform);
    let path = output.path().join(&place);
    fs::create_dir_all(&path).map_err(Error::io("cannot create", &path))?;
    let nested = nested(inputs)?;
    let sbom = spdx::document(subject, inputs, &nested);
    output.write(&format!("{place}/{SBOM}"), &crateyard_oci::to_bytes(&sbom)?)?;
    let provenance = provenance::statement(subject, inputs, &nested)?;
    output.write(
        &format!("{place}/{PROVENANCE}"),
        &crateyard_oci::to_bytes(&provenance)?,
    )
}

/// Copies the documents of another layout's only image, if there are any.
pub(crate) fn copy(output: &OutputDir, layout: &Layout, platform: &Platform) -> Result<()> {
    for name in [SBOM, PROVENANCE] {
        if let Some(bytes) = read(layout, platform, name)? {
            let place = directory(platform);
            let path = output.path().join(&place);
            fs::create_dir_all(&path).map_err(Error::io("cannot create", &path))?;
            output.write(&format!("{place}/{name}"), &bytes)?;
        }
    }
    Ok(())
}

/// The document called `name` ([`SBOM`], [`PROVENANCE`]) about a layout's image for `platform`; `None`
/// where there is none. It may be about another image: compare what it says of its subject.
///
/// # Errors
/// When it can't be read.
pub fn read(layout: &Layout, platform: &Platform, name: &str) -> Result<Option<Vec<u8>>> {
    let path = format!("{}/{name}", directory(platform));
    match layout.extra_file(&path) {
        Err(crateyard_oci::Error::Io { source, .. })
            if source.kind() == std::io::ErrorKind::NotFound =>
        {
            Ok(None)
        }
        result => Ok(result?),
    }
}

/// Where the documents of a platform's image are, relative to the layout.
fn directory(platform: &Platform) -> String {
    format!("{DIRECTORY}/{}", platform.to_string().replace('/', "-"))
}

/// The names and manifests of the images that the image holds.
fn nested(inputs: &InputsSpec) -> Result<Vec<(String, Descriptor)>> {
    let mut images = Vec::new();
    for nested in &inputs.images {
        let layout = Layout::open(&nested.layout)?;
        let index = layout.index().manifests.first();
        let descriptor = index.ok_or_else(|| {
            Error::damaged(nested.layout.display().to_string(), "it has no image")
        })?;
        images.push((nested.name.clone(), descriptor.clone()));
    }
    images.sort_by(|one, other| one.0.cmp(&other.0));
    images.dedup_by(|one, other| one.0 == other.0);
    Ok(images)
}
