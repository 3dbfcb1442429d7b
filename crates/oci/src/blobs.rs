//! Sources of blobs.

use std::io::Read;
use std::sync::Arc;

use serde::de::DeserializeOwned;

use crate::{Budget, Descriptor, Error, Result, json};

/// A source of blobs: a layout or an archive here, a repository of a registry elsewhere.
pub trait Blobs {
    /// Opens a blob. The bytes are not checked against the digest; callers that need the check do
    /// it.
    ///
    /// # Errors
    /// When the blob is missing, has another size or can't be read.
    fn open_blob(&self, descriptor: &Descriptor) -> Result<Box<dyn Read + Send + '_>>;

    /// Returns the source's name for messages: a path or a reference.
    fn title(&self) -> String;

    /// Returns the budget that the source's readers draw from.
    fn budget(&self) -> &Arc<Budget>;
}

/// Reads a document up to its limit and checks its digest.
///
/// # Errors
/// When the document is missing, damaged, too large or not of the type.
pub fn read_document<T: DeserializeOwned>(blobs: &dyn Blobs, descriptor: &Descriptor) -> Result<T> {
    let bytes = read_document_bytes(blobs, descriptor)?;
    json::parse(blobs.budget(), &title(blobs, descriptor), &bytes)
}

/// Reads the bytes of a document like [`read_document`].
///
/// # Errors
/// When the document is missing, damaged or too large.
pub fn read_document_bytes(blobs: &dyn Blobs, descriptor: &Descriptor) -> Result<Vec<u8>> {
    let what = title(blobs, descriptor);
    blobs.budget().document_size(&what, descriptor.size)?;
    let mut bytes = Vec::new();
    let mut reader = blobs.open_blob(descriptor)?.take(descriptor.size + 1);
    reader
        .read_to_end(&mut bytes)
        .map_err(|error| Error::damaged(&what, error.to_string()))?;
    if bytes.len() as u64 != descriptor.size {
        let problem = format!(
            "it does not have the {} bytes of its descriptor",
            descriptor.size
        );
        return Err(Error::damaged(what, problem));
    }
    let digest = descriptor.digest.of_same_kind(&bytes);
    if digest != descriptor.digest {
        let problem = format!("its content has the digest {digest}");
        return Err(Error::damaged(what, problem));
    }
    Ok(bytes)
}

fn title(blobs: &dyn Blobs, descriptor: &Descriptor) -> String {
    format!("blob {} of {}", descriptor.digest, blobs.title())
}
