//! The version of specifications and records.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The version of all specifications and records.
pub const VERSION: u32 = 1;

/// The number 1. Reading anything else fails.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FormatVersion;

impl Serialize for FormatVersion {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u32(VERSION)
    }
}

impl<'de> Deserialize<'de> for FormatVersion {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<FormatVersion, D::Error> {
        match u32::deserialize(deserializer)? {
            VERSION => Ok(FormatVersion),
            other => Err(serde::de::Error::custom(format!(
                "version {other} is unknown; this program reads version {VERSION}"
            ))),
        }
    }
}
