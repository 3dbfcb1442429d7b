//! Sends packs to a registry.

use std::path::Path;

use crateyard_oci::Reference;
use registry::push::{Options, Report};
use registry::{Client, Source};

use crate::error::Result;
use crate::packs::layout::PackDirectory;

/// Sends what the registry lacks, packs before the index and the tag last: whatever stops it, the tag names the old
/// cache or the new one, whole. Packs that the index names and the directory lacks are in the registry already.
///
/// # Errors
/// When the registry refuses or can't be reached.
pub async fn publish(
    client: &Client,
    directory: &PackDirectory,
    target: &Reference,
) -> Result<Report> {
    let path: &Path = directory.path();
    let source = Source::open(path)?;
    Ok(registry::push::push(client, source, target, &Options::default()).await?)
}
