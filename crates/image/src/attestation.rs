//! Makes the documents about an image ([`crateyard_attestation`]): a bill of materials in two forms
//! ([`spdx`], [`cyclonedx`]) and a provenance. Their bytes depend only on the image and its inputs.

mod bom;
pub mod cyclonedx;
mod integrity;
mod provenance;
mod purl;
mod sources;
pub mod spdx;

use std::collections::BTreeMap;
use std::fs;

use crateyard_attestation::{DOCUMENTS, PROVENANCE, SBOM, SBOM_CYCLONEDX, directory, read};
use crateyard_oci::{Descriptor, Digest, Layout, Platform};

use crate::output::OutputDir;
use crate::packages::{Crate, Distribution};
use crate::spec::{EntryRecord, InputsSpec, PackageDetails};
use crate::{Error, Result};
use bom::Bom;

pub use purl::{
    Purl, cargo as cargo_purl, generic as generic_purl, image as image_purl, of_crate as crate_purl,
};

/// An image that the documents describe.
pub(crate) struct Subject<'a> {
    /// The image's name.
    pub name: &'a str,
    /// The main tag.
    pub version: Option<&'a str>,
    /// The labels.
    pub labels: &'a BTreeMap<String, String>,
    /// The platform that the image runs on.
    pub platform: &'a Platform,
    /// The image's manifest.
    pub manifest: &'a Descriptor,
    /// The comments of the layers, with their descriptors.
    pub layers: &'a [(String, Descriptor)],
    /// The details of the Debian packages of the layers.
    pub packages: &'a [PackageDetails],
    /// The records of the programs, by path without leading slash.
    pub programs: &'a BTreeMap<String, EntryRecord>,
    /// The base image.
    pub base: Option<&'a BaseFacts<'a>>,
}

/// The base of an image.
pub(crate) struct BaseFacts<'a> {
    /// The base's manifest.
    pub manifest: &'a Descriptor,
    /// The base's names in its layout.
    pub names: &'a [String],
    /// The Debian packages that the base's dpkg knows.
    pub packages: Vec<PackageDetails>,
    /// The distribution that the base says it is.
    pub distribution: Option<Distribution>,
    /// The crates of the base's programs that carry a list of crates, by path.
    pub crates: &'a BTreeMap<String, Vec<Crate>>,
}

/// An image that the image holds.
struct Nested {
    name: String,
    version: Option<String>,
    manifest: Descriptor,
    /// The address and digest of the nested image's bill of materials, if it has one.
    sbom: Option<(String, Digest)>,
}

/// Writes the documents.
pub(crate) fn write(output: &OutputDir, subject: &Subject<'_>, inputs: &InputsSpec) -> Result<()> {
    let place = directory(subject.platform);
    let path = output.path().join(&place);
    fs::create_dir_all(&path).map_err(Error::io("create", &path))?;
    let nested = nested(inputs, subject.platform)?;
    let bom = Bom::new(subject, inputs, &nested)?;
    let sbom = spdx::document(&bom);
    output.write(&format!("{place}/{SBOM}"), &crateyard_oci::to_bytes(&sbom)?)?;
    let sbom = cyclonedx::document(&bom);
    output.write(
        &format!("{place}/{SBOM_CYCLONEDX}"),
        &crateyard_oci::to_bytes(&sbom)?,
    )?;
    let provenance = provenance::statement(subject, inputs, &nested)?;
    output.write(
        &format!("{place}/{PROVENANCE}"),
        &crateyard_oci::to_bytes(&provenance)?,
    )
}

/// Copies the documents of the only image of another layout, if there are any.
pub(crate) fn copy(output: &OutputDir, layout: &Layout, platform: &Platform) -> Result<()> {
    for name in DOCUMENTS {
        if let Some(bytes) = read(layout, platform, name)? {
            let place = directory(platform);
            let path = output.path().join(&place);
            fs::create_dir_all(&path).map_err(Error::io("create", &path))?;
            output.write(&format!("{place}/{name}"), &bytes)?;
        }
    }
    Ok(())
}

/// Returns the images that the image holds.
fn nested(inputs: &InputsSpec, platform: &Platform) -> Result<Vec<Nested>> {
    let mut images = Vec::new();
    for nested in &inputs.images {
        let layout = Layout::open(&nested.layout)?;
        let index = layout.index().manifests.first();
        let descriptor = index.ok_or_else(|| {
            Error::damaged(nested.layout.display().to_string(), "it has no image")
        })?;
        images.push(Nested {
            name: nested.name.clone(),
            version: descriptor.ref_name().map(str::to_owned),
            manifest: descriptor.clone(),
            sbom: sbom_of(&layout, platform)?,
        });
    }
    images.sort_by(|one, other| one.name.cmp(&other.name));
    images.dedup_by(|one, other| one.name == other.name);
    Ok(images)
}

fn sbom_of(layout: &Layout, platform: &Platform) -> Result<Option<(String, Digest)>> {
    let Some(bytes) = read(layout, platform, SBOM)? else {
        return Ok(None);
    };
    let document: std::result::Result<spdx::Document, _> = serde_json::from_slice(&bytes);
    Ok(document
        .ok()
        .map(|it| (it.document_namespace, Digest::of(&bytes))))
}
