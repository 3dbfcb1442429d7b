//! The documents about an image's contents: a bill of materials in two forms and a [`provenance`]
//! for each image, as plain JSON files in the layout's directory. `crateyard-image` makes them.
//!
//! The documents stand beside the image and not in it, so that its digest depends only on the files
//! that run. They are not in `index.json` either, where tools that expect one image would find
//! three. A push makes them referrers of the image.
//!
//! ```
//! use crateyard_attestation::{SBOM, path};
//! use crateyard_oci::Platform;
//!
//! let platform: Platform = "linux/amd64".parse().expect("a platform");
//! assert_eq!(path(&platform, SBOM), "attestations/linux-amd64/sbom.spdx.json");
//! ```
#![forbid(unsafe_code)]

pub mod provenance;

use crateyard_oci::{Layout, Platform, Result};

/// The directory in a layout that has a directory for each platform.
pub const DIRECTORY: &str = "attestations";
/// The bill of materials in SPDX's form.
pub const SBOM: &str = "sbom.spdx.json";
/// The bill of materials in CycloneDX's form.
pub const SBOM_CYCLONEDX: &str = "sbom.cdx.json";
/// The provenance.
pub const PROVENANCE: &str = "provenance.json";
/// All documents.
pub const DOCUMENTS: [&str; 3] = [SBOM, SBOM_CYCLONEDX, PROVENANCE];

/// Returns the document called `name` ([`SBOM`], [`PROVENANCE`]) about a layout's image for
/// `platform`, or `None` if there is none. The document may be about another image: compare its
/// subject.
///
/// # Errors
/// When the document can't be read.
pub fn read(layout: &Layout, platform: &Platform, name: &str) -> Result<Option<Vec<u8>>> {
    let path = path(platform, name);
    layout.extra_file(&path)
}

/// Returns the path of a document about a platform's image, relative to the layout.
pub fn path(platform: &Platform, name: &str) -> String {
    format!("{}/{name}", directory(platform))
}

/// Returns the directory of the documents of a platform's image, relative to the layout.
pub fn directory(platform: &Platform) -> String {
    format!("{DIRECTORY}/{}", platform.to_string().replace('/', "-"))
}
