//! Compression formats. `crates/unpack` has their decoders.

use crate::media_type;

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
}
