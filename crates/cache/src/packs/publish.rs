//! Sends packs to a registry.

use std::path::Path;

use crateyard_oci::Reference;
use crateyard_registry::push::{Options, Report};
use crateyard_registry::{Client, Source};

use crate::error::Result;
use crate::packs::layout::PackDirectory;

/// Sends the missing parts of the cache to the registry: packs first, then the index, the tag last.
/// So after an interruption the tag names either the whole old cache or the whole new one. Packs
/// that the directory lacks must already be in the registry.
///
/// # Errors
/// Fails if the registry refuses or can't be reached.
pub async fn publish(
    client: &Client,
    directory: &PackDirectory,
    target: &Reference,
) -> Result<Report> {
    let path: &Path = directory.path();
    let source = Source::open(path)?;
    Ok(crateyard_registry::push::push(client, source, target, &Options::default()).await?)
}
