//! The decoders of the compression formats.

use std::io::{self, BufReader, Read};

use crateyard_oci::compression::CompressionFormat;
use crateyard_oci::limits::MAX_XZ_MEMORY;

/// The largest accepted zstd window, as a power of two: 128 MiB, zstd's own bound for streams. It
/// bounds the memory that a hostile stream can ask for.
const MAX_ZSTD_WINDOW_LOG: u32 = 27;

/// Returns a reader that decompresses a stream of this format.
///
/// # Errors
/// When the decoder can't be set up. Damage to the data is found while reading.
pub fn decompress<'a>(
    format: CompressionFormat,
    input: impl Read + Send + 'a,
) -> io::Result<Box<dyn Read + Send + 'a>> {
    let input = BufReader::with_capacity(64 << 10, input);
    Ok(match format {
        CompressionFormat::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(input)),
        CompressionFormat::Zstd => {
            let mut decoder = zstd::stream::read::Decoder::with_buffer(input)?;
            decoder.window_log_max(MAX_ZSTD_WINDOW_LOG)?;
            Box::new(decoder)
        }
        CompressionFormat::Xz => Box::new(lzma_rust2::XzReader::new_mem_limit(
            input,
            true,
            MAX_XZ_MEMORY,
        )),
        CompressionFormat::None => Box::new(input),
    })
}
