//! The uncompressed content of layers.

use std::io::{self, Read};

use crateyard_oci::compression::CompressionFormat;
use crateyard_oci::limits::Bounded;
use crateyard_oci::{Blobs, Descriptor, Error, Result};

/// Reads the uncompressed tar of a layer. Nothing limits the output, so it is only for layers of
/// one's own.
///
/// # Errors
/// When the media type is not a layer's.
pub fn decompress<'a>(
    media_type: &str,
    blob: impl Read + Send + 'a,
) -> io::Result<Box<dyn Read + Send + 'a>> {
    let format = CompressionFormat::of_layer(media_type).ok_or_else(|| {
        let problem = format!("{media_type:?} is not the media type of a layer");
        io::Error::new(io::ErrorKind::Unsupported, problem)
    })?;
    crate::decompress(format, blob)
}

/// Opens the uncompressed tar of a layer that anybody may have written. The budget of `blobs`
/// limits the output. `check` sees the compressed bytes in passing, for instance to hash them.
///
/// # Errors
/// When the blob is missing or the media type is not a layer's.
pub fn open<'a, R: Read + Send + 'a>(
    blobs: &'a dyn Blobs,
    layer: &Descriptor,
    check: impl FnOnce(Box<dyn Read + Send + 'a>) -> R,
) -> Result<Bounded<Box<dyn Read + Send + 'a>>> {
    let blob = check(blobs.open_blob(layer)?);
    let tar = decompress(&layer.media_type, blob).map_err(|error| {
        let what = format!("layer {} of {}", layer.digest, blobs.title());
        Error::damaged(what, error.to_string())
    })?;
    Ok(blobs.budget().layer(layer, tar))
}
