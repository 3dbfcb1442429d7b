//! Compression formats and their decoders.

use std::io::{self, BufReader, Read};

use crate::media_type;

/// The largest accepted zstd window, as a power of two: 128 MiB, zstd's own bound for streams. It
/// bounds the memory that a hostile stream can ask for.
const MAX_ZSTD_WINDOW_LOG: u32 = 27;
/// The most memory that an xz stream may ask for, in KiB, as in crates/seed. Debian's packages need
/// 65 MiB, archives of Rust's releases 129 MiB.
const MAX_XZ_MEMORY: u32 = 160 << 10;

/// A compression format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CompressionFormat {
    /// gzip, several members allowed.
    Gzip,
    /// zstd, several frames allowed.
    Zstd,
    /// xz, which Debian packages use.
    Xz,
    /// Not compressed.
    None,
}

impl CompressionFormat {
    /// Returns the format of a layer by its media type, or `None` for any other media type.
    pub fn of_layer(media_type: &str) -> Option<Self> {
        if !media_type::is_layer(media_type) {
            return None;
        }
        if media_type.ends_with("gzip") {
            Some(Self::Gzip)
        } else if media_type.ends_with("zstd") {
            Some(Self::Zstd)
        } else {
            Some(Self::None)
        }
    }

    /// Returns the format of a file by its first bytes. Six are enough.
    pub fn of_bytes(start: &[u8]) -> Self {
        if start.starts_with(&[0x1f, 0x8b]) {
            Self::Gzip
        } else if start.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
            Self::Zstd
        } else if start.starts_with(b"\xfd7zXZ\0") {
            Self::Xz
        } else {
            Self::None
        }
    }

    /// Returns a reader that decompresses this format.
    ///
    /// # Errors
    /// When the decoder can't be set up. Damage to the data is found while reading.
    pub fn reader<'a>(self, input: impl Read + Send + 'a) -> io::Result<Box<dyn Read + Send + 'a>> {
        let input = BufReader::with_capacity(64 << 10, input);
        Ok(match self {
            Self::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(input)),
            Self::Zstd => {
                let mut decoder = zstd::stream::read::Decoder::with_buffer(input)?;
                decoder.window_log_max(MAX_ZSTD_WINDOW_LOG)?;
                Box::new(decoder)
            }
            Self::Xz => Box::new(lzma_rust2::XzReader::new_mem_limit(
                input,
                true,
                MAX_XZ_MEMORY,
            )),
            Self::None => Box::new(input),
        })
    }
}
