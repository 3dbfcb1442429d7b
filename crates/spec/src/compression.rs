//! The compression of layers.

use serde::{Deserialize, Serialize};

/// The compression of a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Compression {
    /// The format.
    pub algorithm: CompressionAlgorithm,
    /// The level: 1 to 9 for gzip, 1 to 19 for zstd; by default, 6 for gzip and 9 for zstd.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub level: Option<u32>,
}

impl Compression {
    /// The default compression.
    pub const DEFAULT: Compression = Compression::of(CompressionAlgorithm::Gzip);

    /// Returns an algorithm with its default level.
    pub const fn of(algorithm: CompressionAlgorithm) -> Compression {
        let level = match algorithm.levels() {
            Some((_, level)) => Some(level),
            None => None,
        };
        Compression { algorithm, level }
    }
}

impl Default for Compression {
    fn default() -> Compression {
        Compression::DEFAULT
    }
}

/// The compression formats of layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CompressionAlgorithm {
    /// Readable by every tool.
    Gzip,
    /// Smaller and faster; read by docker since 23, containerd since 1.5.
    Zstd,
    /// No compression.
    None,
}

impl CompressionAlgorithm {
    /// All formats.
    pub const ALL: [CompressionAlgorithm; 3] = [
        CompressionAlgorithm::Gzip,
        CompressionAlgorithm::Zstd,
        CompressionAlgorithm::None,
    ];

    /// Returns its name in `images.toml`.
    pub fn name(self) -> &'static str {
        match self {
            CompressionAlgorithm::Gzip => "gzip",
            CompressionAlgorithm::Zstd => "zstd",
            CompressionAlgorithm::None => "none",
        }
    }

    /// Returns its highest level (the lowest is 1) and its default level.
    pub const fn levels(self) -> Option<(u32, u32)> {
        match self {
            CompressionAlgorithm::Gzip => Some((9, 6)),
            CompressionAlgorithm::Zstd => Some((19, 9)),
            CompressionAlgorithm::None => None,
        }
    }
}

impl Compression {
    /// Returns the level to use.
    ///
    /// # Errors
    /// Fails if the level is out of range, or given without compression.
    pub fn checked_level(&self) -> Result<u32, String> {
        match (self.algorithm.levels(), self.level) {
            (None, None) => Ok(0),
            (None, Some(_)) => Err("a level makes no sense without compression".into()),
            (Some((most, default)), level) => match level.unwrap_or(default) {
                level if (1..=most).contains(&level) => Ok(level),
                level => Err(format!("{level} is not between 1 and {most}")),
            },
        }
    }
}
